//! Changes of VMs: live, at next start, held, and what keeps a VM from starting.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, vm, vm_sized};
use insta::assert_snapshot;
use planner::record::OverBudget;
use protocol::ShutdownReason;
use sim::{Event, File, ForeignDomain};

fn stage(more: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + more));
    stage.converge();
    stage
}

fn disk(path: &str) -> String {
    format!("  disks: [{{name: root, target: xvda, path: \"{path}\"}}]")
}

#[test]
fn live_changes_go_one_at_a_time_without_a_restart() {
    let mut stage = stage(&vm_sized("web", "{online: 2, max: 4}", "{target: 128Mi, max: 256Mi}", ""));
    stage.commit(
        &(base("")
            + &vm_sized(
                "web",
                "{online: 4, max: 4}",
                "{target: 256Mi, max: 256Mi}",
                "  restart: always\n  cpu: {weight: 512, cap: 150}",
            )),
    );
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    now
        because it is not as declared
        ~ spec.cpu.weight  256 -> 512
        ~ spec.cpu.cap     0 -> 150
    ~ vm/web                   change    live        commit    waiting
        because it is not as declared
        waits: vm/web: change
        ~ spec.memory.target  128Mi -> 256Mi
    ~ vm/web                   change    live        commit    waiting
        because it is not as declared
        waits: vm/web: change
        ~ spec.vcpus.online  2 -> 4
    0 to create, 3 to change, 0 to remove or stop. 1 now, 2 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.cpu.weight 256 -> 512, spec.cpu.cap 0 -> 150] (Commit; it is not as declared) now do set-sched
    2 vm/web change [spec.memory.target 128Mi -> 256Mi] (Commit; it is not as declared) now do set-memory
    3 vm/web change [spec.vcpus.online 2 -> 4] (Commit; it is not as declared) now do set-vcpus
    4 vm/web change [spec.restart on-failure -> always] (Commit; nothing on the host differs; that is recorded) now records
    ");
    stage.event(&Event::MemSet { domain: "web".to_owned(), memory_kib: 128 * 1024 });
    stage.event(&Event::VcpuSet { domain: "web".to_owned(), online: 1 });
    assert_snapshot!(stage.converge(), @r"
    1 vm/web repair [spec.memory.target 128Mi -> 256Mi] (Drift; its memory target was changed outside pinfold) now do set-memory
    2 vm/web repair [spec.vcpus.online 1 -> 4] (Drift; its number of vCPUs was changed outside pinfold) now do set-vcpus
    ");
}

#[test]
fn a_guest_that_ignores_a_request_is_asked_once_and_told_of() {
    let mut stage = stage(&vm_sized("web", "{online: 1, max: 2}", "{target: 128Mi, max: 256Mi}", ""));
    stage.wait(5);
    let behaves = |ignores: &str| {
        let guest = serde_json::json!({"guest-behaves": {"name": "web", "guest": {"ignores": [ignores]}}});
        serde_json::from_value(guest).unwrap()
    };
    stage.event(&behaves("vcpus"));
    stage.commit(&(base("") + &vm_sized("web", "2", "{target: 256Mi, max: 256Mi}", "")));
    stage.pass();
    stage.pass();
    // While the guest may still follow, that is waited for.
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    waiting
        because its guest was asked for it
        waits: the guest follows, until 2026-01-01T00:02:05Z
        + spec.memory.target  256Mi
    ~ vm/web                   change    live        commit    waiting
        because its guest was asked for it
        waits: the guest follows, until 2026-01-01T00:02:05Z
        + spec.vcpus.online  2
    ~ vm/web                   settle    live        commit    now
        because nothing on the host differs; that is recorded
    0 to create, 3 to change, 0 to remove or stop. 1 now, 2 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False GuestIgnores: its guest was asked for spec.vcpus.online 2 at 2026-01-01T00:00:05Z and has not followed; it runs on as it is: look into the guest, or take the change back
      Stalled True GuestIgnores: its guest was asked for spec.vcpus.online 2 at 2026-01-01T00:00:05Z and has not followed; it runs on as it is: look into the guest, or take the change back
    ");
    // It follows after all: nothing is left to tell.
    stage.event(&behaves("memory"));
    stage.wait(1);
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c20000000000 says
    ");
    stage.commit(&(base("") + &vm_sized("web", "2", "{target: 128Mi, max: 256Mi}", "")));
    stage.converge();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False GuestIgnores: its guest was asked for spec.memory.target 128Mi at 2026-01-01T00:02:06Z and has not followed; it runs on as it is: look into the guest, or take the change back
      Stalled True GuestIgnores: its guest was asked for spec.memory.target 128Mi at 2026-01-01T00:02:06Z and has not followed; it runs on as it is: look into the guest, or take the change back
    ");
    // What is asked for at its next start is another matter.
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    assert_snapshot!(stage.converge(), @" 1 vm/web start (Drift; it should run and has no domain: destroyed outside pinfold, or its start was cut off) now do create-domain");
}

