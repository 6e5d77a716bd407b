//! One `pinfold-xen do` per operation: given its order, watched until it ends or its deadline passes, and found again by the next daemon.
//!
//! The worker's standard error is a file that the daemon locked before the worker was born. A lock of that kind belongs to the open file
//! description, which both share: it is held exactly as long as the worker (or a child that it left) lives, with no gap at its birth.

use crate::operations::{End, Fate, Marks, Workers};
use crate::store::{OrderFile, Store};
use crate::xen::adopted;
use crate::xen::deadlines::Deadlines;
use crate::xen::launch::Launch;
use crate::xen::lines::lines;
use crate::{Moment, Waker};
use protocol::{Failure, FailureKind, Hello, Order, Outcome, PROTOCOL, Reading, Request};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes of one line of a worker.
const LINE: u64 = 16 << 20;
/// Bytes at the end of a dead worker's standard error that are shown.
const TAIL: u64 = 2048;

/// Workers that this daemon started.
pub(crate) struct Children {
    worker: PathBuf,
    launch: Launch,
    waker: Waker,
    deadlines: Deadlines,
    /// Workers of another daemon that were told to end, and how.
    overdue: BTreeMap<Uuid, Signal>,
    /// Started here and not yet taken in.
    mine: BTreeSet<Uuid>,
    ended: Arc<Mutex<BTreeMap<Uuid, End>>>,
}

impl Children {
    pub(crate) fn new(worker: PathBuf, waker: Waker, deadlines: Deadlines) -> Self {
        Self {
            worker,
            launch: Launch::detect(),
            waker,
            deadlines,
            overdue: BTreeMap::new(),
            mine: BTreeSet::new(),
            ended: Arc::default(),
        }
    }

    /// Nobody watches a worker of another daemon: each look at it does what watching it would do.
    fn press(&mut self, order: &OrderFile, talk: &Path, now: Moment) {
        let Some(allowed) = order.request().map(self.deadlines.operation) else { return };
        // An order of an earlier pinfold has nothing but the wall clock.
        let worked = match order.up_ms {
            Some(since) => Duration::from_millis(now.up_ms.saturating_sub(since)),
            None => Duration::try_from(now.at.duration_since(order.since)).unwrap_or_default(),
        };
        let signal = match worked {
            _ if worked < allowed => return,
            _ if worked < allowed + self.deadlines.grace => Signal::TERM,
            _ => Signal::KILL,
        };
        if self.overdue.insert(order.id, signal) == Some(signal) {
            return;
        }
        if let Err(error) = adopted::signal(talk, signal) {
            tracing::warn!(operation = %order.id, "a worker is past its deadline and cannot be ended: {error}");
        }
    }
}

impl Workers for Children {
    fn spawn(&mut self, store: &Store, order: &OrderFile, request: &Request) -> Result<(), Failure> {
        let talk = store.talk_path(order.id);
        let stderr = locked(&talk).map_err(|message| died(format!("cannot lock `{}`: {message}", talk.display())))?;
        let mut command = self.launch.command(&self.worker, order.id);
        let child = start(&mut command, stderr, &line_of(store, order, request)?)?;
        self.mine.insert(order.id);
        let watched = Watched {
            id: order.id,
            deadline: (self.deadlines.operation)(request),
            grace: self.deadlines.grace,
            talk,
            outcome: store.outcome_path(order.id),
        };
        let (ended, waker) = (Arc::clone(&self.ended), Arc::clone(&self.waker));
        thread::spawn(move || {
            let end = watch(child, &watched);
            ended.lock().unwrap_or_else(PoisonError::into_inner).insert(watched.id, end);
            waker();
        });
        Ok(())
    }

    fn fate(&mut self, store: &Store, order: &OrderFile, now: Moment) -> Fate {
        if self.mine.contains(&order.id) {
            // Kept until the order is gone: when it cannot be written down now, the same end is told again.
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).get(&order.id).cloned();
            return ended.map_or(Fate::Working, Fate::Ended);
        }
        // Another daemon's. The lock comes first: a worker writes its outcome before it lets go.
        let talk = store.talk_path(order.id);
        match is_locked(&talk) {
            Ok(true) => {
                self.press(order, &talk, now);
                Fate::Working
            }
            Ok(false) => Fate::Ended(match store.outcome(order.id) {
                Some(Reading::Known(outcome)) => outcome.into(),
                Some(Reading::Unknown(cause)) => died(cause.message).into(),
                None if self.overdue.contains_key(&order.id) => {
                    late(order.request().map(self.deadlines.operation).unwrap_or_default(), &talk).into()
                }
                None => died(format!("the daemon ended, and the worker left no outcome{}", last_words(&talk))).into(),
            }),
            Err(error) => {
                tracing::warn!("cannot tell whether a worker lives (`{}`): {error}", talk.display());
                Fate::Working
            }
        }
    }

    fn marks(&self, paths: &BTreeSet<String>) -> Marks {
        let mark = |path: &String| (path.clone(), crate::dom0::mark(Path::new("/"), Path::new(path)));
        paths.iter().map(mark).collect()
    }

    fn forget(&mut self, id: Uuid) {
        self.mine.remove(&id);
        self.overdue.remove(&id);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

struct Watched {
    id: Uuid,
    deadline: Duration,
    grace: Duration,
    talk: PathBuf,
    outcome: PathBuf,
}

fn line_of(store: &Store, order: &OrderFile, request: &Request) -> Result<String, Failure> {
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|_| died("the state directory's path is not UTF-8".to_owned()))
    };
    let order = Order {
        protocol: PROTOCOL,
        operation: order.id,
        locks: text(store.locks_path())?,
        outcome: text(store.outcome_path(order.id))?,
        storage: text(store.place().storage.clone())?,
        request: request.clone(),
    };
    serde_json::to_string(&order).map_err(|error| died(error.to_string()))
}

