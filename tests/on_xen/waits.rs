//! What pinfold waits for on real Xen without doing anything by force: a disk that a guest may have mounted, a frozen partition, a host that is only observed.

use crate::manifests::{partition, vm};
use anyhow::{Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, Rig, SITE};

const IN_PARTITION: &str = "  cpu: {partition: oracle-a}\n";
const DISK: &str = "  disks: [{name: data, target: xvdb, path: \"/srv/disks/data.img\"}]\n";

#[test]
fn nothing_is_done_by_force() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("waits").topology(Topology::TenCores), &rig::programs()?)?;
    rig.lab.run("truncate -s 8M /srv/disks/data.img")?;
    rig.start_daemon()?;
    let commit = rig.commit(
        "a VM in a partition",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3])),
            Change::Write("web.yaml", &vm("web", &format!("{IN_PARTITION}{DISK}"))),
        ],
    )?;
    rig.until_converged(&commit)?;
    let domid = rig.lab.run("xl domid web")?;
    held_disk(&rig)?;
    frozen_partition(&rig)?;
    observed_host(&rig)?;
    ensure!(rig.lab.run("xl domid web")? == domid && rig.lab.guest_boots("web")? == 1, "the guest was disturbed");
    Ok(())
}

/// Its removal waits until somebody says that the guest does not need it: Linux would let go of it at once, open or not.
fn held_disk(rig: &Rig) -> Result<()> {
    rig.lab.type_in_guest("web", "exec 3<>/dev/xvdb && echo it is held")?;
    rig.until("the guest holds its disk", |rig| Ok(rig.lab.guest_console("web")?.contains("\nit is held")))?;
    let commit = rig.commit("no disk", &[Change::Write("web.yaml", &vm("web", IN_PARTITION))])?;
    rig.until("its removal is held", |rig| {
        let held = rig.status()?.vm_condition("web", "Held").unwrap_or_default();
        Ok(rig.status()?.commit() == Some(&commit) && held.contains("unmount it"))
    })?;
    let disks = || rig.lab.run("xl block-list web | awk 'NR > 1 {print $1}'");
    ensure!(disks()? == "51728\n", "xvdb was taken away: {}", disks()?);
    rig.lab.type_in_guest("web", "echo it still works >&3 && sync && exec 3<&- && echo it is free")?;
    rig.until("the guest has written to it", |rig| Ok(rig.lab.guest_console("web")?.contains("\nit is free")))?;
    rig.approve_vm("web")?;
    rig.until_converged(&commit)?;
    ensure!(disks()?.is_empty(), "{}", disks()?);
    let written = rig.lab.run("head -c 14 /srv/disks/data.img")?;
    ensure!(written == "it still works", "{written}");
    Ok(())
}

/// Its cores stay, and those of its VMs, whatever a commit says and whoever moves them.
fn frozen_partition(rig: &Rig) -> Result<()> {
    rig.pinfold("freeze cp/oracle-a --for 1h --reason 'an audit'")?.ok()?;
    let commit = rig.commit("one core more", &[Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3, 4]))])?;
    rig.lab.run("xl vcpu-pin web 0 3")?;
    rig.until("both wait", |rig| {
        let plan = rig.pinfold("plan")?.stdout;
        Ok(rig.status()?.commit() == Some(&commit) && plan.contains("cp/oracle-a") && plan.contains("vm/web"))
    })?;
    let status = rig.status()?;
    for (kind, name) in [("core-partition", "oracle-a"), ("virtual-machine", "web")] {
        let frozen = status.condition(kind, name, "Frozen").unwrap_or_default();
        ensure!(frozen.contains("an audit"), "{kind} {name} is not shown as frozen: {}", rig.story());
    }
    let cores = || rig.lab.run("xl cpupool-list -c oracle-a | awk 'NR == 2 {print $2}'");
    let pin = || rig.lab.run("xl vcpu-list web | awk 'NR == 2 {print $7}'");
    ensure!((cores()?.trim(), pin()?.trim()) == ("2,3", "3"), "{} {}", cores()?, pin()?);
    rig.pinfold("unfreeze cp/oracle-a")?.ok()?;
    rig.until_converged(&commit)?;
    ensure!((cores()?.trim(), pin()?.trim()) == ("2,3,4", "2-4"), "{} {}", cores()?, pin()?);
    Ok(())
}

/// What a commit says and what another hand did is shown, and nothing is done.
fn observed_host(rig: &Rig) -> Result<()> {
    let observed = SITE.replace("spec: {pool: lab,", "spec: {pool: lab, mode: observe,");
    ensure!(observed != SITE, "the host's manifest has another form");
    let heavy = vm("web", "  cpu: {partition: oracle-a, weight: 900}\n");
    let commit = rig.commit("look on", &[Change::Write("base.yaml", &observed), Change::Write("web.yaml", &heavy)])?;
    rig.until("the commit is in force", |rig| Ok(rig.status()?.commit() == Some(&commit)))?;
    rig.lab.run("xl sched-credit2 -d web -c 50")?;
    rig.until("it is shown", |rig| {
        let plan = rig.pinfold("plan")?.stdout;
        Ok(plan.contains("256 -> 900") && plan.contains("50 -> 0"))
    })?;
    // A daemon that starts does nothing either.
    rig.kill_daemon()?;
    rig.start_daemon()?;
    rig.until("it looked", |rig| Ok(rig.pinfold("plan")?.stdout.contains("256 -> 900")))?;
    let share = || rig.lab.run("xl sched-credit2 -d web");
    ensure!(share()?.contains("256") && share()?.contains("50"), "{}", share()?);
    let commit = rig.commit("enforce", &[Change::Write("base.yaml", SITE)])?;
    rig.until_converged(&commit)?;
    ensure!(share()?.contains("900") && !share()?.contains("50"), "{}", share()?);
    Ok(())
}
