//! A daemon on a simulated machine, driven step by step: commits, time, other hands, deaths. What it does is written down, and the laws
//! are checked after every simulated hypercall.

mod accept;
mod laws;
#[path = "../../../../tests/scenarios/summary.rs"]
mod summary;
pub mod verbs;

use host::store::{Disk, DiskFault, Event as Journaled, MemoryDisk};
use host::{Host, Interest, Machine, Moment, PassReport, Place, Shared, SimHost, SimSettings, Store};
use jiff::{SignedDuration, Timestamp};
use planner::observed::AcceptedCommit;
use protocol::Reading;
use schema::desired::Desired;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Passes that one settling may take.
const PASSES: u32 = 2000;

/// Everything that outlives a daemon, and the daemon.
pub struct Stage {
    pub disk: MemoryDisk,
    pub machine: Shared,
    pub desired: Option<Desired>,
    pub transcript: String,
    /// Times that a daemon died of a fault.
    pub deaths: u32,
    watched: laws::Watched,
    clock: Arc<Mutex<Timestamp>>,
    commits: u32,
    first_step: u64,
    daemon: Option<SimHost>,
    last_plan: String,
    last_refused: Vec<String>,
    journaled: usize,
    journal_size: u64,
}

impl Stage {
    pub fn new(host: sim::HostFile) -> Self {
        let disk = MemoryDisk::default();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut machine = Machine::new(host, start, Arc::new(disk.other_process())).unwrap();
        let watched = laws::watch(&mut machine);
        let mut stage = Self {
            disk,
            machine: machine.shared(),
            desired: None,
            transcript: String::new(),
            deaths: 0,
            watched,
            clock: Arc::new(Mutex::new(start)),
            commits: 0,
            first_step: 0,
            daemon: None,
            last_plan: String::new(),
            last_refused: Vec::new(),
            journaled: 0,
            journal_size: 0,
        };
        stage.start_daemon();
        stage.first_step = stage.disk.steps();
        stage
    }

    /// Accepts a configuration, as the source does: grants first.
    pub fn commit(&mut self, desired: Desired) {
        self.commits += 1;
        let id = format!("{:040}", self.commits);
        loop {
            let (old, now) = (self.desired.clone(), self.wall());
            let store = Arc::clone(self.daemon().store());
            let accepted = accept::accept(&store, old.as_ref(), &desired, &id, now);
            drop(store);
            if !self.bury_if_dead() {
                accepted.unwrap();
                break;
            }
        }
        self.desired = Some(desired);
    }

    /// The accepted commit can no longer be read, as after an upgrade to a stricter binary.
    pub fn lose_manifests(&mut self) {
        self.desired = None;
    }

    /// One pass; its plan is written down when it is another than before.
    pub fn pass(&mut self) -> PassReport {
        loop {
            let interest = self.interest();
            let desired = self.desired.clone();
            let report = host::pass(self.daemon(), desired.as_ref(), &interest);
            self.end_what_is_over(&report);
            if self.bury_if_dead() {
                continue;
            }
            self.hold_to_laws(&report);
            self.write_down(&report);
            return report;
        }
    }

    /// Plans without starting anything.
    pub fn observe_and_plan(&mut self) -> PassReport {
        loop {
            let interest = self.interest();
            let desired = self.desired.clone();
            let observed = self.daemon().observe(&interest);
            if self.bury_if_dead() {
                continue;
            }
            let plan = planner::plan(desired.as_ref(), &observed);
            return PassReport { observed, plan, started: Vec::new(), start_errors: Vec::new() };
        }
    }

    /// Passes, and lets time go on, until nothing happens any more or the time is over. Answers the number of passes.
    pub fn settle(&mut self, at_most: SignedDuration) -> u32 {
        let until = self.now().checked_add(at_most).unwrap();
        for passes in 1..=PASSES {
            let report = self.pass();
            let refused = !report.start_errors.is_empty();
            // What was done at once shows in the next pass.
            let busy = self.machine.lock().unwrap().is_busy();
            if !report.started.is_empty() && !busy {
                continue;
            }
            let again = refused.then(|| self.now().checked_add(SignedDuration::from_secs(1)).unwrap());
            let next = self.machine.lock().unwrap().next();
            // Plans speak of the wall clock, which may have been set.
            let due = report.plan.due.map(|due| self.machine.lock().unwrap().unset(due));
            let Some(next) = next.into_iter().chain(due).chain(again).min().filter(|next| *next <= until) else {
                self.set_clock(until);
                return passes;
            };
            // Something that is due now and does not happen must not stop the clock.
            self.set_clock(next.max(self.now().checked_add(SignedDuration::from_millis(1)).unwrap()));
        }
        panic!("not settled after {PASSES} passes:\n{}", self.transcript);
    }

    pub fn advance(&mut self, by: SignedDuration) {
        let to = self.now().checked_add(by).unwrap();
        self.set_clock(to);
    }

    /// Something that no operation of ours does. Whether Xen let it happen.
    pub fn apply(&mut self, event: &sim::Event) -> bool {
        let applied = self.machine.lock().unwrap().apply(event);
        match event {
            sim::Event::PowerLoss => {
                self.daemon = None;
                self.disk.cut_power();
                self.start_daemon();
            }
            sim::Event::HostReboot => {
                self.kill_daemon();
                self.start_daemon();
            }
            _ => {}
        }
        if let Err(failure) = &applied {
            self.note(&format!("refused: {failure}"));
        }
        applied.is_ok()
    }

    pub fn kill_daemon(&mut self) {
        self.daemon = None;
        self.disk.revive();
    }

