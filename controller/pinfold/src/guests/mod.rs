//! Stopping all guests of the host, and letting them run again: what a shutdown of the host runs, with the daemon or without it.
//!
//! The note ([`note`]) comes first. From then on every pass, whoever makes it, plans to stop what runs and to start nothing. Where no daemon has
//! the host, [`stop`] makes the passes itself, as the daemon would: same plan, same records, same journal. Where one has it, this only waits for it.

pub mod note;
mod systemd;

use crate::api::client;
use crate::cli::Backend;
use crate::config::Config;
use crate::daemon::{self, DaemonError};
use crate::reconcile::{self, Reason, chain, forced, wake};
use host::store::RealDisk;
use host::{Host, Interest, Moment, Place, Store, StoreError, start_due, system_clock};
use jiff::{SignedDuration, Timestamp};
use planner::observed::HostShutdown;
use planner::{Cause, Disposition, Observed, Plan, Remaining};
use protocol::Reading;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What destroying the last guest may take, beyond the longest of the guests' own timeouts.
const MARGIN: Duration = Duration::from_secs(120);
/// A host that is still up this long after its guests should have ended has not gone down.
const ABORTED: SignedDuration = SignedDuration::from_mins(15);
/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(500);

/// Why guests cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub enum GuestsError {
    /// The note.
    #[error("cannot {what} the note {}", path.display())]
    Note {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// It cannot be said which boot of the host this is.
    #[error("nobody can say which boot of the host this is: {0}")]
    Boot(String),
}

/// What is left of our guests when stopping them is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Time ran out, and these are.
    These(Remaining),
    /// Time ran out, and nobody can say.
    Unknown,
}

