//! Manifests of the tests: one host with ten single-thread cores, partitions and small guests.

use std::fmt::Write as _;

/// Pool, host and network.
pub(crate) const BASE: &str = "\
apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: \"0b9ad9d3-6f0e-4d2a-8f5d-5b6b2f6f3c11\", changes: {maxDeletions: 2}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}, {socket: 0, core: 1}]}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec: {bridge: xenbr0}
";

/// A partition of these cores of socket 0.
pub(crate) fn partition(name: &str, cores: &[u32]) -> String {
    let mut text = format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: CorePartition\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  cores:\n"
    );
    for core in cores {
        let _ = writeln!(text, "    - {{socket: 0, core: {core}}}");
    }
    text
}

/// A small PV guest; `more` are further lines of its `spec`, indented by two.
pub(crate) fn vm(name: &str, more: &str) -> String {
    vm_with_boot(
        name,
        "{kernel: \"/srv/guests/vmlinuz\", ramdisk: \"/srv/guests/initrd.gz\", cmdline: \"console=hvc0\"}",
        more,
    )
}

/// The same with another `boot`.
pub(crate) fn vm_with_boot(name: &str, boot: &str, more: &str) -> String {
    let memory = if more.contains("memory:") { "" } else { "  memory: 96Mi\n" };
    let kind = if more.contains("type:") { "" } else { "  type: pv\n" };
    format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  vcpus: 1\n{kind}{memory}  boot: {boot}\n{more}"
    )
}
