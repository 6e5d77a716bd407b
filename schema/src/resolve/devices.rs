//! Disks and network interfaces, within a VM and between VMs.

use super::Scene;
use crate::decode::Spanned;
use crate::document::Place;
use crate::finding::Finding;
use crate::kinds::Manifest;
use crate::kinds::scalars::split_target;
use crate::kinds::virtual_machine::{Disk, VirtualMachineSpec};
use crate::units::{Mac, Name};
use std::collections::BTreeMap;

type VmManifest = Manifest<VirtualMachineSpec>;

/// Names, targets, files and MACs that are used twice.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for manifest in &scene.documents.vms {
        names(scene, manifest, "disk", manifest.spec.disks.iter().map(|disk| &disk.name), findings);
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
    let mut seen: Vec<&Disk> = Vec::new();
    for disk in &manifest.spec.disks {
        let clash = seen.iter().find(|other| clash(&disk.target.value.0, &other.target.value.0));
        if let Some(other) = clash {
            let finding = Finding::error(
                "duplicate-target",
                format!("disks `{}` and `{}` have the same target", other.name.value, disk.name.value),
            )
            .at(scene.at(manifest, disk.target.bytes))
            .label("also here")
            .related(format!("`{}` has it", other.name.value), scene.at(manifest, other.target.bytes))
            .help("give each disk a target of its own, such as `xvda`, `xvdb`");
            findings.push(finding);
        }
        seen.push(disk);
    }
}

fn clash(a: &str, b: &str) -> bool {
    match (split_target(a), split_target(b)) {
        (Some((disk, partition)), Some((other, other_partition))) => {
            disk == other && (partition == other_partition || partition.is_empty() || other_partition.is_empty())
        }
        _ => a == b,
    }
}

/// One file of one host, written by one VM and used by another disk: two writers ruin a file system, and a reader sees it torn.
fn files(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut users: BTreeMap<(&Name, &str), (&VmManifest, &Disk)> = BTreeMap::new();
    for manifest in &scene.documents.vms {
        for disk in &manifest.spec.disks {
            let key = (&manifest.spec.host.value, disk.path.value.0.as_str());
            let Some((other, other_disk)) = users.get(&key) else {
                users.insert(key, (manifest, disk));
                continue;
            };
            if disk.read_only && other_disk.read_only {
                continue;
            }
            let (first, second) = (&other.name.value, &manifest.name.value);
            let message = if first == second {
                format!("`{}` is two disks of `{first}`, and not read-only in both", key.1)
            } else {
                format!("`{}` is a disk of `{first}` and of `{second}`, and not read-only in both", key.1)
            };
            let finding = Finding::error("shared-disk", message)
                .at(scene.at(manifest, disk.path.bytes))
                .label("also here")
                .related(
                    format!("disk `{}` of `{}`", other_disk.name.value, other.name.value),
                    scene.at(other, other_disk.path.bytes),
                )
                .help("give each VM a disk of its own, or set `readOnly: true` in both");
            findings.push(finding);
            if !disk.read_only {
                users.insert(key, (manifest, disk));
            }
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
