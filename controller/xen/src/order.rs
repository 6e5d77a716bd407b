//! `do`: one order, carried out whatever becomes of whoever gave it.
//!
//! ```text
//! → Hello   ← Order   locks · operation   outcome file: written, fsynced, renamed   → Outcome
//! ```
//!
//! The outcome file is the truth, the printed line a courtesy. A worker that is killed leaves no outcome; its locks are free then and the
//! next observation says what is there.

use crate::xen::Xen;
use crate::{complain, hello, lock, say};
use protocol::{Done, Failure, FailureKind, Hello, Order, Outcome, PROTOCOL, Took};
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What hotplug scripts and helpers find programs in; libxl hands our environment down to them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the mode. The error is one of this process; what failed in the operation is in the outcome.
pub(crate) fn run() -> io::Result<()> {
    let began = Instant::now();
    let hello = hello::hello();
    say(&hello)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let order: Order = serde_json::from_str(&line)?;
    stand_alone();
    let Work { result, log, in_libxl } = carry_out(&hello, &order);
    let took = Took { total_ms: ms(began.elapsed()), libxl_ms: ms(in_libxl) };
    let outcome = Outcome { operation: order.operation, request: order.request, result, log, took: Some(took) };
    let written = write(Path::new(&order.outcome), &outcome);
    if let Err(error) = &written {
        complain(&format!("{}: {error}", order.outcome));
    }
    // The daemon may be gone; the file tells the next one.
    let said = say(&outcome);
    written.or(said)
}

/// What came of an order.
struct Work {
    result: Result<Done, Failure>,
    log: Vec<String>,
    /// Time within calls of libxl.
    in_libxl: Duration,
}

/// Carries out the order under its locks, which are held until this returns.
fn carry_out(hello: &Hello, order: &Order) -> Work {
    let opened = check_protocol(order)
        .and_then(|()| hello::check(hello))
        .and_then(|()| lock::take(order))
        .and_then(|locks| Ok((locks, Xen::open(&order.storage)?)));
    match opened {
        Ok((_locks, mut xen)) => {
            let result = operation::run(&mut xen, &order.request);
            Work { result, log: xen.libxl.log_lines(), in_libxl: xen.libxl.time_within() }
        }
        Err(failure) => Work { result: Err(failure), log: Vec::new(), in_libxl: Duration::ZERO },
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn check_protocol(order: &Order) -> Result<(), Failure> {
    if order.protocol == PROTOCOL {
        return Ok(());
    }
    let message = format!(
        "the order speaks version {} of the protocol, pinfold-xen speaks {PROTOCOL}: install pinfold and pinfold-xen of one release",
        order.protocol
    );
    Err(Failure::new(FailureKind::Refused, "do", message))
}

/// Leaves the session, the folder and the environment of whoever started this, so that neither ^C nor a closed terminal reaches this process
/// or what it starts.
fn stand_alone() {
    // Refused only when this process leads a group already, and then it was started apart on purpose.
    rustix::process::setsid().ok();
    rustix::process::chdir("/").ok();
    // SAFETY: no other thread runs yet: libxenstore starts its reader when libxl first watches, after this.
    unsafe {
        libc::clearenv();
        std::env::set_var("PATH", PATH);
        std::env::set_var("LANG", "C.UTF-8");
    }
}

/// Writes the outcome so that a reader sees all of it or nothing, also after a power loss.
fn write(path: &Path, outcome: &Outcome) -> io::Result<()> {
    let folder = path.parent().filter(|folder| folder.is_absolute());
    let folder = folder.ok_or_else(|| io::Error::other("the order's outcome must be an absolute path"))?;
    let unfinished = path.with_extension(format!("{}.tmp", outcome.operation));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(outcome)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Request;
    use uuid::Uuid;

    #[test]
    fn the_outcome_replaces_nothing_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcome.json");
        let outcome = Outcome {
            operation: Uuid::from_u128(7),
            request: Request::DestroyCpupool { uuid: Uuid::from_u128(8) },
            result: Err(Failure::new(FailureKind::Busy, "flock", "held")),
            log: vec!["libxl: error: x".to_owned()],
            took: Some(Took { total_ms: 3, libxl_ms: 2 }),
        };
        write(&path, &outcome).unwrap();
        let read: Outcome = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, outcome);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(write(Path::new("outcome.json"), &outcome).is_err());
    }
}
