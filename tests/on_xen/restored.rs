//! A guest of pinfold's that somebody saves and restores with `xl` comes back with pinfold's mark, since libxl keeps that in the file. It is the
//! guest that runs and no wreckage: it runs on, and is pinfold's again once somebody approved the claim.

use crate::manifests::vm;
use anyhow::{Result, ensure};
use lab::Lab;
use rig::{Change, PATIENCE, Rig, SITE};

#[test]
fn a_guest_that_xl_restored_runs_on() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("restored"), &rig::programs()?)?;
    rig.start_daemon()?;
    let commit = rig.commit("a VM", &[Change::Write("base.yaml", SITE), Change::Write("web.yaml", &vm("web", ""))])?;
    rig.lab.wait_for_guest("web", 1, PATIENCE)?;
    rig.until_converged(&commit)?;
    rig.lab.type_in_guest("web", "was=undisturbed")?;

    rig.pinfold("freeze vm/web --for 1h --reason 'its disks move'")?.ok()?;
    rig.lab.run("xl save web /srv/web.save && xl restore /srv/web.save")?;
    let restored = rig.lab.run("xl domid web")?;
    rig.pinfold("unfreeze vm/web")?.ok()?;
    rig.until("a claim is held", |rig| Ok(rig.pinfold("plan")?.stdout.contains("claim     live")))?;
    let plan = rig.pinfold("plan")?.stdout;
    ensure!(plan.contains("bears its mark, and another tool made it") && !plan.contains("clean up"), "{plan}");
    let plan: serde_json::Value = serde_json::from_str(&rig.pinfold("plan -o json")?.stdout)?;
    let items = plan["plan"]["items"].as_array().cloned().unwrap_or_default();
    ensure!(items.len() == 1 && items[0]["changes"] == serde_json::json!([]), "{items:#?}");

    let id = items[0]["id"].as_str().unwrap_or_default();
    rig.pinfold(&format!("approve {id} --reason 'it was me'"))?.ok()?;
    rig.until_converged(&commit)?;
    ensure!(rig.lab.run("xl domid web")? == restored, "it is another domain");
    ensure!(
        !rig.lab.sh("ls -l /proc/[0-9]*/fd/1 2>/dev/null | grep -q /var/log/xen/xl-")?.success(),
        "`xl` watches it"
    );
    rig.lab.type_in_guest("web", "echo it was $was")?;
    rig.until("its guest is the same", |rig| Ok(rig.lab.guest_console("web")?.contains("it was undisturbed")))?;
    ensure!(rig.lab.guest_boots("web")? == 1, "it booted again");
    Ok(())
}
