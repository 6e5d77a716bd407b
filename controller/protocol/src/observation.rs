//! What a hypervisor and its xenstore say at one moment.
//!
//! [`Reading`] keeps *absent* (a known list without it) apart from *unknown* (the list could not be read, or contradicts itself).

use crate::CpuSet;
use crate::hvm::{DomainHvm, HvmParts};
use crate::stored::{Stored, Toolstack};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Something that was read, or the reason why it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading<T> {
    /// It was read and is consistent.
    Known(T),
    /// It could not be read, or what was read contradicts itself.
    Unknown(Cause),
}

/// Why something is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// One CamelCase word for machines, such as `XenstoreLost`.
    pub reason: String,
    /// A sentence for people, with what to do next.
    pub message: String,
}

impl<T> Reading<T> {
    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Unknown for a reason.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self::Unknown(Cause { reason: reason.to_owned(), message: message.into() })
    }
}

/// Everything that Xen says about its host, its cpupools and its domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Topology, memory, version.
    pub hypervisor: Hypervisor,
    /// All cpupools, ours and foreign. Known only if the pools' CPUs and the free CPUs together are the online CPUs.
    pub cpupools: Reading<Vec<Cpupool>>,
    /// All domains but dom0, ours and foreign, dying ones included.
    pub domains: Reading<Vec<Domain>>,
}

/// The machine as Xen sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypervisor {
    /// Version of the running Xen, such as `4.17.5`.
    pub version: String,
    /// Every pCPU, in ascending order.
    pub pcpus: Vec<Pcpu>,
    /// Total memory in KiB.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_total_kib: u64,
    /// Memory that a new domain could take now, in KiB (free pages and pages still being scrubbed).
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_free_kib: u64,
    /// Whether PV guests can be built (`virt_caps`).
    pub pv: bool,
    /// Whether HVM and PVH guests can be built.
    pub hvm: bool,
    /// What dom0 has for HVM guests; `None` when an older worker did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hvm_parts: Option<HvmParts>,
    /// Which boot of the host this is: changes with every boot of dom0's kernel (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Uuid,
    /// dom0's own figures.
    pub dom0: Dom0,
}

/// The control domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dom0 {
    /// Memory it has now, in KiB.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub memory_kib: u64,
    /// Memory it may grow to, in KiB; `None` when Xen has set no limit (`dom0_mem=…,max:…` is missing).
    #[serde(deserialize_with = "crate::bounds::optional_kib", default)]
    pub memory_max_kib: Option<u64>,
    /// vCPUs.
    #[serde(deserialize_with = "crate::bounds::vcpus")]
    pub vcpus: u32,
    /// CPU time used so far, in nanoseconds; `None` when an older worker did not say.
    #[serde(default)]
    pub cpu_time_ns: Option<u64>,
}

/// A logical processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pcpu {
    /// Its number in Xen.
    #[serde(deserialize_with = "crate::bounds::pcpu")]
    pub id: u32,
    /// Socket (`libxl_cputopology.socket`).
    pub socket: u32,
    /// Core within the socket (`libxl_cputopology.core`).
    pub core: u32,
    /// NUMA node.
    pub node: u32,
    /// Whether Xen uses it.
    pub online: bool,
}

/// A cpupool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpupool {
    /// Its number; Pool-0 has 0.
    pub poolid: u32,
    /// Its name in xenstore; `None` while it is being made, or when its maker died.
    pub name: Option<String>,
    /// The identity that libxl writes beside the name.
    pub uuid: Option<Uuid>,
    /// `credit` or `credit2`.
    pub scheduler: String,
    /// Its pCPUs.
    pub cpus: CpuSet,
    /// Domains in it, dying ones included.
    pub domains: u32,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its number.
    pub domid: u32,
    /// The handle that Xen keeps.
    pub uuid: Uuid,
    /// Its name in xenstore; `None` while it is being made or destroyed.
    pub name: Option<String>,
    /// `pv`, `pvh` or `hvm` (xenstore `/libxl/N/type`; Xen itself cannot tell PVH from HVM). `None` when libxl did not make it.
    pub kind: Option<DomainKind>,
    /// What it does.
    pub state: DomainState,
    /// Its cpupool; `None` while it is dying.
    pub poolid: Option<u32>,
    /// Its vCPUs.
    pub vcpus: Reading<Vec<Vcpu>>,
    /// How many of them the guest is asked to use (`cpu/N/availability` in xenstore). What it makes of that is in `vcpus`. `None` when
    /// xenstore does not say, and for domains without our mark, which are not asked.
    #[serde(default)]
    pub vcpus_asked: Option<u32>,
    /// Memory.
    pub memory: DomainMemory,
    /// Scheduler parameters.
    pub sched: Reading<Sched>,
    /// Our mark, from xenstore.
    pub mark: Option<Mark>,
    /// Whether `pinfold/ready` is written: pool and masks were verified before its first instruction ran.
    pub ready: bool,
    /// Files and devices of dom0 that it has open as disks. Of a domain without our mark also what is in its CD-ROM drives.
    pub disks: Vec<DomainDisk>,
    /// Its NICs.
    pub nics: Vec<DomainNic>,
    /// What only HVM has; `None` for other domains and for those without our mark, which are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hvm: Option<DomainHvm>,
    /// CPU time used so far, in nanoseconds.
    pub cpu_time_ns: u64,
    /// The pseudo-terminal in dom0 that its text console is on: `console/tty` for PV and PVH, `serial/0/tty` for HVM (`libxl_primary_console_get_tty`,
    /// libxl.h:1979). `None` when it has none, or none yet, and for domains without our mark, which are not asked.
    #[serde(default)]
    pub console: Option<String>,
    /// What libxl keeps of how it was made; only for domains without our mark and for those that are not `ready`. `None` when libxl did not make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Box<Stored>>,
    /// Another toolstack that acts on its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolstack: Option<Toolstack>,
}

