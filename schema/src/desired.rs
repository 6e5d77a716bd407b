//! What the manifests of one commit say, resolved: every reference points at something, every rule of the language holds.
//!
//! These types are what planning reads. They are never read from a file as such: only [`crate::read`] makes them. A field that
//! the manifest leaves out stays `None` here, because its value comes from the object's record (defaults are fixed at first apply), not from this binary.

use crate::units::{Cores, Mac, Name, Size, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The whole of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The one server pool of the repository.
    pub pool: Pool,
    /// Hosts by name.
    pub hosts: BTreeMap<Name, Host>,
    /// Networks by name.
    pub networks: BTreeMap<Name, Network>,
    /// Core partitions by name, unique over the pool.
    pub partitions: BTreeMap<Name, CorePartition>,
    /// VMs by name, unique over the pool.
    pub vms: BTreeMap<Name, Vm>,
}

/// A server pool: hosts that share work and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// Identity of everything in the pool.
    pub id: Uuid,
    /// What may happen without a person.
    pub changes: ChangeRules,
}

/// What may happen without a person (design §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRules {
    /// How many objects one commit may remove. Default: 1 object or 5 %, whichever is more.
    pub max_deletions: MaxDeletions,
    /// What a change that needs a restart does. Default: `at-next-start`.
    pub restarts: Restarts,
}

/// How many objects one commit may remove without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxDeletions {
    /// At most this many objects.
    Count(u32),
    /// At most this share of the VMs and partitions of the accepted commit, rounded down but at least 1.
    Percent(u8),
}

/// What a change that needs a restart of the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// It waits for the next start of the VM, whoever starts it.
    AtNextStart,
    /// It waits for a person, also across restarts.
    Hold,
    /// pinfold restarts the guest.
    Allow,
}

/// What pinfold may do. The lesser one is the stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing.
    Observe,
    /// What follows from the records alone; everything else waits for a person.
    Plan,
    /// Everything that the commit asks for.
    #[default]
    Enforce,
}

/// A Xen host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, as the daemon's `host:` setting names it.
    pub name: Name,
    /// Cores that no partition may use.
    pub dom0_cores: Cores,
    /// What pinfold may do there.
    pub mode: Option<Mode>,
}

/// A bridge that NICs attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: Name,
    /// The bridge device in dom0.
    pub bridge: String,
}

/// A hard partition: whole physical cores, exclusive, shared by the VMs that join it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePartition {
    /// Its name; its cpupool bears it too.
    pub name: Name,
    /// The host whose cores these are.
    pub host: Name,
    /// At least one core.
    pub cores: Cores,
    /// Former names, oldest first.
    pub formerly: Vec<Name>,
}

impl CorePartition {
    /// The identity of its cpupool: v5(pool id, `corepartition/` + first name it ever had).
    pub fn uuid(&self, pool_id: Uuid) -> Uuid {
        let first = self.formerly.first().unwrap_or(&self.name);
        Uuid::new_v5(&pool_id, format!("corepartition/{first}").as_bytes())
    }
}

/// A virtual machine as its manifest declares it. `None` means: the manifest does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Its name.
    pub name: Name,
    /// Labels, for people and selectors.
    pub labels: BTreeMap<String, String>,
    /// The host it lives on.
    pub host: Name,
    /// How it is virtualised.
    pub kind: VmType,
    /// Whether it should run.
    pub power: Option<Power>,
    /// When a guest that ended is started again.
    pub restart: Option<Restart>,
    /// vCPUs.
    pub vcpus: Vcpus,
    /// Memory.
    pub memory: Memory,
    /// Placement and share of the processors.
    pub cpu: Cpu,
    /// What it boots.
    pub boot: Boot,
    /// Disks in the order of the manifest.
    pub disks: Vec<Disk>,
    /// NICs in the order of the manifest.
    pub nics: Vec<Nic>,
    /// What only HVM guests have; there exactly when [`Vm::kind`] is [`VmType::Hvm`].
    pub hvm: Option<Hvm>,
    /// How long a graceful stop may take before the domain is destroyed.
    pub shutdown_timeout: Option<Span>,
    /// How many of its last crashes are kept as core dumps, 0 to 16.
    pub crash_dumps: Option<u32>,
    /// A commit may remove this VM only if an earlier commit removed this line.
    pub protect: bool,
    /// Former names, oldest first.
    pub formerly: Vec<Name>,
    /// Identity taken over from a domain that existed before pinfold.
    pub uuid: Option<Uuid>,
    /// What pinfold may do with it.
    pub mode: Option<Mode>,
}

