//! Small manifests.

use schema::desired::Desired;
use schema::{Content, SourceFile, Tree};

pub const POOL: &str = "6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394";

/// Pool, host and network, to which tests add partitions and VMs.
pub fn base(changes: &str) -> String {
    format!(
        "
apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {{name: lab}}
spec: {{id: \"{POOL}\"{changes}}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {{name: xen1}}
spec: {{pool: lab, dom0: {{cores: [{{socket: 0, core: 0}}, {{socket: 0, core: 1}}]}}}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Network
metadata: {{name: lan}}
spec: {{bridge: xenbr0}}
"
    )
}

/// A partition of these cores.
pub fn cp(name: &str, cores: &[u32]) -> String {
    cp_named(&format!("name: {name}"), "", cores)
}

pub fn cp_named(metadata: &str, more: &str, cores: &[u32]) -> String {
    let cores: Vec<String> = cores.iter().map(|core| format!("{{socket: 0, core: {core}}}")).collect();
    format!(
        "---\napiVersion: pinfold.dev/v1alpha1\nkind: CorePartition\nmetadata: {{{metadata}}}\nspec:\n  host: xen1\n  cores: [{}]\n{more}",
        cores.join(", ")
    )
}

/// A small VM; `more` are lines of its spec, indented by two.
pub fn vm(name: &str, more: &str) -> String {
    vm_sized(name, "1", "128Mi", more)
}

pub fn vm_sized(name: &str, vcpus: &str, memory: &str, more: &str) -> String {
    format!(
        "---\napiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pvh\n  vcpus: {vcpus}\n  memory: {memory}\n  boot: {{kernel: \"/srv/vmlinuz\"}}\n{more}\n"
    )
}

pub fn desired(yaml: &str) -> Desired {
    let file = SourceFile { path: "all.yaml".to_owned(), content: Content::Text(yaml.as_bytes().to_vec()) };
    let tree = Tree { files: vec![file], ignore: None };
    let reading = schema::read(&tree);
    reading.desired.unwrap_or_else(|| panic!("{}", schema::render::human(&reading.findings, &tree)))
}
