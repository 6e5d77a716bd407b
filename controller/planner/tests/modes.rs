//! `spec.mode`: everything, only what a person approves, or nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, line, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::Disposition;
use planner::record::Approval;
use protocol::{Cause, Reading, ShutdownReason};
use sim::Event;
use std::fmt::Write as _;

/// The base with a mode of the host.
fn host(mode: &str) -> String {
    base("").replace("spec: {pool: lab,", &format!("spec: {{pool: lab, mode: {mode},"))
}

fn stage(yaml: &str) -> Stage {
    let mut stage = Stage::new(yaml);
    stage.converge();
    stage
}

/// What is done without any time passing, and what remains.
fn at_once(stage: &mut Stage) -> String {
    let mut text = String::new();
    for _ in 0..12 {
        let (plan, failures) = stage.pass();
        let (went, left): (Vec<_>, Vec<_>) = plan.items.iter().partition(|item| item.disposition == Disposition::Now);
        for item in if went.is_empty() { &left } else { &went } {
            let _ = writeln!(text, "{}", line(item));
        }
        text += &failures;
        if went.is_empty() {
            return text;
        }
    }
    panic!("does not settle:\n{text}");
}

/// A person allows every item that is held of an object, for an hour.
fn approve(stage: &mut Stage, object: &str) {
    let held: Vec<String> = (stage.plan().items.iter())
        .filter(|item| item.object.to_string() == object && matches!(item.disposition, Disposition::Held { .. }))
        .map(|item| item.id.clone())
        .collect();
    assert!(!held.is_empty(), "nothing of {object} is held");
    for id in held {
        let at = stage.now();
        let expires = at + SignedDuration::from_hours(1);
        let approval = Approval { actor: "ada".to_owned(), reason: "looked at it".to_owned(), at, expires };
        stage.records.approvals.insert(id, approval);
    }
}

fn ends(how: ShutdownReason) -> Event {
    Event::GuestEnds { domain: "web".to_owned(), how }
}

fn widen() -> Event {
    Event::VcpuPin { domain: "web".to_owned(), vcpu: None, hard: "0-5".parse().unwrap() }
}

const PINNED: &str = "  cpu: {pins: [{socket: 0, core: 2}]}\n";

#[test]
fn where_it_observes_nothing_is_done_and_everything_is_shown() {
    let mut stage =
        Stage::new(&(host("observe") + &cp("oracle", &[4, 5]) + &vm("web", "  cpu: {partition: oracle}\n")));
    assert_snapshot!(at_once(&mut stage), @r"
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    cp/oracle create [spec.cores 0.4, 0.5] (Commit; it has no cpupool yet) held: `spec.mode` of host/xen1 is observe: nothing is done until a commit changes that
    vm/web create (Commit; it is declared and does not exist yet) held: `spec.mode` of host/xen1 is observe: nothing is done until a commit changes that
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready False NeedsPerson: create: held: `spec.mode` of host/xen1 is observe: nothing is done until a commit changes that
      Held True NeedsPerson: create: held: `spec.mode` of host/xen1 is observe: nothing is done until a commit changes that
      NotEnforced True Observe: `spec.mode` of host/xen1 is observe: nothing is done until a commit changes that
    ");
    assert!(stage.xen.domains().all(|(domid, _)| domid == 0) && stage.records.vms.is_empty());
    // The commit that changes the mode is all it takes.
    stage.commit(&(base("") + &cp("oracle", &[4, 5]) + &vm("web", "  cpu: {partition: oracle}\n")));
    stage.converge();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c20000000000 says
    ");
}

#[test]
fn an_observed_guest_keeps_what_it_has_whatever_becomes_of_it() {
    let mut stage = stage(&(base("") + &vm("web", PINNED)));
    stage.commit(&(base("") + &vm("web", "  mode: observe\n  cpu: {weight: 512}\n")));
    stage.event(&widen());
    assert_snapshot!(at_once(&mut stage), @r"
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    vm/web change [hard affinity 0-5 -> all] (Commit; it is not as declared) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    ");
    stage.event(&ends(ShutdownReason::Crash));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (crash); it is started again) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    vm/web start (Guest; its guest ended) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    ");
    // Without a manifest it keeps its last mode.
    stage.commit(&base(""));
    assert_snapshot!(at_once(&mut stage), @"vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that");
    // And when nothing can be read of what is declared.
    stage.desired = None;
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (crash); it is started again) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    vm/web start (Guest; its guest ended) held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    ");
    stage.records.modes =
        Some(Reading::Unknown(Cause { reason: "RecordTorn".to_owned(), message: "it is torn".to_owned() }));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (crash); it is started again) held: what pinfold may do with it cannot be told, so nothing is done: it is torn
    vm/web start (Guest; its guest ended) held: what pinfold may do with it cannot be told, so nothing is done: it is torn
    ");
}

