//! What can be done to a host: one [`Request`] is one `pinfold-xen do`, and a reader can audit the list in a minute.

use crate::hvm::{BootDevice, Cdrom, HvmConfig};
use crate::observation::{DomainKind, Mark, Sched};
use crate::{CpuSet, ImageRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One change to the host. Every domain is named by domid *and* UUID: the worker refuses when they no longer belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Request {
    /// Makes a cpupool or changes its pCPUs. The order is the law of cores: take from Pool-0, create empty, add, re-mask and read back, remove, give to Pool-0.
    ShapeCpupool(ShapeCpupool),
    /// Gives a cpupool another name.
    RenameCpupool {
        /// The cpupool.
        uuid: Uuid,
        /// Its new name.
        name: String,
    },
    /// Destroys a cpupool without domains and gives its pCPUs to Pool-0.
    DestroyCpupool {
        /// The cpupool.
        uuid: Uuid,
    },
    /// Gives free pCPUs to Pool-0.
    FeedPool0 {
        /// pCPUs that are in no cpupool.
        cpus: CpuSet,
    },
    /// Makes a domain, verifies pool and masks, marks it ready, unpauses it.
    CreateDomain(Box<DomainConfig>),
    /// Asks the guest to power off.
    ShutdownDomain {
        /// The domain.
        target: Target,
    },
    /// Presses the ACPI power button of an HVM guest that has no PV drivers, and so hears nothing else.
    PressPowerButton {
        /// The domain.
        target: Target,
    },
    /// Destroys a domain at once.
    DestroyDomain {
        /// The domain.
        target: Target,
    },
    /// Writes the memory of a guest that crashed to a core dump in its VM's folder, and removes the oldest ones that are too many. The domain
    /// stays as it is. A dump of this incarnation that is whole is not written again.
    DumpDomain {
        /// The domain, which has ended.
        target: Target,
        /// How many dumps of this VM are kept, the new one included: 1 or more.
        keep: u32,
        /// KiB that the dumps of all VMs may take together.
        #[serde(deserialize_with = "crate::bounds::kib")]
        quota_kib: u64,
    },
    /// Pauses a domain, once: one that is paused already is left as it is.
    PauseDomain {
        /// The domain.
        target: Target,
    },
    /// Lets a paused domain run, after pool and masks were verified.
    UnpauseDomain {
        /// The domain.
        target: Target,
        /// What must hold before it runs.
        placement: Placement,
    },
    /// Writes a running guest's memory to an image. The domain is left as it then is: ended with `suspend`, everything of it still there. When
    /// the image does not become whole, the guest goes on.
    SaveDomain {
        /// The domain.
        target: Target,
        /// The image to be; what an earlier try left of it is thrown away.
        image: Uuid,
    },
    /// Lets a domain go on that ended with `suspend`, and whose image did not become whole.
    ResumeDomain {
        /// The domain.
        target: Target,
        /// The image that was being written; what there is of it is removed first.
        image: Uuid,
        /// What must hold before it runs.
        placement: Placement,
    },
    /// Makes a domain from an image, verifies it, marks the image used, marks the domain ready, unpauses it.
    RestoreDomain {
        /// The domain, as the one was whose memory it is.
        config: Box<DomainConfig>,
        /// The image.
        image: Uuid,
    },
    /// Takes an image away.
    DiscardImage {
        /// The image.
        image: ImageRef,
        /// A person has decided that it is not to be used: it is moved aside. Otherwise only what was used, or never became whole, is
        /// removed.
        unused: bool,
    },
    /// Moves a domain to another cpupool: pause, move, masks, scheduler parameters, read back, unpause (if it was running).
    MoveDomain {
        /// The domain.
        target: Target,
        /// Where it belongs.
        placement: Placement,
    },
    /// Sets the hard affinity of every vCPU within the domain's own cpupool, and the soft affinity of all of them.
    SetAffinity {
        /// The domain.
        target: Target,
        /// For every vCPU up to max, its mask.
        hard: Vec<CpuSet>,
        /// Soft affinity of every vCPU; `None`: it stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        soft: Option<CpuSet>,
    },
    /// Sets weight and cap.
    SetSched {
        /// The domain.
        target: Target,
        /// The values.
        sched: Sched,
    },
    /// Asks the guest to use this much memory, and lets it have no more.
    SetMemory {
        /// The domain.
        target: Target,
        /// KiB.
        #[serde(deserialize_with = "crate::bounds::kib")]
        memory_kib: u64,
    },
    /// Asks the guest to use the first `online` vCPUs.
    SetVcpus {
        /// The domain.
        target: Target,
        /// 1 to max.
        #[serde(deserialize_with = "crate::bounds::vcpus")]
        online: u32,
    },
    /// Attaches a disk to a domain that lives.
    AttachDisk {
        /// The domain.
        target: Target,
        /// The disk.
        disk: DiskConfig,
    },
    /// Takes a disk from a domain that lives, once the guest has let go of it: never by force.
    DetachDisk {
        /// The domain.
        target: Target,
        /// The device in the guest, such as `xvdb`.
        device: String,
    },
    /// Changes what is in a CD-ROM drive of a domain that lives.
    SetMedium {
        /// The domain.
        target: Target,
        /// The drive, and what is to be in it.
        cdrom: Cdrom,
    },
    /// Attaches a NIC to a domain that lives.
    AttachNic {
        /// The domain.
        target: Target,
        /// The NIC, with its device number.
        nic: NicConfig,
    },
    /// Takes a NIC from a domain that lives. libxl asks the guest, and forces it after 10 s (`LIBXL_DESTROY_TIMEOUT`, libxl_internal.h).
    DetachNic {
        /// The domain.
        target: Target,
        /// libxl's device number.
        devid: u32,
    },
    /// Gives a domain another name.
    RenameDomain {
        /// The domain.
        target: Target,
        /// Its new name.
        name: String,
    },
    /// Makes a domain ours that another toolstack made: ends the process of `xl` that watches it, then marks it. Its guest does not notice.
    ClaimDomain {
        /// The domain.
        target: Target,
        /// The mark that it gets.
        mark: Mark,
    },
}

/// A domain that must be this one and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its number.
    pub domid: u32,
    /// Its UUID.
    pub uuid: Uuid,
}

