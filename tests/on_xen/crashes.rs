//! A guest that crashes at each of its starts: the pauses grow and are said, its last crash is kept, what happens while no daemon runs counts
//! as well, and a commit that mends it ends the waiting.

use crate::manifests::{vm, vm_with_boot};
use anyhow::{Result, ensure};
use lab::Lab;
use rig::{Change, Rig, SITE};

const CRASHES: &str = "{kernel: \"/srv/guests/vmlinuz\", ramdisk: \"/srv/guests/initrd.gz\", cmdline: \"console=hvc0 pf.do=crash pf.after=2\"}";

#[test]
fn a_crash_loop_is_told_and_ends_with_a_commit() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("crashes"), &rig::programs()?)?;
    rig.configure("coreDumpQuota: 1Gi\n")?;
    rig.start_daemon()?;
    let web = vm_with_boot("web", CRASHES, "  crashDumps: 1\n");
    rig.commit("a VM that crashes", &[Change::Write("base.yaml", SITE), Change::Write("web.yaml", &web)])?;
    let before = until_crashed(&rig, 2)?;
    let first = dumps(&rig)?;
    ensure!(first.lines().count() == 1, "one crash is kept: {first}");

    // The next one happens while nobody looks.
    rig.until("it is started again", |rig| Ok(rig.lab.sh("xl domid web")?.success()))?;
    rig.kill_daemon()?;
    rig.until("it crashed", |rig| Ok(rig.lab.run("xl list | awk '$1 == \"web\" {print $5}'")?.contains('c')))?;
    rig.start_daemon()?;
    until_crashed(&rig, before + 1)?;
    let second = dumps(&rig)?;
    ensure!(second.lines().count() == 1 && second != first, "the last crash is kept, and no other: {first}{second}");
    ensure!(rig.pinfold("why vm/web")?.stdout.contains("CrashLoop"), "{}", rig.story());

    let commit = rig.commit("mended", &[Change::Write("web.yaml", &vm("web", "  crashDumps: 1\n"))])?;
    rig.until_converged(&commit)?;
    ensure!(dumps(&rig)? == second, "its last crash is kept while it runs");
    let stalled = rig.status()?.vm_condition("web", "Stalled");
    ensure!(stalled.is_none_or(|stalled| !stalled.starts_with("True")), "{}", rig.story());
    Ok(())
}

/// Waits until it is said that its guest crashed so often in a row, or more: while it waits for its next start, the pause is told.
fn until_crashed(rig: &Rig, times: u32) -> Result<u32> {
    let mut told = 0;
    rig.until(&format!("{times} crashes are told"), |rig| {
        let stalled = rig.status()?.vm_condition("web", "Stalled").unwrap_or_default();
        let number =
            stalled.split_once("CrashLoop: its guest ended with `crash`, ").and_then(|(_, rest)| rest.split_once(' '));
        told = number.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
        Ok(told >= times)
    })?;
    Ok(told)
}

fn dumps(rig: &Rig) -> Result<String> {
    Ok(rig.lab.run("ls /var/lib/pinfold/storage/*/crashes")?)
}
