//! The host in memory: what Xen, xenstore and dom0 hold.

use crate::console::Console;
use crate::cpupool::MovingCpu;
use crate::description::{Dom0, ForeignCpupool, ForeignDomain, HostFile};
use crate::fault::Fault;
use crate::image::Image;
use protocol::{
    CpuSet, DomainKind, DomainState, Dump, Failure, FailureKind, Mark, Sched, ShutdownReason, Stored, Toolstack,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Weight of a domain that nobody has given one (`CSCHED2_DEFAULT_WEIGHT`, xen/common/sched/credit2.c).
pub const DEFAULT_WEIGHT: u16 = 256;

/// Number of the cpupool that Xen boots with.
pub(crate) const POOL_0: u32 = 0;

/// A Xen host at one moment of virtual time.
///
/// Only three things change it: an operation through [`crate::Calls`], an [`crate::Event`], and time ([`World::advance`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// What the host is made of. Files, bridges and guests may be changed at any time.
    pub host: HostFile,
    pub(crate) now_ms: u64,
    /// How much dom0's wall clock is ahead of the true one, in seconds.
    #[serde(default)]
    pub(crate) clock_skew_s: i64,
    pub(crate) boots: u32,
    pub(crate) pools: BTreeMap<u32, Pool>,
    /// A pCPU whose removal Xen has begun and not finished.
    pub(crate) moving_cpu: Option<MovingCpu>,
    /// How many of the next removals get stuck.
    pub(crate) stuck_removals: u32,
    /// All domains, dom0 included.
    pub(crate) domains: BTreeMap<u32, Domain>,
    pub(crate) next_domid: u32,
    /// Memory that is listed as free and still dirty: until when, and KiB.
    pub(crate) dirty: Vec<(u64, u64)>,
    pub(crate) xenstored: bool,
    pub(crate) xenconsoled: bool,
    /// How often a domain was made with each name, over all boots.
    pub(crate) starts: BTreeMap<String, u32>,
    /// Images of memory on dom0's disk.
    #[serde(default)]
    pub(crate) images: BTreeMap<Uuid, Image>,
    /// Core dumps on dom0's disk, the oldest first.
    #[serde(default)]
    pub(crate) dumps: Vec<Dump>,
    /// Which suspended guests have gone on.
    #[serde(default)]
    pub(crate) gone_on: BTreeSet<String>,
    /// Which of them did a second time.
    #[serde(default)]
    pub(crate) gone_on_twice: BTreeSet<String>,
    /// What the next operation meets.
    pub(crate) next_fault: Option<Fault>,
    /// How often xenstored has told its watchers that a domain came or went.
    pub(crate) wakes: u64,
}

/// A cpupool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Xenstore's name; `None` before it is written.
    pub name: Option<String>,
    /// Xenstore's uuid, written with the name; Pool-0 has none.
    pub uuid: Option<Uuid>,
    /// Its scheduler.
    pub scheduler: String,
    /// `cpu_valid` in Xen.
    pub cpus: CpuSet,
    /// An operation has made it.
    pub ours: bool,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The handle that Xen keeps and never compares.
    pub uuid: Uuid,
    /// An operation has made it.
    pub ours: bool,
    /// Its cpupool. A dying domain still has one, though nobody is told.
    pub poolid: u32,
    /// Pauses by toolstacks; it runs at zero.
    pub pauses: u32,
    /// How it ended.
    pub shutdown: Option<ShutdownReason>,
    /// It is being torn down, and until when.
    pub dying_until_ms: Option<u64>,
    /// Its vCPUs; none before a toolstack has made them.
    pub vcpus: Vec<Vcpu>,
    /// Weight and cap.
    pub sched: Sched,
    /// Pages that it has.
    pub current_kib: u64,
    /// Pages that Xen uses for it.
    pub overhead_kib: u64,
    /// Pages that Xen lets it have.
    pub max_kib: u64,
    /// What xenstore says about it; nothing before its first transaction and after its last.
    pub store: Option<Store>,
    /// Open disks.
    pub disks: Vec<protocol::DomainDisk>,
    /// NICs.
    pub nics: Vec<protocol::DomainNic>,
    /// What its device model has, when it is an HVM domain of ours.
    #[serde(default)]
    pub hvm: Option<protocol::DomainHvm>,
    /// CPU time in nanoseconds.
    pub cpu_time_ns: u64,
    /// The software in it.
    pub guest: Running,
    /// What libxl keeps of how it was made, when it is of another tool.
    #[serde(default)]
    pub stored: Option<Box<Stored>>,
    /// Who else acts on its end.
    #[serde(default)]
    pub toolstack: Option<Toolstack>,
}