/// Where a domain runs and with what share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The cpupool's UUID; `None` is Pool-0.
    pub cpupool: Option<Uuid>,
    /// For every vCPU up to max, its hard affinity.
    pub hard: Vec<CpuSet>,
    /// Soft affinity of every vCPU; `None`: what Xen gives it, which is no preference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<CpuSet>,
    /// Weight and cap.
    pub sched: Sched,
}

/// A cpupool as it should become. Fields are applied in the order in which they stand here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeCpupool {
    /// Identity; the pool is created when none has it.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// pCPUs to take out of Pool-0 first.
    pub take: CpuSet,
    /// pCPUs to add: those just taken, and free ones.
    pub add: CpuSet,
    /// Hard affinities of domains in this pool, each read back before anything is removed.
    pub masks: Vec<DomainMasks>,
    /// pCPUs to remove.
    pub remove: CpuSet,
    /// pCPUs to give to Pool-0: some of those just removed.
    pub give: CpuSet,
}

/// The hard affinities of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMasks {
    /// The domain.
    pub target: Target,
    /// For every vCPU up to max, its mask.
    pub hard: Vec<CpuSet>,
}

/// A domain to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainConfig {
    /// Its name.
    pub name: String,
    /// Our mark; its `uuid` is the domain's.
    pub mark: Mark,
    /// How it is virtualised.
    pub kind: DomainKind,
    /// vCPUs the domain is built with.
    #[serde(deserialize_with = "crate::bounds::vcpus")]
    pub vcpus_max: u32,
    /// vCPUs online at start: the first ones.
    #[serde(deserialize_with = "crate::bounds::vcpus")]
    pub vcpus_online: u32,
    /// KiB at start.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_kib: u64,
    /// KiB it is built for.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_max_kib: u64,
    /// Pool, masks, weight and cap.
    pub placement: Placement,
    /// What it boots.
    pub boot: BootConfig,
    /// Its disks.
    pub disks: Vec<DiskConfig>,
    /// Its NICs, in the order of their device numbers.
    pub nics: Vec<NicConfig>,
    /// What only HVM domains have; there exactly when `kind` is [`DomainKind::Hvm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hvm: Option<HvmConfig>,
    /// KiB of host memory that must stay free after the domain is made.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_reserve_kib: u64,
    /// It is verified and marked ready, and stays paused: to let it run is another request.
    #[serde(default)]
    pub stays_paused: bool,
}

