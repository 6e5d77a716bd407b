//! A host reboots, loses its power, loses git: pools, pins and VMs come back, with no commit and no network.

use crate::manifests::{partition, vm};
use anyhow::{Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, Rig, SITE};

/// Pool, hard affinity and domid-free facts of every vCPU of our guests, as `xl` sees them.
fn placement(rig: &Rig) -> Result<String> {
    Ok(rig.lab.run(
        "xl list -c | awk 'NR>2 {print $1, $NF}' | sort; xl vcpu-list | awk 'NR>1 && $1 != \"Domain-0\" {print $1, $3, $7}' | sort; \
         xl cpupool-list -c | sort",
    )?)
}

#[test]
fn a_host_comes_back_without_git() -> Result<()> {
    let mut rig = Rig::boot(Lab::builder().name("host-day").topology(Topology::TenCores), &rig::programs()?)?;
    rig.start_daemon()?;
    let commit = rig.commit(
        "a partition, a guest in it, a guest outside, one that is off",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3])),
            Change::Write("db.yaml", &vm("db", "  cpu: {partition: oracle-a, weight: 512}\n")),
            Change::Write("web.yaml", &vm("web", "  cpu: {pins: [{socket: 0, core: 1}]}\n")),
            Change::Write("own-will.yaml", &vm("own-will", "")),
        ],
    )?;
    rig.until_converged(&commit)?;
    // One switches itself off, and stays off: across the reboot too.
    rig.lab.type_in_guest("own-will", "poweroff")?;
    rig.until("own-will is off by its own will", |rig| {
        Ok(rig.lab.run("xl list")?.lines().all(|line| !line.starts_with("own-will")))
    })?;
    let before = placement(&rig)?;

    // The repository is away from now on.
    rig.lab.run("mv /srv/config.git /srv/gone.git && sync")?;
    rig.lab.reboot()?;
    rig.spawn_daemon("")?;
    rig.until("everything is back after a reboot", |rig| Ok(placement(rig)? == before))?;
    let status = rig.status()?;
    ensure!(status.commit() == Some(commit.as_str()), "the commit in force is {:?}", status.commit());

    rig.lab.power_loss()?;
    rig.spawn_daemon("")?;
    rig.until("everything is back after a loss of power", |rig| Ok(placement(rig)? == before))?;

    // Stopping and killing the daemon touches no guest.
    let domids = rig.lab.run("xl list | awk 'NR>2 {print $1, $2}' | sort")?;
    rig.kill_daemon()?;
    rig.start_daemon()?;
    rig.until("the daemon has looked", |rig| Ok(rig.status()?.all_ready()))?;
    ensure!(rig.lab.run("xl list | awk 'NR>2 {print $1, $2}' | sort")? == domids, "a guest was restarted");
    Ok(())
}
