//! What becomes of a host whose state is damaged, or cannot be written: unknown and said, never wrong, and well again once it is put right.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod damage;
mod full;
#[path = "../stage/mod.rs"]
mod stage;

use schema::desired::Desired;
use stage::Stage;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A host whose guests acknowledge a request to power off, and go on.
fn host() -> sim::HostFile {
    let mut host = sim::HostFile::plain(8, 4 << 20);
    host.bridges.insert("xenbr0".to_owned());
    host.files.insert("/srv/vmlinuz".to_owned(), sim::File::File { size: 8_000_000 });
    let deaf = sim::Guest { ignores: [sim::GuestRequest::PowerOff].into(), ..sim::Guest::default() };
    host.guests.insert("*".to_owned(), deaf);
    host
}

/// A partition with the first of the VMs in it.
fn manifests(vms: &[&str]) -> Desired {
    let head = "apiVersion: pinfold.dev/v1alpha1\nkind: ";
    let mut text = format!(
        "{head}Pool\nmetadata: {{name: lab}}\nspec: {{id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\", changes: {{maxDeletions: 2}}}}\n---\n\
         {head}Host\nmetadata: {{name: xen1}}\nspec: {{pool: lab, dom0: {{cores: [{{socket: 0, core: 0}}]}}}}\n---\n\
         {head}CorePartition\nmetadata: {{name: p}}\nspec: {{host: xen1, cores: [{{socket: 0, core: 2}}]}}\n"
    );
    for (n, name) in vms.iter().enumerate() {
        let cpu = if n == 0 { "{partition: p}" } else { "{}" };
        let _ = writeln!(
            text,
            "---\n{head}VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pv\n  vcpus: 1\n  memory: {}Mi\n  \
             cpu: {cpu}\n  boot: {{kernel: \"/srv/vmlinuz\"}}",
            // None looks like another under a new name.
            64 + 8 * u32::from(name.as_bytes()[0] - b'a')
        );
    }
    let tree = stage::tree(&BTreeMap::from([("all.yaml".to_owned(), text.into_bytes())]));
    let reading = schema::read(&tree);
    let said = schema::render::human(&reading.findings, &tree);
    reading.desired.unwrap_or_else(|| panic!("{said}"))
}

/// The conditions of an object, one a line.
fn conditions(report: &host::PassReport, object: &str) -> Vec<String> {
    let status = report.plan.objects.iter().find(|status| status.object.to_string() == object);
    let status = status.unwrap_or_else(|| panic!("nothing is said of {object}"));
    status.conditions.iter().map(|c| format!("{:?} {:?} {}: {}", c.kind, c.status, c.reason, c.message)).collect()
}

/// Commits and settles.
fn settled(vms: &[&str]) -> Stage {
    let mut stage = Stage::new(host());
    stage.commit(manifests(vms));
    stage.settle(jiff::SignedDuration::from_mins(5));
    stage
}
