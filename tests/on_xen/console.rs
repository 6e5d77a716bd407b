//! A person at a guest's console, and what the guest uses: from before its first boot to its end, on real terminals of a real xenconsoled.

use crate::manifests::{vm, vm_with_boot};
use anyhow::{Context, Result, ensure};
use lab::{Lab, Topology, steadily};
use rig::{Change, Rig, SITE};

/// Starts a console in dom0 whose keys come through a pipe that stays open, and whose exit code is kept.
fn sit(rig: &Rig, name: &str, command: &str) -> Result<()> {
    rig.lab.run(&format!("mkfifo /run/{name}.keys"))?;
    rig.lab.spawn(&format!("exec sleep 100000 >/run/{name}.keys"), "/dev/null")?;
    rig.lab.spawn(
        &format!("{command} </run/{name}.keys >/run/{name}.out 2>/run/{name}.err; echo $? >/run/{name}.code"),
        "/dev/null",
    )?;
    Ok(())
}

fn types(rig: &Rig, name: &str, line: &str) -> Result<()> {
    rig.lab.run(&format!("echo '{line}' >/run/{name}.keys")).map(drop)?;
    Ok(())
}

fn text(rig: &Rig, file: &str) -> Result<String> {
    Ok(rig.lab.run(&format!("cat /run/{file} 2>/dev/null || true"))?)
}

fn until(rig: &Rig, file: &str, what: &str, times: usize) -> Result<()> {
    let seen = |rig: &Rig| Ok(text(rig, file)?.matches(what).count() >= times);
    rig.until(&format!("`{what}` stands in {file}"), seen).with_context(|| text(rig, file).unwrap_or_default())
}

#[test]
fn a_console_from_before_the_boot_to_the_end() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("console").topology(Topology::TenCores), &rig::programs()?)?;
    rig.start_daemon()?;
    rig.lab.run("truncate -s 16M /srv/disks/web.img")?;
    let devices =
        "  disks: [{name: root, target: xvda, path: \"/srv/disks/web.img\"}]\n  nics: [{name: lan0, network: lan}]\n";
    let off = vm("web", &format!("  power: stopped\n{devices}"));
    let commit = rig.commit("web is off", &[Change::Write("base.yaml", SITE), Change::Write("web.yaml", &off)])?;
    rig.until_converged(&commit)?;
    sit(&rig, "web", "pinfold console vm/web")?;
    until(&rig, "web.err", "vm/web: off", 1)?;

    let commit = rig.commit("web is on", &[Change::Write("web.yaml", &vm("web", devices))])?;
    until(&rig, "web.out", "pinfold-guest up", 1)?;
    let printed = text(&rig, "web.out")?;
    ensure!(printed.find("Linux version").is_some_and(|at| at < 2000), "its first words are missing: {printed:.2000}");
    types(&rig, "web", "echo typed-$((40 + 2))")?;
    until(&rig, "web.out", "typed-42", 1)?;
    rig.until_converged(&commit)?;
    used(&rig)?;
    refused(&rig)?;

    types(&rig, "web", "reboot")?;
    until(&rig, "web.err", ": reboot; ", 1)?;
    until(&rig, "web.out", "pinfold-guest up", 2)?;
    types(&rig, "web", "poweroff")?;
    until(&rig, "web.code", "\n", 1)?;
    let (said, code) = (text(&rig, "web.err")?, text(&rig, "web.code")?);
    ensure!(code == "0\n", "it ended with {code}: {said}");
    ensure!(said.matches("attached to domain").count() == 2, "{said}");
    ensure!(said.contains(": poweroff; "), "{said}");
    ensure!(said.trim_end().lines().last().is_some_and(|last| last.contains("vm/web: off: off by guest")), "{said}");
    Ok(())
}

/// A serial port that QEMU stands behind, of another QEMU after a reset.
#[test]
fn a_console_of_a_pc() -> Result<()> {
    steadily(of_a_pc)
}

