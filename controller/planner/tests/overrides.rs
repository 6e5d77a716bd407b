//! Orders about a VM's power: they count like its manifest, for a while, and show.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, line, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::Disposition;
use planner::config::Power;
use planner::freeze::{Frozen, freeze};
use planner::overrides::{OverrideKind, give, over};
use planner::record::UpSince;
use protocol::{Reading, ShutdownReason};
use sim::Event;
use std::fmt::Write as _;

fn stage(more: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", more)));
    stage.converge();
    stage
}

/// For two hours.
fn overrule(stage: &mut Stage, kind: OverrideKind) {
    let object = stage.plan().objects.iter().find(|one| one.object.name == "web").unwrap().object.clone();
    let boot_id = stage.observe().xen.known().unwrap().hypervisor.boot_id;
    let up = Some(UpSince { boot_id, ms: stage.xen.now_ms() });
    let uuid = object.uuid.unwrap();
    let given = give(object, kind, SignedDuration::from_hours(2), stage.now(), up, ("root", "the disk is checked"));
    stage.records.overrides.insert(uuid, Reading::Known(given));
}

/// What is done within ten minutes, and what remains.
fn soon(stage: &mut Stage) -> String {
    let mut text = String::new();
    for _ in 0..20 {
        let (plan, failures) = stage.pass();
        let (went, left): (Vec<_>, Vec<_>) = plan.items.iter().partition(|item| item.disposition == Disposition::Now);
        for item in &went {
            let _ = writeln!(text, "{}", line(item));
        }
        text += &failures;
        if went.is_empty() && left.iter().all(|item| !matches!(item.disposition, Disposition::Waiting { .. })) {
            for item in &left {
                let _ = writeln!(text, "{}", line(item));
            }
            return text;
        }
        stage.wait(30);
    }
    panic!("does not settle:\n{text}");
}

fn carried_out(stage: &mut Stage) {
    let observed = stage.observe();
    for uuid in over(&observed).into_iter().map(|(uuid, _)| uuid).collect::<Vec<_>>() {
        stage.records.overrides.remove(&uuid);
    }
}

