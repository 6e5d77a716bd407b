//! The rules of one VM, and what it becomes.

use super::{Scene, cores, hvm, names};
use crate::decode::Spanned;
use crate::desired::{self, Cpu, Vcpus, Vm};
use crate::finding::{Bytes, Finding, Kind};
use crate::kinds::Manifest;
use crate::kinds::shorthand::ShortOr;
use crate::kinds::virtual_machine::{self as form, VirtualMachineSpec, VmType};
use crate::units::{Core, Name, Size};

/// Bytes of a PV guest's command line without its last NUL (MAX_GUEST_CMDLINE, xen/include/public/xen.h).
const MAX_PV_COMMAND_LINE: usize = 1023;
/// vCPUs of a PVH or HVM guest (HVM_MAX_VCPUS, xen/include/public/hvm/hvm_info_table.h).
const MAX_HVM_VCPUS: u32 = 128;
/// Less than any kernel starts with.
const MIN_MEMORY: Size = Size::from_mib(4);

type VmManifest = Manifest<VirtualMachineSpec>;

/// Checks a VM by itself and against what it refers to.
pub(super) fn vm(scene: &Scene<'_>, manifest: &VmManifest, findings: &mut Vec<Finding>) -> (Name, Vm) {
    let VirtualMachineSpec {
        host,
        vm_type,
        firmware: _,
        power,
        restart,
        vcpus,
        memory,
        cpu,
        boot,
        disks,
        cdroms: _,
        nics,
        vnc: _,
        shutdown,
        crash_dumps,
        protect,
        formerly,
        uuid,
        mode,
    } = &manifest.spec;
    names::reference(scene, manifest, Kind::Host, host, findings);
    for nic in nics {
        names::reference(scene, manifest, Kind::Network, &nic.network, findings);
    }
    if let Some(timeout) = shutdown.timeout.as_ref().filter(|timeout| timeout.value.as_secs() == 0) {
        findings.push(
            Finding::error("out-of-range", "`spec.shutdown.timeout` is at least `1s`")
                .at(scene.at(manifest, timeout.bytes)),
        );
    }
    let name = manifest.name.value.clone();
    let vcpus = self::vcpus(scene, manifest, vm_type.value, vcpus, findings);
    let vm = Vm {
        name: name.clone(),
        labels: manifest.labels.clone(),
        host: host.value.clone(),
        kind: vm_type.value.into(),
        power: power.map(Into::into),
        restart: restart.map(Into::into),
        vcpus,
        memory: self::memory(scene, manifest, memory, findings),
        cpu: self::cpu(scene, manifest, cpu, vcpus, findings),
        boot: self::boot(scene, manifest, boot.as_ref(), findings),
        disks: disks.iter().map(disk).collect(),
        nics: nics.iter().map(nic).collect(),
        hvm: hvm::hvm(scene, manifest, findings),
        shutdown_timeout: shutdown.timeout.as_ref().map(|timeout| timeout.value),
        crash_dumps: crash_dumps.map(|dumps| dumps.0),
        protect: *protect,
        formerly: formerly.iter().map(|name| name.value.clone()).collect(),
        uuid: uuid.as_ref().map(|uuid| uuid.value.0),
        mode: mode.map(Into::into),
    };
    (name, vm)
}

/// Where the fields stand that findings from outside point at.
pub(super) fn places(spec: &VirtualMachineSpec) -> Vec<(&'static str, Bytes)> {
    let VirtualMachineSpec { host, vm_type, firmware, vcpus, memory, cpu, boot, cdroms, .. } = spec;
    let mut places = vec![
        ("spec.host", host.bytes),
        ("spec.vcpus", vcpus.bytes),
        ("spec.memory", memory.bytes),
        ("spec.type", vm_type.bytes),
    ];
    places.extend(firmware.as_ref().map(|firmware| ("spec.firmware", firmware.bytes)));
    places.extend(cdroms.first().map(|drive| ("spec.cdroms", drive.name.bytes)));
    places.extend(cpu.pins.as_ref().map(|pins| ("spec.cpu.pins", pins.bytes)));
    let Some(boot) = boot else { return places };
    places.push(("spec.boot", boot.bytes));
    places.extend(boot.value.kernel.as_ref().map(|kernel| ("spec.boot.kernel", kernel.bytes)));
    places.extend(boot.value.ramdisk.as_ref().map(|ramdisk| ("spec.boot.ramdisk", ramdisk.bytes)));
    places
}

