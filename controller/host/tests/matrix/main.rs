//! Every edge of the state machine × every class of fault: each pair is played on the simulator at each place where the fault can strike,
//! or stands in [`NOT_PLAYED`] with the reason. When the faults cease, each ends in a fixpoint, with no law broken on the way; and where
//! the fault takes nothing away, in the same end as without it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "tests"
)]

mod edges;
mod faults;
#[path = "../stage/mod.rs"]
mod stage;

use edges::{Drive, Edge, edges, manifests};
use faults::FAULTS;
use jiff::SignedDuration;
use planner::Disposition;
use schema::desired::Desired;
use stage::Stage;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs that the simulator does not play: edge (`*`: every), class of fault, and why, with the test that covers it elsewhere.
const NOT_PLAYED: &[(&str, &str, &str)] = &[
    (
        "*",
        "`serve` is killed",
        "the simulated host has no `pinfold-xen serve`: xen_host's a_serve_that_died_is_replaced_at_once and \
         deadlines::a_serve_that_stays_silent_is_replaced_and_said kill it, on_xen's kills does so on real Xen",
    ),
    ("host reboots", "a newer commit comes meanwhile", "the commit is the same before and after"),
    ("HVM: QEMU dies", "the daemon is killed", "it is only told of: nothing is written"),
];

/// Edges on which no worker runs, and why: none can be killed there, and no call of one can fail. `… → *` stands for every power that is wanted.
const NO_WORKER: &[(&str, &str)] = &[
    ("never made → stopped", "a VM that is stopped from its first day has no domain"),
    ("never made → suspended", "refused: there is no memory to be saved"),
    ("stopped → suspended", "refused: there is no memory to be saved"),
    ("stopped → no manifest", "there is no domain: its folder goes to the trash, which the daemon does"),
    (
        "suspended → stopped",
        "its memory is thrown away only when a person approves it: held; the planner's suspended tests approve it",
    ),
    (
        "suspended → no manifest",
        "there is no domain: its folder goes to the trash, its memory with it, which the daemon does",
    ),
    (
        "suspended, and its image is torn → *",
        "its memory is thrown away only when a person approves it: held; without a manifest it goes to the trash",
    ),
    ("switched off by its guest → suspended", "refused: there is no memory to be saved"),
    ("switched off by its guest → stopped", "it is off: that is recorded"),
    (
        "switched off by its guest → no manifest",
        "there is no domain: its folder goes to the trash, which the daemon does",
    ),
    ("ended: suspend, by another tool → *", "another tool may be writing its memory: told of, and left as it is"),
    ("running, paused by `xl pause` → paused", "it is as it is wanted: that is recorded"),
    ("paused, let run by `xl unpause` → running", "it is as it is wanted: that is recorded"),
    ("destroyed by `xl destroy` → suspended", "refused: there is no memory to be saved"),
    ("destroyed by `xl destroy` → stopped", "it is off: that is recorded"),
    (
        "destroyed by `xl destroy` → no manifest",
        "there is no domain: its folder goes to the trash, which the daemon does",
    ),
    ("HVM: QEMU dies", "it is only told of"),
];

/// How a play ended.
pub struct Played {
    summary: String,
    wrong: Option<String>,
    how: String,
    expects_same_end: bool,
    /// What was laid out for an operation was met.
    pub met: bool,
    pub steps: u64,
    pub points: u64,
    pub deaths: u32,
}

impl Played {
    fn how(self, how: impl Into<String>) -> Self {
        Self { how: how.into(), ..self }
    }

    /// The end must be that of an undisturbed play.
    fn same_end(self) -> Self {
        Self { expects_same_end: true, ..self }
    }

    fn that(mut self, what: &str, holds: bool) -> Self {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(format!("it was to be so that {what}"));
        }
        self
    }
}

