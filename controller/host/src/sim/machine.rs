//! The simulated machine: the world, the workers on it, and the file that keeps both.
//!
//! A worker does its calls in the moment in which it has its locks, and ends when they would have taken their time: until then its object is
//! busy, whoever runs the daemon. It writes its outcome itself, as a process of its own.

use super::terminals::Terminals;
use crate::Moment;
use crate::store::Disk;
use jiff::{SignedDuration, Timestamp};
use protocol::{Failure, FailureKind, Lock, Observation, Outcome, Request, Took};
use serde::{Deserialize, Serialize};
use sim::{Calls, Event, HostFile, World};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// How long a worker waits for a lock of the whole host, as `pinfold-xen` does.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);

/// Looks at the world after every call of an operation: the world before it, the request, the world now.
pub type Watch = Box<dyn FnMut(&World, &Request, &World) + Send>;

/// Why a simulated machine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The file that keeps it.
    #[error("cannot read the simulated host from `{}`; remove the file to start afresh", path.display())]
    Kept {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its description.
    #[error("the simulated host cannot be made as it is described")]
    Description(#[source] Failure),
}

/// A world with workers on it.
pub struct Machine {
    state: State,
    /// Where workers write their outcomes.
    disk: Arc<dyn Disk>,
    keep: Option<PathBuf>,
    kept_at: Option<Timestamp>,
    /// What workers said to the daemon that started them; lost with it.
    said: BTreeMap<Uuid, Outcome>,
    watch: Option<Watch>,
    /// The guests' consoles, while the machine runs live.
    terminals: Terminals,
    /// Points that all operations have passed so far, and the one at which a worker dies.
    points: u32,
    kill_at: Option<u32>,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct State {
    /// The moment at which virtual time was zero.
    epoch: Timestamp,
    world: World,
    workers: Vec<Worker>,
}

#[derive(Serialize, Deserialize)]
struct Worker {
    id: Uuid,
    outcome_path: PathBuf,
    request: Request,
    since: Timestamp,
    doing: Doing,
}

#[derive(Serialize, Deserialize)]
enum Doing {
    /// It waits for a lock of the whole host.
    Waits,
    /// It is done at this time, and then writes this; nothing when it died.
    Works { ends: Timestamp, outcome: Option<Box<Outcome>> },
}

impl Machine {
    /// A machine that was just switched on.
    pub fn new(host: HostFile, now: Timestamp, disk: Arc<dyn Disk>) -> Result<Self, SimError> {
        let world = World::new(host).map_err(SimError::Description)?;
        let state = State { epoch: now, world, workers: Vec::new() };
        Ok(Self::in_state(state, disk))
    }

    /// A machine without workers' words, and nobody who looks.
    fn in_state(state: State, disk: Arc<dyn Disk>) -> Self {
        let (said, terminals) = (BTreeMap::new(), Terminals::default());
        Self { state, disk, keep: None, kept_at: None, said, watch: None, terminals, points: 0, kill_at: None }
    }

    /// The machine that is kept in a file, or a new one, which is kept there from now on.
    pub fn kept(path: &Path, host: HostFile, now: Timestamp, disk: Arc<dyn Disk>) -> Result<Self, SimError> {
        let mut machine = match disk.read(path) {
            Ok(text) => {
                let state = serde_json::from_slice(&text)
                    .map_err(|error| SimError::Kept { path: path.to_owned(), source: error.into() })?;
                Self::in_state(state, disk)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::new(host, now, disk)?,
            Err(source) => return Err(SimError::Kept { path: path.to_owned(), source }),
        };
        machine.keep = Some(path.to_owned());
        Ok(machine)
    }

    /// To be shared between daemons.
    pub fn shared(self) -> super::Shared {
        Arc::new(Mutex::new(self))
    }

    /// The world now.
    pub fn world(&self) -> &World {
        &self.state.world
    }

    /// The world, for other hands.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.state.world
    }

    /// Whether an operation runs.
    pub fn is_busy(&self) -> bool {
        !self.state.workers.is_empty()
    }

    /// Lets something happen that no operation does. A boot of the host takes all workers with it.
    pub fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        if matches!(event, Event::HostReboot | Event::PowerLoss) {
            self.state.workers.clear();
            self.said.clear();
        }
        self.state.world.apply(event)
    }

    /// Looks at the world after every call of every operation from now on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Points that all operations have passed so far ([`sim::Fault::die_after`] says what a point is).
    pub fn points(&self) -> u32 {
        self.points
    }

    /// The worker that passes this point, counted over all operations, dies there.
    pub fn kill_worker_at(&mut self, point: u32) {
        self.kill_at = Some(point);
    }

    /// When something happens by itself next: a guest's doing, a zombie's end, an operation's end.
    pub fn next(&self) -> Option<Timestamp> {
        let world = self.state.world.next_event_ms().and_then(|ms| self.at(ms));
        world.into_iter().chain(self.next_end()).min()
    }

    /// Lets time pass, and says whether there is a reason to look again.
    pub fn advance(&mut self, now: Timestamp) -> bool {
        let wakes = self.state.world.wakes();
        let mut ended = false;
        while let Some(end) = self.next_end().filter(|end| *end <= now) {
            self.flow(end);
            self.end_workers(end);
            self.begin_waiting(end);
            ended = true;
        }
        self.flow(now);
        let changed = ended || wakes != self.state.world.wakes();
        self.write_down(now, changed);
        changed
    }

    /// Carries what guests print to their terminals, and what is typed there to them. Says whether that is a reason to look again.
    pub(super) fn serve_consoles(&mut self) -> bool {
        let wakes = self.state.world.wakes();
        self.terminals.serve(&mut self.state.world);
        wakes != self.state.world.wakes()
    }

    /// Writes into an observation where the consoles are.
    pub(super) fn tell_consoles(&self, observation: &mut Observation) {
        self.terminals.tell(observation);
    }

    /// A daemon starts: nobody reads what workers said to the one before.
    pub(super) fn daemon_starts(&mut self) {
        self.said.clear();
    }

    pub(super) fn spawn_worker(&mut self, id: Uuid, outcome_path: PathBuf, request: Request) {
        let since = self.now();
        self.state.workers.push(Worker { id, outcome_path, request, since, doing: Doing::Waits });
        self.begin_waiting(since);
        self.write_down(since, true);
    }

    pub(super) fn is_working(&self, id: Uuid) -> bool {
        self.state.workers.iter().any(|worker| worker.id == id)
    }

    pub(super) fn said(&self, id: Uuid) -> Option<Outcome> {
        self.said.get(&id).cloned()
    }

    pub(super) fn forget_said(&mut self, id: Uuid) {
        self.said.remove(&id);
    }

    /// The moment as dom0's clocks tell it. The one that nobody sets is virtual time itself.
    pub fn moment(&self) -> Moment {
        let skew = SignedDuration::from_secs(self.state.world.clock_skew_s());
        let at = self.now().checked_add(skew).unwrap_or(Timestamp::MAX);
        Moment { at, up_ms: self.state.world.now_ms() }
    }

    /// When the wall clock, as it goes now, tells this moment, by the clock that nobody has set.
    pub fn unset(&self, at: Timestamp) -> Timestamp {
        at.checked_sub(SignedDuration::from_secs(self.state.world.clock_skew_s())).unwrap_or(at)
    }

    fn now(&self) -> Timestamp {
        self.at(self.state.world.now_ms()).unwrap_or(self.state.epoch)
    }

    fn at(&self, ms: u64) -> Option<Timestamp> {
        self.state.epoch.checked_add(SignedDuration::from_millis(i64::try_from(ms).ok()?)).ok()
    }

    fn flow(&mut self, to: Timestamp) {
        let ms = to.duration_since(self.state.epoch).as_millis();
        self.state.world.advance(u64::try_from(ms).unwrap_or(0));
    }

    /// The next end of a worker, or of its patience.
    fn next_end(&self) -> Option<Timestamp> {
        let end = |worker: &Worker| match &worker.doing {
            Doing::Waits => worker.since.checked_add(PATIENCE).ok(),
            Doing::Works { ends, .. } => Some(*ends),
        };
        self.state.workers.iter().filter_map(end).min()
    }

    fn end_workers(&mut self, now: Timestamp) {
        let ended = |worker: &mut Worker| match &worker.doing {
            Doing::Waits => worker.since.checked_add(PATIENCE).is_ok_and(|until| until <= now),
            Doing::Works { ends, .. } => *ends <= now,
        };
        for worker in self.state.workers.extract_if(.., ended).collect::<Vec<_>>() {
            let outcome = match worker.doing {
                Doing::Works { outcome, .. } => outcome.map(|outcome| *outcome),
                Doing::Waits => Some(busy(worker.id, worker.request)),
            };
            if let Some(outcome) = outcome {
                // On a full disk the daemon still hears it, if it lives.
                if let Err(error) = write(&*self.disk, &worker.outcome_path, &outcome) {
                    tracing::warn!("a simulated worker cannot write its outcome: {error}");
                }
                self.said.insert(worker.id, outcome);
            }
        }
    }

    /// Workers that have all their locks now do their work. A VM's lock is not waited for.
    fn begin_waiting(&mut self, now: Timestamp) {
        let waiting: Vec<Uuid> = self.state.workers.iter().filter(|worker| worker.waits()).map(|w| w.id).collect();
        for id in waiting {
            let held: Vec<Lock> =
                self.state.workers.iter().filter(|worker| !worker.waits()).flat_map(|w| w.request.locks()).collect();
            let Some(worker) = self.state.workers.iter().find(|worker| worker.id == id) else { continue };
            let needed = worker.request.locks();
            let doing = if needed.iter().any(|lock| matches!(lock, Lock::Vm(_)) && held.contains(lock)) {
                Doing::Works { ends: now, outcome: Some(Box::new(busy(id, worker.request.clone()))) }
            } else if needed.iter().any(|lock| held.contains(lock)) {
                continue;
            } else {
                let request = worker.request.clone();
                self.work(id, &request, now)
            };
            if let Some(worker) = self.state.workers.iter_mut().find(|worker| worker.id == id) {
                worker.doing = doing;
            }
        }
    }

    fn work(&mut self, id: Uuid, request: &Request, now: Timestamp) -> Doing {
        let before = self.watch.as_ref().map(|_| self.state.world.clone());
        let mut calls = Calls::new(&mut self.state.world);
        if let (Some(watch), Some(before)) = (&mut self.watch, &before) {
            calls = calls.after_call(move |world| watch(before, request, world));
        }
        if let Some(kill_at) = self.kill_at.filter(|kill_at| *kill_at >= self.points) {
            calls = calls.die_after(kill_at - self.points);
        }
        let result = operation::run(&mut calls, request);
        self.points += calls.points();
        if calls.died() {
            self.kill_at = None;
        }
        let ms = calls.elapsed_ms();
        // Nothing but the calls takes time here.
        let took = Some(Took { total_ms: ms, libxl_ms: ms });
        let log = calls.log().to_vec();
        let outcome =
            (!calls.died()).then(|| Box::new(Outcome { operation: id, request: request.clone(), result, log, took }));
        let span = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
        Doing::Works { ends: now.checked_add(span).unwrap_or(now), outcome }
    }

    /// Keeps the machine: at once when something came of it, else now and then.
    fn write_down(&mut self, now: Timestamp, changed: bool) {
        const NOW_AND_THEN: SignedDuration = SignedDuration::from_secs(10);
        let Some(path) = &self.keep else { return };
        if !changed && self.kept_at.is_some_and(|at| now.duration_since(at) < NOW_AND_THEN) {
            return;
        }
        if let Err(error) = write(&*self.disk, path, &self.state) {
            tracing::warn!("the simulated host cannot be kept in `{}`: {error}", path.display());
        }
        self.kept_at = Some(now);
    }
}

impl Worker {
    fn waits(&self) -> bool {
        matches!(self.doing, Doing::Waits)
    }
}

fn busy(operation: Uuid, request: Request) -> Outcome {
    let failure = Failure::new(FailureKind::Busy, "flock", "a lock is held by another operation; it is tried again");
    Outcome { operation, request, result: Err(failure), log: Vec::new(), took: None }
}

/// As a worker writes: a new file, synchronised, then renamed.
fn write(disk: &dyn Disk, path: &Path, content: &impl Serialize) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new"));
    disk.write(&fresh, &serde_json::to_vec(content)?)?;
    disk.rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}