fn vcpus(
    scene: &Scene<'_>,
    manifest: &VmManifest,
    vm_type: VmType,
    vcpus: &Spanned<ShortOr<form::Vcpus>>,
    findings: &mut Vec<Finding>,
) -> Vcpus {
    let ShortOr(form::Vcpus { online, max }) = &vcpus.value;
    if let Some(max) = max.as_ref().filter(|max| max.value.0 < online.0) {
        let message = format!("`spec.vcpus.max` is {}, less than the {} vCPUs online", max.value.0, online.0);
        findings.push(
            Finding::error("max-too-small", message)
                .at(scene.at(manifest, max.bytes))
                .help(format!("write `max: {}` or more", online.0)),
        );
    }
    let (built, bytes) = max.as_ref().map_or((online.0, vcpus.bytes), |max| (max.value.0, max.bytes));
    if vm_type != VmType::Pv && built > MAX_HVM_VCPUS {
        let which = if vm_type == VmType::Pvh { "a PVH" } else { "an HVM" };
        let message = format!("{which} guest has at most {MAX_HVM_VCPUS} vCPUs");
        findings.push(
            Finding::error("out-of-range", message).at(scene.at(manifest, bytes)).label(format!("found {built}")),
        );
    }
    Vcpus { online: online.0, max: max.as_ref().map(|max| max.value.0) }
}

fn memory(
    scene: &Scene<'_>,
    manifest: &VmManifest,
    memory: &Spanned<ShortOr<form::Memory>>,
    findings: &mut Vec<Finding>,
) -> desired::Memory {
    let ShortOr(form::Memory { target, max }) = &memory.value;
    if let Some(max) = max.as_ref().filter(|max| max.value < *target) {
        let message = format!("`spec.memory.max` is {}, less than the target of {target}", max.value);
        findings.push(
            Finding::error("max-too-small", message)
                .at(scene.at(manifest, max.bytes))
                .help(format!("write `max: {target}` or more")),
        );
    }
    if *target < MIN_MEMORY {
        let message = format!("no guest starts with {target} of memory");
        findings.push(
            Finding::error("out-of-range", message)
                .at(scene.at(manifest, memory.bytes))
                .help(format!("write `{MIN_MEMORY}` or more")),
        );
    }
    desired::Memory { target: *target, max: max.as_ref().map(|max| max.value) }
}

fn cpu(scene: &Scene<'_>, manifest: &VmManifest, cpu: &form::Cpu, vcpus: Vcpus, findings: &mut Vec<Finding>) -> Cpu {
    let form::Cpu { partition, pins, soft_pins, weight, cap } = cpu;
    if let Some(partition) = partition {
        names::reference(scene, manifest, Kind::CorePartition, partition, findings);
        elsewhere(scene, manifest, partition, findings);
        if let Some(pins) = pins {
            let finding = Finding::error(
                "pins-and-partition",
                format!("`{}` has both a partition and pins", manifest.name.value),
            )
            .at(scene.at(manifest, pins.bytes))
            .related("the partition", scene.at(manifest, partition.bytes))
            .help("keep `partition`, whose cores are its own, or `pins`, which limit it within Pool-0");
            findings.push(finding);
        }
    }
    preferred(scene, manifest, cpu, findings);
    // libxl refuses more (libxl_sched.c: "Cpu cap out of range").
    let most = u64::from(vcpus.max.unwrap_or(vcpus.online)) * 100;
    if let Some(cap) = cap.as_ref().filter(|cap| u64::from(cap.value.0) > most) {
        let message = format!("`spec.cpu.cap` is at most {most}: 100 for each vCPU");
        findings.push(
            Finding::error("out-of-range", message)
                .at(scene.at(manifest, cap.bytes))
                .label(format!("found {}", cap.value.0)),
        );
    }
    Cpu {
        partition: partition.as_ref().map(|partition| partition.value.clone()),
        pins: pins.as_ref().map(|pins| cores::unique(scene, manifest, pins, "`pins` has", findings)),
        soft_pins: soft_pins.as_ref().map(|pins| cores::unique(scene, manifest, pins, "`softPins` has", findings)),
        weight: weight.and_then(|weight| u16::try_from(weight.0).ok()),
        cap: cap.as_ref().and_then(|cap| u16::try_from(cap.value.0).ok()),
    }
}

