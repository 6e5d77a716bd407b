//! Partitions and placement: every change of cores, step by step.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, cp_named, vm, vm_sized};
use insta::assert_snapshot;
use protocol::CpuSet;
use sim::{Event, ForeignDomain};

fn cpus(text: &str) -> CpuSet {
    text.parse().unwrap()
}

fn inside(name: &str, partition: &str) -> String {
    vm_sized(name, "2", "128Mi", &format!("  cpu: {{partition: {partition}}}"))
}

fn stage(more: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + more));
    stage.converge();
    stage
}

/// A foreign domain in Pool-0, pinned.
fn foreign(name: &str, hard: &str) -> Event {
    let domain = serde_json::json!({"name": name, "kind": "pv", "vcpus": 1, "memory-kib": 65536, "hard": hard});
    Event::Create { domain: serde_json::from_value::<Box<ForeignDomain>>(domain).unwrap(), raced: false }
}

#[test]
fn cores_grow_shrink_and_change_under_a_running_guest() {
    let mut stage = stage(&(cp("a", &[2, 3]) + &inside("erp", "a")));
    stage.commit(&(base("") + &cp("a", &[2, 3, 4]) + &inside("erp", "a")));
    assert_snapshot!(stage.converge(), @" 1 cp/a change [spec.cores 0.2, 0.3 -> 0.2, 0.3, 0.4] (Commit; its cores are not as declared) now do shape-cpupool");
    stage.commit(&(base("") + &cp("a", &[5, 6]) + &inside("erp", "a")));
    assert_snapshot!(stage.converge(), @" 1 cp/a change [spec.cores 0.2, 0.3, 0.4 -> 0.5, 0.6] (Commit; its cores are not as declared) now do shape-cpupool");
    stage.commit(&(base("") + &cp("a", &[6]) + &inside("erp", "a")));
    assert_snapshot!(stage.converge(), @" 1 cp/a change [spec.cores 0.5, 0.6 -> 0.6] (Commit; its cores are not as declared) now do shape-cpupool");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-5,7-9
    pool 1 a cpus 6
    domain erp Running pool 1 hard 6 6
    ");
}