/// A virtual processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpu {
    /// The guest has brought it up.
    pub online: bool,
    /// Hard affinity as it was set, also where it does not meet the cpupool.
    pub hard: CpuSet,
    /// Soft affinity; `None`: all pCPUs.
    #[serde(default)]
    pub soft: Option<CpuSet>,
}

/// A domain in xenstore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// `name`.
    pub name: String,
    /// `/libxl/N/type`.
    pub kind: DomainKind,
    /// Our mark.
    pub mark: Option<Mark>,
    /// `pinfold/ready`.
    pub ready: bool,
    /// `memory/target`.
    pub target_kib: u64,
    /// `memory/static-max`.
    pub static_max_kib: u64,
    /// How many `cpu/N/availability` say online.
    pub vcpus_online: u32,
}

/// The software in a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The name its domain was made with: which [`crate::Guest`] it is.
    pub name: String,
    /// When its first instruction ran.
    pub since_ms: Option<u64>,
    /// Which start of this name it is; the first is 0.
    pub start: u32,
    /// It answers requests.
    pub booted: bool,
    /// How often it was suspended and has gone on since its start.
    #[serde(default)]
    pub suspensions: u32,
    /// How long it had run when it was suspended, if it was built from an image.
    #[serde(default)]
    pub ran_ms: u64,
    /// When it will be off, once it has taken a request to power off.
    pub off_at_ms: Option<u64>,
    /// Its console.
    #[serde(default)]
    pub(crate) console: Console,
}

impl World {
    /// A host that has just booted, at time 0.
    ///
    /// # Errors
    /// When the description's cpupools and domains cannot be made.
    pub fn new(host: HostFile) -> Result<Self, Failure> {
        let mut world = Self {
            host,
            now_ms: 0,
            clock_skew_s: 0,
            boots: 0,
            pools: BTreeMap::new(),
            moving_cpu: None,
            stuck_removals: 0,
            domains: BTreeMap::new(),
            next_domid: 1,
            dirty: Vec::new(),
            xenstored: true,
            xenconsoled: true,
            starts: BTreeMap::new(),
            images: BTreeMap::new(),
            dumps: Vec::new(),
            gone_on: BTreeSet::new(),
            gone_on_twice: BTreeSet::new(),
            next_fault: None,
            wakes: 0,
        };
        world.boot(|_| true, |_| true)?;
        Ok(world)
    }

    /// How much dom0's wall clock is ahead of the true one, in seconds ([`crate::Event::ClockSet`]).
    pub fn clock_skew_s(&self) -> i64 {
        self.clock_skew_s
    }

    /// Milliseconds of virtual time since the host was described.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Changes whenever a domain comes or goes or ends: a reason to look again.
    pub fn wakes(&self) -> u64 {
        self.wakes
    }

