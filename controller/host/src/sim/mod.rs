//! A simulated host behind the same trait, with the same store, the same orders and the same outcomes. Only libxl and dom0 are simulated.

mod machine;
mod terminals;

pub use machine::{Machine, SimError, Watch};

use crate::clock::Watched;
use crate::observe::{on_disk, unknown};
use crate::operations::{self, End, Fate, Marks, Started, Workers};
use crate::store::{OrderFile, Store};
use crate::usage::{DiskUsage, Meter, NicUsage, Usage};
use crate::{Clock, Host, Interest, Moment, StartError, Waker};
use planner::observed::{Dom0Facts, FileFact};
use planner::trash::DiskMark;
use planner::{Item, Observed};
use protocol::{Domain, Failure, FailureKind, Reading, Request};
use sim::File;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The machine, which outlives any one daemon on it.
pub type Shared = Arc<Mutex<Machine>>;

/// What a daemon's own configuration says about its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimSettings {
    /// Folders that manifests may name files and devices in, absolute.
    pub allow_paths: Vec<String>,
    /// Host memory that is never given to guests, in KiB.
    pub memory_reserve_kib: u64,
    /// Room in storage for the core dumps of all VMs together, in KiB.
    pub core_dump_quota_kib: u64,
}

/// A daemon's view of a simulated machine.
pub struct SimHost {
    settings: SimSettings,
    store: Arc<Store>,
    machine: Shared,
    clock: Clock,
    watched: Watched,
    waker: Waker,
}

impl SimHost {
    /// Takes a machine over, as a daemon that starts on it.
    pub fn new(settings: SimSettings, store: Arc<Store>, machine: Shared, clock: Clock, waker: Waker) -> Self {
        lock(&machine).daemon_starts();
        Self { settings, store, machine, clock, watched: Watched::default(), waker }
    }