pub fn desired(objects: &[String]) -> Desired {
    let text = manifests(objects);
    let reading = schema::read(&stage::tree(&BTreeMap::from([("all.yaml".to_owned(), text.clone().into_bytes())])));
    reading.desired.unwrap_or_else(|| panic!("{:#?}\n{text}", reading.findings))
}

/// Drives an edge: `prepare` is called when everything is settled and before the edge begins, `after_pass` before its first pass (0) and
/// after each one. Then whatever was ordered ceases, and the host comes to rest.
pub fn play(edge: &Edge, prepare: &mut dyn FnMut(&mut Stage), after_pass: &mut dyn FnMut(&mut Stage, u32)) -> Played {
    let mut host = sim::HostFile::plain(8, 4 << 20);
    host.bridges.insert("xenbr0".to_owned());
    for path in ["/srv/vmlinuz", "/srv/a.img", "/srv/b.img"] {
        host.files.insert(path.to_owned(), sim::File::File { size: 8_000_000 });
    }
    let mut stage = Stage::new(host);
    stage.commit(desired(&(edge.before)()));
    stage.settle(SignedDuration::from_mins(10));
    match &edge.drive {
        Drive::Second(first, _) => stage.commit(desired(&first())),
        Drive::Person(first, _) => first(&mut stage),
        Drive::Power(row, _) => row.reach(&mut stage),
        Drive::Commit(_) | Drive::Event(_) => {}
    }
    stage.settle(SignedDuration::from_mins(10));
    let (steps, points, deaths) = (stage.steps(), stage.machine.lock().unwrap().points(), stage.deaths);
    prepare(&mut stage);
    match &edge.drive {
        Drive::Commit(after) | Drive::Second(_, after) => stage.commit(desired(&after())),
        Drive::Event(event) => drop(stage.apply(&event())),
        Drive::Person(_, act) => act(&mut stage),
        Drive::Power(row, wanted) => {
            row.happens(&mut stage);
            stage.commit(desired(&edges::of_power(wanted)));
        }
    }
    for pass in 0..8 {
        after_pass(&mut stage, pass);
        stage.pass();
        stage.advance(SignedDuration::from_millis(700));
    }
    stage.settle(SignedDuration::from_mins(30));
    let (steps, deaths) = (stage.steps() - steps, stage.deaths - deaths);
    let points = stage.machine.lock().unwrap().points() - points;
    let met = !stage.machine.lock().unwrap().world().is_fault_to_come();
    let ceases = |stage: &mut Stage| {
        stage.disk.relieve();
        stage.machine.lock().unwrap().kill_worker_at(u32::MAX);
        stage.apply(&sim::Event::NextOperation(sim::Fault::default()));
    };
    ceases(&mut stage);
    stage.settle(SignedDuration::from_hours(3));
    let wrong = at_rest(&mut stage).err().map(|said| format!("{said}\n{}\n{}", stage.transcript, stage.summary()));
    let (points, how) = (u64::from(points), String::new());
    Played { summary: stage.summary(), wrong, how, expects_same_end: false, met, steps, points, deaths }
}

/// A fixpoint, and clean laws.
fn at_rest(stage: &mut Stage) -> Result<(), String> {
    let broken = stage.broken();
    if !broken.is_empty() {
        return Err(format!("laws were broken: {broken:#?}"));
    }
    let first = stage.observe_and_plan();
    if first.plan != stage.observe_and_plan().plan {
        return Err("the same input gave another plan".to_owned());
    }
    if !first.observed.operations.is_empty() {
        return Err("still busy at rest".to_owned());
    }
    let due = first.plan.items.iter().find(|item| item.disposition == Disposition::Now);
    due.map_or(Ok(()), |item| Err(format!("still due at rest: {}", planner::render::item(item))))
}

fn is_listed(edge: &str, fault: &str) -> bool {
    let needs_worker = ["the worker is killed", "a call fails"].contains(&fault);
    NOT_PLAYED.iter().any(|(of, by, _)| is_of(of, edge) && *by == fault) || (needs_worker && has_no_worker(edge))
}

