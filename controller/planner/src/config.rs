//! A VM with every value decided: what a manifest says, completed from the VM's record.

use protocol::{BootConfig, DomainKind, Firmware, Sched};
use schema::units::{Mac, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The whole configuration of a VM. Every field has a value; where it came from does not matter any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmConfig {
    /// How it is virtualised.
    pub kind: DomainKind,
    /// Whether it should run.
    pub power: Power,
    /// When a guest that ended by itself is started again.
    pub restart: Restart,
    /// vCPUs it is asked to use.
    #[serde(deserialize_with = "protocol::bounds::vcpus")]
    pub vcpus_online: u32,
    /// vCPUs it is built with.
    #[serde(deserialize_with = "protocol::bounds::vcpus")]
    pub vcpus_max: u32,
    /// KiB it is asked to use.
    #[serde(deserialize_with = "protocol::bounds::kib")]
    pub memory_kib: u64,
    /// KiB it is built for.
    #[serde(deserialize_with = "protocol::bounds::kib")]
    pub memory_max_kib: u64,
    /// The partition it runs in; `None` is Pool-0.
    pub partition: Option<Name>,
    /// Cores it is limited to, as `socket.core`; only without a partition. `None` is all of Pool-0.
    pub pins: Option<BTreeSet<String>>,
    /// Cores that it prefers, as `socket.core`. `None` is no preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_pins: Option<BTreeSet<String>>,
    /// Weight and cap.
    pub sched: Sched,
    /// What it boots.
    pub boot: BootConfig,
    /// Disks by name, in the order of their targets.
    pub disks: Vec<Disk>,
    /// NICs in the order of their device numbers.
    pub nics: Vec<Nic>,
    /// What only HVM has; there exactly when `kind` is HVM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hvm: Option<Hvm>,
    /// Seconds a graceful stop may take.
    pub shutdown_timeout_s: u64,
    /// How many of its last crashes are kept as core dumps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crash_dumps: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Whether a VM should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// The domain exists and its vCPUs run.
    Running,
    /// The domain exists and none of its vCPUs runs.
    Paused,
    /// No domain; the guest's memory lies on disk, and it goes on from there.
    Suspended,
    /// No domain.
    Stopped,
}

impl Power {
    /// Whether a domain belongs to it.
    pub fn has_domain(self) -> bool {
        match self {
            Self::Running | Self::Paused => true,
            Self::Stopped | Self::Suspended => false,
        }
    }
}

/// When a guest that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// After power-off, crash and reboot.
    Always,
    /// After crash and reboot.
    OnFailure,
    /// After reboot only.
    Never,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its name within the VM.
    pub name: Name,
    /// The device in the guest.
    pub target: String,
    /// Raw file or block device in dom0.
    pub path: String,
    /// The guest cannot write.
    pub read_only: bool,
}

/// What only HVM guests have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hvm {
    /// Its firmware.
    pub firmware: Firmware,
    /// Its screen is served by VNC.
    pub vnc: bool,
    /// CD-ROM drives by name, in the order of their targets.
    pub cdroms: Vec<Drive>,
}

/// A CD-ROM drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Its name within the VM.
    pub name: Name,
    /// The drive in the guest, `hda` to `hdd`.
    pub target: String,
    /// Image or block device in dom0; `None`: it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its name within the VM.
    pub name: Name,
    /// Its address.
    pub mac: Mac,
    /// Bridge in dom0.
    pub bridge: String,
    /// libxl's device number, which the guest's order of NICs comes from; `None`: its place in the list, from 0. Given once and kept, so that
    /// a NIC that goes moves no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devid: Option<u32>,
}

impl Disk {
    /// Whether the guest sees no difference.
    pub(crate) fn is_same_device(&self, other: &Self) -> bool {
        self.target == other.target && self.path == other.path && self.read_only == other.read_only
    }
}

impl Nic {
    /// Whether the guest and its network see no difference.
    pub(crate) fn is_same_device(&self, other: &Self) -> bool {
        self.mac == other.mac && self.bridge == other.bridge
    }

    /// The device number of one of a list.
    pub(crate) fn number(nics: &[Self], nic: &Self) -> u32 {
        let place = nics.iter().position(|other| other.name == nic.name).unwrap_or(nics.len());
        nic.devid.unwrap_or_else(|| u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// A list with the number of each.
    pub(crate) fn numbered(nics: &[Self]) -> Vec<(u32, Self)> {
        nics.iter().map(|nic| (Self::number(nics, nic), nic.clone())).collect()
    }

    /// The list of numbered NICs, in the order of their numbers. A number that the place in the list says is not written.
    pub(crate) fn list(mut numbered: Vec<(u32, Self)>) -> Vec<Self> {
        numbered.sort_by_key(|(number, _)| *number);
        let nics = (0..).zip(numbered);
        nics.map(|(place, (number, nic))| Self { devid: (number != place).then_some(number), ..nic }).collect()
    }
}

impl VmConfig {
    /// Its CD-ROM drives.
    pub fn drives(&self) -> &[Drive] {
        self.hvm.as_ref().map(|hvm| hvm.cdroms.as_slice()).unwrap_or_default()
    }

    /// Puts a medium into a drive, or takes it out.
    pub(crate) fn set_medium(&mut self, name: &Name, medium: Option<&String>) {
        let drives = self.hvm.iter_mut().flat_map(|hvm| &mut hvm.cdroms);
        drives.filter(|drive| drive.name == *name).for_each(|drive| drive.medium = medium.cloned());
    }

    /// Puts a disk into its place; one of the same name goes.
    pub(crate) fn set_disk(&mut self, disk: Disk) {
        self.disks.retain(|other| other.name != disk.name);
        self.disks.push(disk);
        Self::sort_disks(&mut self.disks);
    }

    /// xvdb before xvdaa, as the guest counts them.
    pub(crate) fn sort_disks(disks: &mut [Disk]) {
        disks.sort_by(|a, b| (a.target.len(), &a.target).cmp(&(b.target.len(), &b.target)));
    }

    /// Takes a NIC away; the others keep their numbers.
    pub(crate) fn remove_nic(&mut self, name: &Name) {
        self.nics = Nic::list(Nic::numbered(&self.nics).into_iter().filter(|(_, nic)| nic.name != *name).collect());
    }

    /// Puts a NIC into its place; one of the same name goes.
    pub(crate) fn set_nic(&mut self, number: u32, nic: &Nic) {
        let others = Nic::numbered(&self.nics).into_iter().filter(|(_, other)| other.name != nic.name);
        self.nics = Nic::list(others.chain([(number, nic.clone())]).collect());
    }
}

/// Values for what a manifest leaves out. Recorded at first apply, so that a newer binary's defaults change nothing that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// `spec.power`.
    pub power: Power,
    /// `spec.restart`.
    pub restart: Restart,
    /// `spec.cpu.weight` and `spec.cpu.cap`.
    pub sched: Sched,
    /// `spec.shutdown.timeout`, seconds.
    pub shutdown_timeout_s: u64,
    /// `spec.nics[].mac` by NIC name, as first derived.
    pub macs: BTreeMap<Name, Mac>,
}