/// How a domain is virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainKind {
    /// Paravirtualised.
    Pv,
    /// PV interfaces in a hardware container.
    Pvh,
    /// Fully virtualised.
    Hvm,
}

/// What a domain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// Its vCPUs are scheduled (running or blocked).
    Running,
    /// Paused by a toolstack.
    Paused,
    /// It ended and waits for the toolstack to destroy it.
    Shutdown(ShutdownReason),
    /// It is being torn down.
    Dying,
}

/// Why a guest ended (`libxl_shutdown_reason`, libxl_types.idl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownReason {
    /// It switched itself off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// It suspended itself.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog fired.
    Watchdog,
    /// It asks for a reset that keeps its memory.
    SoftReset,
}

/// A virtual processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpu {
    /// Its number within the domain.
    pub id: u32,
    /// Whether the guest uses it.
    pub online: bool,
    /// Hard affinity as stored by Xen; it takes effect where it meets the cpupool.
    pub hard: CpuSet,
    /// Soft affinity as stored by Xen: a preference within hard affinity. `None` in what an older worker observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<CpuSet>,
}

/// A domain's memory, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMemory {
    /// What it has now.
    #[serde(deserialize_with = "crate::bounds::kib")]
    pub current_kib: u64,
    /// What it is asked to use (xenstore `memory/target`); `None` when not written.
    #[serde(deserialize_with = "crate::bounds::optional_kib", default)]
    pub target_kib: Option<u64>,
    /// What it was built for (xenstore `memory/static-max`); `None` when not written.
    #[serde(deserialize_with = "crate::bounds::optional_kib", default)]
    pub static_max_kib: Option<u64>,
}

/// Scheduler parameters (credit and credit2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sched {
    /// Share against other domains, 1 to 65535.
    pub weight: u16,
    /// Upper limit in percent of one pCPU; 0 means none.
    pub cap: u16,
}

/// Our mark on a domain, written in the transaction that creates it (`c_info.xsdata`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The Pool's id.
    pub pool_id: Uuid,
    /// The VM's UUID.
    pub uuid: Uuid,
    /// Which start of the VM this is: names the intent in its record that describes how it was built.
    pub incarnation: Uuid,
}

/// A disk of a domain as its backend has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDisk {
    /// The device in the guest.
    pub target: String,
    /// The file or block device in dom0.
    pub path: String,
    /// The guest cannot write.
    pub read_only: bool,
    /// How far it is attached.
    #[serde(default, skip_serializing_if = "DeviceState::is_attached")]
    pub state: DeviceState,
}

/// How far a device of a domain is attached. Of domains without our mark it is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// It is.
    #[default]
    Attached,
    /// Its attaching has begun, and its hotplug script has not said that it is connected (`hotplug-status`).
    Unfinished,
    /// Its removal has begun (`online` is 0), and the guest has not let go of it.
    Closing,
}

impl DeviceState {
    /// Whether it is attached whole.
    pub fn is_attached(&self) -> bool {
        *self == Self::Attached
    }
}

/// A NIC of a domain as its backend has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainNic {
    /// libxl's device number.
    pub devid: u32,
    /// Its address, as libxl writes it.
    pub mac: String,
    /// The bridge in dom0.
    pub bridge: Option<String>,
    /// How far it is attached.
    #[serde(default, skip_serializing_if = "DeviceState::is_attached")]
    pub state: DeviceState,
}
