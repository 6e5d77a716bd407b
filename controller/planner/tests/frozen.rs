//! Frozen VMs, partitions and hosts: what people and commits want waits, what guests do goes on.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, line, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::freeze::{Frozen, freeze, over};
use planner::record::UpSince;
use planner::{Cause, Disposition, ObjectKind, ObjectRef};
use protocol::{Reading, ShutdownReason};
use sim::Event;
use std::fmt::Write as _;

fn stage(more: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + more));
    stage.converge();
    stage
}

fn object(stage: &Stage, name: &str) -> ObjectRef {
    stage.plan().objects.iter().map(|status| status.object.clone()).find(|object| object.to_string() == name).unwrap()
}

/// For two hours.
fn freeze_it(stage: &mut Stage, name: &str) -> Frozen {
    let object = object(stage, name);
    let frozen = Frozen::of(&object).unwrap();
    let boot_id = stage.observe().xen.known().unwrap().hypervisor.boot_id;
    let up = Some(UpSince { boot_id, ms: stage.xen.now_ms() });
    let order = freeze(object, SignedDuration::from_hours(2), stage.now(), up, ("root", "the storage is moved"));
    stage.records.freezes.insert(frozen.key(), Reading::Known(order));
    frozen
}

/// What is done without any time passing, and what remains.
fn at_once(stage: &mut Stage) -> String {
    let mut text = String::new();
    for _ in 0..10 {
        let (plan, failures) = stage.pass();
        let (went, left): (Vec<_>, Vec<_>) = plan.items.iter().partition(|item| item.disposition == Disposition::Now);
        let said = if went.is_empty() { left } else { went.clone() };
        for item in &said {
            let _ = writeln!(text, "{}", line(item));
        }
        text += &failures;
        if went.is_empty() {
            return text;
        }
    }
    panic!("does not settle:\n{text}");
}

fn ends(how: ShutdownReason) -> Event {
    Event::GuestEnds { domain: "web".to_owned(), how }
}

fn widen() -> Event {
    Event::VcpuPin { domain: "web".to_owned(), vcpu: None, hard: "0-5".parse().unwrap() }
}

#[test]
fn a_commit_and_drift_wait_and_are_shown() {
    let mut stage = stage(&vm("web", "  cpu: {pins: [{socket: 0, core: 2}]}\n"));
    freeze_it(&mut stage, "vm/web");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c10000000000 says
      Frozen True Frozen: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    ");
    stage.commit(&(base("") + &vm("web", "  cpu: {pins: [{socket: 0, core: 2}], weight: 512}\n  restart: never\n")));
    stage.event(&widen());
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False NeedsPerson: repair hard affinity 0-5 -> 2: held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it; change spec.cpu.weight 256 -> 512: held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
      Held True NeedsPerson: repair hard affinity 0-5 -> 2: held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it; change spec.cpu.weight 256 -> 512: held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
      Drifted True ChangedOutside: repair hard affinity 0-5 -> 2: held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it; seen since 2026-01-01T00:00:00Z; nobody was logged in, and no other toolstack ran
      Frozen True Frozen: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    ");
}

#[test]
fn its_guest_comes_back_as_it_was_recorded() {
    let mut stage = stage(&vm("web", ""));
    freeze_it(&mut stage, "vm/web");
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 512}\n")));
    stage.event(&ends(ShutdownReason::Reboot));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    vm/web start (Guest; its guest ended and is started again) now do create-domain
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    ");
    stage.event(&Event::HostReboot);
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web start (HostBoot; the host booted) now do create-domain
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    ");
    let domain = stage.xen.domains().find(|(_, domain)| domain.name() == Some("web")).unwrap().1;
    assert_eq!(domain.sched.weight, 256);
}

#[test]
fn it_ends_by_itself_by_the_clock_that_nobody_sets() {
    let mut stage = stage(&vm("web", ""));
    freeze_it(&mut stage, "vm/web");
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 512}\n")));
    // Three hours in a second: two have not passed.
    stage.event(&Event::ClockSet { by: 3 * 3600 });
    assert!(over(&stage.observe()).is_empty());
    assert_snapshot!(at_once(&mut stage), @"vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T05:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it");
    stage.wait(2 * 3600);
    assert_eq!(over(&stage.observe()).len(), 1);
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) now do set-sched
    vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}

