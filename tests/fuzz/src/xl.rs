//! Configurations of xl: whatever the text, nothing is lost without a word, and what becomes a VM is a manifest that is read as that VM.

use import::Site;
use schema::desired::Network;
use schema::{Content, SourceFile, Tree, render, write};

const BASE: &str = "
apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\"}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}]}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec: {bridge: xenbr0}
";

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let imported = import::xl(&[("vm.cfg".to_owned(), text.to_owned())], &site());
    assert!(!imported.vms.is_empty() || !imported.findings.is_empty(), "nothing came of it, and nothing was said");
    let mut documents = vec![BASE.to_owned()];
    documents.extend(imported.networks.iter().map(write::network));
    documents.extend(imported.vms.iter().map(|(_, vm)| write::vm(vm)));
    let file = SourceFile { path: "all.yaml".to_owned(), content: Content::Text(documents.join("---\n").into_bytes()) };
    let tree = Tree { files: vec![file], ignore: None };
    let reading = schema::read(&tree);
    let desired = reading.desired.unwrap_or_else(|| panic!("{}", render::human(&reading.findings, &tree)));
    assert!(desired.vms.values().eq(imported.vms.iter().map(|(_, vm)| vm)), "it is read as another VM");
}

/// A host of eight cores with two threads each.
fn site() -> Site {
    let pcpu = |id| protocol::Pcpu { id, socket: 0, core: id / 2, node: 0, online: true };
    Site {
        host: "xen1".parse().unwrap(),
        networks: vec![Network { name: "lan".parse().unwrap(), bridge: "xenbr0".to_owned() }],
        partitions: [].into(),
        vms: [].into(),
        pcpus: Some((0..16).map(pcpu).collect()),
    }
}

/// The files of the importer's tests.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(crate::root().join("import/tests/xl")).unwrap();
    folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}
