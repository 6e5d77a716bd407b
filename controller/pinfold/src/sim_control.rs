//! The simulated host of `--backend sim:FILE`, and the socket through which other hands reach it: `FILE.sock`.
//!
//! One event as YAML, until the writer closes its side; the answer is `ok` or why not.

use host::store::RealDisk;
use host::{Clock, Machine, Shared, SimError, SimHost, SimSettings, Store, Waker};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The longest event.
const MAX_EVENT_BYTES: u64 = 64 * 1024;
/// How long a writer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why a simulated host cannot be made or reached.
#[derive(Debug, thiserror::Error)]
pub enum SimControlError {
    /// The description, or its socket.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The description is no description.
    #[error("{} describes no host\n{message}", path.display())]
    Description {
        /// Which file.
        path: PathBuf,
        /// What is wrong where.
        message: String,
    },
    /// The machine cannot be made.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// The event was refused.
    #[error("the simulated host refused the event: {0}")]
    Refused(String),
}

/// The simulated host that a file describes, kept in the state directory across daemons.
pub fn host(
    file: &Path,
    settings: SimSettings,
    store: Arc<Store>,
    clock: Clock,
    waker: Waker,
) -> Result<SimHost, SimControlError> {
    let failed = |what| move |source| SimControlError::Io { what, path: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(failed("read"))?;
    let description = serde_saphyr::from_str(&text)
        .map_err(|error| SimControlError::Description { path: file.to_owned(), message: error.to_string() })?;
    let kept = store.place().state.join("simulated-host.json");
    let machine = Machine::kept(&kept, description, clock().at, Arc::new(RealDisk))?.shared();
    listen(file, Arc::downgrade(&machine), Arc::clone(&waker))?;
    let host = SimHost::new(settings, store, machine, clock, waker);
    host.run_live();
    Ok(host)
}

/// Lets one event happen to the simulated host that a daemon runs from this file.
pub fn send(file: &Path, event: &str) -> Result<(), SimControlError> {
    let path = socket(file);
    let failed = |what| {
        let path = path.clone();
        move |source| SimControlError::Io { what, path, source }
    };
    let mut stream = UnixStream::connect(&path).map_err(failed("connect to"))?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(failed("read"))?;
    stream.write_all(event.as_bytes()).map_err(failed("write to"))?;
    stream.shutdown(Shutdown::Write).map_err(failed("write to"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed("read"))?;
    if answer == "ok" { Ok(()) } else { Err(SimControlError::Refused(answer)) }
}

fn socket(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sock");
    PathBuf::from(name)
}

/// Ends with the machine, at the next hand.
fn listen(file: &Path, machine: Weak<Mutex<Machine>>, waker: Waker) -> Result<(), SimControlError> {
    let path = socket(file);
    let failed = |what| {
        let path = path.clone();
        move |source| SimControlError::Io { what, path, source }
    };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed("listen on"))?;
    std::thread::Builder::new()
        .name("simulated hands".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(machine) = machine.upgrade() else { return };
                let answer = happen(&stream, &machine).map_or_else(|why| why, |()| "ok".to_owned());
                // Whoever asked may be gone; the event happened all the same.
                let _ = (&stream).write_all(answer.as_bytes());
                waker();
            }
        })
        .map(drop)
        .map_err(failed("serve"))
}

fn happen(stream: &UnixStream, machine: &Shared) -> Result<(), String> {
    stream.set_read_timeout(Some(DEADLINE)).map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.take(MAX_EVENT_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let event = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
    machine.apply(&event).map_err(|failure| failure.to_string())
}