#[test]
fn it_is_stopped_and_comes_back_by_itself() {
    let mut stage = stage("");
    overrule(&mut stage, OverrideKind::Power(Power::Stopped));
    assert_snapshot!(soon(&mut stage), @r"
    vm/web stop [spec.power running -> stopped] (Verb; it should be stopped (stopped until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do shutdown-domain
    vm/web stop [spec.power running -> stopped] (Verb; it should be stopped (stopped until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do destroy-domain
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopped
      Ready True Overridden: stopped until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it
      Overridden True Overridden: stopped until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it
    ");
    // A boot of the host does not start it, nor does a commit.
    stage.event(&Event::HostReboot);
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 512}\n")));
    assert_snapshot!(soon(&mut stage), @"vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is off; that is recorded) now records");
    stage.wait(2 * 3600);
    assert_snapshot!(soon(&mut stage), @"vm/web start [spec.power stopped -> running] (Commit; it should run) now do create-domain");
}

#[test]
fn it_is_paused() {
    let mut stage = stage("");
    overrule(&mut stage, OverrideKind::Power(Power::Paused));
    assert_snapshot!(soon(&mut stage), @"vm/web change [spec.power running -> paused] (Verb; it is not as declared (paused until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do pause-domain");
    stage.records.overrides.clear();
    assert_snapshot!(soon(&mut stage), @"vm/web change [spec.power paused -> running] (Commit; it is not as declared) now do unpause-domain");
}

#[test]
fn one_that_should_be_off_runs() {
    let mut stage = stage("  power: stopped\n");
    overrule(&mut stage, OverrideKind::Power(Power::Running));
    assert_snapshot!(soon(&mut stage), @"vm/web start [spec.power stopped -> running] (Verb; it should run (running until 2026-01-01T02:00:00Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do create-domain");
    stage.records.overrides.clear();
    assert_snapshot!(soon(&mut stage), @r"
    vm/web stop [spec.power running -> stopped] (Commit; it should be stopped) now do shutdown-domain
    vm/web stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    ");
}

#[test]
fn one_that_switched_itself_off_is_started_once() {
    let off = Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Poweroff };
    let mut stage = stage("");
    stage.event(&off);
    soon(&mut stage);
    stage.wait(10);
    overrule(&mut stage, OverrideKind::Power(Power::Running));
    assert_snapshot!(soon(&mut stage), @"vm/web start (Verb; it should run (running until 2026-01-01T02:00:40Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do create-domain");
    stage.wait(10);
    stage.event(&off);
    assert_snapshot!(soon(&mut stage), @"vm/web settle (Guest; its guest ended by itself (poweroff); it stays off) now do destroy-domain");
}

#[test]
fn it_is_restarted_once_with_what_waited() {
    let mut stage = stage("");
    stage.commit(&(base("") + &vm("web", "").replace("vcpus: 1", "vcpus: 2")));
    assert_snapshot!(soon(&mut stage), @r"
    vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    vm/web change [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Commit; it takes a restart) at next start
    ");
    let incarnation =
        |stage: &Stage| stage.observe().xen.known().unwrap().domains.known().unwrap()[0].mark.unwrap().incarnation;
    let before = incarnation(&stage);
    overrule(&mut stage, OverrideKind::Restart(before));
    assert_snapshot!(soon(&mut stage), @r"
    vm/web stop [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Verb; it is restarted by hand (restart ordered by root: the disk is checked; given up at 2026-01-01T02:00:30Z, or by `pinfold follow vm/web`)) now do shutdown-domain
    vm/web stop (Verb; it was asked to power off, and did (restart ordered by root: the disk is checked; given up at 2026-01-01T02:00:30Z, or by `pinfold follow vm/web`)) now do destroy-domain
    vm/web start (Verb; it should run (restart ordered by root: the disk is checked; given up at 2026-01-01T02:00:30Z, or by `pinfold follow vm/web`)) now do create-domain
    ");
    assert_ne!(incarnation(&stage), before);
    carried_out(&mut stage);
    assert!(stage.records.overrides.is_empty(), "it is carried out");
}

#[test]
fn what_cannot_be_read_neither_starts_nor_stops_it() {
    for power in ["running", "stopped"] {
        let mut stage = stage(&format!("  power: {power}\n"));
        let uuid = *stage.records.vms.keys().next().unwrap();
        stage.records.overrides.insert(uuid, Reading::unknown("RecordUnreadable", "it ends in the middle"));
        let other = if power == "running" { "stopped" } else { "running" };
        stage.commit(&(base("") + &vm("web", &format!("  power: {other}\n"))));
        let said = soon(&mut stage);
        assert!(!said.contains(" do "), "{power}: {said}");
    }
}

/// Each power, once the override is over and nobody can read the manifests.
#[test]
fn its_end_counts_although_the_manifests_cannot_be_read() {
    for (declared, ordered, ends) in [
        ("running", Power::Stopped, "vm/web: running"),
        ("running", Power::Paused, "vm/web: running"),
        ("stopped", Power::Running, "vm/web: stopped"),
        ("paused", Power::Running, "vm/web: paused"),
    ] {
        let mut stage = stage(&format!("  power: {declared}\n"));
        overrule(&mut stage, OverrideKind::Power(ordered));
        soon(&mut stage);
        stage.desired = None;
        let said = soon(&mut stage);
        assert_eq!(said, "", "{declared}, ordered {ordered:?}, without manifests");
        stage.wait(2 * 3600);
        let said = soon(&mut stage);
        let status = stage.status("vm/web");
        assert!(status.starts_with(ends), "{declared}, ordered {ordered:?}: {status}\n{said}");
    }
}

/// The manifest's power changes while something else is ordered.
#[test]
fn what_is_declared_meanwhile_counts_at_its_end() {
    let mut stage = stage("");
    overrule(&mut stage, OverrideKind::Power(Power::Running));
    stage.commit(&(base("") + &vm("web", "  power: stopped\n")));
    soon(&mut stage);
    stage.desired = None;
    stage.wait(2 * 3600);
    soon(&mut stage);
    assert!(stage.status("vm/web").starts_with("vm/web: stopped"), "{}", stage.status("vm/web"));
}

/// A VM that is frozen when its override ends stays as it is until the freeze ends.
#[test]
fn its_end_waits_for_the_end_of_a_freeze() {
    let mut stage = stage("");
    overrule(&mut stage, OverrideKind::Power(Power::Stopped));
    soon(&mut stage);
    let object = stage.plan().objects.iter().find(|one| one.object.name == "web").unwrap().object.clone();
    let frozen = Frozen::of(&object).unwrap().key();
    let order = freeze(object, SignedDuration::from_hours(4), stage.now(), None, ("root", "an audit"));
    stage.records.freezes.insert(frozen, Reading::Known(order));
    stage.wait(3 * 3600);
    assert_snapshot!(soon(&mut stage), @"vm/web start [spec.power stopped -> running] (Commit; it should run) held: frozen until 2026-01-01T04:01:01Z by root: an audit; `pinfold unfreeze vm/web` ends it");
    stage.event(&Event::HostReboot);
    let said = soon(&mut stage);
    assert!(!said.contains(" do "), "{said}");
    stage.records.freezes.clear();
    assert_snapshot!(soon(&mut stage), @"vm/web start [spec.power stopped -> running] (Commit; it should run) now do create-domain");
}

#[test]
fn one_that_is_removed_is_removed() {
    let mut stage = stage("");
    overrule(&mut stage, OverrideKind::Power(Power::Running));
    stage.commit(&base(""));
    assert_snapshot!(soon(&mut stage), @r"
    vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    ");
}

/// Both the manifest and a person want it to run; the manifest's wish alone would wait for an approval.
#[test]
fn one_that_would_wait_for_an_approval_is_started_by_an_order() {
    let mut stage = stage("");
    stage.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Poweroff });
    soon(&mut stage);
    stage.commit(&(base("") + &vm("web", "  mode: plan\n  protect: true\n")));
    assert_snapshot!(soon(&mut stage), @r"
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    vm/web start (Commit; its guest switched it off, and its manifest has changed since) held: `spec.mode` of vm/web is plan; `pinfold approve bbca3e747613` does it
    ");
    overrule(&mut stage, OverrideKind::Power(Power::Running));
    let asked: Vec<_> = stage.plan().items.iter().map(line).collect();
    assert_eq!(asked.len(), 1, "the same thing twice: {asked:?}");
    assert_snapshot!(soon(&mut stage), @r"
    vm/web start (Verb; it should run (running until 2026-01-01T02:01:00Z by root: the disk is checked; `pinfold follow vm/web` ends it)) now do create-domain
    vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}