#[test]
fn partitions_that_swap_cores_go_step_by_step_or_say_who_must_stop() {
    let mut both = stage(&(cp("a", &[2, 4]) + &cp("b", &[3, 5]) + &inside("erp", "a") + &inside("crm", "b")));
    both.commit(&(base("") + &cp("a", &[3, 4]) + &cp("b", &[2, 5]) + &inside("erp", "a") + &inside("crm", "b")));
    assert_snapshot!(both.converge(), @r"
    1 cp/a change [spec.cores 0.2, 0.4 -> 0.3, 0.4] (Commit; its cores are not as declared) now do shape-cpupool
    2 cp/b change [spec.cores 0.3, 0.5 -> 0.2, 0.5] (Commit; its cores are not as declared) now do shape-cpupool
    3 cp/a change [cpupool.cpus 4 -> 3-4] (Commit; its cores are not as declared) now do shape-cpupool
    ");
    assert_snapshot!(both.xl(), @r"
    pool 0 Pool-0 cpus 0-1,6-9
    pool 1 a cpus 3-4
    pool 2 b cpus 2,5
    domain erp Running pool 1 hard 3-4 3-4
    domain crm Running pool 2 hard 2,5 2,5
    ");

    let mut stuck = stage(&(cp("a", &[2]) + &cp("b", &[3]) + &inside("erp", "a") + &inside("crm", "b")));
    stuck.commit(&(base("") + &cp("a", &[3]) + &cp("b", &[2]) + &inside("erp", "a") + &inside("crm", "b")));
    assert_snapshot!(stuck.converge(), @r"
    cp/a change [spec.cores 0.2 -> 0.3] (Commit; its cores are not as declared) held: cp/b cannot give up its cores, and no core is free to swap through; stop domain erp (domid 1) or domain crm (domid 2) for the time of the change, or leave one of the cores in place
    cp/b change [spec.cores 0.3 -> 0.2] (Commit; its cores are not as declared) held: cp/a cannot give up its cores, and no core is free to swap through; stop domain crm (domid 2) or domain erp (domid 1) for the time of the change, or leave one of the cores in place
    ");

    let mut empty = stage(&(cp("a", &[2]) + &cp("b", &[3]) + &inside("erp", "a")));
    empty.commit(&(base("") + &cp("a", &[3]) + &cp("b", &[2]) + &inside("erp", "a")));
    assert_snapshot!(empty.converge(), @r"
    1 cp/b change [spec.cores 0.3 -> 0.2] (Commit; its cores are not as declared) now do shape-cpupool
    2 cp/a change [spec.cores 0.2 -> 0.3] (Commit; its cores are not as declared) now do shape-cpupool
    3 cp/b change [cpupool.cpus  -> 2] (Commit; its cores are not as declared) now do shape-cpupool
    ");
}

#[test]
fn a_vm_moves_into_a_new_partition_and_out_again() {
    let mut stage = stage(&vm("web", ""));
    stage.commit(&(base("") + &cp("a", &[2, 3]) + &vm("web", "  cpu: {partition: a, weight: 512}")));
    assert_snapshot!(stage.converge(), @r"
    1 cp/a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    1 vm/web change [spec.cpu.weight 256 -> 512] (Commit; it is not as declared) now do set-sched
    2 vm/web change [cpupool Pool-0 -> a] (Commit; it is not as declared) now do move-domain
    3 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    stage.commit(&(base("") + &vm("web", "  cpu: {pins: [{socket: 0, core: 4}]}")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [cpupool a -> Pool-0] (Commit; it is not as declared) now do move-domain
    2 cp/a delete (Commit; nothing declares it any more) now do destroy-cpupool
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-9
    domain web Running pool 0 hard 4
    ");
}

#[test]
fn a_pinned_vm_lets_go_of_a_core_that_a_partition_takes() {
    let mut stage = stage(&vm("web", "  cpu: {pins: [{socket: 0, core: 2}]}"));
    stage.commit(&(base("") + &cp("a", &[2, 3]) + &vm("web", "  cpu: {partition: a}")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [hard affinity all] (Commit; it is pinned to a pCPU that a partition takes) now do set-affinity
    2 cp/a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    3 vm/web change [cpupool Pool-0 -> a] (Commit; it is not as declared) now do move-domain
    ");
}

#[test]
fn what_others_did_to_placement_is_named_and_put_right() {
    let mut stage = stage(
        &(cp("a", &[2, 3])
            + &inside("erp", "a")
            + &vm("web", "  cpu: {pins: [{socket: 0, core: 4}], weight: 300}")
            + &vm("mail", "")),
    );
    stage.event(&Event::VcpuPin { domain: "erp".to_owned(), vcpu: Some(0), hard: cpus("0-9") });
    stage.event(&Event::VcpuPin { domain: "web".to_owned(), vcpu: None, hard: cpus("0-9") });
    stage.event(&Event::VcpuPin { domain: "mail".to_owned(), vcpu: None, hard: cpus("0") });
    stage.event(&Event::SchedSet { domain: "web".to_owned(), weight: 256, cap: 50 });
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False Progressing: repair hard affinity all -> 4 (its placement was changed outside pinfold); repair spec.cpu.weight 256 -> 300, spec.cpu.cap 50 -> 0 (its share of the processors was changed outside pinfold): waits: vm/web: repair
      Reconciling True Progressing: repair hard affinity all -> 4 (its placement was changed outside pinfold); repair spec.cpu.weight 256 -> 300, spec.cpu.cap 50 -> 0 (its share of the processors was changed outside pinfold): waits: vm/web: repair
      Drifted True ChangedOutside: repair hard affinity all -> 4 (its placement was changed outside pinfold); repair spec.cpu.weight 256 -> 300, spec.cpu.cap 50 -> 0 (its share of the processors was changed outside pinfold): waits: vm/web: repair; seen since 2026-01-01T00:00:01Z
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp repair [hard affinity all -> 2-3] (Drift; its placement was changed outside pinfold) now do set-affinity
    1 vm/mail repair [hard affinity 0 -> all] (Drift; its placement was changed outside pinfold) now do set-affinity
    1 vm/web repair [hard affinity all -> 4] (Drift; its placement was changed outside pinfold) now do set-affinity
    2 vm/web repair [spec.cpu.weight 256 -> 300, spec.cpu.cap 50 -> 0] (Drift; its share of the processors was changed outside pinfold) now do set-sched
    ");
    stage.event(&Event::CpupoolMigrate { domain: "erp".to_owned(), cpupool: "Pool-0".to_owned() });
    stage.event(&Event::CpupoolCpuRemove { cpupool: "a".to_owned(), cpus: cpus("3") });
    stage.event(&Event::CpupoolRename { cpupool: "a".to_owned(), name: "mine".to_owned() });
    assert_snapshot!(stage.converge(), @r"
    1 cp/a repair [cpupool.cpus 2 -> 2-3] (Drift; its cpupool was changed outside pinfold) now do shape-cpupool
    2 cp/a rename [metadata.name mine -> a] (Drift; its cpupool was renamed outside pinfold) now do rename-cpupool
    2 vm/erp repair [cpupool Pool-0 -> mine] (Drift; its placement was changed outside pinfold) now do move-domain
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 a cpus 2-3
    domain mail Running pool 0 hard 0-9
    domain erp Running pool 1 hard 2-3 2-3
    domain web Running pool 0 hard 4
    ");
}

#[test]
fn foreign_domains_and_pools_are_named_and_left_alone() {
    let mut stage = Stage::new(&(base("") + &cp("a", &[2, 3]) + &cp("b", &[4]) + &inside("erp", "a")));
    stage.event(&foreign("other", "3"));
    stage.event(&Event::CpupoolCreate { name: "theirs".to_owned(), cpus: cpus("4") });
    assert_snapshot!(stage.converge(), @r"
    cp/a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) held: domain other (domid 1) is pinned to pCPUs of this partition and is not pinfold's; give it others with `xl vcpu-pin other all 0-1,5-9`
    cp/b create [spec.cores 0.4] (Commit; it has no cpupool yet) held: pCPU 4 is in cpupool theirs (number 1), which is not pinfold's; take it out with `xl cpupool-cpu-remove theirs 4`
    vm/erp create (Commit; it is declared and does not exist yet) waits: cp/a: domain other (domid 1) is pinned to pCPUs of this partition and is not pinfold's; give it others with `xl vcpu-pin other all 0-1,5-9`
    ");
    assert_snapshot!(stage.status("cp/a"), @r"
    cp/a: absent
      Ready False NeedsPerson: create: held: domain other (domid 1) is pinned to pCPUs of this partition and is not pinfold's; give it others with `xl vcpu-pin other all 0-1,5-9`
      Held True NeedsPerson: create: held: domain other (domid 1) is pinned to pCPUs of this partition and is not pinfold's; give it others with `xl vcpu-pin other all 0-1,5-9`
    ");
    assert_snapshot!(stage.status("domain/other"), @"domain/other: running");
    assert_snapshot!(stage.status("cpupool/theirs"), @"cpupool/theirs: present");
    stage.event(&Event::VcpuPin { domain: "other".to_owned(), vcpu: None, hard: cpus("0-1") });
    stage.event(&Event::CpupoolMigrate { domain: "other".to_owned(), cpupool: "theirs".to_owned() });
    assert_snapshot!(stage.converge(), @r"
    1 cp/a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    2 vm/erp create (Commit; it is declared and does not exist yet) now do create-domain
      cp/b create [spec.cores 0.4] (Commit; it has no cpupool yet) held: pCPU 4 is in cpupool theirs (number 1), which is not pinfold's; take it out with `xl cpupool-cpu-remove theirs 4`
    ");
    stage.event(&Event::CpupoolMigrate { domain: "other".to_owned(), cpupool: "a".to_owned() });
    assert_snapshot!(stage.status("cp/a"), @r"
    cp/a: present
      Ready False ForeignInside: domain other (domid 1) is in its cpupool and is not pinfold's, so its cores are not exclusive; move it away with `xl cpupool-migrate 1 Pool-0`
      Stalled True ForeignInside: domain other (domid 1) is in its cpupool and is not pinfold's, so its cores are not exclusive; move it away with `xl cpupool-migrate 1 Pool-0`
    ");
    stage.commit(&base(""));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    3 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    4 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
      cp/a delete (Commit; nothing declares it any more) held: domain other (domid 1) is in its cpupool and is not pinfold's; move it away with `xl cpupool-migrate 1 Pool-0`
    ");
}

#[test]
fn a_renamed_partition_keeps_its_pool_and_its_guests() {
    let mut stage = stage(&(cp("a", &[2, 3]) + &inside("erp", "a")));
    stage.commit(&(base("") + &cp_named("name: oracle", "  formerly: [a]\n", &[2, 3]) + &inside("erp", "oracle")));
    assert_snapshot!(stage.converge(), @r"
    1 cp/oracle rename [metadata.name a -> oracle] (Commit; it has a new name) now do rename-cpupool
    1 vm/erp settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle cpus 2-3
    domain erp Running pool 1 hard 2-3 2-3
    ");
}

#[test]
fn what_the_host_does_not_have_stalls_only_who_needs_it() {
    let mut stage = Stage::new(
        &(base("")
            + &cp("a", &[2, 42])
            + &cp("b", &[3])
            + &inside("erp", "a")
            + &inside("crm", "b")
            + &vm("web", "  cpu: {pins: [{socket: 1, core: 0}]}")),
    );
    assert_snapshot!(stage.converge(), @r"
    1 cp/b create [spec.cores 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    2 vm/crm create (Commit; it is declared and does not exist yet) now do create-domain
      vm/erp create (Commit; it is declared and does not exist yet) waits: cp/a: this host has no online core 0.42; correct `spec.cores`, or bring it online
      vm/web create (Commit; it is declared and does not exist yet) waits: this host has no online core 1.0; correct `spec.cpu.pins`
    ");
    assert_snapshot!(stage.status("cp/a"), @r"
    cp/a: absent
      Ready False CoreAbsent: this host has no online core 0.42; correct `spec.cores`, or bring it online
      Stalled True CoreAbsent: this host has no online core 0.42; correct `spec.cores`, or bring it online
    ");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: absent
      Ready False Progressing: create (it is declared and does not exist yet): waits: cp/a: this host has no online core 0.42; correct `spec.cores`, or bring it online
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: cp/a: this host has no online core 0.42; correct `spec.cores`, or bring it online
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready False CoreAbsent: this host has no online core 1.0; correct `spec.cpu.pins`
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: this host has no online core 1.0; correct `spec.cpu.pins`
      Stalled True CoreAbsent: this host has no online core 1.0; correct `spec.cpu.pins`
    ");
}

#[test]
fn smt_siblings_stay_together_and_stray_cpus_go_to_pool0() {
    let mut host = common::host();
    host.topology.threads = 2;
    let mut stage = Stage::on(host, &(base("") + &cp("a", &[2, 3]) + &inside("erp", "a")));
    assert_snapshot!(stage.converge(), @r"
    1 cp/a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    2 vm/erp create (Commit; it is declared and does not exist yet) now do create-domain
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-3,8-19
    pool 1 a cpus 4-7
    domain erp Running pool 1 hard 4-7 4-7
    ");
    stage.event(&Event::CpupoolCpuRemove { cpupool: "Pool-0".to_owned(), cpus: cpus("8-9") });
    assert_snapshot!(stage.converge(), @" 1 host/xen1 repair [Pool-0 pCPUs 8-9] (Drift; these pCPUs are in no cpupool, so that nothing can run on them) now do feed-pool0");
}

#[test]
fn a_partition_that_replaces_another_takes_its_cores_and_guests_or_says_who_must_stop() {
    let mut stage = stage(&(cp("a", &[2, 3]) + &inside("erp", "a")));
    stage.commit(&(base("") + &cp("b", &[3]) + &inside("erp", "b")));
    assert_snapshot!(stage.converge(), @r"
    1 cp/a delete (Commit; nothing declares it any more) now do shape-cpupool
    1 vm/erp settle (Commit; nothing on the host differs; that is recorded) now records
    2 cp/b create [spec.cores 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    3 vm/erp change [cpupool a -> b] (Commit; it is not as declared) now do move-domain
    4 cp/a delete (Commit; nothing declares it any more) now do destroy-cpupool
    ");
    stage.commit(&(base("") + &cp("c", &[3]) + &inside("erp", "c")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp settle (Commit; nothing on the host differs; that is recorded) now records
      cp/b delete (Commit; nothing declares it any more) held: domain erp (domid 1) in its cpupool would move to a partition that waits for these very cores; stop it for the time of the change
      cp/c create [spec.cores 0.3] (Commit; it has no cpupool yet) held: cp/b cannot give up its cores, and no core is free to swap through; stop domain erp (domid 1) for the time of the change, or leave one of the cores in place
      vm/erp change [spec.cpu.partition b -> c] (Commit; it is not as declared) waits: cp/c: cp/b cannot give up its cores, and no core is free to swap through; stop domain erp (domid 1) for the time of the change, or leave one of the cores in place
    ");
}

#[test]
fn a_vm_with_more_vcpus_than_its_partition_has_pcpus_is_told_so_and_runs() {
    let stage = stage(&(cp("a", &[2]) + &cp("b", &[3, 4]) + &inside("erp", "a") + &inside("crm", "b")));
    let contention = |name: &str| {
        let status = stage.plan().objects.into_iter().find(|status| status.object.to_string() == name).unwrap();
        status.facts.into_iter().find(|(fact, _)| fact == "contention").map(|(_, said)| said)
    };
    assert_snapshot!(contention("vm/erp").unwrap(), @"its 2 vCPUs wait for each other: its partition has 1 pCPU(s)");
    assert_eq!(contention("vm/crm"), None);
}

#[test]
fn a_vm_prefers_some_of_its_cores_and_other_hands_do_not_change_that() {
    let cores = "cpu: {partition: a, softPins: [{socket: 0, core: 3}]}";
    let mut stage = Stage::new(&(base("") + &cp("a", &[2, 3]) + &vm("web", "  cpu: {partition: a}")));
    stage.converge();
    stage.commit(&(base("") + &cp("a", &[2, 3]) + &vm("web", &format!("  {cores}"))));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [soft affinity all -> 3] (Commit; it is not as declared) now do set-affinity
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    stage.event(&Event::CpupoolMigrate { domain: "web".to_owned(), cpupool: "Pool-0".to_owned() });
    assert_snapshot!(stage.converge(), @" 1 vm/web repair [cpupool Pool-0 -> a] (Drift; its placement was changed outside pinfold) now do move-domain");
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    assert_snapshot!(stage.converge(), @" 1 vm/web start (Drift; it should run and has no domain: destroyed outside pinfold, or its start was cut off) now do create-domain");
    stage.commit(&(base("") + &cp("a", &[2, 3]) + &vm("web", "  cpu: {partition: a}")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [soft affinity 3 -> all] (Commit; it is not as declared) now do set-affinity
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}
