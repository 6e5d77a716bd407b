//! From a manifest to a configuration in which every value is decided.

use crate::config::{Defaults, Disk, Nic, Power, Restart, VmConfig};
use crate::digest::derive_mac;
use protocol::{BootConfig, DomainKind, Sched};
use schema::desired::{Boot, Network, Vm, VmType};
use schema::units::Name;
use std::collections::BTreeMap;
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

/// The whole configuration of a VM, and the defaults to be recorded with it. `recorded` wins over this version's defaults.
pub fn resolve(
    vm: &Vm,
    uuid: Uuid,
    networks: &BTreeMap<Name, Network>,
    recorded: Option<&Defaults>,
) -> (VmConfig, Defaults) {
    let mut fixed = recorded.cloned().unwrap_or_else(defaults);
    let nics = vm
        .nics
        .iter()
        .map(|nic| Nic {
            name: nic.name.clone(),
            mac: nic.mac.unwrap_or_else(|| {
                *fixed.macs.entry(nic.name.clone()).or_insert_with(|| derive_mac(uuid, nic.name.as_str()))
            }),
            // The schema refuses a reference to nothing; an empty bridge is reported as missing, never attached.
            bridge: networks.get(&nic.network).map(|network| network.bridge.clone()).unwrap_or_default(),
        })
        .collect();
    let config = VmConfig {
        kind: match vm.kind {
            VmType::Pv => DomainKind::Pv,
            VmType::Pvh => DomainKind::Pvh,
        },
        power: vm.power.map_or(fixed.power, power),
        restart: vm.restart.map_or(fixed.restart, restart),
        vcpus_online: vm.vcpus.online,
        vcpus_max: vm.vcpus.max.unwrap_or(vm.vcpus.online),
        memory_kib: vm.memory.target.kib(),
        memory_max_kib: vm.memory.max.unwrap_or(vm.memory.target).kib(),
        partition: vm.cpu.partition.clone(),
        pins: vm.cpu.pins.as_ref().map(|cores| cores.iter().map(ToString::to_string).collect()),
        sched: Sched {
            weight: vm.cpu.weight.unwrap_or(fixed.sched.weight),
            cap: vm.cpu.cap.unwrap_or(fixed.sched.cap),
        },
        boot: match &vm.boot {
            Boot::Kernel { kernel, ramdisk, cmdline } => {
                BootConfig::Kernel { kernel: kernel.clone(), ramdisk: ramdisk.clone(), cmdline: cmdline.clone() }
            }
            Boot::Grub => BootConfig::Grub,
        },
        disks: disks(vm),
        nics,
        shutdown_timeout_s: vm.shutdown_timeout.map_or(fixed.shutdown_timeout_s, schema::units::Span::as_secs),
    };
    (config, fixed)
}

fn disks(vm: &Vm) -> Vec<Disk> {
    let mut disks: Vec<Disk> = vm
        .disks
        .iter()
        .map(|disk| Disk {
            name: disk.name.clone(),
            target: disk.target.clone(),
            path: disk.path.clone(),
            read_only: disk.read_only,
        })
        .collect();
    // xvdb before xvdaa, as the guest counts them.
    disks.sort_by(|a, b| (a.target.len(), &a.target).cmp(&(b.target.len(), &b.target)));
    disks
}

fn power(power: schema::desired::Power) -> Power {
    match power {
        schema::desired::Power::Running => Power::Running,
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
