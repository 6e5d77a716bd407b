//! What a simulated host is made of, as a scenario describes it. Sizes are KiB, times are milliseconds.

use protocol::{BootConfig, Cdrom, CpuSet, DomainKind, DomainNic, HvmParts, Pcpu, ShutdownReason, Toolstack};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A host. Only the topology and the memory must be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostFile {
    /// pCPUs.
    pub topology: Topology,
    /// Memory.
    pub memory: HostMemory,
    /// The control domain.
    #[serde(default)]
    pub dom0: Dom0,
    /// Version of Xen.
    #[serde(default = "default_version")]
    pub version: String,
    /// The boot scheduler, which is also that of new cpupools.
    #[serde(default = "default_scheduler")]
    pub scheduler: String,
    /// Whether PV guests can be built.
    #[serde(default = "yes")]
    pub pv: bool,
    /// Whether PVH and HVM guests can be built.
    #[serde(default = "yes")]
    pub hvm: bool,
    /// What dom0 has for HVM guests. All of it, when nothing is said.
    #[serde(default)]
    pub hvm_parts: HvmParts,
    /// Bridges in dom0.
    #[serde(default)]
    pub bridges: BTreeSet<String>,
    /// What stands in dom0's file system, by absolute path.
    #[serde(default)]
    pub files: BTreeMap<String, File>,
    /// cpupools that others have made.
    #[serde(default)]
    pub cpupools: Vec<ForeignCpupool>,
    /// Domains that others have made.
    #[serde(default)]
    pub domains: Vec<ForeignDomain>,
    /// How guests behave, by the name that their domain is made with; `*` is everybody else.
    #[serde(default)]
    pub guests: BTreeMap<String, Guest>,
    /// How long calls take.
    #[serde(default)]
    pub latency: Latency,
}

/// pCPUs, numbered as Xen does: threads of a core are neighbours, then cores, then sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Topology {
    /// Sockets.
    #[serde(default = "one")]
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    #[serde(default = "one")]
    pub threads: u32,
    /// NUMA nodes of a socket.
    #[serde(default = "one")]
    pub nodes: u32,
    /// pCPUs that Xen does not use.
    #[serde(default)]
    pub offline: CpuSet,
}

/// The host's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostMemory {
    /// All of it.
    pub total_kib: u64,
    /// What Xen itself uses.
    #[serde(default = "default_xen_kib")]
    pub xen_kib: u64,
}

/// The control domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Dom0 {
    /// vCPUs.
    pub vcpus: u32,
    /// `dom0_vcpus_pin`: vCPU N may run on pCPU N only.
    pub pinned: bool,
    /// What it has.
    pub memory_kib: u64,
    /// What it may grow to (`dom0_mem=…,max:…`).
    pub memory_max_kib: Option<u64>,
}

/// What stands at a path in dom0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum File {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
    },
    /// A block device.
    Block {
        /// Bytes.
        size: u64,
        /// dom0 has it mounted.
        #[serde(default)]
        mounted: bool,
    },
    /// A folder.
    Directory,
}

/// A cpupool that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ForeignCpupool {
    /// Its name.
    pub name: String,
    /// Its pCPUs, taken out of Pool-0.
    pub cpus: CpuSet,
    /// Whether something makes it again after a boot of the host.
    #[serde(default)]
    pub autostart: bool,
}

/// A domain that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ForeignDomain {
    /// Its name.
    pub name: String,
    /// Its UUID; derived from the name when not given.
    #[serde(default)]
    pub uuid: Option<Uuid>,
    /// How it is virtualised.
    #[serde(default = "default_kind")]
    pub kind: DomainKind,
    /// vCPUs.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// Memory.
    #[serde(default = "default_memory_kib")]
    pub memory_kib: u64,
    /// The name of its cpupool; Pool-0 when not given.
    #[serde(default)]
    pub cpupool: Option<String>,
    /// Hard affinity of every vCPU; all pCPUs when not given.
    #[serde(default)]
    pub hard: Option<CpuSet>,
    /// Soft affinity of each vCPU; no preference when not given.
    #[serde(default)]
    pub soft: Option<CpuSet>,
    /// Weight.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// Cap.
    #[serde(default)]
    pub cap: u16,
    /// Files and devices that it writes to.
    #[serde(default)]
    pub disks: Vec<String>,
    /// CD-ROM drives of an HVM domain.
    #[serde(default)]
    pub cdroms: Vec<Cdrom>,
    /// NICs.
    #[serde(default)]
    pub nics: Vec<DomainNic>,
    /// What it booted; the lab's kernel when not given.
    #[serde(default)]
    pub boot: Option<BootConfig>,
    /// Whether its toolstack makes it again after a crash. After a reboot it does.
    #[serde(default)]
    pub restarts_after_crash: bool,
    /// Who acts on its end: `xl`'s own process, as after any `xl create`.
    #[serde(default = "xl")]
    pub toolstack: Option<Toolstack>,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
    /// Whether something starts it again after a boot of the host.
    #[serde(default)]
    pub autostart: bool,
}

