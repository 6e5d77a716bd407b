//! Guests of the figures on real Xen.

/// A PV Linux guest; `more` are further lines of its `spec`, indented by two. Those that run are pinned to one pCPU, so that what they do after their
/// start takes nobody else's time.
pub(crate) fn linux(name: &str, memory_mib: u32, more: &str) -> String {
    let pins = if more.contains("cpu:") { "" } else { "  cpu: {pins: [{socket: 0, core: 9}]}\n" };
    let memory = if more.contains("memory:") { String::new() } else { format!("  memory: {memory_mib}Mi\n") };
    let vcpus = if more.contains("vcpus:") { "" } else { "  vcpus: 1\n" };
    format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pv\n{vcpus}{memory}{pins}  \
         boot: {{kernel: \"/srv/guests/vmlinuz\", ramdisk: \"/srv/guests/initrd.gz\", cmdline: \"console=hvc0\"}}\n  shutdown: {{timeout: 1s}}\n{more}"
    )
}

/// Where dom0 has GRUB for PV guests, and where those of [`paused`] boot it from.
pub(crate) const GRUB: [&str; 2] = ["/usr/lib/grub-xen/grub-x86_64-xen.bin", "/srv/guests/grub.bin"];

/// A domain that never runs: GRUB, which is small, paused before its first instruction.
pub(crate) fn paused(name: &str) -> String {
    format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pv\n  vcpus: 1\n  \
         memory: 32Mi\n  cpu: {{pins: [{{socket: 0, core: 9}}]}}\n  boot: {{kernel: \"{}\"}}\n  power: paused\n",
        GRUB[1]
    )
}