    pub fn start_daemon(&mut self) {
        let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
        let store = Arc::new(Store::open(place, Arc::new(self.disk.clone())));
        if let Err(error) = store.lock() {
            // Killed again while it started.
            assert!(self.disk.is_dead(), "{}", error.chain());
            self.deaths += 1;
            self.disk.revive();
            return self.start_daemon();
        }
        let settings = SimSettings {
            allow_paths: vec!["/srv".to_owned()],
            memory_reserve_kib: 128 * 1024,
            core_dump_quota_kib: 1024 * 1024,
        };
        let clock = Arc::clone(&self.clock);
        let clock = Arc::new(move || Moment { at: *clock.lock().unwrap(), up_ms: 0 });
        self.daemon = Some(SimHost::new(settings, store, Arc::clone(&self.machine), clock, Arc::new(|| {})));
    }

    /// The daemon dies at this step on disk, counted from here.
    pub fn kill_at_step(&mut self, step: u64) {
        self.disk.inject(DiskFault::KillAfter(step));
    }

    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.transcript, "--- {text}");
    }

    /// Steps on disk since the first daemon was up.
    pub fn steps(&self) -> u64 {
        self.disk.steps() - self.first_step
    }

    /// What was broken so far.
    pub fn broken(&self) -> Vec<String> {
        self.watched.lock().unwrap().broken.clone()
    }

    /// Names of domains that were destroyed while they ran, one entry for each time.
    pub fn destroyed(&self) -> BTreeMap<String, u32> {
        self.watched.lock().unwrap().destroyed.clone()
    }

    /// What the host looks like at the end, in words that do not depend on how often anything was tried.
    pub fn summary(&self) -> String {
        let xen = match self.machine.lock().unwrap().world().observe() {
            Ok(observation) => Reading::Known(observation),
            Err(failure) => Reading::unknown("Failed", failure.to_string()),
        };
        let names = |dir: &str| self.disk.list(Path::new(dir)).unwrap_or_default();
        summary::summary(&xen, &names("/storage/by-name"), &names("/storage/trash"))
    }

    pub fn now(&self) -> Timestamp {
        *self.clock.lock().unwrap()
    }

    /// The time as dom0's clock tells it.
    pub fn wall(&self) -> Timestamp {
        self.machine.lock().unwrap().moment().at
    }

    pub fn interest(&self) -> Interest {
        let accepted = (self.commits > 0).then(|| AcceptedCommit {
            id: format!("{:040}", self.commits),
            subject: format!("commit {}", self.commits),
            author: accept::AUTHOR.to_owned(),
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
        });
        Interest::of(self.desired.as_ref(), accepted)
    }

    pub fn daemon(&mut self) -> &mut SimHost {
        self.daemon.as_mut().expect("a daemon runs")
    }

    pub fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    fn set_clock(&mut self, to: Timestamp) {
        *self.clock.lock().unwrap() = to;
        self.machine.lock().unwrap().advance(to);
    }

    fn bury_if_dead(&mut self) -> bool {
        if !self.disk.is_dead() {
            return false;
        }
        self.deaths += 1;
        self.kill_daemon();
        self.start_daemon();
        true
    }

    /// What every single plan must keep to.
    fn hold_to_laws(&mut self, report: &PassReport) {
        if let Err(broken) = planner::laws::all(self.desired.as_ref(), &report.observed, &report.plan) {
            self.watched.lock().unwrap().broken.push(broken.to_string());
        }
    }

    fn write_down(&mut self, report: &PassReport) {
        let since = report.observed.now.duration_since("2026-01-01T00:00:00Z".parse().unwrap()).as_secs_f64();
        self.write_down_ends(since);
        let plan = planner::render::plan(&report.plan);
        if plan != self.last_plan {
            let _ = writeln!(self.transcript, "[{since:.0}s] plan");
            // What a new object is made of is in the manifest beside the transcript.
            for line in plan.lines().filter(|line| !line.starts_with("    + ")) {
                let _ = writeln!(self.transcript, "    {line}");
            }
            self.last_plan = plan;
        }
        let refused = report.start_errors.iter().map(|(object, error)| format!("{object} not started: {error}"));
        let refused: Vec<String> = refused.collect();
        if refused != self.last_refused {
            for line in &refused {
                let _ = writeln!(self.transcript, "[{since:.0}s] {line}");
            }
            self.last_refused = refused;
        }
    }

    /// Operations that ended, as the journal has them.
    fn write_down_ends(&mut self, since: f64) {
        let size = self.disk.stamp(Path::new("/state/journal/current.ndjson")).map_or(0, |stamp| stamp.size);
        if size == self.journal_size {
            return;
        }
        self.journal_size = size;
        let entries = self.daemon().store().journal_tail(usize::MAX).unwrap_or_default();
        for entry in entries.iter().skip(self.journaled) {
            if let (Journaled::Ended { action, failure, .. }, Some(object)) = (&entry.event, &entry.object) {
                let verb = planner::render::doing(*action);
                let how = failure.as_ref().map_or_else(|| "done".to_owned(), |failure| format!("failed: {failure}"));
                let _ = writeln!(self.transcript, "[{since:.0}s] {object} {verb}: {how}");
            }
        }
        self.journaled = entries.len();
    }
}

/// Reads a folder of manifests.
pub fn tree(files: &BTreeMap<String, Vec<u8>>) -> schema::Tree {
    let file = |(path, text): (&String, &Vec<u8>)| schema::SourceFile {
        path: path.clone(),
        content: schema::Content::Text(text.clone()),
    };
    schema::Tree { files: files.iter().map(file).collect(), ignore: None }
}
