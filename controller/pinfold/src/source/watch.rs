//! The thread that notices when the branch may have moved, and fetches.
//!
//! Everything that asks for a fetch only marks that one is due: a change in a local repository, a hint (`pinfold sync`, a webhook), time.
//! What a fetch brought is told to the daemon as a [`SourceEvent`]; nothing here judges or plans, and nothing waits for this thread.

use crate::source::child::Fetcher;
use crate::source::git::CommitId;
use crate::source::layout::{self, Layout};
use crate::source::local_watch::LocalWatch;
use crate::source::message::{FetchError, FetchErrorKind, Fetched, Recloned};
use crate::source::schedule::{Ended, Schedule};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Marks that wait while a fetch is under way; more say nothing new.
const MAX_MARKS: usize = 16;

/// What the watcher tells the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// A fetch worked; `head` may be the one that is known.
    Fetched {
        /// The head of the branch.
        head: CommitId,
        /// The mirror was made afresh.
        recloned: Option<Recloned>,
    },
    /// A fetch failed.
    Failed(Failing),
}

/// Fetches that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failing {
    /// What sort of failure the last one was.
    pub kind: FetchErrorKind,
    /// What failed, why, and what to do.
    pub message: String,
    /// When the first one in a row failed.
    pub since: Timestamp,
    /// When the last one failed.
    pub last: Timestamp,
    /// How many in a row.
    pub attempts: u32,
}

/// How fetching goes, for status. Kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetches {
    /// The head of the branch when it was last fetched.
    pub head: Option<CommitId>,
    /// When a fetch last worked.
    pub last_success: Option<Timestamp>,
    /// The failures since then.
    pub failing: Option<Failing>,
}

/// The thread. Dropping it stops it, and a fetch under way.
#[derive(Debug)]
pub struct Watcher {
    marks: SyncSender<Mark>,
    fetches: Arc<Mutex<Fetches>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Why a fetch may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Changed,
    Hinted,
    /// Look at `stop`.
    Stop,
}

impl Watcher {
    /// Starts the thread; it fetches at once. `tell` is called on it and must not wait.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        state: &Path,
        fetcher: Fetcher,
        tell: impl FnMut(SourceEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (marks, received) = sync_channel(MAX_MARKS);
        let layout = Layout::new(state);
        let known = Arc::new(Mutex::new(read(&layout)));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            schedule: Schedule::new(fetcher.settings().poll),
            fetcher,
            layout,
            marks: marks.clone(),
            fetches: Arc::clone(&known),
            stop: Arc::clone(&stop),
            watch: None,
            started: Instant::now(),
            tell,
        };
        let thread = std::thread::Builder::new().name("source".to_owned()).spawn(move || worker.run(&received))?;
        Ok(Self { marks, fetches: known, stop, thread: Some(thread) })
    }

    /// Says that the branch may have moved. Hints that come faster than one in five seconds are put together.
    pub fn hint(&self) {
        // A full queue has a mark that is not yet seen.
        self.marks.try_send(Mark::Hinted).ok();
    }

    /// How fetching goes.
    pub fn fetches(&self) -> Fetches {
        held(&self.fetches).clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.marks.try_send(Mark::Stop).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// How fetching went when the daemon was last running; for those who do not run it.
pub fn last_fetches(state: &Path) -> Fetches {
    read(&Layout::new(state))
}

fn read(layout: &Layout) -> Fetches {
    // Only for status: a torn file is the same as none.
    layout::read_json(&layout.fetches()).ok().flatten().unwrap_or_default()
}

fn held(fetches: &Mutex<Fetches>) -> MutexGuard<'_, Fetches> {
    fetches.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<T> {
    schedule: Schedule,
    fetcher: Fetcher,
    layout: Layout,
    marks: SyncSender<Mark>,
    fetches: Arc<Mutex<Fetches>>,
    stop: Arc<AtomicBool>,
    watch: Option<LocalWatch>,
    started: Instant,
    tell: T,
}

impl<T: FnMut(SourceEvent)> Worker<T> {
    fn run(mut self, marks: &Receiver<Mark>) {
        loop {
            let wait = self.schedule.due().saturating_sub(self.now());
            let mark = if wait.is_zero() { Err(RecvTimeoutError::Timeout) } else { marks.recv_timeout(wait) };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let now = self.now();
            match mark {
                Ok(Mark::Changed) => self.schedule.changed(now),
                Ok(Mark::Hinted) => self.schedule.hinted(now),
                Ok(Mark::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.fetch(),
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn fetch(&mut self) {
        self.schedule.started();
        let outcome = self.fetcher.fetch(&self.stop, &mut |_| {});
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let ended = match &outcome {
            Ok(_) => Ended::Well,
            Err(error) => how(error.kind),
        };
        self.schedule.ended(self.now(), ended, jitter());
        match outcome {
            Ok(fetched) => self.succeeded(fetched),
            Err(error) => self.failed(error),
        }
    }

    fn succeeded(&mut self, fetched: Fetched) {
        let Fetched { head, watch, recloned } = fetched;
        self.keep(Fetches { head: Some(head.clone()), last_success: Some(Timestamp::now()), failing: None });
        (self.tell)(SourceEvent::Fetched { head, recloned });
        if !watch.is_empty() && !self.watch.as_ref().is_some_and(|live| live.is_of(&watch)) {
            self.watch = LocalWatch::start(&watch, self.marks.clone())
                .inspect_err(|error| tracing::warn!(%error, "cannot watch the repository; it is polled instead"))
                .ok();
            // What happened between the fetch and now was seen by neither.
            if self.watch.is_some() {
                self.schedule.changed(self.now());
            }
        }
    }

    fn failed(&mut self, error: FetchError) {
        self.watch = None;
        let (now, before) = (Timestamp::now(), held(&self.fetches).clone());
        let (since, attempts) = before.failing.as_ref().map_or((now, 0), |failing| (failing.since, failing.attempts));
        let failing = Failing {
            kind: error.kind,
            message: error.message,
            since,
            last: now,
            attempts: attempts.saturating_add(1),
        };
        self.keep(Fetches { failing: Some(failing.clone()), ..before });
        (self.tell)(SourceEvent::Failed(failing));
    }

    fn keep(&self, fetches: Fetches) {
        if let Err(error) = layout::replace_json(&self.layout.fetches(), &fetches) {
            tracing::warn!(%error, "how fetching goes will not be known after a restart");
        }
        *held(&self.fetches) = fetches;
    }
}

fn how(kind: FetchErrorKind) -> Ended {
    match kind {
        FetchErrorKind::Auth | FetchErrorKind::HostKey | FetchErrorKind::Certificate => Ended::ForGood,
        FetchErrorKind::Unreachable
        | FetchErrorKind::NoBranch
        | FetchErrorKind::NoRepository
        | FetchErrorKind::Corrupt
        | FetchErrorKind::Storage
        | FetchErrorKind::Other => Ended::Badly,
    }
}

/// From -1 to 1, another one each time.
fn jitter() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    let share = u32::try_from(high >> 32).unwrap_or(u32::MAX);
    f64::from(share) / f64::from(u32::MAX) * 2.0 - 1.0
}