    /// Keeps virtual time in step with the clock, and calls the waker when a guest ends or an operation does: what a scenario does by hand.
    /// Ends when the host is dropped.
    pub fn run_live(&self) {
        let (machine, clock, waker) = (Arc::downgrade(&self.machine), Arc::clone(&self.clock), Arc::clone(&self.waker));
        let live = move || {
            while let Some(machine) = machine.upgrade() {
                let changed = {
                    let mut machine = lock(&machine);
                    let changed = machine.advance(clock().at);
                    machine.serve_consoles() || changed
                };
                if changed {
                    waker();
                }
                drop(machine);
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        // Named, so that what the machine costs is told apart from what the daemon does.
        if let Err(error) = std::thread::Builder::new().name("sim".to_owned()).spawn(live) {
            tracing::error!(%error, "the simulated machine stands still: it has no thread");
        }
    }

    fn files(&self, machine: &Machine, paths: &BTreeSet<String>) -> BTreeMap<String, FileFact> {
        let files = &machine.world().host.files;
        let allowed = |path: &str| self.settings.allow_paths.iter().any(|allowed| Path::new(path).starts_with(allowed));
        let fact = |path: &str| match files.get(path) {
            _ if !allowed(path) => FileFact::Unusable("is outside of the host's allowPaths".to_owned()),
            Some(File::File { size }) => FileFact::File { size: *size },
            Some(File::Block { size, mounted }) => FileFact::Block { size: *size, mounted: *mounted },
            Some(File::Directory) => FileFact::Unusable("a directory".to_owned()),
            None => FileFact::Missing,
        };
        let listed = files.keys().filter(|path| allowed(path));
        listed.chain(paths).map(|path| (path.clone(), fact(path))).collect()
    }
}

impl Host for SimHost {
    fn observe(&mut self, interest: &Interest) -> Observed {
        let mut machine = lock(&self.machine);
        machine.advance((self.clock)().at);
        let now = machine.moment();
        let under_way = operations::take_in(&self.store, &mut *machine, now);
        let on_disk = on_disk(&self.store, under_way);
        let xen = match machine.world().observe() {
            Ok(mut observation) => {
                machine.tell_consoles(&mut observation);
                Reading::Known(observation)
            }
            Err(failure) => unknown(&failure),
        };
        let mut paths = operations::recorded_paths(&on_disk.records);
        paths.extend(interest.paths.iter().cloned());
        let dom0 = Dom0Facts {
            bridges: machine.world().host.bridges.clone(),
            allow_paths: self.settings.allow_paths.clone(),
            files: self.files(&machine, &paths),
            files_complete: true,
            marks: machine.marks(&operations::marked_paths(&on_disk.records, &interest.paths)),
            memory_reserve_kib: self.settings.memory_reserve_kib,
            core_dump_quota_kib: self.settings.core_dump_quota_kib,
            toolstacks: Vec::new(),
        };
        let images = on_disk.images(|image| Reading::Known(machine.world().image_state(image)));
        on_disk.with(&self.store, (now.at, self.watched.look(now)), xen, dom0, images, interest)
    }

    fn start(&mut self, item: &Item) -> Result<(), StartError> {
        let started = {
            let mut machine = lock(&self.machine);
            machine.advance((self.clock)().at);
            let now = machine.moment();
            operations::start(&self.store, &mut *machine, item, now)?
        };
        if started == Started::Finished {
            (self.waker)();
        }
        Ok(())
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(SimMeter(Arc::downgrade(&self.machine)))
    }

    /// On a simulated host only its script acts, and says so itself.
    fn suspects(&self) -> Vec<String> {
        Vec::new()
    }

    fn marks(&self, paths: &BTreeSet<String>) -> Marks {
        lock(&self.machine).marks(paths)
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

/// The simulated guests' own counters. The machine ends with its host, whoever still asks.
struct SimMeter(Weak<Mutex<Machine>>);

impl Meter for SimMeter {
    fn read(&self, domains: &[Domain]) -> BTreeMap<u32, Usage> {
        let Some(machine) = self.0.upgrade() else { return BTreeMap::new() };
        let machine = lock(&machine);
        let of = |domain: &Domain| {
            let sim::Traffic { disks, nics } = machine.world().traffic(domain.domid)?;
            let disks = DiskUsage {
                read_bytes: disks.read_bytes,
                written_bytes: disks.written_bytes,
                reads: disks.reads,
                writes: disks.writes,
            };
            let nics = NicUsage { received_bytes: nics.received_bytes, sent_bytes: nics.sent_bytes };
            Some((domain.domid, Usage { disks: Some(disks), nics: Some(nics) }))
        };
        domains.iter().filter_map(of).collect()
    }
}

impl Workers for Machine {
    fn spawn(&mut self, store: &Store, order: &OrderFile, request: &Request) -> Result<(), Failure> {
        self.spawn_worker(order.id, store.outcome_path(order.id), request.clone());
        Ok(())
    }

    fn fate(&mut self, store: &Store, order: &OrderFile, _now: Moment) -> Fate {
        if self.is_working(order.id) {
            return Fate::Working;
        }
        let end: End = match (store.outcome(order.id), self.said(order.id)) {
            (Some(Reading::Known(outcome)), _) | (None, Some(outcome)) => outcome.into(),
            (Some(Reading::Unknown(cause)), _) => died(cause.message).into(),
            (None, None) => died("the worker ended without an outcome").into(),
        };
        Fate::Ended(end)
    }

    /// A simulated file is what its path and its size say.
    fn marks(&self, paths: &BTreeSet<String>) -> Marks {
        let mark = |path: &String| {
            let (kind, size) = match self.world().host.files.get(path) {
                Some(File::File { size }) => ("file", *size),
                Some(File::Block { size, .. }) => ("block device", *size),
                Some(File::Directory) | None => {
                    return Reading::unknown("DiskUnreadable", format!("`{path}` cannot be read: no such file"));
                }
            };
            Reading::Known(DiskMark { kind: kind.to_owned(), size, id: None, content: None })
        };
        paths.iter().map(|path| (path.clone(), mark(path))).collect()
    }

    fn forget(&mut self, id: uuid::Uuid) {
        self.forget_said(id);
    }
}

fn died(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::WorkerDied, "pinfold-xen do", message)
}

/// A machine is a plain value: a panic in a watcher leaves it readable.
fn lock(machine: &Shared) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}
