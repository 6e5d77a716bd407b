//! The rules of what only HVM guests have, and what no other guest may say.

use super::Scene;
use crate::decode::Spanned;
use crate::desired::{self, Hvm};
use crate::finding::Finding;
use crate::kinds::Manifest;
use crate::kinds::hvm::{BootDevice, Cdrom};
use crate::kinds::scalars::{DiskTarget, is_emulated};
use crate::kinds::virtual_machine::{VirtualMachineSpec, VmType};
use crate::units::Size;

/// 16 MiB of an HVM guest's memory are its graphics card's (xl.cfg(5), `videoram`): with less than this its firmware does not start.
const MIN_MEMORY: Size = Size::from_mib(32);

type VmManifest = Manifest<VirtualMachineSpec>;

/// What an HVM guest has beyond others; checked either way.
pub(super) fn hvm(scene: &Scene<'_>, manifest: &VmManifest, findings: &mut Vec<Finding>) -> Option<Hvm> {
    let spec = &manifest.spec;
    targets(scene, manifest, findings);
    if spec.vm_type.value != VmType::Hvm {
        only_hvm(scene, manifest, findings);
        return None;
    }
    if spec.memory.value.0.target < MIN_MEMORY && manifest.is_whole {
        let message = format!("no HVM guest starts with {} of memory", spec.memory.value.0.target);
        let finding = Finding::error("out-of-range", message).at(scene.at(manifest, spec.memory.bytes));
        findings.push(finding.help(format!("write `{MIN_MEMORY}` or more: 16Mi of it are its graphics card's")));
    }
    Some(Hvm {
        firmware: spec.firmware.as_ref().map_or(desired::Firmware::Bios, |firmware| firmware.value.into()),
        vnc: spec.vnc.as_ref().is_some_and(|vnc| vnc.value),
        cdroms: spec.cdroms.iter().map(cdrom).collect(),
    })
}

/// The devices that an HVM guest boots from, in their order.
pub(super) fn order(
    scene: &Scene<'_>,
    manifest: &VmManifest,
    order: Option<&Spanned<Vec<Spanned<BootDevice>>>>,
    findings: &mut Vec<Finding>,
) -> desired::Boot {
    let mut fault = |bytes, message: String, help: &str| {
        findings.push(Finding::error("boot", message).at(scene.at(manifest, bytes)).help(help));
    };
    let spec = &manifest.spec;
    let Some(order) = order else {
        let place = spec.boot.as_ref().map_or(spec.vm_type.bytes, |boot| boot.bytes);
        if manifest.is_whole && !has(spec, BootDevice::Disk) {
            let message = "this VM boots from its first emulated disk, and has none".to_owned();
            fault(place, message, "give a disk the target `hda`, or write `boot: {order: [cdrom]}` or a `kernel`");
        }
        return desired::Boot::Devices(vec![desired::BootDevice::Disk]);
    };
    if order.value.is_empty() && manifest.is_whole {
        fault(order.bytes, "this VM boots from nothing".to_owned(), "name `disk`, `cdrom` or `network`");
    }
    let mut devices: Vec<desired::BootDevice> = Vec::new();
    for device in &order.value {
        let wanted = device.value.into();
        if devices.contains(&wanted) {
            fault(device.bytes, "`spec.boot.order` names it twice".to_owned(), "name each device once");
            continue;
        }
        if manifest.is_whole && !has(spec, device.value) {
            let (noun, help) = match device.value {
                BootDevice::Disk => ("emulated disk", "give a disk the target `hda`: firmware sees no `xvd…`"),
                BootDevice::Cdrom => ("CD-ROM drive", "add one to `cdroms`"),
                BootDevice::Network => ("NIC", "add one to `nics`"),
            };
            fault(device.bytes, format!("this VM has no {noun} to boot from"), help);
        }
        devices.push(wanted);
    }
    desired::Boot::Devices(devices)
}

fn has(spec: &VirtualMachineSpec, device: BootDevice) -> bool {
    match device {
        BootDevice::Disk => spec.disks.iter().any(|disk| is_emulated(&disk.target.value.0)),
        BootDevice::Cdrom => !spec.cdroms.is_empty(),
        BootDevice::Network => !spec.nics.is_empty(),
    }
}

fn cdrom(Cdrom { name, target, medium }: &Cdrom) -> desired::Cdrom {
    desired::Cdrom {
        name: name.value.clone(),
        target: target.value.0.clone(),
        medium: medium.as_ref().map(|medium| medium.value.0.clone()),
    }
}

/// Fields that need a device model, in a guest that has none.
fn only_hvm(scene: &Scene<'_>, manifest: &VmManifest, findings: &mut Vec<Finding>) {
    let spec = &manifest.spec;
    let order = spec.boot.as_ref().and_then(|boot| boot.value.order.as_ref());
    let said = [
        spec.firmware.as_ref().map(|field| (field.bytes, "spec.firmware", "Xen starts its kernel itself")),
        order.map(|field| (field.bytes, "spec.boot.order", "it has no firmware that looks for something to boot")),
        spec.vnc.as_ref().filter(|vnc| vnc.value).map(|field| (field.bytes, "spec.vnc", "it has no graphics card")),
        spec.cdroms.first().map(|drive| (drive.name.bytes, "spec.cdroms", "it has no emulated drives")),
    ];
    for (bytes, field, why) in said.into_iter().flatten() {
        let message = format!("`{field}` belongs to `type: hvm`, and this VM is `{}`", word(spec.vm_type.value));
        let finding = Finding::error("only-hvm", message).at(scene.at(manifest, bytes));
        let help = match field {
            "spec.cdroms" => "remove it, or take `type: hvm`; a disk with `readOnly: true` shows an image to any guest",
            "spec.boot.order" => "name a `kernel`, or write `grub: true`, or take `type: hvm`",
            _ => "remove it, or take `type: hvm`",
        };
        findings.push(finding.label(why).help(help));
    }
}

/// Targets that the guest's kind does not have.
fn targets(scene: &Scene<'_>, manifest: &VmManifest, findings: &mut Vec<Finding>) {
    let spec = &manifest.spec;
    let is_hvm = spec.vm_type.value == VmType::Hvm;
    let mut fault = |target: &Spanned<DiskTarget>, message: String, help: String| {
        findings.push(Finding::error("target", message).at(scene.at(manifest, target.bytes)).help(help));
    };
    for disk in spec.disks.iter().filter(|disk| is_emulated(&disk.target.value.0)) {
        let name = &disk.name.value;
        if !is_hvm {
            let message = format!("disk `{name}` is an emulated one, and only HVM guests have those");
            fault(&disk.target, message, "write `xvda` and so on, or take `type: hvm`".to_owned());
        } else if disk.read_only {
            // libxl_dm.c: "qemu-xen doesn't support read-only IDE disk drivers".
            let message = format!("disk `{name}` is read-only, which an emulated IDE disk cannot be");
            fault(&disk.target, message, "write `xvda` and so on, or make it a drive in `cdroms`".to_owned());
        }
    }
    for drive in spec.cdroms.iter().filter(|drive| !is_emulated(&drive.target.value.0)) {
        let message = format!("CD-ROM drive `{}` is on the IDE bus: its target is `hda` to `hdd`", drive.name.value);
        fault(&drive.target, message, "write `hdc`, for example".to_owned());
    }
}

pub(super) fn word(vm_type: VmType) -> &'static str {
    match vm_type {
        VmType::Pv => "pv",
        VmType::Pvh => "pvh",
        VmType::Hvm => "hvm",
    }
}