/// Stops every guest of ours; answers what is left of them at the end, which is nothing unless time ran out. `say` hears what happens.
///
/// Needs neither git nor network. Time runs out two minutes after the longest of the guests' own shutdown timeouts.
pub fn stop(config: &Config, backend: &Backend, say: &mut dyn FnMut(&str)) -> Result<Left, GuestsError> {
    let place = Place { host: config.host.clone(), state: config.state.clone(), storage: config.storage() };
    let store = Arc::new(Store::open(place, Arc::new(RealDisk)));
    if store.identity().is_none() {
        say("no daemon ever ran here: there is nothing to stop");
        return Ok(Left::Nothing);
    }
    let mut stopping = Stopping::begin(config, &store, say);
    if *backend == Backend::Xen {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| error.to_string());
        let boot_id = boot_id.and_then(|text| text.trim().parse::<Uuid>().map_err(|error| error.to_string()));
        let up_ms = stopping.up_ms;
        stopping.write_note(boot_id.map_err(GuestsError::Boot)?, up_ms)?;
    }
    let watched = loop {
        match store.lock() {
            Ok(()) => break None,
            Err(StoreError::Running { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(left) = stopping.watch()? {
            break Some(left);
        }
        std::thread::sleep(INTERVAL);
    };
    match watched {
        Some(left) => Ok(left),
        None => stopping.drive(config, backend, &store),
    }
}

/// Lets guests run again: takes the note back.
pub fn start(config: &Config) -> Result<(), GuestsError> {
    let path = note::path(config);
    note::remove(&path).map_err(|source| GuestsError::Note { what: "remove", path, source })
}

/// One stop of all guests, from its note to its end.
struct Stopping<'a> {
    config: &'a Config,
    note: Option<HostShutdown>,
    since: Timestamp,
    began: Instant,
    /// The same by the clock that nobody sets.
    up_ms: Option<u64>,
    /// The longest timeout of a guest that was seen, in seconds.
    timeout_s: u64,
    why: String,
    /// Ends the note, when the host is said to go down by itself.
    until: Option<Timestamp>,
    said: BTreeSet<String>,
    say: &'a mut dyn FnMut(&str),
}

impl<'a> Stopping<'a> {
    fn begin(config: &'a Config, store: &Store, say: &'a mut dyn FnMut(&str)) -> Self {
        let Moment { at: since, up_ms } = system_clock()();
        let records = store.records();
        let records = records.known().into_iter().flat_map(|records| records.vms.values()).filter_map(Reading::known);
        let timeout_s = records.map(|record| record.wanted.shutdown_timeout_s).max().unwrap_or(0);
        let goes_down = systemd::goes_down();
        let why = if goes_down { "the host goes down" } else { "by hand, `pinfold guests stop`" }.to_owned();
        let until = goes_down.then(|| later(since, span(timeout_s).saturating_add(ABORTED)));
        Self {
            config,
            note: None,
            since,
            began: Instant::now(),
            up_ms: Some(up_ms),
            timeout_s: 0,
            why,
            until,
            said: BTreeSet::new(),
            say,
        }
    }

    /// `up_ms` is the host's own: a simulated host has another than this machine.
    fn write_note(&mut self, boot_id: Uuid, up_ms: Option<u64>) -> Result<(), GuestsError> {
        if self.note.is_some() {
            return Ok(());
        }
        let path = note::path(self.config);
        let note = HostShutdown { since: self.since, up_ms, boot_id, until: self.until, why: self.why.clone() };
        note::write(&path, &note).map_err(|source| GuestsError::Note { what: "write", path, source })?;
        self.note = Some(note);
        Ok(())
    }

    /// A daemon has the host: one look at what it sees. Answers when it is over.
    fn watch(&mut self) -> Result<Option<Left>, GuestsError> {
        let observed: Observed = match client::get(&self.config.socket, "/v1/inventory") {
            Ok(observed) => observed,
            // It may be starting, or ending; if it hangs, its watchdog ends it.
            Err(error) => {
                self.tell(&format!("the daemon does not answer: {}", chain(&error)));
                return Ok(self.is_late().then_some(Left::Unknown));
            }
        };
        if let Some(xen) = observed.xen.known() {
            self.write_note(xen.hypervisor.boot_id, observed.uptime.map(|uptime| uptime.ms))?;
        }
        // Only what was seen after the note counts.
        if observed.host_shutdown.is_none() || observed.now <= self.since {
            return Ok(self.is_late().then_some(Left::Unknown));
        }
        let plan = planner::plan(None, &observed);
        self.tell_plan(&plan);
        Ok(self.is_over(&observed))
    }

    /// No daemon has the host: passes of our own, until it is over.
    fn drive(&mut self, config: &Config, backend: &Backend, store: &Arc<Store>) -> Result<Left, GuestsError> {
        let (waker, woken) = wake();
        let mut host = daemon::host(config, backend, Arc::clone(store), &waker)?;
        let host = &mut *host;
        let mut noted = false;
        loop {
            let interest = Interest { host_shutdown: self.note.clone(), ..Interest::default() };
            let observed = host.observe(&interest);
            match &observed.xen {
                Reading::Known(xen) => {
                    self.write_note(xen.hypervisor.boot_id, observed.uptime.map(|uptime| uptime.ms))?;
                }
                Reading::Unknown(cause) => self.tell(&format!("nobody can say what runs: {}", cause.message)),
            }
            if observed.host_shutdown.is_some() {
                if !noted {
                    let message = format!("all guests are stopped: {}", self.why);
                    reconcile::note(store, observed.now, None, [reconcile::Note::host(Reason::HostShutdown, message)]);
                    noted = true;
                }
                if let Some(left) = self.is_over(&observed) {
                    return Ok(left);
                }
                self.pass(host, &observed);
            }
            woken.wait(INTERVAL);
        }
    }

    fn pass(&mut self, host: &mut dyn Host, observed: &Observed) {
        let plan = planner::plan(None, observed);
        self.tell_plan(&plan);
        for note in forced(observed, &plan) {
            reconcile::note(host.store(), observed.now, None, [note]);
        }
        for (object, error) in start_due(host, &plan).start_errors {
            self.tell(&format!("{object}: {error}"));
        }
    }

    /// Whether nothing is left, or no time: then with what is left.
    fn is_over(&mut self, observed: &Observed) -> Option<Left> {
        let left = planner::remaining(observed);
        if let Some(left) = &left {
            self.timeout_s = self.timeout_s.max(left.timeout_s);
            if left.is_empty() {
                return Some(Left::Nothing);
            }
        }
        self.is_late().then(|| left.map_or(Left::Unknown, Left::These))
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() >= Duration::from_secs(self.timeout_s).saturating_add(MARGIN)
    }

    fn tell_plan(&mut self, plan: &Plan) {
        let ends = plan.items.iter().filter(|item| item.cause == Cause::HostShutdown);
        for item in ends.filter(|item| item.disposition == Disposition::Now || item.action == planner::Action::Stop) {
            let then = match &item.disposition {
                Disposition::Waiting { on } => format!(": {on}"),
                _ => String::new(),
            };
            self.tell(&format!("{}: {} ({}){then}", item.object, planner::render::doing(item.action), item.reason));
        }
    }

    /// Says it, once.
    fn tell(&mut self, text: &str) {
        if self.said.insert(text.to_owned()) {
            (self.say)(text);
        }
    }
}

fn span(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn later(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}
