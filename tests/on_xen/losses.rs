//! The host loses what pinfold stands on, the space for its state and then xenstored: it says so, guests run on, and nothing is done twice
//! or on a guess.

use crate::disk;
use crate::manifests::vm;
use anyhow::{Context, Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, Rig, SITE};
use serde_json::Value;

/// Where the guest that nothing may disturb answers, also when nobody can ask Xen's tools for it.
const ADDRESS: &str = "192.168.77.11";

#[test]
fn a_full_disk_and_a_lost_xenstored_touch_no_guest() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("losses").topology(Topology::TenCores), &rig::programs()?)?;
    disk::make(&rig)?;
    rig.start_daemon()?;
    let net = vm("steady", "  nics: [{name: lan0, network: lan}]\n");
    let net = net.replace("console=hvc0", &format!("console=hvc0 pf.ip={ADDRESS}/24"));
    let commit = rig.commit(
        "a guest that runs on, and one that ends",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("steady.yaml", &net),
            Change::Write("ends.yaml", &vm("ends", "")),
        ],
    )?;
    rig.until_converged(&commit)?;
    rig.until("steady answers", answers)?;
    full_disk(&rig)?;
    lost_xenstored(&rig)
}

fn answers(rig: &Rig) -> Result<bool> {
    Ok(rig.lab.sh(&format!("ping -c 1 -W 5 {ADDRESS}"))?.success())
}

/// Nothing can be written: a guest that ended is not started again, because its record could not say so. A commit is not taken over.
fn full_disk(rig: &Rig) -> Result<()> {
    let steady = rig.lab.run("xl domid steady")?;
    disk::fill(rig)?;
    rig.lab.run("xl destroy ends")?;
    let commit = rig.commit("one more", &[Change::Write("late.yaml", &vm("late", ""))])?;
    rig.until("it says that there is no space", |rig| {
        // As the object's condition, or as the operation's whose outcome cannot be written: `xl destroy` was seen half-way.
        Ok(rig.status()?.json().to_string().contains("free some space"))
    })?;
    let domains = rig.lab.run("xl list | awk 'NR > 2 {print $1}'")?;
    ensure!(domains == "steady\n", "{domains}");

    disk::free(rig)?;
    rig.until_converged(&commit)?;
    let domains = rig.lab.run("xl list | awk 'NR > 2 {print $1}' | sort")?;
    ensure!(domains == "ends\nlate\nsteady\n", "{domains}");
    ensure!(rig.lab.run("xl domid steady")? == steady && rig.lab.guest_boots("steady")? == 1, "steady was touched");
    Ok(())
}

/// Everything is unknown, so nothing is planned, whatever is pushed. Guests do not need xenstored to go on.
fn lost_xenstored(rig: &Rig) -> Result<()> {
    rig.lab.run("kill -9 $(pidof oxenstored xenstored)")?;
    rig.until("the host says XenstoreLost", |rig| {
        let status = rig.status()?;
        let host = status.object("host", "xen1").context("the host is shown")?;
        Ok(host["conditions"].to_string().contains("XenstoreLost"))
    })?;
    let commit = rig.commit(
        "steady goes, and another comes",
        &[Change::Remove("steady.yaml"), Change::Write("never.yaml", &vm("never", ""))],
    )?;
    rig.until("the commit is in force", |rig| Ok(rig.status()?.commit() == Some(&commit)))?;
    // Started again it knows nothing, and a host whose marks are gone is no host without guests.
    rig.lab.run("rm -f /run/xenstored/*; (oxenstored || xenstored); sleep 1; /usr/lib/xen-4.17/bin/xen-init-dom0")?;
    rig.kill_daemon()?;
    rig.start_daemon()?;
    let status = rig.status()?;
    ensure!(status.json().to_string().contains("XenstoreLost"), "{}", status.json());
    let plan: Value = serde_json::from_str(&rig.pinfold("plan -o json")?.ok()?)?;
    ensure!(plan["plan"]["items"].as_array().is_some_and(Vec::is_empty), "{plan}");
    ensure!(status.json()["operations"].as_array().is_some_and(Vec::is_empty), "{}", status.json());
    ensure!(answers(rig)?, "steady does not run any more");
    Ok(())
}