/// What a vCPU may not run on, it cannot prefer.
fn preferred(scene: &Scene<'_>, manifest: &VmManifest, cpu: &form::Cpu, findings: &mut Vec<Finding>) {
    let Some(soft_pins) = &cpu.soft_pins else { return };
    let named = |name| scene.documents.partitions.iter().find(|other| other.name.value == name);
    let partition = cpu.partition.as_ref().and_then(|partition| named(partition.value.clone()));
    let (limit, whose) = match (partition, &cpu.pins) {
        (Some(partition), _) => (&partition.spec.cores, "the partition's cores"),
        (None, Some(pins)) => (pins, "the cores in `pins`"),
        (None, None) => return,
    };
    let limit: Vec<Core> = limit.value.iter().map(|core| core.value.into()).collect();
    let outside = soft_pins.value.iter().find(|core| !limit.contains(&core.value.into()));
    if let Some(core) = outside {
        let message = format!("core {} of `spec.cpu.softPins` is none of {whose}", Core::from(core.value));
        let finding = Finding::error("soft-pins-outside", message)
            .at(scene.at(manifest, core.bytes))
            .help(format!("name some of {whose}: its vCPUs run on no others"));
        findings.push(finding);
    }
}

/// A partition has cores of one host only.
fn elsewhere(scene: &Scene<'_>, manifest: &VmManifest, partition: &Spanned<Name>, findings: &mut Vec<Finding>) {
    let host = &manifest.spec.host;
    let Some(declared) = scene.documents.partitions.iter().find(|other| other.name.value == partition.value) else {
        return;
    };
    if declared.spec.host.value != host.value {
        let message = format!(
            "`{}` is on host `{}`, and the partition `{}` on `{}`",
            manifest.name.value, host.value, partition.value, declared.spec.host.value
        );
        let finding = Finding::error("partition-elsewhere", message)
            .at(scene.at(manifest, partition.bytes))
            .related("its host", scene.at(declared, declared.spec.host.bytes))
            .help("take a partition of the VM's own host");
        findings.push(finding);
    }
}

fn boot(
    scene: &Scene<'_>,
    manifest: &VmManifest,
    boot: Option<&Spanned<form::Boot>>,
    findings: &mut Vec<Finding>,
) -> desired::Boot {
    let spec = &manifest.spec;
    let is_hvm = spec.vm_type.value == VmType::Hvm;
    let Some(boot) = boot else {
        if is_hvm {
            return hvm::order(scene, manifest, None, findings);
        }
        if manifest.is_whole {
            let message = format!("`spec` lacks `boot`, which a VM of type `{}` needs", hvm::word(spec.vm_type.value));
            let finding = Finding::error("missing-field", message).at(scene.at(manifest, spec.vm_type.bytes));
            findings.push(finding.help("add `boot` with a `kernel`, or with `grub: true`"));
        }
        return desired::Boot::Grub;
    };
    let form::Boot { kernel, ramdisk, cmdline, grub, order } = &boot.value;
    one_of_them(scene, manifest, boot, findings);
    let too_long =
        |cmdline: &&Spanned<_>| cmdline_len(cmdline) > MAX_PV_COMMAND_LINE && spec.vm_type.value == VmType::Pv;
    if let Some(cmdline) = cmdline.as_ref().filter(too_long) {
        let message = "a PV guest's command line has at most 1023 bytes";
        let finding = Finding::error("boot", message).at(scene.at(manifest, cmdline.bytes));
        findings.push(finding.help("shorten it, or take `type: pvh`"));
    }
    let use_grub = grub.as_ref().is_some_and(|grub| grub.value);
    match (kernel, order) {
        (Some(kernel), _) if !use_grub => desired::Boot::Kernel {
            kernel: kernel.value.0.clone(),
            ramdisk: ramdisk.as_ref().map(|ramdisk| ramdisk.value.0.clone()),
            cmdline: cmdline.as_ref().map(|cmdline| cmdline.value.0.clone()),
        },
        (None, Some(order)) if is_hvm => hvm::order(scene, manifest, Some(order), findings),
        _ => desired::Boot::Grub,
    }
}