fn of_a_pc() -> Result<()> {
    let lab = Lab::builder().name("console-of-a-pc").topology(Topology::TenCores).parallel();
    let rig = &Rig::boot(lab, &rig::programs()?)?;
    rig.start_daemon()?;
    rig.lab.run("cp /srv/guests/pc.img /srv/disks/pc.img")?;
    let disk = "  type: hvm\n  disks: [{name: root, target: hda, path: \"/srv/disks/pc.img\"}]\n";
    let pc = vm_with_boot("pc", "{order: [disk]}", disk);
    let commit = rig.commit("a PC", &[Change::Write("base.yaml", SITE), Change::Write("pc.yaml", &pc)])?;
    rig.until_converged(&commit)?;
    sit(rig, "pc", "pinfold console vm/pc")?;
    until(rig, "pc.out", "pinfold-guest up", 1)?;
    types(rig, "pc", "reboot")?;
    until(rig, "pc.err", ": reboot; ", 1)?;
    until(rig, "pc.err", "attached to domain", 2)?;
    let before = text(rig, "pc.out")?.matches("pinfold-guest up").count();
    until(rig, "pc.out", "pinfold-guest up", before + 1)?;
    types(rig, "pc", "poweroff")?;
    until(rig, "pc.code", "0\n", 1)
}

/// What `top` says of a guest with a disk and a NIC, beside what dom0's kernel says.
fn used(rig: &Rig) -> Result<()> {
    types(rig, "web", "head -c 1048576 /dev/xvda | wc -c")?;
    until(rig, "web.out", "\r\n1048576\r\n", 1)?;
    let top = rig.pinfold("top -n 1 --interval 5s -o json")?.ok()?;
    let top: serde_json::Value = serde_json::from_str(&top)?;
    let items = top["items"].as_array().context("items")?;
    let of = |name: &str| items.iter().find(|item| item["name"] == name).with_context(|| format!("no {name} in {top}"));
    let (web, dom0) = (of("web")?, of("Domain-0")?);
    for rate in ["cpuPercent", "diskReadBytesPerSecond", "networkReceivedBytesPerSecond", "networkSentBytesPerSecond"] {
        ensure!(web[rate].as_f64().is_some_and(|rate| rate >= 0.0), "{rate}: {web}");
    }
    ensure!(dom0["cpuPercent"].as_f64().is_some_and(|rate| rate > 0.0), "{dom0}");
    let domid = rig.lab.run("xl domid web")?;
    let sectors: u64 = rig
        .lab
        .run(&format!("cat /sys/bus/xen-backend/devices/vbd-{}-*/statistics/rd_sect", domid.trim()))?
        .trim()
        .parse()?;
    let read = web["disks"]["readBytes"].as_u64().context("disks")?;
    ensure!(
        (1_048_576..=sectors * 512).contains(&read),
        "{read} bytes; the kernel has counted {sectors} sectors since: {web}"
    );
    Ok(())
}

/// Where there is no console to be had, it is said at once.
fn refused(rig: &Rig) -> Result<()> {
    let refuses = |what: &str, why: &str| -> Result<()> {
        let said = rig.pinfold(&format!("console {what} </dev/null"))?;
        ensure!(!said.success() && said.stderr.contains(why), "{what}: {}{}", said.stdout, said.stderr);
        Ok(())
    };
    refuses("vm/nobody", "there is no vm/nobody")?;
    refuses("vm/web", "has been attached to this console")?;
    // Somebody is there with another tool: neither takes the other's words.
    let commit = rig.commit("another guest", &[Change::Write("other.yaml", &vm("other", ""))])?;
    rig.until_converged(&commit)?;
    sit(rig, "other", "xl console other")?;
    rig.until("xl console is there", |rig| Ok(rig.lab.sh("pgrep xenconsole$")?.success()))?;
    refuses("vm/other", "`xenconsole`")?;
    rig.lab.run("pkill xenconsole$").map(drop)?;
    Ok(())
}
