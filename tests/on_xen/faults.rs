//! What cannot be done is a clear condition of its object; the others proceed; nothing is left behind.

use crate::manifests::{partition, vm, vm_with_boot};
use anyhow::{Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, Rig, SITE};

/// Waits until a VM is stalled for a reason, whose sentence holds `words`.
fn until_stalled(rig: &Rig, name: &str, words: &str) -> Result<()> {
    rig.until(&format!("{name} is stalled, and says {words}"), |rig| {
        Ok(rig.status()?.vm_condition(name, "Stalled").is_some_and(|stalled| stalled.contains(words)))
    })
}

#[test]
fn each_fault_is_its_objects_own() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("faults").topology(Topology::TenCores), &rig::programs()?)?;
    rig.lab.run("truncate -s 8M /srv/disks/good.img; truncate -s 8M /srv/disks/shared.img; echo x > /root/secret")?;
    rig.start_daemon()?;
    let kernel = "{kernel: \"/srv/guests/no-such-kernel\"}";
    let outside = "{kernel: \"/root/secret\"}";
    // Xen looks into a kernel only when it builds the domain: what libxl says of this one must reach the condition.
    rig.lab.run("head -c 100000 /dev/urandom > /srv/guests/noise")?;
    let noise = "{kernel: \"/srv/guests/noise\"}";
    rig.commit(
        "some good, some not",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("bridge.yaml", "apiVersion: pinfold.dev/v1alpha1\nkind: Network\nmetadata: {name: dmz}\nspec: {bridge: nobr0}\n"),
            Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3])),
            Change::Write(
                "good.yaml",
                &vm(
                    "good",
                    "  cpu: {partition: oracle-a}\n  disks: [{name: root, target: xvda, path: \"/srv/disks/good.img\"}]\n  nics: [{name: lan0, network: lan}]\n",
                ),
            ),
            Change::Write("no-kernel.yaml", &vm_with_boot("no-kernel", kernel, "")),
            Change::Write("outside.yaml", &vm_with_boot("outside", outside, "")),
            Change::Write("noise.yaml", &vm_with_boot("noise", noise, "")),
            Change::Write("too-big.yaml", &vm("too-big", "  memory: 64Gi\n")),
            Change::Write("no-bridge.yaml", &vm("no-bridge", "  nics: [{name: dmz0, network: dmz}]\n")),
            Change::Write(
                "no-disk.yaml",
                &vm("no-disk", "  disks: [{name: root, target: xvda, path: \"/srv/disks/none.img\"}]\n"),
            ),
        ],
    )?;
    until_stalled(&rig, "no-kernel", "/srv/guests/no-such-kernel")?;
    until_stalled(&rig, "outside", "allowPaths")?;
    until_stalled(&rig, "too-big", "NotEnoughMemory")?;
    until_stalled(&rig, "no-bridge", "nobr0")?;
    until_stalled(&rig, "no-disk", "/srv/disks/none.img")?;
    until_stalled(&rig, "noise", "libxl")?;
    rig.until("good runs", |rig| {
        Ok(rig.status()?.vm_condition("good", "Ready").is_some_and(|ready| ready.starts_with("True")))
    })?;
    let domains = rig.lab.run("xl list | awk 'NR>2 {print $1}'")?;
    ensure!(domains.trim() == "good", "only good may have a domain:\n{domains}");
    let loops = rig.lab.run("losetup -a | wc -l")?;
    ensure!(loops.trim() == "1", "a failed create left a loop device:\n{}", rig.lab.run("losetup -a")?);

    // Its console would be lost with the console daemon.
    rig.lab.wait_for_guest("good", 1, rig::PATIENCE)?;

    // A console daemon that died: the create fails after libxl's own patience, says so, and comes right when it is back.
    rig.lab.run("pkill -KILL xenconsoled")?;
    rig.commit("late", &[Change::Write("late.yaml", &vm("late", ""))])?;
    until_stalled(&rig, "late", "console")?;
    rig.lab.run("/usr/lib/xen-4.17/bin/xenconsoled || xenconsoled")?;
    rig.until("late runs", |rig| {
        Ok(rig.status()?.vm_condition("late", "Ready").is_some_and(|ready| ready.starts_with("True")))
    })?;

    // Nothing of the good guest was touched by all this.
    let boots = rig.lab.guest_boots("good")?;
    ensure!(boots == 1, "good booted {boots} times");
    Ok(())
}
