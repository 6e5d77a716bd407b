//! Manifests of the tests, beside [`rig::SITE`]: partitions of its ten single-thread cores, and small guests.

use std::fmt::Write as _;

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
