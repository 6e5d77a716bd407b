//! `spec.power: paused`, pass by pass, on a simulated host.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, vm, vm_sized};
use insta::assert_snapshot;
use planner::Disposition;
use protocol::ShutdownReason;
use sim::{Event, Fault};

fn stage(power: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", &format!("  power: {power}"))));
    stage.converge();
    stage
}

fn turn(stage: &mut Stage, power: &str) -> String {
    stage.commit(&(base("") + &vm("web", &format!("  power: {power}"))));
    stage.converge()
}

/// How often its domain is paused: what nobody outside Xen can see.
fn pauses(stage: &Stage) -> u32 {
    stage.xen.domains().next().unwrap().1.pauses
}

fn event(stage: &mut Stage, event: fn(String) -> Event) {
    stage.event(&event("web".to_owned()));
}

#[test]
fn a_running_guest_is_paused_once_and_goes_on() {
    let mut stage = stage("running");
    assert_snapshot!(turn(&mut stage, "paused"), @r"
    1 vm/web change [spec.power running -> paused] (Commit; it is not as declared) now do pause-domain
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_eq!(pauses(&stage), 1);
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: paused
      Ready True AsDeclared: as commit c20000000000 says
    ");
    assert_snapshot!(turn(&mut stage, "running"), @r"
    1 vm/web change [spec.power paused -> running] (Commit; it is not as declared) now do unpause-domain
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-9
    domain web Running pool 0 hard 0-9
    ");
}

#[test]
fn a_vm_that_is_made_to_be_paused_never_runs() {
    let mut stage = Stage::new(&(base("") + &vm("web", "  power: paused")));
    assert_snapshot!(stage.converge(), @" 1 vm/web create (Commit; it is declared and does not exist yet) now do create-domain");
    assert_eq!(pauses(&stage), 1);
    stage.wait(60);
    assert_eq!(stage.xen.domains().next().unwrap().1.guest.since_ms, None);
    assert_snapshot!(turn(&mut stage, "running"), @r"
    1 vm/web change [spec.power paused -> running] (Commit; it is not as declared) now do unpause-domain
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}

#[test]
fn a_paused_guest_runs_to_be_stopped() {
    let mut stage = stage("paused");
    assert_snapshot!(turn(&mut stage, "stopped"), @r"
    1 vm/web stop [spec.power paused -> stopped] (Commit; it should be stopped; it is paused and cannot hear, so it runs again first) now do unpause-domain
    2 vm/web stop [spec.power paused -> stopped] (Commit; it should be stopped) now do shutdown-domain
    4 vm/web stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    ");
    assert_snapshot!(turn(&mut stage, "paused"), @" 1 vm/web start [spec.power stopped -> paused] (Commit; it should run; it stays paused) now do create-domain");
    stage.commit(&base(""));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web delete (Commit; nothing declares it any more; it is paused and cannot hear, so it runs again first) now do unpause-domain
    2 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    4 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    5 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    ");
}

#[test]
fn what_others_pause_and_unpause_is_put_right() {
    let mut stage = stage("paused");
    event(&mut stage, |domain| Event::Unpause { domain });
    assert_snapshot!(stage.converge(), @" 1 vm/web repair [spec.power running -> paused] (Drift; it was unpaused outside pinfold) now do pause-domain");
    assert_eq!(pauses(&stage), 1);
    // A second pause by another hand cannot be seen, and is taken away with the first when the guest should run.
    event(&mut stage, |domain| Event::Pause { domain });
    assert_snapshot!(stage.converge(), @"");
    assert_eq!(pauses(&stage), 2);
    turn(&mut stage, "running");
    assert_eq!(pauses(&stage), 0);
    stage.wait(5);
    event(&mut stage, |domain| Event::Pause { domain });
    assert_snapshot!(stage.converge(), @" 1 vm/web repair [spec.power paused -> running] (Drift; it was paused outside pinfold (the first thing that an `xl destroy` does, too)) now do unpause-domain");
}

#[test]
fn it_moves_and_changes_while_it_is_paused() {
    let all = |more: &str| {
        base("")
            + &cp("oracle-a", &[2, 3])
            + &vm_sized("web", "{online: 1, max: 2}", "128Mi", &format!("  power: paused\n{more}"))
    };
    let mut stage = Stage::new(&all(""));
    stage.converge();
    stage.law_of_cores = true;
    stage.commit(&all("  cpu: {partition: oracle-a, weight: 512}"));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [cpupool Pool-0 -> oracle-a] (Commit; it is not as declared) now do move-domain
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_eq!(pauses(&stage), 1);
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    domain web Paused pool 1 hard 2-3 2-3
    ");
}

#[test]
fn what_takes_a_restart_waits_while_it_is_paused() {
    let rule = ", changes: {restarts: allow}";
    let all = |power: &str, max: &str| {
        base(rule) + &vm_sized("web", &format!("{{online: 1, max: {max}}}"), "128Mi", &format!("  power: {power}"))
    };
    let mut stage = Stage::new(&all("paused", "1"));
    stage.converge();
    stage.commit(&all("paused", "2"));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change [spec.vcpus.max 1 -> 2] (Commit; it takes a restart) at next start
    ");
    stage.commit(&all("running", "2"));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.vcpus.max 1 -> 2] (Commit; it is restarted with a changed configuration; it is paused and cannot hear, so it runs again first) now do unpause-domain
    2 vm/web change [spec.vcpus.max 1 -> 2] (Commit; it takes a restart) now do shutdown-domain
    4 vm/web stop (Commit; it was asked to power off, and did) now do destroy-domain
    5 vm/web start (Commit; it should run) now do create-domain
    ");
}

#[test]
fn its_guest_ends_in_the_moment_before() {
    let mut stage = stage("running");
    stage.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Reboot });
    assert_snapshot!(turn(&mut stage, "paused"), @r"
    1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again; it stays paused) now do create-domain
    ");
    assert_eq!(pauses(&stage), 1);
}

#[test]
fn a_host_boot_builds_it_paused() {
    let mut stage = stage("paused");
    stage.event(&Event::PowerLoss);
    assert_snapshot!(stage.converge(), @" 1 vm/web start (HostBoot; the host booted; it stays paused) now do create-domain");
    assert_eq!(pauses(&stage), 1);
}

/// However often the worker that pauses dies, and wherever, there is one pause at the end.
#[test]
fn killed_anywhere_it_is_paused_once() {
    for die_after in 0..6 {
        let mut stage = stage("running");
        stage.commit(&(base("") + &vm("web", "  power: paused")));
        let plan = stage.plan();
        let item = plan.items.iter().find(|item| item.disposition == Disposition::Now).unwrap();
        let _ = stage.carry_out(item, Fault { die_after: Some(die_after), ..Fault::default() });
        stage.converge();
        assert_eq!(pauses(&stage), 1, "killed after {die_after}");
    }
}
