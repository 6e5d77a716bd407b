//! Configurations of many VMs on one host, each as an administrator would write it, and the simulated host that they fit.

use anyhow::{Context, Result};
use rig::SITE;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const PARTITION: &str = "\
---
apiVersion: pinfold.dev/v1alpha1
kind: CorePartition
metadata: {name: oracle-a}
spec: {host: xen1, cores: [{socket: 0, core: 2}, {socket: 0, core: 3}]}
";

/// Writes a configuration: what the VMs need into `base.yaml`, each VM into a file of its own in `vms/`, passed through `change`.
pub(crate) fn write(folder: &Path, vms: usize, change: impl Fn(String) -> String) -> Result<()> {
    let put = |path: &str, text: String| {
        let path = folder.join(path);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(folder.join("vms"))?;
    put("base.yaml", format!("{SITE}{PARTITION}"))?;
    (0..vms).try_for_each(|number| put(&format!("vms/vm-{number}.yaml"), change(vm(number))))
}

fn vm(number: usize) -> String {
    format!(
        "# yaml-language-server: $schema=../schema/v1alpha1/virtualmachine.schema.json\n\
         apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: vm-{number}\n  labels: {{group: finance}}\n\
         spec:\n  host: xen1\n  type: pvh\n  power: running\n  restart: on-failure\n  vcpus: {{online: 2, max: 4}}\n  memory: {{target: 2Gi, max: 4Gi}}\n  \
         cpu:\n    partition: oracle-a\n    weight: 512\n    cap: 150\n  boot:\n    kernel: \"/srv/boot/vmlinuz\"\n    ramdisk: \"/srv/boot/initrd.img\"\n    \
         cmdline: \"console=hvc0 root=/dev/xvda1\"\n  disks:\n    - {{name: root, target: xvda, path: \"/srv/vm-{number}/root.img\"}}\n    \
         - {{name: data, target: xvdb, path: \"/srv/vm-{number}/data.img\"}}\n  nics:\n    - {{name: lan0, network: lan}}\n  \
         shutdown: {{timeout: 60s}}\n  protect: true\n"
    )
}

/// A simulated host with what that many VMs need. Its calls take no time: what is measured is pinfold's.
pub(crate) fn host(vms: usize) -> String {
    let mut text = String::from(
        "topology: {cores: 10}\nmemory: {total-kib: 17179869184}\nbridges: [xenbr0]\n\
         latency: {call-ms: 0, create-ms: 0, destroy-ms: 0, scrub-ms: 0}\nfiles:\n  \
         /srv/boot/vmlinuz: {file: {size: 8000000}}\n  /srv/boot/initrd.img: {file: {size: 8000000}}\n",
    );
    for number in 0..vms {
        for disk in ["root", "data"] {
            let _ = writeln!(text, "  /srv/vm-{number}/{disk}.img: {{file: {{size: 1073741824}}}}");
        }
    }
    text
}