    /// Which boot of the host this is.
    pub fn boot_id(&self) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("pinfold-sim boot {}", self.boots).as_bytes())
    }

    /// All domains but dom0, by number.
    pub fn domains(&self) -> impl Iterator<Item = (u32, &Domain)> {
        self.domains.iter().filter(|(domid, _)| **domid != 0).map(|(domid, domain)| (*domid, domain))
    }

    /// All cpupools, by number.
    pub fn pools(&self) -> impl Iterator<Item = (u32, &Pool)> {
        self.pools.iter().map(|(poolid, pool)| (*poolid, pool))
    }

    /// pCPUs that Xen uses and no cpupool has. One whose removal is not finished is among them.
    pub fn free_cpus(&self) -> CpuSet {
        let taken = self.pools.values().fold(CpuSet::new(), |taken, pool| taken.union(&pool.cpus));
        self.host.topology.online().difference(&taken)
    }

    /// The pCPUs that a vCPU of this domain can really run on: hard affinity ∩ cpupool.
    pub fn effective(&self, domain: &Domain, vcpu: &Vcpu) -> CpuSet {
        self.pools.get(&domain.poolid).map(|pool| vcpu.hard.intersection(&pool.cpus)).unwrap_or_default()
    }

    /// Whether something that [`crate::Event::NextOperation`] laid out was not met yet.
    pub fn is_fault_to_come(&self) -> bool {
        self.next_fault.is_some()
    }

    /// Ends everything that a host loses when it loses power, and boots it.
    pub(crate) fn reboot(&mut self) -> Result<(), Failure> {
        self.boots += 1;
        self.next_fault = None;
        self.boot(|pool| pool.autostart, |domain| domain.autostart)
    }

    fn boot(
        &mut self,
        pool_starts: impl Fn(&ForeignCpupool) -> bool,
        domain_starts: impl Fn(&ForeignDomain) -> bool,
    ) -> Result<(), Failure> {
        self.wakes += 1;
        self.next_domid = 1;
        self.moving_cpu = None;
        self.stuck_removals = 0;
        self.dirty.clear();
        self.xenstored = true;
        self.xenconsoled = true;
        let dom0 = self.make_dom0(self.host.dom0);
        self.domains = BTreeMap::from([(0, dom0)]);
        // xen-init-dom0 names every cpupool that it finds `Pool-N` and gives it no uuid (tools/helpers/xen-init-dom0.c).
        self.pools = BTreeMap::from([(
            POOL_0,
            Pool {
                name: Some("Pool-0".to_owned()),
                uuid: None,
                scheduler: self.host.scheduler.clone(),
                cpus: self.host.topology.online(),
                ours: false,
            },
        )]);
        for pool in self.host.cpupools.clone().iter().filter(|pool| pool_starts(pool)) {
            self.make_foreign_pool(&pool.name, &pool.cpus)?;
        }
        for domain in self.host.domains.clone().iter().filter(|domain| domain_starts(domain)) {
            self.make_foreign_domain(domain)?;
        }
        Ok(())
    }

    fn make_dom0(&self, dom0: Dom0) -> Domain {
        let hard = |vcpu| if dom0.pinned { CpuSet::from_iter([vcpu]) } else { self.all_cpus() };
        Domain {
            uuid: Uuid::nil(),
            ours: false,
            poolid: POOL_0,
            pauses: 0,
            shutdown: None,
            dying_until_ms: None,
            vcpus: (0..dom0.vcpus).map(|vcpu| Vcpu { online: true, hard: hard(vcpu), soft: None }).collect(),
            sched: Sched { weight: DEFAULT_WEIGHT, cap: 0 },
            current_kib: dom0.memory_kib,
            overhead_kib: 0,
            max_kib: dom0.memory_max_kib.unwrap_or(self.host.memory.total_kib),
            store: None,
            disks: Vec::new(),
            nics: Vec::new(),
            hvm: None,
            cpu_time_ns: 0,
            guest: Running::default(),
            stored: None,
            toolstack: None,
        }
    }

    /// The mask that Xen calls *all*: every bit that it knows, not the pCPUs of the cpupool.
    pub fn all_cpus(&self) -> CpuSet {
        self.host.topology.pcpus().iter().map(|pcpu| pcpu.id).collect()
    }

    pub(crate) fn domain(&self, call: &str, domid: u32) -> Result<&Domain, Failure> {
        self.domains.get(&domid).filter(|_| domid != 0).ok_or_else(|| no_such_domain(call, domid))
    }

    pub(crate) fn domain_mut(&mut self, call: &str, domid: u32) -> Result<&mut Domain, Failure> {
        self.domains.get_mut(&domid).filter(|_| domid != 0).ok_or_else(|| no_such_domain(call, domid))
    }
}

impl Domain {
    /// Whether Xen schedules its vCPUs.
    pub fn is_runnable(&self) -> bool {
        self.pauses == 0 && self.shutdown.is_none() && !self.is_dying()
    }

    /// Whether it is being torn down.
    pub fn is_dying(&self) -> bool {
        self.dying_until_ms.is_some()
    }

    /// Its name in xenstore.
    pub fn name(&self) -> Option<&str> {
        self.store.as_ref().map(|store| store.name.as_str())
    }

    pub(crate) fn state(&self) -> DomainState {
        match (self.is_dying(), self.shutdown, self.pauses) {
            (true, _, _) => DomainState::Dying,
            (false, Some(reason), _) => DomainState::Shutdown(reason),
            (false, None, 0) => DomainState::Running,
            (false, None, _) => DomainState::Paused,
        }
    }
}

/// A refusal as libxl reports it.
pub(crate) fn refused(call: &str, rc: i32, errno: Option<i32>, message: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::Refused, call: call.to_owned(), rc: Some(rc), errno, message: message.into() }
}

fn no_such_domain(call: &str, domid: u32) -> Failure {
    refused(call, rc::DOMAIN_NOTFOUND, Some(errno::ESRCH), format!("there is no domain {domid}"))
}

/// libxl's return codes (tools/libs/light/libxl_types.idl:46-79).
pub(crate) mod rc {
    pub(crate) const FAIL: i32 = -3;
    pub(crate) const NOMEM: i32 = -5;
    pub(crate) const INVAL: i32 = -6;
    pub(crate) const TIMEDOUT: i32 = -9;
    pub(crate) const NOPARAVIRT: i32 = -10;
    pub(crate) const DEVICE_EXISTS: i32 = -17;
    pub(crate) const DOMAIN_NOTFOUND: i32 = -21;
}

/// Xen's error numbers (xen/include/public/errno.h).
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const ESRCH: i32 = 3;
    pub(crate) const ENOMEM: i32 = 12;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EADDRINUSE: i32 = 98;
    pub(crate) const EADDRNOTAVAIL: i32 = 99;
    pub(crate) const ECONNREFUSED: i32 = 111;
}