#[test]
fn a_change_that_takes_a_restart_waits_for_the_next_start_or_is_taken_back() {
    let mut stage = stage(&vm("web", &disk("/srv/a.img")));
    stage.commit(&(base("") + &vm_sized("web", "2", "256Mi", &disk("/srv/b.img"))));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change (Commit; it takes a restart) at next start
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False AtNextStart: change spec.vcpus.max 1 -> 2, spec.memory.max 128Mi -> 256Mi, spec.disks[root].path /srv/a.img -> /srv/b.img, 2 more when it starts next
      RestartPending True AtNextStart: change spec.vcpus.max 1 -> 2, spec.memory.max 128Mi -> 256Mi, spec.disks[root].path /srv/a.img -> /srv/b.img, 2 more when it starts next
    ");
    stage.commit(&(base("") + &vm("web", &disk("/srv/a.img"))));
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c30000000000 says
    ");
    stage.commit(&(base("") + &vm_sized("web", "2", "256Mi", &disk("/srv/b.img"))));
    stage.converge();
    stage.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Reboot });
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
}

#[test]
fn allow_restarts_and_hold_waits_for_a_person_across_restarts() {
    let mut allow = stage(&vm("web", ""));
    allow.commit(&(base(", changes: {restarts: allow}") + &vm_sized("web", "2", "128Mi", "")));
    assert_snapshot!(allow.converge(), @r"
    1 vm/web change [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Commit; it takes a restart) now do shutdown-domain
    3 vm/web stop (Commit; it was asked to power off, and did) now do destroy-domain
    4 vm/web start (Commit; it should run) now do create-domain
    ");

    let mut hold = stage(&vm("web", ""));
    hold.commit(&(base(", changes: {restarts: hold}") + &vm_sized("web", "2", "128Mi", "")));
    assert_snapshot!(hold.converge(), @r"
    1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Commit; `spec.changes.restarts` is hold) held: `pinfold approve 8b2ff424b03e` does it now; a revert takes it back
    ");
    hold.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Reboot });
    assert_snapshot!(hold.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
      vm/web change [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Commit; `spec.changes.restarts` is hold) held: `pinfold approve 8b2ff424b03e` does it now; a revert takes it back
    ");
    hold.approve_all();
    assert_snapshot!(hold.converge(), @r"
    1 vm/web change [spec.vcpus.max 1 -> 2, spec.vcpus.online 1 -> 2] (Verb; it takes a restart) now do shutdown-domain
    3 vm/web stop (Commit; it was asked to power off, and did) now do destroy-domain
    4 vm/web start (Commit; it should run) now do create-domain
    ");
    assert!(hold.records.approvals.is_empty());
}

#[test]
fn a_commit_over_budget_holds_what_destroys_and_nothing_else() {
    let mut stage = stage(&(vm("a", "") + &vm("b", "") + &vm("c", "")));
    let over = OverBudget { commit: format!("{:0<40}", "c2"), removals: 2, budget: 1 };
    stage.commit_with(&(base("") + &vm("c", "  power: stopped") + &vm("d", "")), Some(over));
    assert_snapshot!(stage.converge(), @r"
    1 vm/d create (Commit; it is declared and does not exist yet) now do create-domain
    1 vm/c settle (Commit; nothing on the host differs; that is recorded) now records
      vm/a delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 0d658a9dca3d` removes it
      vm/b delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 14dd4e20e052` removes it
      vm/c stop [spec.power running -> stopped] (Commit; commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`)) held: `pinfold approve 544ceee66cdc` does it now; a revert takes it back
    ");
    assert_snapshot!(stage.status("vm/a"), @r"
    vm/a: running
      Ready False NeedsPerson: delete: held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 0d658a9dca3d` removes it
      Held True NeedsPerson: delete: held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 0d658a9dca3d` removes it
    ");
    stage.event(&Event::PowerLoss);
    assert_snapshot!(stage.converge(), @r"
    1 vm/a start (HostBoot; the host booted) now do create-domain
    2 vm/b start (HostBoot; the host booted) now do create-domain
    3 vm/c start (HostBoot; the host booted) now do create-domain
    4 vm/d start (HostBoot; the host booted) now do create-domain
      vm/a delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 0d658a9dca3d` removes it
      vm/b delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 14dd4e20e052` removes it
      vm/c stop [spec.power running -> stopped] (Commit; commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`)) held: `pinfold approve 544ceee66cdc` does it now; a revert takes it back
    ");
    stage.approve_all();
    assert_snapshot!(stage.converge(), @r"
    1 vm/a delete (Verb; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    1 vm/c stop [spec.power running -> stopped] (Verb; it should be stopped) now do shutdown-domain
    2 vm/b delete (Verb; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    4 vm/a delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    5 vm/a delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    7 vm/c stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    8 vm/b delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    9 vm/b delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    ");
}

#[test]
fn a_restored_file_takes_a_removal_back() {
    let mut stage = stage(&vm("web", ""));
    stage.commit(&base(""));
    stage.pass();
    stage.commit(&(base("") + &vm("web", "")));
    assert_snapshot!(stage.converge(), @r"
    2 vm/web stop (Commit; it was asked to power off, and did) now do destroy-domain
    3 vm/web start (Commit; it should run) now do create-domain
    ");
}

#[test]
fn a_rename_renames() {
    let mut stage = stage(&vm("web", ""));
    let renamed = vm("www", "  formerly: [web]");
    stage.commit(&(base("") + &renamed));
    assert_snapshot!(stage.converge(), @r"
    1 vm/www rename [metadata.name web -> www] (Commit; it has a new name) now do rename-domain
    2 vm/www settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-9
    domain www Running pool 0 hard 0-9
    ");
}

#[test]
fn everything_that_keeps_a_vm_from_starting_is_said_at_once_and_stops_nobody_else() {
    let mut host = common::host();
    host.files.insert("/srv/mounted".to_owned(), File::Block { size: 1 << 20, mounted: true });
    let mut stage = Stage::on(
        host,
        &(base("")
            + &vm(
                "bad",
                "  nics: [{name: lan0, network: dmz}]\n  disks: [{name: root, target: xvda, path: \"/etc/shadow\"}, {name: data, target: xvdb, path: \"/srv/no.img\"}, {name: m, target: xvdc, path: \"/srv/mounted\"}]",
            )
            + &vm("good", "")
            + &vm_sized("huge", "1", "8Gi", "")
            + "---\napiVersion: pinfold.dev/v1alpha1\nkind: Network\nmetadata: {name: dmz}\nspec: {bridge: xenbr9}\n"),
    );
    assert_snapshot!(stage.converge(), @r"
    1 vm/good create (Commit; it is declared and does not exist yet) now do create-domain
      vm/bad create (Commit; it is declared and does not exist yet) waits: disk root: /etc/shadow is in no folder that manifests may name on this host (/srv); move it, or extend `allowPaths` in the host's configuration; disk data: /srv/no.img does not exist; create it, or correct the path; disk m: /srv/mounted is mounted in dom0, and two writers destroy a file system; unmount it first; dom0 has no bridge xenbr9 (NIC lan0); make it, or correct the Network
      vm/huge create (Commit; it is declared and does not exist yet) waits: it needs 8228 MiB, and the host has 2938 MiB to give; stop another VM, or give this one less
    ");
    assert_snapshot!(stage.status("vm/bad"), @r"
    vm/bad: absent
      Ready False PathNotAllowed: disk root: /etc/shadow is in no folder that manifests may name on this host (/srv); move it, or extend `allowPaths` in the host's configuration; disk data: /srv/no.img does not exist; create it, or correct the path; disk m: /srv/mounted is mounted in dom0, and two writers destroy a file system; unmount it first; dom0 has no bridge xenbr9 (NIC lan0); make it, or correct the Network
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: disk root: /etc/shadow is in no folder that manifests may name on this host (/srv); move it, or extend `allowPaths` in the host's configuration; disk data: /srv/no.img does not exist; create it, or correct the path; disk m: /srv/mounted is mounted in dom0, and two writers destroy a file system; unmount it first; dom0 has no bridge xenbr9 (NIC lan0); make it, or correct the Network
      Stalled True PathNotAllowed: disk root: /etc/shadow is in no folder that manifests may name on this host (/srv); move it, or extend `allowPaths` in the host's configuration; disk data: /srv/no.img does not exist; create it, or correct the path; disk m: /srv/mounted is mounted in dom0, and two writers destroy a file system; unmount it first; dom0 has no bridge xenbr9 (NIC lan0); make it, or correct the Network
    ");
    assert_snapshot!(stage.status("vm/huge"), @r"
    vm/huge: absent
      Ready False NotEnoughMemory: it needs 8228 MiB, and the host has 2938 MiB to give; stop another VM, or give this one less
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: it needs 8228 MiB, and the host has 2938 MiB to give; stop another VM, or give this one less
      Stalled True NotEnoughMemory: it needs 8228 MiB, and the host has 2938 MiB to give; stop another VM, or give this one less
    ");
}

#[test]
fn identity_and_disks_of_others_are_not_taken() {
    let mut stage = Stage::new(&(base("") + &vm("web", "") + &vm("db", &disk("/srv/a.img"))));
    let domain = |name: &str| serde_json::json!({"name": name, "kind": "pv", "vcpus": 1, "memory-kib": 65536, "disks": ["/srv/a.img"]});
    stage.event(&Event::Create {
        domain: serde_json::from_value::<Box<ForeignDomain>>(domain("web")).unwrap(),
        raced: false,
    });
    assert_snapshot!(stage.converge(), @r"
    vm/db create (Commit; it is declared and does not exist yet) waits: disk root: domain web (domid 1), which is not pinfold's, has /srv/a.img open; end that domain, or name another disk
    vm/web create (Commit; it is declared and does not exist yet) waits: domain web (domid 1) has its name and is not pinfold's, so it is not created; end that domain, or give one of them another name
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready False ForeignTwin: domain web (domid 1) has its name and is not pinfold's, so it is not created; end that domain, or give one of them another name
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: domain web (domid 1) has its name and is not pinfold's, so it is not created; end that domain, or give one of them another name
      Stalled True ForeignTwin: domain web (domid 1) has its name and is not pinfold's, so it is not created; end that domain, or give one of them another name
    ");
    assert_snapshot!(stage.status("vm/db"), @r"
    vm/db: absent
      Ready False DiskInUse: disk root: domain web (domid 1), which is not pinfold's, has /srv/a.img open; end that domain, or name another disk
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: disk root: domain web (domid 1), which is not pinfold's, has /srv/a.img open; end that domain, or name another disk
      Stalled True DiskInUse: disk root: domain web (domid 1), which is not pinfold's, has /srv/a.img open; end that domain, or name another disk
    ");
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    assert_snapshot!(stage.converge(), @r"
    1 vm/db create (Commit; it is declared and does not exist yet) now do create-domain
    2 vm/web create (Commit; it is declared and does not exist yet) now do create-domain
    ");
}

#[test]
fn a_disk_passes_from_one_vm_to_the_next() {
    let mut stage = stage(&vm("old", &disk("/srv/a.img")));
    stage.commit(&(base("") + &vm("new", &disk("/srv/a.img"))));
    assert_snapshot!(stage.converge(), @r"
    1 vm/old delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; its disk stays: /srv/a.img) now do shutdown-domain
    3 vm/old delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; its disk stays: /srv/a.img) now do destroy-domain
    4 vm/old delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; its disk stays: /srv/a.img) now do trash
    4 vm/new create (Commit; it is declared and does not exist yet) now do create-domain
    ");
}

#[test]
fn a_dom0_that_owns_all_memory_is_the_hosts_condition() {
    let mut host = common::host();
    host.dom0.memory_kib = 3 * 1024 * 1024 + 900 * 1024;
    host.dom0.memory_max_kib = None;
    let mut stage = Stage::on(host, &(base("") + &vm("a", "") + &vm("b", "")));
    assert_snapshot!(stage.converge(), @r"
    vm/a create (Commit; it is declared and does not exist yet) waits: host/xen1: dom0 owns the memory (it needs 132 MiB, and the host has 0 MiB to give)
    vm/b create (Commit; it is declared and does not exist yet) waits: host/xen1: dom0 owns the memory (it needs 132 MiB, and the host has 0 MiB to give)
    ");
    assert_snapshot!(stage.status("host/xen1"), @r"
    host/xen1: up
      Ready False Dom0OwnsMemory: dom0 has 3972 MiB and no limit, so nothing is left for guests; boot Xen with `dom0_mem=2048M,max:2048M` on its command line (GRUB_CMDLINE_XEN)
      Stalled True Dom0OwnsMemory: dom0 has 3972 MiB and no limit, so nothing is left for guests; boot Xen with `dom0_mem=2048M,max:2048M` on its command line (GRUB_CMDLINE_XEN)
    ");
}

#[test]
fn failed_creates_back_off_with_the_words_of_libxl_and_start_afresh_when_something_changes() {
    let mut stage = Stage::new(&(base("") + &vm("web", "")));
    stage.event(&Event::XenconsoledLost);
    let (_, failures) = stage.pass();
    assert_snapshot!(failures, @"  failed: vm/web: libxl_domain_create_new: domain 1 got no console within 10 s: is xenconsoled running?");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopped
      Ready False CreateFailed: libxl_domain_create_new: domain 1 got no console within 10 s: is xenconsoled running?
      Reconciling True Progressing: start (it should run, and could not be started so far): waits: the next try at 2026-01-01T00:00:20Z, after 1 failure(s)
      Stalled True CreateFailed: libxl_domain_create_new: domain 1 got no console within 10 s: is xenconsoled running?
    ");
    stage.event(&Event::XenconsoledBack);
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 300}")));
    assert_snapshot!(stage.converge(), @" 1 vm/web start [spec.cpu.weight 256 -> 300] (Commit; it should run, and could not be started so far) now do create-domain");
}

#[test]
fn without_xenstore_everything_is_unknown_and_nothing_is_planned() {
    let mut stage = stage(&(cp("a", &[2]) + &vm("web", "  cpu: {partition: a}")));
    stage.event(&Event::XenstoredLost);
    assert!(stage.plan().items.is_empty());
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: unknown
      Ready Unknown XenstoreLost: xenstored does not answer; it cannot be started again without a reboot of the host
    ");
}
