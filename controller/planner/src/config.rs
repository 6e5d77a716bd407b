//! A VM with every value decided: what a manifest says, completed from the VM's record.

use protocol::{BootConfig, DomainKind, Sched};
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
    pub vcpus_online: u32,
    /// vCPUs it is built with.
    pub vcpus_max: u32,
    /// KiB it is asked to use.
    pub memory_kib: u64,
    /// KiB it is built for.
    pub memory_max_kib: u64,
    /// The partition it runs in; `None` is Pool-0.
    pub partition: Option<Name>,
    /// Cores it is limited to, as `socket.core`; only without a partition. `None` is all of Pool-0.
    pub pins: Option<BTreeSet<String>>,
    /// Weight and cap.
    pub sched: Sched,
    /// What it boots.
    pub boot: BootConfig,
    /// Disks by name, in the order of their targets.
    pub disks: Vec<Disk>,
    /// NICs in the order of their device numbers.
    pub nics: Vec<Nic>,
    /// Seconds a graceful stop may take.
    pub shutdown_timeout_s: u64,
}

/// Whether a VM should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// The domain exists and its vCPUs run.
    Running,
    /// The domain exists and none of its vCPUs runs.
    Paused,
    /// No domain.
    Stopped,
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

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its name within the VM.
    pub name: Name,
    /// Its address.
    pub mac: Mac,
    /// Bridge in dom0.
    pub bridge: String,
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