/// What a domain boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootConfig {
    /// A kernel in dom0's file system.
    Kernel {
        /// Path.
        kernel: String,
        /// Path.
        ramdisk: Option<String>,
        /// Command line.
        cmdline: Option<String>,
    },
    /// GRUB for Xen; the worker knows where its image lies.
    Grub,
    /// Its firmware looks on these, in this order; only HVM.
    Devices(Vec<BootDevice>),
}

/// A disk to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// The device in the guest.
    pub target: String,
    /// Raw file or block device in dom0.
    pub path: String,
    /// The guest cannot write.
    pub read_only: bool,
}

/// A NIC to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicConfig {
    /// Six hexadecimal pairs.
    pub mac: String,
    /// Bridge in dom0.
    pub bridge: String,
    /// libxl's device number; `None`: its place in the list of NICs, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devid: Option<u32>,
}

/// A lock that a worker holds for its whole life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lock {
    /// The topology of all cpupools of the host.
    Cpupools,
    /// The host's free memory: one create at a time.
    Memory,
    /// One VM.
    Vm(Uuid),
}

impl Lock {
    /// The name of its file in the lock directory.
    pub fn file_name(&self) -> String {
        match self {
            Self::Cpupools => "cpupools.lock".to_owned(),
            Self::Memory => "memory.lock".to_owned(),
            Self::Vm(uuid) => format!("vm-{uuid}.lock"),
        }
    }
}

impl Request {
    /// The locks it needs, in the order in which every worker takes them, so that no two can wait for each other.
    pub fn locks(&self) -> Vec<Lock> {
        let mut locks = match self {
            Self::ShapeCpupool(shape) => std::iter::once(Lock::Cpupools)
                .chain(shape.masks.iter().map(|masks| Lock::Vm(masks.target.uuid)))
                .collect(),
            Self::RenameCpupool { .. } | Self::DestroyCpupool { .. } | Self::FeedPool0 { .. } => vec![Lock::Cpupools],
            Self::CreateDomain(config) | Self::RestoreDomain { config, .. } => {
                vec![Lock::Memory, Lock::Vm(config.mark.uuid)]
            }
            Self::DiscardImage { image, .. } => vec![Lock::Vm(image.vm)],
            Self::ShutdownDomain { target }
            | Self::PressPowerButton { target }
            | Self::SetMedium { target, .. }
            | Self::DestroyDomain { target }
            | Self::DumpDomain { target, .. }
            | Self::PauseDomain { target }
            | Self::SaveDomain { target, .. }
            | Self::ResumeDomain { target, .. }
            | Self::UnpauseDomain { target, .. }
            | Self::MoveDomain { target, .. }
            | Self::SetAffinity { target, .. }
            | Self::SetSched { target, .. }
            | Self::SetMemory { target, .. }
            | Self::SetVcpus { target, .. }
            | Self::AttachDisk { target, .. }
            | Self::DetachDisk { target, .. }
            | Self::AttachNic { target, .. }
            | Self::DetachNic { target, .. }
            | Self::RenameDomain { target, .. }
            | Self::ClaimDomain { target, .. } => vec![Lock::Vm(target.uuid)],
        };
        locks.sort();
        locks.dedup();
        locks
    }
}
