//! A dom0 that owns all memory is one condition with the boot line to set, not a row of failed creations.

use crate::manifests::vm;
use anyhow::{Result, ensure};
use lab::Lab;
use rig::{Change, Rig, SITE};

#[test]
fn a_dom0_that_owns_all_memory_is_told_once() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("dom0-memory").dom0_owns_all_memory(), &rig::programs()?)?;
    rig.start_daemon()?;
    let commit = rig.commit(
        "two guests",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("a.yaml", &vm("a", "")),
            Change::Write("b.yaml", &vm("b", "")),
        ],
    )?;
    rig.until("the host is stalled", |rig| {
        let status = rig.status()?;
        let stalled = status.condition("host", "xen1", "Stalled");
        Ok(status.commit() == Some(&commit)
            && stalled.is_some_and(|stalled| stalled.starts_with("True Dom0OwnsMemory")))
    })?;
    let status = rig.status()?;
    let stalled = status.condition("host", "xen1", "Stalled").unwrap_or_default();
    ensure!(stalled.contains("dom0_mem="), "the boot line is not named: {stalled}");
    for name in ["a", "b"] {
        let ready = status.vm_condition(name, "Ready").unwrap_or_default();
        ensure!(ready.starts_with("False"), "{name} is {ready}");
    }
    let domains = rig.lab.run("xl list | tail -n +3; ls /var/log/xen | grep -c xl- || true")?;
    ensure!(domains.trim() == "0", "something was created:\n{domains}");
    let failed = rig.pinfold("events -o json")?.ok()?;
    ensure!(!failed.contains("create-domain"), "a creation was tried:\n{failed}");
    Ok(())
}
