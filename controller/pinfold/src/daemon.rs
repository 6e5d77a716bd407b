//! Wiring: from a configuration to a running daemon, and its end.
//!
//! Three threads: the driver (this one), the source's, and one for sockets and signals. Stopping starts nothing more and waits for nothing:
//! operations are processes of their own and go on. SIGHUP reads the configuration again; another one is taken up as a start would take it
//! up, in the same process and under the same lock.

use crate::api::server::Api;
use crate::api::{BindError, Sockets};
use crate::cli::Backend;
use crate::config::{Config, ConfigError};
use crate::console::Holders;
use crate::exit::Exit;
use crate::front::{Asked, Front};
use crate::guests::note;
use crate::reconcile::{Driver, Parts, Snapshot, VerbCall, Wake, Woken, chain, wake};
use crate::sim_control;
use crate::source::{Fetcher, Mirror, MirrorError, SourceEvent, Watcher};
use host::store::RealDisk;
use host::{Clock, Host, Place, SimError, Store, StoreError, Waker, XenHost, system_clock};
use planner::{ConditionKind, Disposition, Truth};
use sd_notify::NotifyState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use tokio::sync::watch;

/// Verbs that wait for the driver; more are refused.
const MAX_VERBS: usize = 16;

/// Why a daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory, or another daemon.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sockets.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The git mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The simulated host.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// Its description or its control socket.
    #[error(transparent)]
    SimControl(#[from] sim_control::SimControlError),
    /// A thread, a signal or the asynchronous runtime.
    #[error("the system refused {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Ended {
    /// For the shell.
    pub exit: Exit,
    /// The last pass.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// How the driver's work came to an end.
enum Over {
    Exit(Exit),
    /// There is another configuration, and its sockets are made.
    Reload(Box<Config>, Sockets),
}

/// Runs until it is told to stop, or with `once` until nothing is left to do. `reread` reads the configuration again.
pub fn run(
    mut config: Config,
    reread: &dyn Fn() -> Result<Config, ConfigError>,
    backend: &Backend,
    once: bool,
) -> Result<Ended, DaemonError> {
    let place = Place { host: config.host.clone(), state: config.state.clone(), storage: config.storage() };
    let store = Arc::new(Store::open(place, Arc::new(RealDisk)));
    store.lock()?;
    // Only after the lock: a second daemon must not take the first one's sockets away.
    let mut sockets = Sockets::bind(&config)?;
    let (waker, woken) = wake();
    let (front, asked) = Front::start(waker.clone())?;
    let consoles = Holders::default();
    loop {
        let (verbs, heard) = sync_channel(MAX_VERBS);
        let (published, snapshot) = watch::channel(None);
        let (wake, store_too, consoles) = (waker.clone(), Arc::clone(&store), consoles.clone());
        let host = host(&config, backend, Arc::clone(&store), &waker)?;
        front.serve(sockets, Api { snapshot, verbs, wake, store: store_too, meter: host.meter(), consoles });
        let mut driver = Driver::new(parts(&config, host, &waker, heard, published)?);
        match drive(&mut driver, &woken, &asked, once, &|driver| another(&config, reread, driver)) {
            Over::Exit(exit) => {
                let _ = sd_notify::notify(&[NotifyState::Stopping]);
                remove_sockets(&config);
                return Ok(Ended { exit, snapshot: driver.snapshot() });
            }
            Over::Reload(new, bound) => {
                if new.socket != config.socket {
                    remove_sockets(&config);
                }
                (config, sockets) = (*new, bound);
            }
        }
    }
}

fn remove_sockets(config: &Config) {
    for socket in [&config.socket, &config.admin_socket()] {
        // Whatever stands there now, the next daemon replaces it.
        let _ = std::fs::remove_file(socket);
    }
}

/// The configuration on disk, when it is another one and can be taken up. Otherwise the one in force stays, and the driver notes why.
fn another(
    config: &Config,
    reread: &dyn Fn() -> Result<Config, ConfigError>,
    driver: &Driver,
) -> Option<(Config, Sockets)> {
    let new = match reread() {
        Ok(new) if new == *config => {
            driver.reconfigured(Ok("the configuration is as it was; asked the repository"));
            return None;
        }
        Ok(new) => new,
        Err(error) => {
            driver.reconfigured(Err(&chain(&error)));
            return None;
        }
    };
    let fixed = [
        ("host", new.host == config.host),
        ("state", new.state == config.state),
        ("storage", new.storage() == config.storage()),
    ];
    if let Some((field, _)) = fixed.into_iter().find(|(_, same)| !same) {
        driver.reconfigured(Err(&format!(
            "`{field}` cannot change while the daemon runs: stop it, move what belongs to it, and start it again"
        )));
        return None;
    }
    match Sockets::bind(&new) {
        Ok(sockets) => {
            driver.reconfigured(Ok("another configuration is taken up"));
            Some((new, sockets))
        }
        Err(error) => {
            driver.reconfigured(Err(&chain(&error)));
            None
        }
    }
}

fn parts(
    config: &Config,
    host: Box<dyn Host>,
    waker: &Wake,
    verbs: Receiver<VerbCall>,
    published: watch::Sender<Option<Arc<Snapshot>>>,
) -> Result<Parts, DaemonError> {
    let mirror = Mirror::open(&config.state)?;
    let settings = config.repository.clone();
    // What was fetched before a restart may not have been judged.
    let moved = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicBool::new(false));
    let (told, answered, wake) = (Arc::clone(&moved), Arc::clone(&asked), waker.clone());
    let tell = move |event: SourceEvent| {
        if let SourceEvent::Fetched { recloned: Some(recloned), .. } = &event {
            tracing::warn!(why = recloned.why, kept = ?recloned.kept, "the git mirror was made afresh");
        }
        if matches!(event, SourceEvent::Fetched { .. }) {
            told.store(true, Ordering::Release);
        }
        answered.store(true, Ordering::Release);
        wake.wake();
    };
    let watcher = Watcher::start(&config.state, Fetcher::new(&config.state, settings.clone()), tell)
        .map_err(|source| DaemonError::System { what: "a thread", source })?;
    Ok(Parts {
        host,
        name: config.host.clone(),
        mirror,
        settings,
        watcher,
        moved,
        asked,
        verbs,
        published,
        interval: config.observe_interval(),
        clock: system_clock(),
        note: note::path(config),
    })
}

