//! A site, and what the language makes of imported VMs.

use import::{Imported, Site};
use protocol::Pcpu;
use schema::desired::Desired;
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
---
apiVersion: pinfold.dev/v1alpha1
kind: CorePartition
metadata: {name: oracle-a}
spec: {host: xen1, cores: [{socket: 0, core: 7}]}
";

/// One socket of eight cores with two threads each; one network and one partition.
pub(crate) fn site() -> Site {
    let pcpu = |id| Pcpu { id, socket: 0, core: id / 2, node: 0, online: true };
    Site {
        host: "xen1".parse().unwrap(),
        networks: vec![schema::desired::Network { name: "lan".parse().unwrap(), bridge: "xenbr0".to_owned() }],
        partitions: ["oracle-a".parse().unwrap()].into(),
        vms: [].into(),
        pcpus: Some((0..16).map(pcpu).collect()),
    }
}

/// The manifests of an import, as text.
pub(crate) fn manifests(imported: &Imported) -> String {
    let networks = imported.networks.iter().map(write::network);
    networks.chain(imported.vms.iter().map(|(_, vm)| write::vm(vm))).collect::<Vec<_>>().join("---\n")
}

/// The manifests read back, beside the site's.
pub(crate) fn read(manifests: &str) -> Desired {
    let text = if manifests.is_empty() { BASE.to_owned() } else { format!("{BASE}---\n{manifests}") };
    let file = SourceFile { path: "all.yaml".to_owned(), content: Content::Text(text.into_bytes()) };
    let tree = Tree { files: vec![file], ignore: None };
    let reading = schema::read(&tree);
    reading.desired.unwrap_or_else(|| panic!("{}", render::human(&reading.findings, &tree)))
}
