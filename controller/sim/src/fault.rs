//! What an operation meets: the death of its worker, refused calls, and other hands between its calls.

use crate::event::Event;
use protocol::FailureKind;
use serde::{Deserialize, Serialize};

/// What one operation meets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fault {
    /// The worker dies after this many points. Every call has one at its end, and those that are many steps to Xen have one after each.
    pub die_after: Option<u32>,
    /// The worker dies when it gets here.
    pub die_at: Option<Point>,
    /// Calls that fail.
    pub fail: Vec<FailedCall>,
    /// What others do between the operation's calls.
    pub meanwhile: Vec<Meanwhile>,
}

/// A call that fails without having done anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailedCall {
    /// Which one.
    pub call: CallName,
    /// How many of them succeed before.
    #[serde(default)]
    pub after: u32,
    /// What kind of failure it is.
    #[serde(default = "refused")]
    pub kind: FailureKind,
    /// libxl's return code.
    #[serde(default)]
    pub rc: Option<i32>,
    /// Xen's error number.
    #[serde(default)]
    pub errno: Option<i32>,
    /// What libxl logs.
    pub message: String,
}

/// Something that happens while an operation works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Meanwhile {
    /// After this many points of the operation.
    pub after: u32,
    /// What.
    pub event: Event,
}

/// Places inside calls that are many steps to Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// The cpupool exists and has no name.
    CpupoolCreated,
    /// The domain exists: paused, with its UUID, without name, mark and vCPUs.
    DomainCreated,
    /// Name and mark are written.
    DomainMarked,
    /// vCPUs and their affinity are set.
    DomainPinned,
    /// Memory is populated, kernel, weight and cap are set.
    DomainBuilt,
    /// Hotplug scripts have run.
    DevicesAttached,
    /// A device that is hot-plugged has its nodes in xenstore, and its script has not run.
    DeviceEntered,
    /// What was in a drive is ejected, and what is to be in it is not inserted yet.
    MediumEjected,
    /// The last thing that libxl waits for.
    ConsoleReady,
    /// A destruction has paused the domain.
    DestroyPaused,
    /// Its devices are gone.
    DevicesDetached,
    /// Its name, its mark and `ready` are gone.
    StoreRemoved,
    /// Xen tears it down.
    DomainKilled,
    /// The folder of an image is there, and the guest was not asked yet.
    ImageBegun,
    /// The guest has suspended.
    GuestSuspended,
    /// Its memory is written, and the folder has not its name yet.
    ImageWritten,
    /// A domain has the memory of an image.
    MemoryRestored,
}

/// The calls of [`operation::Hypervisor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is named as its method")]
pub enum CallName {
    Cpupools,
    FreeCpus,
    Domains,
    Domain,
    Identities,
    Dom0Affinity,
    CreateCpupool,
    AddCpu,
    RemoveCpu,
    RenameCpupool,
    DestroyCpupool,
    NeedMemory,
    FreeMemory,
    CreateDomain,
    DestroyDomain,
    PauseDomain,
    UnpauseDomain,
    ShutdownDomain,
    PressPowerButton,
    MoveDomain,
    SetHardAffinity,
    SetSoftAffinity,
    SetSched,
    SetMemoryTarget,
    SetVcpusOnline,
    AttachDisk,
    DetachDisk,
    SetMedium,
    AttachNic,
    DetachNic,
    RenameDomain,
    MarkReady,
    Image,
    SaveDomain,
    ResumeDomain,
    RestoreDomain,
    UseImage,
    DiscardImage,
    Dumps,
    DumpDomain,
    RemoveDump,
    StopMonitor,
    ClaimDomain,
}

const fn refused() -> FailureKind {
    FailureKind::Refused
}