impl Vm {
    /// The identity of the VM before it has a record: `spec.uuid`, or v5(pool id, first name it ever had).
    pub fn uuid(&self, pool_id: Uuid) -> Uuid {
        let first = self.formerly.first().unwrap_or(&self.name);
        self.uuid.unwrap_or_else(|| Self::first_uuid(pool_id, first))
    }

    /// The identity that comes from the first name a VM ever had.
    pub(crate) fn first_uuid(pool_id: Uuid, first: &Name) -> Uuid {
        Uuid::new_v5(&pool_id, first.as_str().as_bytes())
    }
}

/// How a VM is virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VmType {
    /// Paravirtualised.
    Pv,
    /// PV interfaces in a hardware container.
    Pvh,
    /// A whole PC.
    Hvm,
}

/// Whether a VM should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// When a guest that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After power-off, crash and reboot.
    Always,
    /// After crash and reboot.
    OnFailure,
    /// After reboot only.
    Never,
}

/// vCPUs of a VM: 1 ≤ online ≤ max.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpus {
    /// vCPUs the guest is asked to use.
    pub online: u32,
    /// vCPUs the domain is built with. `None`: as many as online.
    pub max: Option<u32>,
}

/// Memory of a VM: target ≤ max.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory the guest is asked to use.
    pub target: Size,
    /// Memory the domain is built for. `None`: as much as the target.
    pub max: Option<Size>,
}

/// Placement and share of the processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// The partition whose cores its vCPUs run on, and nothing else. `None`: Pool-0, shared.
    pub partition: Option<Name>,
    /// Cores its vCPUs are limited to; only without a partition.
    pub pins: Option<Cores>,
    /// Cores that the scheduler prefers, of those that its vCPUs are limited to.
    pub soft_pins: Option<Cores>,
    /// Scheduler weight, 1 to 65535.
    pub weight: Option<u16>,
    /// Upper limit in percent of one pCPU; 0 means none.
    pub cap: Option<u16>,
}

/// What a VM boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A kernel in dom0's file system.
    Kernel {
        /// Path of the kernel.
        kernel: String,
        /// Path of the initial RAM disk.
        ramdisk: Option<String>,
        /// Kernel command line.
        cmdline: Option<String>,
    },
    /// GRUB for Xen, which reads the guest's own boot configuration from its disks.
    Grub,
    /// Its firmware looks on these, in this order; only HVM.
    Devices(Vec<BootDevice>),
}

/// What only HVM guests have. What the manifest leaves out is what the language says, for good: there is nothing to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hvm {
    /// Its firmware. Default: BIOS.
    pub firmware: Firmware,
    /// Its screen is served by VNC. Default: it is not.
    pub vnc: bool,
    /// CD-ROM drives in the order of the manifest.
    pub cdroms: Vec<Cdrom>,
}

/// The firmware of an HVM guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF.
    Uefi,
}

/// What firmware can boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// The first emulated disk.
    Disk,
    /// The first CD-ROM drive.
    Cdrom,
    /// The first NIC.
    Network,
}

/// A CD-ROM drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cdrom {
    /// Its name within the VM.
    pub name: Name,
    /// The drive on the guest's IDE bus, `hda` to `hdd`.
    pub target: String,
    /// The image or block device in it; `None`: it is empty.
    pub medium: Option<String>,
}

/// A disk of a VM: an existing raw file or block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name within the VM.
    pub name: Name,
    /// The device in the guest, such as `xvda`; of an HVM guest also `hda` to `hdd`.
    pub target: String,
    /// The file or block device in dom0.
    pub path: String,
    /// The guest cannot write.
    pub read_only: bool,
}

/// A network interface of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its name within the VM.
    pub name: Name,
    /// The network it is attached to.
    pub network: Name,
    /// Its address. `None`: derived from the VM's UUID and the NIC's name.
    pub mac: Option<Mac>,
}

impl Desired {
    /// Names of everything that counts against the deletion budget: VMs and partitions.
    pub fn countable(&self) -> usize {
        self.vms.len() + self.partitions.len()
    }

    /// Cores of one host that some partition claims.
    pub fn partitioned_cores(&self, host: &Name) -> BTreeSet<crate::units::Core> {
        self.partitions.values().filter(|p| p.host == *host).flat_map(|p| p.cores.iter().copied()).collect()
    }
}