fn has_no_worker(edge: &str) -> bool {
    NO_WORKER.iter().any(|(of, _)| is_of(of, edge))
}

/// Whether a pattern of these lists stands for an edge.
fn is_of(pattern: &str, edge: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == edge, |start| edge.starts_with(start))
}

fn play_class(name: &str) {
    let fault = FAULTS.iter().find(|fault| fault.name == name).expect("a class of fault");
    let (mut wrong, mut plays, mut hows) = (Vec::new(), 0, BTreeSet::new());
    for edge in edges().iter().filter(|edge| !is_listed(&edge.name, fault.name)) {
        let undisturbed = play(edge, &mut |_| {}, &mut |_, _| {});
        assert_eq!(undisturbed.wrong, None, "{}, undisturbed", edge.name);
        let played = (fault.plays)(edge);
        if played.is_empty() {
            wrong.push(format!("{} × {}: it never strikes; say so in NOT_PLAYED", edge.name, fault.name));
        }
        plays += played.len();
        for play in played {
            hows.insert(play.how.clone());
            let other_end = play.expects_same_end && play.summary != undisturbed.summary;
            let ends = || format!("another end:\n{}instead of\n{}", play.summary, undisturbed.summary);
            let said = play.wrong.clone().or_else(|| other_end.then(ends));
            wrong.extend(said.map(|said| format!("{} × {} ({}): {said}", edge.name, fault.name, play.how)));
        }
    }
    eprintln!("{name}: {plays} plays");
    assert!(wrong.is_empty(), "{} plays went wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(plays >= edges().len() / 2, "only {plays} plays");
    if fault.name == "a call fails" {
        let missing: Vec<_> = faults::CALLS.iter().filter(|call| !hows.contains(&format!("{call:?}"))).collect();
        assert!(missing.is_empty(), "no edge makes these calls: {missing:?}");
    }
}

macro_rules! classes {
    ($($test:ident = $name:literal,)*) => {
        $(#[test] fn $test() { play_class($name); })*

        /// No class without a test, no listed pair that does not exist.
        #[test]
        fn every_pair_is_played_or_listed() {
            let tested = [$($name),*];
            for fault in FAULTS {
                assert!(tested.contains(&fault.name), "{} has no test: add it to `classes!`", fault.name);
            }
            let edges = edges();
            let names: Vec<_> = edges.iter().map(|edge| edge.name.as_str()).collect();
            for (pattern, reason) in NO_WORKER {
                assert!(names.iter().any(|name| is_of(pattern, name)), "{pattern} is no edge");
                assert!(reason.len() > 15, "{pattern}: say why");
            }
            for edge in edges.iter().filter(|edge| has_no_worker(&edge.name)) {
                let points = play(edge, &mut |_| {}, &mut |_, _| {}).points;
                assert_eq!(points, 0, "a worker runs on {}: it can die", edge.name);
            }
            for (pattern, fault, reason) in NOT_PLAYED {
                assert!(names.iter().any(|name| is_of(pattern, name)), "{pattern} is no edge");
                assert!(*pattern == "*" || tested.contains(fault), "{fault} is no class of fault");
                assert!(reason.len() > 20, "{pattern} × {fault}: say why");
            }
        }
    };
}

classes! {
    the_daemon_is_killed = "the daemon is killed",
    the_worker_is_killed = "the worker is killed",
    events_are_lost = "events are lost",
    requests_are_ignored = "requests are ignored",
    a_call_fails = "a call fails",
    the_disk_is_full = "the disk is full",
    the_host_resets = "the host resets",
    a_newer_commit_comes_meanwhile = "a newer commit comes meanwhile",
    another_hand_meddles = "another hand meddles",
    a_person_freezes_it_meanwhile = "a person freezes it meanwhile",
    a_person_overrides_it_meanwhile = "a person overrides it meanwhile",
}