/// The host that a configuration describes, whose passes `wake` begins.
pub(crate) fn host(
    config: &Config,
    backend: &Backend,
    store: Arc<Store>,
    wake: &Wake,
) -> Result<Box<dyn Host>, DaemonError> {
    let wake = wake.clone();
    let waker: Waker = Arc::new(move || wake.wake());
    let clock: Clock = system_clock();
    let allow_paths = config.allow_paths.clone();
    let (memory_reserve_kib, core_dump_quota_kib) = (config.memory_reserve_kib(), config.core_dump_quota_kib());
    match backend {
        Backend::Xen => {
            let settings =
                host::Settings { worker: config.worker.clone(), allow_paths, memory_reserve_kib, core_dump_quota_kib };
            Ok(Box::new(XenHost::new(settings, store, clock, waker)))
        }
        Backend::Sim(file) => {
            let settings = host::SimSettings { allow_paths, memory_reserve_kib, core_dump_quota_kib };
            Ok(Box::new(sim_control::host(file, settings, store, clock, waker)?))
        }
    }
}

/// Passes until told to stop. The watchdog is petted by passes alone: a driver that hangs is started again.
fn drive(
    driver: &mut Driver,
    woken: &Woken,
    asked: &Asked,
    once: bool,
    another: &dyn Fn(&Driver) -> Option<(Config, Sockets)>,
) -> Over {
    let mut is_announced = false;
    let mut said = String::new();
    while !asked.stop() {
        if asked.reload() {
            let _ = sd_notify::notify(&reloading());
            if let Some((config, sockets)) = another(driver) {
                return Over::Reload(Box::new(config), sockets);
            }
            is_announced = false;
        }
        let wait = driver.pass();
        if !is_announced {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            is_announced = true;
        }
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        let Some(snapshot) = driver.snapshot() else { continue };
        let line = status_line(&snapshot);
        if line != said {
            let _ = sd_notify::notify(&[NotifyState::Status(&line)]);
            said = line;
        }
        if once && driver.has_asked() && is_settled(&snapshot) {
            return Over::Exit(verdict(&snapshot, driver.is_followed()));
        }
        woken.wait(wait);
    }
    Over::Exit(Exit::Ok)
}

/// systemd wants to know when it was said (`sd_notify(3)`).
fn reloading() -> Vec<NotifyState<'static>> {
    std::iter::once(NotifyState::Reloading).chain(NotifyState::monotonic_usec_now().ok()).collect()
}

fn status_line(snapshot: &Snapshot) -> String {
    let commit = snapshot.observed.accepted.as_ref().map_or("no commit", |commit| crate::report::short(&commit.id));
    let count = |kind| snapshot.objects.iter().filter(|view| view.is(kind)).count();
    let (ready, all) =
        (count(ConditionKind::Ready), snapshot.objects.iter().filter(|view| !view.conditions.is_empty()).count());
    format!(
        "{commit}: {ready} of {all} objects ready, {} held, {} stalled",
        count(ConditionKind::Held),
        count(ConditionKind::Stalled)
    )
}

/// Nothing is under way, nothing is to be started, and nothing waits that is not stalled.
fn is_settled(snapshot: &Snapshot) -> bool {
    let is_stalled = |item: &planner::Item| {
        snapshot.objects.iter().any(|view| view.object == item.object && view.is(ConditionKind::Stalled))
    };
    let is_settled = |item: &planner::Item| match item.disposition {
        Disposition::Now | Disposition::Waiting { .. } => is_stalled(item),
        Disposition::AtNextStart | Disposition::Held { .. } => true,
    };
    snapshot.observed.operations.is_empty() && snapshot.plan.items.iter().all(is_settled)
}

/// How `run --once` ends.
fn verdict(snapshot: &Snapshot, is_followed: bool) -> Exit {
    let is_unknown = snapshot.observed.xen.known().is_none()
        || snapshot.objects.iter().any(|view| {
            view.condition(ConditionKind::Ready).is_some_and(|ready| ready.status == Truth::Unknown)
                || view.is(ConditionKind::Stalled)
        });
    let is_held = snapshot.plan.items.iter().any(|item| matches!(item.disposition, Disposition::Held { .. }));
    match (is_unknown || !is_followed, is_held) {
        (true, _) => Exit::Negative,
        (false, true) => Exit::Held,
        (false, false) => Exit::Ok,
    }
}
