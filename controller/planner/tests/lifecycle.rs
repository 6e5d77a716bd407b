//! From a commit to running domains and back, pass by pass, on a simulated host.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, vm, vm_sized};
use insta::assert_snapshot;
use sim::Event;

fn in_partition(name: &str) -> String {
    vm_sized(name, "2", "128Mi", "  cpu: {partition: oracle-a}\n  nics: [{name: lan0, network: lan}]")
}

#[test]
fn a_partition_and_a_vm_in_it_come_into_being_stop_and_go() {
    let all = base("") + &cp("oracle-a", &[2, 3]) + &in_partition("erp") + &vm("web", "");
    let mut stage = Stage::new(&all);
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    + cp/oracle-a              create    create      commit    now
        because it has no cpupool yet
        + spec.cores  0.2, 0.3
    + vm/erp                   create    create      commit    waiting
        because it is declared and does not exist yet
        waits: cp/oracle-a: its cpupool is being shaped
        + spec.type               pvh
        + spec.power              running
        + spec.restart            on-failure
        + spec.vcpus.online       2
        + spec.vcpus.max          2
        + spec.memory.target      128Mi
        + spec.memory.max         128Mi
        + spec.cpu.partition      oracle-a
        + spec.cpu.weight         256
        + spec.cpu.cap            0
        + spec.shutdown.timeout   60s
        + spec.boot.kernel        /srv/vmlinuz
        + spec.nics[lan0].device  0
        + spec.nics[lan0].mac     5a:b5:14:55:26:33
        + spec.nics[lan0].bridge  xenbr0
    + vm/web                   create    create      commit    now
        because it is declared and does not exist yet
        + spec.type              pvh
        + spec.power             running
        + spec.restart           on-failure
        + spec.vcpus.online      1
        + spec.vcpus.max         1
        + spec.memory.target     128Mi
        + spec.memory.max        128Mi
        + spec.cpu.weight        256
        + spec.cpu.cap           0
        + spec.shutdown.timeout  60s
        + spec.boot.kernel       /srv/vmlinuz
    3 to create, 0 to change, 0 to remove or stop. 2 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 cp/oracle-a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool
    1 vm/web create (Commit; it is declared and does not exist yet) now do create-domain
    2 vm/erp create (Commit; it is declared and does not exist yet) now do create-domain
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    domain web Running pool 0 hard 0-9
    domain erp Running pool 1 hard 2-3 2-3
    ");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: running
      Ready True AsDeclared: as commit c10000000000 says
    ");

    stage.commit(&(base("") + &cp("oracle-a", &[2, 3]) + &in_partition("erp") + "  power: stopped\n" + &vm("web", "")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp stop [spec.power running -> stopped] (Commit; it should be stopped) now do shutdown-domain
    3 vm/erp stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    ");

    stage.commit(&all);
    stage.converge();
    stage.commit(&(base("") + &vm("web", "")));
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    - vm/erp                   delete    delete      commit    now
        because nothing declares it any more; its record goes to the trash for 14 days; it has no disks
    - cp/oracle-a              delete    delete      commit    waiting
        because nothing declares it any more
        waits: domain erp (domid 3) leaves its cpupool
    0 to create, 0 to change, 2 to remove or stop. 1 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    3 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    4 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    4 cp/oracle-a delete (Commit; nothing declares it any more) now do destroy-cpupool
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-9
    domain web Running pool 0 hard 0-9
    ");
}

#[test]
fn a_host_boot_brings_everything_back_without_a_commit() {
    let mut stage = Stage::new(&(base("") + &cp("oracle-a", &[2, 3]) + &in_partition("erp") + &vm("web", "")));
    stage.converge();
    stage.desired = None;
    stage.event(&Event::PowerLoss);
    assert_snapshot!(stage.converge(), @r"
    1 cp/oracle-a create [cpupool.cpus 2-3] (HostBoot; the host booted, and cpupools do not survive that) now do shape-cpupool
    1 vm/web start (HostBoot; the host booted) now do create-domain
    2 vm/erp start (HostBoot; the host booted) now do create-domain
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    domain web Running pool 0 hard 0-9
    domain erp Running pool 1 hard 2-3 2-3
    ");
}