fn start(command: &mut Command, stderr: File, order: &str) -> Result<Child, Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command.spawn().map_err(|error| {
        died(format!(
            "cannot start `{}`: {error}; install the package of pinfold-xen for the running Xen",
            command.get_program().to_string_lossy()
        ))
    })?;
    // A worker that is gone already is noticed by whoever watches it.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = writeln!(stdin, "{order}");
    }
    Ok(child)
}

fn watch(mut child: Child, watched: &Watched) -> End {
    let outcomes = listen(&mut child);
    let until = Instant::now() + watched.deadline;
    let (said, overdue) = match wait(&outcomes, until) {
        Waited::Closed(said) => (said, false),
        Waited::Late(said) => {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            let (later, gone) = match wait(&outcomes, Instant::now() + watched.grace) {
                Waited::Closed(said) => (said, true),
                Waited::Late(said) => (said, false),
            };
            if !gone {
                let _ = child.kill();
            }
            (said.or(later), true)
        }
    };
    let status = reap(&mut child, watched);
    // What it wrote down counts more than what it said, and both more than how it ended.
    if let Some(outcome) = written(&watched.outcome, watched.id).or(said.filter(|said| said.operation == watched.id)) {
        return outcome.into();
    }
    if overdue {
        return late(watched.deadline, &watched.talk).into();
    }
    died(format!("the worker ended without an outcome ({status}){}", last_words(&watched.talk))).into()
}

/// The worker's exit. One that closed its output and goes on is over its time, too.
fn reap(child: &mut Child, watched: &Watched) -> String {
    let until = Instant::now() + watched.grace;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
            Ok(None) if Instant::now() >= until => {
                tracing::warn!(operation = %watched.id, "a worker closed its output and did not end: it is killed");
                let _ = child.kill();
                return child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            }
            Ok(None) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

enum Waited {
    /// Its output is closed.
    Closed(Option<Outcome>),
    /// It goes on.
    Late(Option<Outcome>),
}

fn wait(outcomes: &Receiver<Outcome>, until: Instant) -> Waited {
    let mut said = None;
    loop {
        match outcomes.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(outcome) => said = Some(outcome),
            Err(RecvTimeoutError::Disconnected) => return Waited::Closed(said),
            Err(RecvTimeoutError::Timeout) => return Waited::Late(said),
        }
    }
}

/// Reads the worker's output until it closes, in a thread of its own: a full pipe must never stop a worker.
fn listen(child: &mut Child) -> Receiver<Outcome> {
    let (sender, receiver) = channel();
    let Some(stdout) = child.stdout.take() else { return receiver };
    thread::spawn(move || {
        for line in lines(stdout, LINE) {
            if let Ok(outcome) = serde_json::from_str::<Outcome>(&line) {
                let _ = sender.send(outcome);
            } else if serde_json::from_str::<Hello>(&line).is_err() {
                tracing::warn!("a worker said `{}`, which is no message", line.trim_end());
            }
        }
    });
    receiver
}

fn written(path: &Path, id: Uuid) -> Option<Outcome> {
    let outcome: Outcome = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (outcome.operation == id).then_some(outcome)
}

fn locked(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn is_locked(path: &Path) -> std::io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// The end of a worker's standard error, as the tail of a sentence.
fn last_words(talk: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(talk)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).trim().replace('\n', " | "))
    };
    match read() {
        Ok(words) if !words.is_empty() => format!("; its last words: {words}"),
        _ => String::new(),
    }
}

fn late(deadline: Duration, talk: &Path) -> Failure {
    let message = format!(
        "not done within {} s, and ended by force; what it left is found by the next observation{}",
        deadline.as_secs(),
        last_words(talk)
    );
    Failure::new(FailureKind::Deadline, "pinfold-xen do", message)
}

fn died(message: String) -> Failure {
    Failure::new(FailureKind::WorkerDied, "pinfold-xen do", message)
}
