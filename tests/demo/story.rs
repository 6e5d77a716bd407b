//! What is told, in order. Every claim is waited for; a story that does not come true ends with an error.

use crate::stage::{Deed, Stage, View};
use anyhow::{Result, ensure};
use rig::{Change, Status};
use std::io::Write as _;
use std::path::Path;

/// Tells the whole story.
pub(crate) fn tell(stage: &mut dyn Stage, example: &Path) -> Result<()> {
    say(&stage.describe());
    first_commit(stage, example)?;
    drift(stage)?;
    move_and_add(stage)?;
    typo(stage)?;
    reboot(stage)?;
    remove(stage)?;
    chapter("The end: what pinfold says of this host")?;
    show(stage, &["status"])
}

fn first_commit(stage: &mut dyn Stage, example: &Path) -> Result<()> {
    chapter("A repository: one host with ten cores, dom0 keeps two, hard partitions take 2, 2 and 4")?;
    stage.edit(&[Change::Folder(example)])?;
    let clone = stage.clone_path();
    show(stage, &["validate", &clone])?;
    chapter("The daemon starts; its repository is empty. What would this first commit do?")?;
    stage.start_daemon()?;
    show(stage, &["plan", &clone])?;
    chapter("Commit and push. The daemon fetches it, and converges")?;
    push_and_settle(stage, "first commit: three partitions")?;
    look(stage, &[View::Domains, View::Cpupools, View::Vcpus])
}

fn drift(stage: &mut dyn Stage) -> Result<()> {
    chapter("Somebody widens a pin behind git's back: xl vcpu-pin erp-db 0 all")?;
    let before = count_events(stage, "vm/erp-db")?;
    stage.meddle(Deed::WidenPin("erp-db"))?;
    // The repair may be quicker than anyone can look; that it was seen and named is in the events.
    stage.wait("the drift is found and repaired", &mut |status: &Status| {
        status.all_ready() && count_events(stage, "vm/erp-db").is_ok_and(|now| now > before)
    })?;
    show(stage, &["events", "--for", "vm/erp-db"])?;
    look(stage, &[View::Vcpus])
}

fn move_and_add(stage: &mut dyn Stage) -> Result<()> {
    chapter("A commit moves mail into the partition weblogic, without stopping it, and adds a VM")?;
    let batch = "# yaml-language-server: $schema=../../../schema/v1alpha1/virtualmachine.schema.json\n\
                 apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: batch}\n\
                 spec:\n  host: xen1\n  type: pv\n  vcpus: 1\n  memory: 96Mi\n  cpu: {partition: oracle-b, weight: 128}\n  \
                 boot: {kernel: \"/srv/guests/vmlinuz\", ramdisk: \"/srv/guests/initrd.gz\", cmdline: \"console=hvc0\"}\n";
    stage.edit(&[
        Change::Replace("vms/mail.yaml", "  vcpus: 1\n", "  vcpus: 1\n  cpu: {partition: weblogic}\n"),
        Change::Write("vms/batch.yaml", batch),
    ])?;
    let clone = stage.clone_path();
    show(stage, &["plan", &clone])?;
    push_and_settle(stage, "mail joins weblogic; batch is new")?;
    look(stage, &[View::Domains, View::Vcpus])
}

fn typo(stage: &mut dyn Stage) -> Result<()> {
    chapter("A commit with a typo: refused as a whole, with line and column; everything keeps running")?;
    // The commit in force now: one pushed just before the typo might never be fetched on its own.
    let mut in_force = None;
    stage.wait("a commit is in force", &mut |status: &Status| {
        in_force = status.commit().map(ToOwned::to_owned);
        in_force.is_some()
    })?;
    stage.edit(&[Change::Replace("vms/web.yaml", "memory: 96Mi", "memmory: 96M")])?;
    let refused = stage.push("web: a little memory")?;
    ensure!(in_force.as_ref() != Some(&refused), "the typo made a commit");
    stage.wait("the commit is refused", &mut |status: &Status| {
        status.json()["source"].to_string().contains(&refused) && status.commit() == in_force.as_deref()
    })?;
    show(stage, &["status"])?;
    chapter("The fix is a commit too")?;
    stage.edit(&[Change::Replace("vms/web.yaml", "memmory: 96M", "memory: 96Mi")])?;
    push_and_settle(stage, "web: spell memory")
}

fn reboot(stage: &mut dyn Stage) -> Result<()> {
    chapter("The guest of web reboots from inside: its domain ends, pinfold makes the next one")?;
    let domid = |status: &Status| status.vm_fact("web", "domid");
    let mut before = None;
    stage.wait("web runs", &mut |status: &Status| {
        before = domid(status);
        before.is_some()
    })?;
    stage.meddle(Deed::RebootInside("web"))?;
    stage.wait("web runs in a new domain", &mut |status: &Status| {
        status.all_ready() && domid(status).is_some_and(|now| Some(now) != before)
    })?;
    show(stage, &["events", "--for", "vm/web"])?;
    look(stage, &[View::Domains])
}

fn remove(stage: &mut dyn Stage) -> Result<()> {
    chapter("A commit removes app-2: stopped gracefully; its folder goes to the trash, not into nothing")?;
    stage.edit(&[Change::Remove("vms/app-2.yaml")])?;
    push_and_settle(stage, "app-2 retires")?;
    look(stage, &[View::Domains, View::Trash])
}

/// Pushes, and waits until the commit is in force and everything is as it says.
fn push_and_settle(stage: &dyn Stage, message: &str) -> Result<()> {
    let commit = stage.push(message)?;
    stage.wait("the host is as the commit says", &mut |status: &Status| {
        status.commit() == Some(commit.as_str()) && status.all_ready()
    })
}

fn count_events(stage: &dyn Stage, object: &str) -> Result<usize> {
    let events: serde_json::Value =
        serde_json::from_str(&stage.pinfold(&["events", "--for", object, "--limit", "1000", "-o", "json"])?)?;
    Ok(events["items"].as_array().map_or(0, Vec::len))
}

fn show(stage: &dyn Stage, arguments: &[&str]) -> Result<()> {
    let printed = stage.pinfold(arguments)?;
    write(&format!("$ pinfold {}\n{}\n", arguments.join(" "), printed.trim_end()))
}

fn look(stage: &dyn Stage, views: &[View]) -> Result<()> {
    for view in views {
        let (command, printed) = stage.look(*view)?;
        write(&format!("$ {command}\n{}\n", printed.trim_end()))?;
    }
    Ok(())
}

fn chapter(title: &str) -> Result<()> {
    write(&format!("\n── {title}\n"))
}

fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Talk that is not part of the story.
pub(crate) fn say(text: &str) {
    // Nobody who does not read stderr is harmed.
    let _ = writeln!(std::io::stderr(), "demo: {text}");
}