/// A kernel, or GRUB, or an order of devices; and nothing that belongs to another of them.
fn one_of_them(scene: &Scene<'_>, manifest: &VmManifest, boot: &Spanned<form::Boot>, findings: &mut Vec<Finding>) {
    let form::Boot { kernel, ramdisk, cmdline, grub, order } = &boot.value;
    let is_hvm = manifest.spec.vm_type.value == VmType::Hvm;
    let mut fault = |bytes: Bytes, message: &str, help: &str| {
        findings.push(Finding::error("boot", message).at(scene.at(manifest, bytes)).help(help));
    };
    match (kernel, grub) {
        (_, Some(grub)) if grub.value && is_hvm => {
            let help = "remove `grub`: the firmware starts the boot loader on its disk; or name a `kernel`";
            fault(grub.bytes, "GRUB for Xen is for `pv` and `pvh`, and this VM is `hvm`", help);
        }
        (Some(_), Some(grub)) if grub.value => {
            fault(grub.bytes, "a VM boots a kernel or GRUB, not both", "remove `kernel`, or `grub`");
        }
        (None, Some(grub)) if !grub.value && manifest.is_whole && order.is_none() => {
            fault(grub.bytes, "this VM boots nothing", "write `grub: true`, or a `kernel`");
        }
        (None, None) if manifest.is_whole && order.is_none() => {
            let help = if is_hvm { "a `kernel`, or an `order` of devices" } else { "a `kernel`, or `grub: true`" };
            fault(boot.bytes, "this VM boots nothing", &format!("give `boot` {help}"));
        }
        _ => {}
    }
    if let (Some(_), Some(order)) = (kernel, order) {
        let help = "remove `order`, or `kernel` with what belongs to it";
        fault(order.bytes, "a VM boots a kernel or from its devices, not both", help);
    }
    if kernel.is_none() && manifest.is_whole {
        if let Some(ramdisk) = ramdisk {
            fault(
                ramdisk.bytes,
                "a `ramdisk` belongs to a `kernel`, and there is none",
                "add the `kernel`, or remove `ramdisk`",
            );
        }
        if let Some(cmdline) = cmdline {
            fault(
                cmdline.bytes,
                "a `cmdline` belongs to a `kernel`, and there is none",
                "add the `kernel`, or remove `cmdline`; GRUB takes it from the guest's disk",
            );
        }
    }
    let use_grub = grub.as_ref().is_some_and(|grub| grub.value) && !is_hvm;
    if use_grub && kernel.is_none() && manifest.spec.disks.is_empty() && manifest.is_whole {
        fault(boot.bytes, "GRUB reads the guest's disks, and this VM has none", "add a disk, or boot a `kernel`");
    }
}

fn cmdline_len(cmdline: &Spanned<crate::kinds::scalars::CommandLine>) -> usize {
    cmdline.value.0.len()
}

fn disk(disk: &form::Disk) -> desired::Disk {
    let form::Disk { name, target, path, read_only } = disk;
    desired::Disk {
        name: name.value.clone(),
        target: target.value.0.clone(),
        path: path.value.0.clone(),
        read_only: *read_only,
    }
}

fn nic(nic: &form::Nic) -> desired::Nic {
    let form::Nic { name, network, mac } = nic;
    desired::Nic { name: name.value.clone(), network: network.value.clone(), mac: mac.as_ref().map(|mac| mac.value) }
}
