//! A guest that somebody made with `xl` becomes pinfold's while it runs on: adopted, claimed, and from then on brought back by pinfold alone. And the configurations
//! that Debian brings for `xl` become manifests.

use anyhow::{Result, ensure};
use lab::{Lab, QUICK_LINUX};
use rig::{Change, PATIENCE, Rig, SITE};

const THEIRS: &str = "name='theirs'\ntype='pv'\nvcpus=2\nmaxvcpus=3\nmemory=96\nmaxmem=128\nkernel='/srv/guests/vmlinuz'\nramdisk='/srv/guests/initrd.gz'\n\
    cmdline='console=hvc0'\ncpus='1'\ncpu_weight=300\non_crash='restart'\n\
    disk=['/srv/disks/theirs.img,raw,xvda,rw']\nvif=['mac=00:16:3e:4d:10:01,bridge=xenbr0']\n";

#[test]
fn a_guest_of_xl_becomes_pinfolds_while_it_runs() -> Result<()> {
    let rig = Rig::boot(Lab::builder().name("adoption"), &rig::programs()?)?;
    debians_examples(&rig)?;
    rig.write("/srv/theirs.cfg", &THEIRS.replace("console=hvc0", &format!("console=hvc0 {QUICK_LINUX}")))?;
    rig.lab.run("truncate -s 8M /srv/disks/theirs.img; xl create /srv/theirs.cfg; xl create /srv/theirs.cfg name=\\\"stays\\\" disk=[] vif=[]")?;
    rig.lab.wait_for_guest("theirs", 1, PATIENCE)?;
    rig.lab.type_in_guest("theirs", "was=undisturbed")?;
    let domid = rig.lab.run("xl domid theirs")?;
    ensure!(monitors(&rig)? == 2, "`xl create` leaves a process for each domain");
    rig.start_daemon()?;
    let base = rig.commit("the site", &[Change::Write("base.yaml", SITE)])?;
    rig.until_converged(&base)?;

    // What adopt writes validates beside what is there, and its claim changes nothing.
    let adopted = rig.pinfold("adopt theirs --write /root/config")?;
    ensure!(adopted.success(), "{}{}", adopted.stdout, adopted.stderr);
    ensure!(!adopted.stderr.contains("not carried over"), "{}", adopted.stderr);
    let manifest = rig.lab.run("cat /root/config/vms/theirs.yaml")?;
    ensure!(manifest.contains("mac: \"00:16:3e:4d:10:01\"") && manifest.contains("pins:"), "{manifest}");
    let commit = rig.commit("theirs, as it is", &[])?;
    rig.until("the claim is held", |rig| Ok(rig.pinfold("plan")?.stdout.contains("claim     live")))?;
    let plan = rig.pinfold("plan -o json")?.ok()?;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    let items = plan["plan"]["items"].as_array().cloned().unwrap_or_default();
    ensure!(
        items.len() == 1 && items[0]["changes"] == serde_json::json!([]),
        "the claim would change something: {items:#?}"
    );
    ensure!(monitors(&rig)? == 2, "nothing is done before somebody approves");

    let id = items[0]["id"].as_str().unwrap_or_default();
    rig.pinfold(&format!("approve {id} --reason 'it is ours now'"))?.ok()?;
    rig.until_converged(&commit)?;
    let plan = rig.pinfold("plan")?.ok()?;
    ensure!(plan.contains("Nothing to do."), "after the claim the plan is not empty:\n{plan}");
    ensure!(monitors(&rig)? == 1, "the process of `xl` for `theirs` is gone, and that for `stays` is not");
    ensure!(rig.lab.run("xl domid theirs")? == domid, "it is another domain");
    rig.lab.type_in_guest("theirs", "echo it was $was")?;
    rig.until("its guest is the same", |rig| Ok(rig.lab.guest_console("theirs")?.contains("it was undisturbed")))?;
    ensure!(rig.lab.guest_boots("theirs")? == 1, "it booted again");

    // Now pinfold brings it back, once.
    rig.lab.type_in_guest("theirs", "reboot")?;
    rig.lab.wait_for_guest("theirs", 2, PATIENCE)?;
    rig.until_converged(&commit)?;
    ensure!(rig.lab.run("xl list | grep -c theirs")?.trim() == "1", "two domains");
    ensure!(rig.lab.run("xl domid theirs")? != domid, "it is the same domain");
    ensure!(monitors(&rig)? == 1, "pinfold's domains have no process of `xl`");

    // What other hands change is told with who was there: here what watches the other domain.
    rig.lab.run("xl vcpu-pin theirs all all")?;
    rig.until("the drift is told, and who was there", |rig| {
        let told: serde_json::Value = serde_json::from_str(&rig.pinfold("events -o json")?.ok()?)?;
        let is_it = |event: &serde_json::Value| {
            event["reason"] == "DriftSeen"
                && event["message"].as_str().is_some_and(|said| said.contains("`xl create` (pid "))
        };
        Ok(told["items"].as_array().into_iter().flatten().any(is_it))
    })?;
    rig.until_converged(&commit)
}

/// How many processes of `xl` watch domains.
fn monitors(rig: &Rig) -> Result<usize> {
    Ok(rig.lab.run("ls -l /proc/[0-9]*/fd/1 2>/dev/null | grep -c /var/log/xen/xl- || true")?.trim().parse()?)
}

/// The files of Debian's package xen-utils-common, where they lie in dom0.
fn debians_examples(rig: &Rig) -> Result<()> {
    let said = rig.pinfold("import xl /etc/xen/xlexample.pvlinux /etc/xen/xlexample.pvhlinux --host xen1")?;
    ensure!(said.success(), "{}", said.stderr);
    for part in [
        "name: example-pvlinux",
        "name: example-pvhlinux",
        "path: \"/dev/vg/guest-volume\"",
        "cmdline: \"root=/dev/xvda1\"",
    ] {
        ensure!(said.stdout.contains(part), "`{part}` is missing:\n{}\n{}", said.stdout, said.stderr);
    }
    ensure!(!said.stderr.contains("not carried over"), "{}", said.stderr);
    let hvm = rig.pinfold("import xl /etc/xen/xlexample.hvm --host xen1")?;
    for part in ["name: example-hvm", "type: hvm", "target: hda", "path: \"/dev/vg/guest-volume\"", "vnc: true"] {
        ensure!(hvm.stdout.contains(part), "`{part}` is missing:\n{}\n{}", hvm.stdout, hvm.stderr);
    }
    // Its screen by SDL is all that is lost, and the disk's other name is told.
    ensure!(hvm.stderr.matches("not carried over").count() == 1 && hvm.stderr.contains("`sdl`"), "{}", hvm.stderr);
    ensure!(hvm.stderr.contains("`xvda` becomes `hda`"), "{}", hvm.stderr);
    Ok(())
}
