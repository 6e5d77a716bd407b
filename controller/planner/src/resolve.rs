//! From a manifest to a configuration in which every value is decided.

use crate::config::{Defaults, Disk, Drive, Hvm, Nic, Power, Restart, VmConfig};
use crate::digest::derive_mac;
use protocol::{BootConfig, BootDevice, DomainKind, Firmware, Sched};
use schema::desired::{self, Boot, Cpu, Network, Vm, VmType};
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a manifest that leaves everything out gets, when it is applied for the first time by this version.
pub fn defaults() -> Defaults {
    Defaults {
        power: Power::Running,
        restart: Restart::OnFailure,
        // Xen's own (xen/common/sched/credit.c: CSCHED_DEFAULT_WEIGHT; a cap of 0 is none).
        sched: Sched { weight: 256, cap: 0 },
        shutdown_timeout_s: 60,
        macs: BTreeMap::new(),
    }
}

/// The whole configuration of a VM, and the defaults to be recorded with it. `recorded` wins over this version's defaults, and a NIC keeps the
/// number that it had in `last`.
pub fn resolve(
    vm: &Vm,
    uuid: Uuid,
    networks: &BTreeMap<Name, Network>,
    recorded: Option<&Defaults>,
    last: &[Nic],
) -> (VmConfig, Defaults) {
    // Whole: a new field does not compile until it is decided what becomes of it.
    let Vm {
        name: _,
        labels: _,
        host: _,
        kind,
        power,
        restart,
        vcpus,
        memory,
        cpu: Cpu { partition, pins, soft_pins, weight, cap },
        boot,
        disks,
        nics,
        hvm,
        shutdown_timeout,
        crash_dumps,
        protect: _,
        formerly: _,
        uuid: _,
        mode: _,
    } = vm;
    let mut fixed = recorded.cloned().unwrap_or_else(defaults);
    let nics = nics
        .iter()
        .map(|nic| Nic {
            name: nic.name.clone(),
            mac: nic.mac.unwrap_or_else(|| {
                *fixed.macs.entry(nic.name.clone()).or_insert_with(|| derive_mac(uuid, nic.name.as_str()))
            }),
            // The schema refuses a reference to nothing; an empty bridge is reported as missing, never attached.
            bridge: networks.get(&nic.network).map(|network| network.bridge.clone()).unwrap_or_default(),
            devid: None,
        })
        .collect::<Vec<_>>();
    let config = VmConfig {
        kind: match kind {
            VmType::Pv => DomainKind::Pv,
            VmType::Pvh => DomainKind::Pvh,
            VmType::Hvm => DomainKind::Hvm,
        },
        power: power.map_or(fixed.power, self::power),
        restart: restart.map_or(fixed.restart, self::restart),
        vcpus_online: vcpus.online,
        vcpus_max: vcpus.max.unwrap_or(vcpus.online),
        memory_kib: memory.target.kib(),
        memory_max_kib: memory.max.unwrap_or(memory.target).kib(),
        partition: partition.clone(),
        pins: pins.as_ref().map(|cores| cores.iter().map(ToString::to_string).collect()),
        soft_pins: soft_pins.as_ref().map(|cores| cores.iter().map(ToString::to_string).collect()),
        sched: Sched { weight: weight.unwrap_or(fixed.sched.weight), cap: cap.unwrap_or(fixed.sched.cap) },
        boot: match boot {
            Boot::Kernel { kernel, ramdisk, cmdline } => {
                BootConfig::Kernel { kernel: kernel.clone(), ramdisk: ramdisk.clone(), cmdline: cmdline.clone() }
            }
            Boot::Grub => BootConfig::Grub,
            Boot::Devices(order) => BootConfig::Devices(order.iter().copied().map(boot_device).collect()),
        },
        disks: self::disks(disks),
        nics: number(nics, last),
        hvm: hvm.as_ref().map(self::hvm),
        crash_dumps: crash_dumps.unwrap_or(0),
        shutdown_timeout_s: shutdown_timeout.map_or(fixed.shutdown_timeout_s, schema::units::Span::as_secs),
    };
    (config, fixed)
}

fn disks(disks: &[desired::Disk]) -> Vec<Disk> {
    let mut disks: Vec<Disk> = disks
        .iter()
        .map(|disk| Disk {
            name: disk.name.clone(),
            target: disk.target.clone(),
            path: disk.path.clone(),
            read_only: disk.read_only,
        })
        .collect();
    VmConfig::sort_disks(&mut disks);
    disks
}

fn boot_device(device: desired::BootDevice) -> BootDevice {
    match device {
        desired::BootDevice::Disk => BootDevice::Disk,
        desired::BootDevice::Cdrom => BootDevice::Cdrom,
        desired::BootDevice::Network => BootDevice::Network,
    }
}

fn hvm(desired::Hvm { firmware, vnc, cdroms }: &desired::Hvm) -> Hvm {
    let drive = |desired::Cdrom { name, target, medium }: &desired::Cdrom| Drive {
        name: name.clone(),
        target: target.clone(),
        medium: medium.clone(),
    };
    let mut cdroms: Vec<Drive> = cdroms.iter().map(drive).collect();
    cdroms.sort_by(|a, b| a.target.cmp(&b.target));
    let firmware = match firmware {
        desired::Firmware::Bios => Firmware::Bios,
        desired::Firmware::Uefi => Firmware::Uefi,
    };
    Hvm { firmware, vnc: *vnc, cdroms }
}

/// Gives each NIC its device number: the one that it had, or the lowest that is free.
fn number(nics: Vec<Nic>, last: &[Nic]) -> Vec<Nic> {
    let last = Nic::numbered(last);
    let had = |nic: &Nic| last.iter().find(|(_, other)| other.name == nic.name).map(|(number, _)| *number);
    let mut taken: BTreeSet<u32> = nics.iter().filter_map(had).collect();
    let mut numbered = Vec::with_capacity(nics.len());
    for nic in nics {
        let number = had(&nic).or_else(|| (0..=u32::MAX).find(|number| !taken.contains(number)));
        let number = number.unwrap_or_default();
        taken.insert(number);
        numbered.push((number, nic));
    }
    Nic::list(numbered)
}

fn power(power: schema::desired::Power) -> Power {
    match power {
        schema::desired::Power::Running => Power::Running,
        schema::desired::Power::Paused => Power::Paused,
        schema::desired::Power::Suspended => Power::Suspended,
        schema::desired::Power::Stopped => Power::Stopped,
    }
}

fn restart(restart: schema::desired::Restart) -> Restart {
    match restart {
        schema::desired::Restart::Always => Restart::Always,
        schema::desired::Restart::OnFailure => Restart::OnFailure,
        schema::desired::Restart::Never => Restart::Never,
    }
}