#[test]
fn a_plan_waits_for_a_person_field_by_field() {
    let mut stage = stage(&(base("") + &vm("web", PINNED)));
    stage.commit(
        &(base("") + &vm("web", "  mode: plan\n  cpu: {weight: 512}\n  restart: never\n").replace("128Mi", "96Mi")),
    );
    assert_snapshot!(at_once(&mut stage), @r"
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    vm/web change [spec.cpu.pins (was 0.2)] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 52dcdca46c17` does it
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve dd5a0ac61f38` does it
    vm/web change [spec.memory.target 128Mi -> 96Mi] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve eec19e1556f2` does it
    vm/web change [spec.restart on-failure -> never] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 98d1cc376695` does it
    vm/web change [spec.memory.max 128Mi -> 96Mi] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 36ae2223a9e7` does it
    ");
    // Only one of them.
    let held = stage.plan();
    let weight = held.items.iter().find(|item| item.changes.iter().any(|change| change.field == "spec.cpu.weight"));
    let (id, at) = (weight.unwrap().id.clone(), stage.now());
    let approval = Approval {
        actor: "ada".to_owned(),
        reason: "so be it".to_owned(),
        at,
        expires: at + SignedDuration::from_hours(1),
    };
    stage.records.approvals.insert(id, approval);
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) now do set-sched
    vm/web change [spec.cpu.pins (was 0.2)] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 52dcdca46c17` does it
    vm/web change [spec.memory.target 128Mi -> 96Mi] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve eec19e1556f2` does it
    vm/web change [spec.restart on-failure -> never] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 98d1cc376695` does it
    vm/web change [spec.memory.max 128Mi -> 96Mi] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 36ae2223a9e7` does it
    ");
    assert!(stage.records.approvals.is_empty());
    approve(&mut stage, "vm/web");
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web change [spec.memory.max 128Mi -> 96Mi] (Verb; it takes a restart) now do shutdown-domain
    vm/web change [spec.memory.max 128Mi -> 96Mi] (Commit; it takes a restart) waits: the guest powers off; it is destroyed at 2026-01-01T00:01:00Z if it does not
    vm/web start (Commit; it is restarted with a changed configuration) waits: vm/web has stopped
    ");
    assert!(stage.records.approvals.is_empty());
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopping
      Ready False Progressing: change spec.memory.max 128Mi -> 96Mi (it takes a restart): waits: the guest powers off; it is destroyed at 2026-01-01T00:01:00Z if it does not; start (it is restarted with a changed configuration): waits: vm/web has stopped
      Reconciling True Progressing: change spec.memory.max 128Mi -> 96Mi (it takes a restart): waits: the guest powers off; it is destroyed at 2026-01-01T00:01:00Z if it does not; start (it is restarted with a changed configuration): waits: vm/web has stopped
      NotEnforced True Plan: `spec.mode` of vm/web is plan
    ");
}

#[test]
fn what_is_in_a_drive_waits_for_a_person_as_well() {
    let pc = |more: &str| {
        let disk = "  disks: [{name: root, target: hda, path: /srv/a.img}]\n";
        base("") + &vm("pc", &format!("{disk}{more}")).replace("type: pvh", "type: hvm")
    };
    let mut stage = stage(&pc("  cdroms: [{name: cd, target: hdc}]\n"));
    stage.commit(&pc("  mode: plan\n  cdroms: [{name: cd, target: hdc, medium: /srv/b.img}]\n"));
    let held = at_once(&mut stage);
    assert!(held.contains("held: `spec.mode` of vm/pc is plan") && !held.contains("now do"), "{held}");
    approve(&mut stage, "vm/pc");
    let done = at_once(&mut stage);
    assert!(done.contains("now do"), "{done}");
    assert!(stage.records.approvals.is_empty());
}

#[test]
fn a_planned_guest_comes_back_as_it_was_recorded() {
    let mut stage = stage(&(base("") + &vm("web", "")));
    stage.commit(&(base("") + &vm("web", "  mode: plan\n").replace("vcpus: 1", "vcpus: 2")));
    stage.event(&ends(ShutdownReason::Reboot));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    vm/web start (Guest; its guest ended and is started again) now do create-domain
    vm/web change [spec.vcpus.online 1 -> 2, spec.vcpus.max 1 -> 2] (Commit; it is not as declared) held: `spec.mode` of vm/web is plan; `pinfold approve 3936a5c30f9f` does it
    ");
    // What takes several steps goes through them all.
    approve(&mut stage, "vm/web");
    stage.event(&ends(ShutdownReason::Reboot));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
    // A guest that switched itself off is no reason to start it because its manifest changes.
    stage.event(&ends(ShutdownReason::Poweroff));
    at_once(&mut stage);
    stage.commit(&(base("") + &vm("web", "  mode: plan\n  protect: true\n").replace("vcpus: 1", "vcpus: 2")));
    assert_snapshot!(at_once(&mut stage), @"vm/web start (Commit; its guest switched it off, and its manifest has changed since) held: `spec.mode` of vm/web is plan; `pinfold approve bbca3e747613` does it");
    approve(&mut stage, "vm/web");
    assert_snapshot!(at_once(&mut stage), @"vm/web start (Commit; it should run) now do create-domain");
    assert!(stage.records.approvals.is_empty());
}

#[test]
fn drift_waits_too_and_an_approval_puts_it_right_once() {
    let mut stage = stage(&(host("plan") + &vm("web", "")));
    assert_snapshot!(at_once(&mut stage), @"vm/web create (Commit; it is declared and does not exist yet) held: `spec.mode` of host/xen1 is plan; `pinfold approve d7301e05aa57` does it");
    approve(&mut stage, "vm/web");
    assert_snapshot!(at_once(&mut stage), @"vm/web create (Commit; it is declared and does not exist yet) now do create-domain");
    stage.commit(&(host("plan") + &vm("web", PINNED)));
    approve(&mut stage, "vm/web");
    at_once(&mut stage);
    stage.event(&widen());
    assert_snapshot!(at_once(&mut stage), @"vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) held: `spec.mode` of host/xen1 is plan; `pinfold approve 7816d5291d39` does it");
    approve(&mut stage, "vm/web");
    assert_snapshot!(at_once(&mut stage), @"vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) now do set-affinity");
    stage.event(&widen());
    assert_snapshot!(at_once(&mut stage), @"vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) held: `spec.mode` of host/xen1 is plan; `pinfold approve 7816d5291d39` does it");
}

#[test]
fn partitions_and_removals_wait_as_well() {
    let with = |cores: &[u32]| host("plan") + &cp("oracle", cores) + &vm("web", "  cpu: {partition: oracle}\n");
    let mut stage = Stage::new(&(base("") + &cp("oracle", &[4]) + &vm("web", "  cpu: {partition: oracle}\n")));
    stage.converge();
    stage.commit(&with(&[5, 6]));
    assert_snapshot!(at_once(&mut stage), @r"
    host/xen1 settle (Commit; another mode is in force; that is recorded) now records
    cp/oracle change [spec.cores 0.4 -> 0.5, 0.6] (Commit; its cores are not as declared) held: `spec.mode` of host/xen1 is plan; `pinfold approve 1178c074364d` does it
    ");
    approve(&mut stage, "cp/oracle");
    assert_snapshot!(at_once(&mut stage), @"cp/oracle change [spec.cores 0.4 -> 0.5, 0.6] (Commit; its cores are not as declared) now do shape-cpupool");
    stage.commit(&host("plan"));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) held: `spec.mode` of host/xen1 is plan; `pinfold approve b75dfeacbde5` removes it
    cp/oracle delete (Commit; nothing declares it any more) held: `spec.mode` of host/xen1 is plan; `pinfold approve 87ef890048ae` does it
    ");
    approve(&mut stage, "vm/web");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web delete (Verb; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    3 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    4 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
      cp/oracle delete (Commit; nothing declares it any more) held: `spec.mode` of host/xen1 is plan; `pinfold approve 87ef890048ae` does it
    ");
    approve(&mut stage, "cp/oracle");
    assert_snapshot!(stage.converge(), @" 1 cp/oracle delete (Verb; nothing declares it any more) now do destroy-cpupool");
    assert!(stage.records.vms.is_empty() && stage.records.partitions.is_empty() && stage.records.approvals.is_empty());
}

#[test]
fn a_host_that_goes_down_stops_its_guests_in_every_mode() {
    for mode in ["observe", "plan"] {
        let mut stage = stage(&(base("") + &vm("web", "")));
        stage.commit(&(host(mode) + &vm("web", "")));
        at_once(&mut stage);
        let boot_id = stage.observe().xen.known().unwrap().hypervisor.boot_id;
        let up_ms = Some(stage.xen.now_ms());
        let why = "systemctl poweroff".to_owned();
        let note = planner::observed::HostShutdown { since: stage.now(), up_ms, boot_id, until: None, why };
        stage.host_shutdown = Some(note);
        stage.converge();
        assert!(stage.xen.domains().all(|(domid, _)| domid == 0), "{mode}");
    }
}
