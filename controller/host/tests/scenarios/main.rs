//! Scenarios: a folder with a host, manifests and a script gives a transcript. See `tests/scenarios/script.rs` for what a
//! script can say.
//!
//! Every scenario is played again with the daemon killed at each of its steps on disk, and with the worker killed at each point of
//! each operation: the end state must be the same, and no law may be broken on the way.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, reason = "tests")]

#[path = "../stage/examples.rs"]
mod examples;
#[path = "../../../../tests/scenarios/script.rs"]
mod format;
mod script;
#[path = "../stage/mod.rs"]
mod stage;

use jiff::SignedDuration;
use protocol::DomainState;
use schema::desired::Power;
use script::Scenario;
use std::path::Path;

fn transcript(path: &Path) -> datatest_stable::Result<()> {
    let scenario = Scenario::read(path.parent().unwrap());
    let played = scenario.play(|_| {});
    assert_eq!(played.broken(), Vec::<String>::new(), "laws were broken:\n{}", played.transcript);
    let text = format!("{}=== the host at the end\n{}", played.transcript, played.summary());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(scenario.folder.canonicalize()?);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("transcript", text));
    Ok(())
}

fn daemon_killed_at_every_step(path: &Path) -> datatest_stable::Result<()> {
    let scenario = Scenario::read(path.parent().unwrap());
    let played = scenario.play(|_| {});
    let steps = played.steps();
    for step in points(steps) {
        let again = scenario.play(|stage| stage.kill_at_step(step));
        if again.deaths != 1 {
            return Err(format!("the daemon was to die at step {step} of {steps}").into());
        }
        compare(&played, &again, &format!("the daemon killed at step {step} of {steps}"))?;
    }
    Ok(())
}

fn worker_killed_at_every_point(path: &Path) -> datatest_stable::Result<()> {
    let scenario = Scenario::read(path.parent().unwrap());
    let played = scenario.play(|_| {});
    let points_passed = u64::from(played.machine.lock().unwrap().points());
    for point in points(points_passed) {
        let again = scenario.play(|stage| stage.machine.lock().unwrap().kill_worker_at(u32::try_from(point).unwrap()));
        compare(&played, &again, &format!("the worker killed at point {point} of {points_passed}"))?;
    }
    Ok(())
}

/// An example comes to rest, with its VMs as they are declared.
fn example(pool: &Path) -> datatest_stable::Result<()> {
    let (mut stage, _) = examples::begin(pool.parent().unwrap());
    stage.settle(SignedDuration::from_mins(10));
    assert_eq!(stage.broken(), Vec::<String>::new(), "laws were broken:\n{}", stage.transcript);
    let report = stage.pass();
    if !report.plan.items.is_empty() {
        return Err(format!("something is left to do:\n{}", stage.transcript).into());
    }
    let declared = stage.desired.as_ref().unwrap().vms.values();
    let to_run = declared.filter(|vm| matches!(vm.power, None | Some(Power::Running))).count();
    let running = report.observed.xen.known().and_then(|xen| xen.domains.known()).unwrap();
    assert_eq!(running.iter().filter(|domain| domain.state == DomainState::Running).count(), to_run);
    Ok(())
}

/// Every point, or, to be quick about it, every n-th: `PINFOLD_KILL_STRIDE`.
fn points(count: u64) -> impl Iterator<Item = u64> {
    let stride = std::env::var("PINFOLD_KILL_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(1);
    (1..=count).step_by(stride)
}

fn compare(played: &stage::Stage, again: &stage::Stage, how: &str) -> Result<(), String> {
    let transcript = &again.transcript;
    let broken = again.broken();
    if !broken.is_empty() {
        return Err(format!("{how}: laws were broken: {broken:#?}\n{transcript}"));
    }
    let (expected, found) = (played.summary(), again.summary());
    if expected != found {
        return Err(format!("{how}: another end:\n{transcript}\n=== expected\n{expected}=== found\n{found}"));
    }
    let destroyed = again.destroyed();
    if destroyed.len() > played.destroyed().len() {
        return Err(format!("{how}: a running guest was disturbed: {destroyed:?}\n{transcript}"));
    }
    Ok(())
}

datatest_stable::harness! {
    { test = transcript, root = "../../tests/scenarios", pattern = r".*/script\.yaml$" },
    { test = daemon_killed_at_every_step, root = "../../tests/scenarios", pattern = r".*/script\.yaml$" },
    { test = worker_killed_at_every_point, root = "../../tests/scenarios", pattern = r".*/script\.yaml$" },
    { test = example, root = "../../examples", pattern = r"/pool\.yaml$" },
}