impl ForeignDomain {
    /// What `xl create` makes of a configuration with little more than this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uuid: None,
            kind: default_kind(),
            vcpus: one(),
            memory_kib: default_memory_kib(),
            cpupool: None,
            hard: None,
            soft: None,
            weight: default_weight(),
            cap: 0,
            disks: Vec::new(),
            cdroms: Vec::new(),
            nics: Vec::new(),
            boot: None,
            restarts_after_crash: false,
            toolstack: xl(),
            paused: false,
            autostart: false,
        }
    }
}

/// How a guest behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Guest {
    /// From its first instruction until it answers requests.
    pub boots_ms: u64,
    /// From a request to power off until it is off.
    pub shutdown_ms: u64,
    /// Requests that it never follows.
    pub ignores: BTreeSet<GuestRequest>,
    /// How fast its balloon works, in KiB per second.
    pub balloon_kib_per_s: u64,
    /// How it ends by itself: the first entry is for its first start, and so on. After the last one it runs on.
    pub ends: Vec<GuestEnd>,
    /// How long its domain lingers as a zombie after it was destroyed; the largest number is for ever.
    pub lingers_ms: u64,
}

/// What a toolstack can ask of a guest. None of it is more than a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestRequest {
    /// Power off: not even acknowledged, as by software that knows nothing of Xen. In an HVM guest: it has no PV drivers.
    Shutdown,
    /// Power off: acknowledged, as by any Linux kernel, and then nothing happens. In an HVM guest without PV drivers: its power button.
    PowerOff,
    /// Use this much memory.
    Memory,
    /// Use that many vCPUs.
    Vcpus,
    /// Let go of a disk, as one that has it mounted.
    Disks,
    /// Let go of a NIC.
    Nics,
    /// Suspend.
    Suspend,
}

/// An end that a guest makes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GuestEnd {
    /// After its first instruction.
    pub after_ms: u64,
    /// How.
    pub how: ShutdownReason,
}

/// How long calls take, in milliseconds of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Latency {
    /// A call that is one hypercall or a few xenstore requests.
    pub call_ms: u64,
    /// Building a domain.
    pub create_ms: u64,
    /// Destroying a domain.
    pub destroy_ms: u64,
    /// For how long a destroyed domain's memory is dirty: it is listed as free and cannot be claimed yet.
    pub scrub_ms: u64,
}

impl HostFile {
    /// A plain host: one socket, one thread per core, everything else as it is when nothing is said.
    pub fn plain(cores: u32, total_kib: u64) -> Self {
        Self {
            topology: Topology { sockets: 1, cores, threads: 1, nodes: 1, offline: CpuSet::new() },
            memory: HostMemory { total_kib, xen_kib: default_xen_kib() },
            dom0: Dom0::default(),
            version: default_version(),
            scheduler: default_scheduler(),
            pv: true,
            hvm: true,
            hvm_parts: HvmParts::default(),
            bridges: BTreeSet::new(),
            files: BTreeMap::new(),
            cpupools: Vec::new(),
            domains: Vec::new(),
            guests: BTreeMap::new(),
            latency: Latency::default(),
        }
    }

    /// How the guest of a domain that is made with this name behaves.
    pub fn guest(&self, name: &str) -> Guest {
        self.guests.get(name).or_else(|| self.guests.get("*")).cloned().unwrap_or_default()
    }
}

impl Topology {
    /// Every pCPU, in ascending order.
    pub fn pcpus(&self) -> Vec<Pcpu> {
        let nodes = self.nodes.clamp(1, self.cores.max(1));
        let count = self.sockets * self.cores * self.threads;
        let pcpu = |id| {
            let core = id / self.threads % self.cores;
            let socket = id / (self.threads * self.cores);
            let node = socket * nodes + core * nodes / self.cores;
            Pcpu { id, socket, core, node, online: !self.offline.contains(id) }
        };
        (0..count).map(pcpu).collect()
    }

    /// The pCPUs that Xen uses.
    pub fn online(&self) -> CpuSet {
        self.pcpus().iter().filter(|pcpu| pcpu.online).map(|pcpu| pcpu.id).collect()
    }
}

impl Default for Dom0 {
    fn default() -> Self {
        Self { vcpus: 2, pinned: false, memory_kib: 900 * 1024, memory_max_kib: Some(900 * 1024) }
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            boots_ms: 1_000,
            shutdown_ms: 500,
            ignores: BTreeSet::new(),
            balloon_kib_per_s: 1024 * 1024,
            ends: Vec::new(),
            lingers_ms: 0,
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        // As measured for a 32 MiB PV guest on an emulated host.
        Self { call_ms: 1, create_ms: 400, destroy_ms: 130, scrub_ms: 0 }
    }
}

fn default_version() -> String {
    "4.17.5".to_owned()
}

fn default_scheduler() -> String {
    "credit2".to_owned()
}

const fn default_kind() -> DomainKind {
    DomainKind::Pv
}

const fn default_memory_kib() -> u64 {
    256 * 1024
}

const fn default_xen_kib() -> u64 {
    64 * 1024
}

const fn default_weight() -> u16 {
    crate::DEFAULT_WEIGHT
}

const fn one() -> u32 {
    1
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's own type")]
const fn xl() -> Option<Toolstack> {
    Some(Toolstack::Xl)
}

const fn yes() -> bool {
    true
}
