//! The laws of design §5 on generated hosts, configurations, and days: whatever happens, and wherever daemon and worker are killed, no law
//! is broken after any hypercall, and the host comes to rest as the commit says.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod day;
#[path = "../stage/mod.rs"]
mod stage;
mod world;

use day::{Happening, happening};
use host::store::Disk;
use jiff::SignedDuration;
use planner::Disposition;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use stage::Stage;
use std::path::Path;
use world::{Layout, layout, manifests};

/// Passes that one rest may take on such small hosts.
const PASSES: u32 = 600;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    ProptestConfig {
        cases,
        max_shrink_iters: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/laws/regressions.txt"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// What is declared comes to be, whoever dies on the way, and then nothing is left to do.
    #[test]
    fn a_commit_converges(layout in layout(), step in 1_u64..120, point in 1_u32..150) {
        let mut stage = Stage::new(layout.host());
        stage.kill_at_step(step);
        stage.machine.lock().unwrap().kill_worker_at(point);
        stage.commit(manifests(&layout));
        rest(&mut stage)?;
        let report = stage.observe_and_plan();
        let left: Vec<_> = report.plan.items.iter().map(planner::render::item).collect();
        prop_assert!(left.is_empty(), "left to do: {left:#?}\n{}", stage.transcript);
        as_declared(&stage, &layout)?;
    }

    /// A day of other hands, guests, faults and deaths ends in rest, and in what the last commit says.
    #[test]
    fn a_day_ends_in_rest(layout in layout(), day in prop::collection::vec(happening(), 1..10)) {
        let mut stage = Stage::new(layout.host());
        stage.commit(manifests(&layout));
        rest(&mut stage)?;
        for happening in &day {
            let feasible = happen(&mut stage, happening);
            stage.settle(SignedDuration::from_secs(i64::from(happening.then_s)));
            prop_assert_eq!(stage.broken(), Vec::<String>::new(), "{}", stage.transcript);
            prop_assert!(feasible || !stage.transcript.is_empty());
        }
        rest(&mut stage)?;
    }

    /// From one configuration to another: cores, partitions, memberships, sizes.
    #[test]
    fn a_change_comes_to_rest(before in layout(), after in layout(), step in 1_u64..200, point in 1_u32..200) {
        let after = Layout { cores: before.cores, threads: before.threads, ..after }.fitted();
        let mut stage = Stage::new(before.host());
        stage.commit(manifests(&before));
        rest(&mut stage)?;
        stage.kill_at_step(step);
        let passed = stage.machine.lock().unwrap().points();
        stage.machine.lock().unwrap().kill_worker_at(passed + point);
        stage.commit(manifests(&after));
        rest(&mut stage)?;
    }

    /// Where nobody but pinfold touches the host, nothing is taken for somebody else's doing.
    #[test]
    fn what_a_commit_does_is_no_drift(before in layout(), after in layout()) {
        let after = Layout { cores: before.cores, threads: before.threads, ..after }.fitted();
        let mut stage = Stage::new(before.host());
        for layout in [&before, &after, &before] {
            stage.commit(manifests(layout));
            rest(&mut stage)?;
        }
        prop_assert!(!stage.transcript.contains(" drift "), "{}", stage.transcript);
    }

    /// A record that cannot be read stops everything about its VM, and nothing else; and it is never overwritten.
    #[test]
    fn nothing_harms_what_is_unknown(layout in layout(), which in any::<prop::sample::Index>(), removed in any::<bool>()) {
        let mut stage = Stage::new(layout.host());
        let desired = manifests(&layout);
        stage.commit(desired.clone());
        rest(&mut stage)?;
        let folders = stage.disk.list(Path::new("/storage")).unwrap();
        let uuids: Vec<_> = folders.iter().filter(|name| name.parse::<uuid::Uuid>().is_ok()).collect();
        prop_assume!(!uuids.is_empty());
        let path = Path::new("/storage").join(which.get(&uuids)).join("record.json");
        stage.disk.write(&path, b"{\"version\": 1, \"na").unwrap();
        let before = stage.summary();
        if removed {
            // Even a commit that removes every VM takes nothing from a VM whose record is torn.
            let uuid: uuid::Uuid = which.get(&uuids).parse().unwrap();
            let torn = desired.vms.values().find(|vm| vm.uuid(desired.pool.id) == uuid).unwrap().name.clone();
            let mut fewer = desired;
            fewer.vms.clear();
            stage.commit(fewer);
            rest(&mut stage)?;
            let running = |summary: &str| {
                summary.lines().filter(|line| line.starts_with(&format!("domain  {torn} "))).count()
            };
            prop_assert_eq!(running(&stage.summary()), running(&before), "{}", stage.transcript);
        } else {
            rest(&mut stage)?;
            prop_assert_eq!(stage.summary(), before, "{}", stage.transcript);
        }
        prop_assert_eq!(stage.disk.read(&path).unwrap(), b"{\"version\": 1, \"na".to_vec());
    }
}

/// Settles, and checks what must hold at rest.
fn rest(stage: &mut Stage) -> Result<(), TestCaseError> {
    let passes = stage.settle(SignedDuration::from_hours(2));
    prop_assert!(passes <= PASSES, "{passes} passes\n{}", stage.transcript);
    prop_assert_eq!(stage.broken(), Vec::<String>::new(), "{}", stage.transcript);
    let first = stage.observe_and_plan();
    let again = stage.observe_and_plan();
    prop_assert_eq!(&first.plan, &again.plan, "the same input gave another plan");
    let due = first.plan.items.iter().find(|item| item.disposition == Disposition::Now);
    prop_assert!(due.is_none(), "still due at rest: {due:?}\n{}", stage.transcript);
    prop_assert!(first.observed.operations.is_empty(), "still busy at rest\n{}", stage.transcript);
    Ok(())
}

/// Every VM that should run does, in its partition; every partition has its cores.
fn as_declared(stage: &Stage, layout: &Layout) -> Result<(), TestCaseError> {
    let summary = stage.summary();
    for (name, cores) in layout.partitions() {
        let cpus = layout.cpus(&cores);
        let line = format!("cpupool {name:<12} cpus {cpus}");
        prop_assert!(summary.lines().any(|found| found == line), "no `{line}` in\n{summary}");
    }
    for (name, vm) in layout.vms() {
        let line =
            format!("domain  {name:<12} running in {}", vm.partition_name(layout).unwrap_or("Pool-0".to_owned()));
        let runs = summary.lines().any(|found| found.starts_with(&line));
        prop_assert_eq!(runs, vm.runs, "`{}` in\n{}", line, summary);
    }
    Ok(())
}

/// Whether what happened leaves everything declared possible.
fn happen(stage: &mut Stage, happening: &Happening) -> bool {
    use day::What;
    stage.note(&format!("{happening:?}"));
    match &happening.what {
        What::Event(event) => stage.apply(event),
        What::KillDaemonAt(step) => {
            stage.kill_at_step(*step);
            true
        }
        What::KillWorkerAt(point) => {
            let mut machine = stage.machine.lock().unwrap();
            let passed = machine.points();
            machine.kill_worker_at(passed + point);
            true
        }
        What::Night(seconds) => {
            stage.kill_daemon();
            stage.advance(SignedDuration::from_secs(i64::from(*seconds)));
            stage.start_daemon();
            true
        }
    }
}
