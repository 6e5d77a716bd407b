//! Disks and network interfaces, within a VM and between VMs.

use super::Scene;
use crate::decode::Spanned;
use crate::document::Place;
use crate::finding::Finding;
use crate::kinds::Manifest;
use crate::kinds::scalars::{DiskTarget, HostPath, is_emulated, split_target};
use crate::kinds::virtual_machine::VirtualMachineSpec;
use crate::units::{Mac, Name};
use std::collections::BTreeMap;

type VmManifest = Manifest<VirtualMachineSpec>;

/// Names, targets, files and MACs that are used twice.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for manifest in &scene.documents.vms {
        names(scene, manifest, "disk", manifest.spec.disks.iter().map(|disk| &disk.name), findings);
        names(scene, manifest, "CD-ROM drive", manifest.spec.cdroms.iter().map(|drive| &drive.name), findings);
        names(scene, manifest, "NIC", manifest.spec.nics.iter().map(|nic| &nic.name), findings);
        targets(scene, manifest, findings);
    }
    files(scene, findings);
    macs(scene, findings);
}

fn names<'s>(
    scene: &Scene<'_>,
    manifest: &VmManifest,
    noun: &str,
    names: impl Iterator<Item = &'s Spanned<Name>>,
    findings: &mut Vec<Finding>,
) {
    let mut first: BTreeMap<&Name, &Spanned<Name>> = BTreeMap::new();
    for name in names {
        if let Some(earlier) = first.insert(&name.value, name) {
            let finding =
                Finding::error("duplicate-name", format!("`{}` has two {noun}s `{}`", manifest.name.value, name.value))
                    .at(scene.at(manifest, name.bytes))
                    .label("again here")
                    .related("first here", scene.at(manifest, earlier.bytes));
            findings.push(finding);
        }
    }
}

/// Two disks under one device, or a whole disk beside a partition of it.
fn targets(scene: &Scene<'_>, manifest: &VmManifest, findings: &mut Vec<Finding>) {
    let spec = &manifest.spec;
    let mut seen: Vec<(&Name, &Spanned<DiskTarget>)> = Vec::new();
    let disks = spec.disks.iter().map(|disk| (&disk.name.value, &disk.target));
    for (name, target) in disks.chain(spec.cdroms.iter().map(|drive| (&drive.name.value, &drive.target))) {
        let clash = seen.iter().find(|(_, other)| clash(&target.value.0, &other.value.0));
        if let Some((other_name, other)) = clash {
            let (message, help) = if is_emulated(&target.value.0) == is_emulated(&other.value.0) {
                let message = format!("disks `{other_name}` and `{name}` have the same target");
                (message, "give each disk a target of its own, such as `xvda`, `xvdb`")
            } else {
                let message =
                    format!("disks `{other_name}` and `{name}` are one and the same to the guest's PV drivers");
                (message, "they show `hda` as `xvda` too: give each disk a letter of its own")
            };
            let finding = Finding::error("duplicate-target", message)
                .at(scene.at(manifest, target.bytes))
                .label("also here")
                .related(format!("`{other_name}` has it"), scene.at(manifest, other.bytes))
                .help(help);
            findings.push(finding);
        }
        seen.push((name, target));
    }
}

fn clash(a: &str, b: &str) -> bool {
    // Linux shows the IDE disk `hda` under the number that `xvda` has (drivers/block/xen-blkfront.c, `xen_translate_vdev`).
    let as_pv = |target: &str| if is_emulated(target) { format!("xv{}", &target[1..]) } else { target.to_owned() };
    let (a, b) = (&as_pv(a), &as_pv(b));
    match (split_target(a), split_target(b)) {
        (Some((disk, partition)), Some((other, other_partition))) => {
            disk == other && (partition == other_partition || partition.is_empty() || other_partition.is_empty())
        }
        _ => a == b,
    }
}

/// A file that a VM uses.
struct Use<'s> {
    vm: &'s VmManifest,
    /// `disk`, or `medium of drive`.
    noun: &'static str,
    name: &'s Name,
    path: &'s Spanned<HostPath>,
    read_only: bool,
}

fn uses(vm: &VmManifest) -> Vec<Use<'_>> {
    let disks = vm.spec.disks.iter().map(|disk| Use {
        vm,
        noun: "disk",
        name: &disk.name.value,
        path: &disk.path,
        read_only: disk.read_only,
    });
    let media = vm.spec.cdroms.iter().filter_map(|drive| {
        let path = drive.medium.as_ref()?;
        Some(Use { vm, noun: "medium of drive", name: &drive.name.value, path, read_only: true })
    });
    disks.chain(media).collect()
}

/// One file of one host, written by one VM and used by another disk: two writers ruin a file system, and a reader sees it torn.
fn files(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut users: BTreeMap<(&Name, &str), Use<'_>> = BTreeMap::new();
    for used in scene.documents.vms.iter().flat_map(uses) {
        let key = (&used.vm.spec.host.value, used.path.value.0.as_str());
        let Some(other) = users.get(&key) else {
            users.insert(key, used);
            continue;
        };
        if used.read_only && other.read_only {
            continue;
        }
        let (first, second) = (&other.vm.name.value, &used.vm.name.value);
        let message = if first == second {
            format!("`{}` is two disks of `{first}`, and not read-only in both", key.1)
        } else {
            format!("`{}` is a disk of `{first}` and of `{second}`, and not read-only in both", key.1)
        };
        let finding = Finding::error("shared-disk", message)
            .at(scene.at(used.vm, used.path.bytes))
            .label("also here")
            .related(
                format!("{} `{}` of `{}`", other.noun, other.name, other.vm.name.value),
                scene.at(other.vm, other.path.bytes),
            )
            .help("give each VM a disk of its own, or set `readOnly: true` in both");
        findings.push(finding);
        if !used.read_only {
            users.insert(key, used);
        }
    }
}

/// MACs are unique over the pool: its networks may span its hosts.
fn macs(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut first: BTreeMap<Mac, (&Name, Place)> = BTreeMap::new();
    for manifest in &scene.documents.vms {
        for nic in &manifest.spec.nics {
            let Some(mac) = &nic.mac else { continue };
            if mac.plain {
                let finding =
                    Finding::error("unquoted-mac", format!("the MAC of NIC `{}` needs quotes", nic.name.value))
                        .at(scene.at(manifest, mac.bytes))
                        .label("without quotes")
                        .help(format!(
                            "write `mac: \"{}\"`: readers of YAML 1.1 take some MACs for numbers of base 60",
                            mac.value
                        ));
                findings.push(finding);
            }
            let here = Place { text: manifest.text, bytes: mac.bytes };
            if let Some((other, place)) = first.get(&mac.value) {
                let finding = Finding::error(
                    "duplicate-mac",
                    format!("`{other}` and `{}` have the same MAC {}", manifest.name.value, mac.value),
                )
                .at(scene.place(here))
                .label("again here")
                .related(format!("in `{other}`"), scene.place(*place))
                .help("leave `mac` out: pinfold makes a unique one");
                findings.push(finding);
            } else {
                first.insert(mac.value, (&manifest.name.value, here));
            }
        }
    }
}