#[test]
fn what_cannot_be_read_is_in_force() {
    let mut stage = stage(&vm("web", ""));
    let key = freeze_it(&mut stage, "vm/web").key();
    stage.records.freezes.insert(key, Reading::unknown("RecordUnreadable", "`freezes/…` ends in the middle"));
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 512}\n")));
    assert_snapshot!(at_once(&mut stage), @"vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen, and nobody can say until when: `freezes/…` ends in the middle; `pinfold unfreeze` ends it (vm--f4107b80-67e5-5bf6-a539-ab11394853c6)");
}

#[test]
fn a_partition_takes_its_vms_with_it_and_a_vm_its_partitions_cores() {
    let site = |cores: &[u32], weight: u16| {
        base("")
            + &cp("fold", cores)
            + &vm("web", &format!("  cpu: {{partition: fold, weight: {weight}}}\n"))
            + &vm("db", "")
    };
    let mut said = String::new();
    for frozen in ["cp/fold", "vm/web", "host", "vm/db"] {
        let mut stage = Stage::new(&site(&[2, 3], 256));
        stage.converge();
        let name = if frozen == "host" { format!("host/{}", stage.observe().host) } else { frozen.to_owned() };
        freeze_it(&mut stage, &name);
        stage.commit(&site(&[2, 3, 4], 512));
        let _ = write!(said, "--- {frozen}\n{}", at_once(&mut stage));
    }
    assert_snapshot!(said, @r"
    --- cp/fold
    cp/fold change [spec.cores 0.2, 0.3 -> 0.2, 0.3, 0.4] (Commit; its cores are not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze cp/fold` ends it
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze cp/fold` ends it
    --- vm/web
    cp/fold change [spec.cores 0.2, 0.3 -> 0.2, 0.3, 0.4] (Commit; its cores are not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    --- host
    cp/fold change [spec.cores 0.2, 0.3 -> 0.2, 0.3, 0.4] (Commit; its cores are not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze host/xen1` ends it
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze host/xen1` ends it
    --- vm/db
    cp/fold change [spec.cores 0.2, 0.3 -> 0.2, 0.3, 0.4] (Commit; its cores are not as declared) now do shape-cpupool
    vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) now do set-sched
    vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}

#[test]
fn a_vm_that_is_removed_stays_and_one_that_is_new_waits() {
    let mut stage = stage(&(vm("web", "") + &vm("db", "")));
    freeze_it(&mut stage, "vm/web");
    let host = format!("host/{}", stage.observe().host);
    stage.commit(&(base("") + &vm("db", "")));
    assert_snapshot!(at_once(&mut stage), @"vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it");
    freeze_it(&mut stage, &host);
    stage.commit(&(base("") + &vm("db", "") + &vm("new", "")));
    assert_snapshot!(at_once(&mut stage), @r"
    vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze vm/web` ends it
    vm/new create (Commit; it is declared and does not exist yet) held: frozen until 2026-01-01T02:00:00Z by root: the storage is moved; `pinfold unfreeze host/xen1` ends it
    ");
}

/// Whatever happens to it, no operation on a frozen VM is one that a commit or drift asked for, and what is wanted is never recorded.
#[test]
fn nothing_is_done_to_it_that_was_not_recorded() {
    let events = [
        ends(ShutdownReason::Reboot),
        ends(ShutdownReason::Crash),
        widen(),
        Event::Pause { domain: "web".to_owned() },
        Event::HostReboot,
        Event::Destroy { domain: "web".to_owned() },
        Event::HostReboot,
        ends(ShutdownReason::Poweroff),
    ];
    let pinned = "  cpu: {pins: [{socket: 0, core: 2}]}\n";
    let changes = ["power: stopped", "power: paused", "power: suspended", "restart: always", "shutdown: {timeout: 5m}"];
    for change in changes.map(|change| format!("{pinned}  {change}\n")) {
        let mut stage = stage(&vm("web", pinned));
        freeze_it(&mut stage, "vm/web");
        let wanted = |stage: &Stage| stage.records.vms.values().next().unwrap().known().unwrap().wanted.clone();
        let before = wanted(&stage);
        stage.commit(&(base("") + &vm("web", &change)));
        for event in &events {
            // A domain that is gone meets nothing.
            let _ = stage.xen.apply(event);
            for _ in 0..6 {
                let (plan, _) = stage.pass();
                for item in plan.items.iter().filter(|item| item.object.kind == ObjectKind::VirtualMachine) {
                    let goes = item.disposition == Disposition::Now;
                    assert!(!goes || !matches!(item.cause, Cause::Drift | Cause::Verb), "{change} {event:?}: {item:?}");
                }
            }
            assert_eq!(wanted(&stage), before, "{change} {event:?}");
        }
    }
}
