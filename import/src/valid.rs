//! Whether the language takes the manifest that a file became: its rules stand in `schema`, and are not repeated here.

use schema::desired::Vm;
use schema::units::Core;
use schema::{Content, Finding, Location, Severity, SourceFile, Tree, write};
use std::collections::BTreeSet;

const MANIFEST: &str = "vm.yaml";

/// What the language refuses in a VM by itself, as findings about the file that it comes from.
pub(crate) fn problems(file: &str, vm: &Vm) -> Vec<Finding> {
    // What it refers to is the site's matter: here each name stands for something.
    let mut alone = vm.clone();
    alone.cpu.partition = None;
    let content = |text: String| Content::Text(text.into_bytes());
    let files = vec![
        SourceFile { path: "site.yaml".to_owned(), content: content(site(vm)) },
        SourceFile { path: MANIFEST.to_owned(), content: content(write::vm(&alone)) },
    ];
    let findings = schema::read(&Tree { files, ignore: None }).findings.into_iter();
    let is_about_it = |finding: &Finding| {
        finding.severity == Severity::Error && finding.location.as_ref().is_some_and(|at| at.file == MANIFEST)
    };
    findings.filter(is_about_it).map(|finding| refused(file, finding)).collect()
}

fn refused(file: &str, finding: Finding) -> Finding {
    let message = format!("manifests cannot say what this file says: {}", finding.message);
    let mut refused = Finding::error("no-manifest", message).at(Location::of_file(file));
    refused.help = finding.help;
    refused.help.push("correct it in the file, and import it again".to_owned());
    refused
}

/// The rest of a configuration that has this VM: its host, on a core that the VM leaves free, and its networks.
fn site(vm: &Vm) -> String {
    let head = |kind: &str, name: &str| {
        format!("apiVersion: {}\nkind: {kind}\nmetadata: {{name: {name}}}\n", schema::API_VERSION)
    };
    let pins: BTreeSet<Core> =
        [&vm.cpu.pins, &vm.cpu.soft_pins].into_iter().flatten().flat_map(|pins| pins.iter().copied()).collect();
    let free = (0..=u32::MAX)
        .map(|core| Core { socket: 0, core })
        .find(|core| !pins.contains(core))
        .map_or(0, |core| core.core);
    let mut documents = vec![
        head("Pool", "any") + "spec: {id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\"}\n",
        head("Host", vm.host.as_str())
            + &format!("spec: {{pool: any, dom0: {{cores: [{{socket: 0, core: {free}}}]}}}}\n"),
    ];
    let networks: BTreeSet<_> = vm.nics.iter().map(|nic| nic.network.as_str()).collect();
    documents.extend(networks.into_iter().map(|name| head("Network", name) + "spec: {bridge: xenbr0}\n"));
    documents.join("---\n")
}
