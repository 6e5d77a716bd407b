//! What a worker reads from the host.

use crate::world::{Domain, Pool, World};
use protocol::{
    CpuSet, Cpupool, Dom0, DomainMemory, DomainState, Failure, FailureKind, Hypervisor, Observation, Reading, Vcpu,
};

impl World {
    /// What `serve` answers now.
    ///
    /// # Errors
    /// [`FailureKind::XenstoreLost`].
    pub fn observe(&self) -> Result<Observation, Failure> {
        self.check_xenstore()?;
        Ok(Observation {
            hypervisor: self.hypervisor(),
            cpupools: self.read_cpupools(),
            domains: Reading::Known(self.list_domains()),
        })
    }

    pub(crate) fn check_xenstore(&self) -> Result<(), Failure> {
        if self.xenstored {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::XenstoreLost,
            "xs_open",
            "xenstored does not answer; it cannot be started again without a reboot of the host",
        ))
    }

    pub(crate) fn list_cpupools(&self) -> Vec<Cpupool> {
        let count = |poolid| self.domains.values().filter(|domain| domain.poolid == poolid).count();
        let list = |(poolid, pool): (&u32, &Pool)| Cpupool {
            poolid: *poolid,
            name: pool.name.clone(),
            uuid: pool.uuid,
            scheduler: pool.scheduler.clone(),
            cpus: pool.cpus.clone(),
            domains: u32::try_from(count(*poolid)).unwrap_or(u32::MAX),
        };
        self.pools.iter().map(list).collect()
    }

    pub(crate) fn list_domains(&self) -> Vec<protocol::Domain> {
        let all = self.all_cpus();
        let list = |(domid, domain): (u32, &Domain)| protocol::Domain {
            hvm: self.read_hvm(domain),
            ..list_domain(domid, domain, &all)
        };
        self.domains().map(list).collect()
    }

    pub(crate) fn dom0_affinity(&self) -> Vec<CpuSet> {
        self.domains[&0].vcpus.iter().map(|vcpu| vcpu.hard.clone()).collect()
    }

    fn hypervisor(&self) -> Hypervisor {
        let dom0 = &self.domains[&0];
        Hypervisor {
            version: self.host.version.clone(),
            pcpus: self.host.topology.pcpus(),
            memory_total_kib: self.host.memory.total_kib,
            memory_free_kib: self.free_memory_kib(),
            pv: self.host.pv,
            hvm: self.host.hvm,
            hvm_parts: Some(self.host.hvm_parts),
            boot_id: self.boot_id(),
            dom0: Dom0 {
                memory_kib: dom0.current_kib,
                memory_max_kib: self.host.dom0.memory_max_kib,
                vcpus: self.host.dom0.vcpus,
                cpu_time_ns: Some(dom0.cpu_time_ns),
            },
        }
    }

    fn read_cpupools(&self) -> Reading<Vec<Cpupool>> {
        let pools = self.list_cpupools();
        let listed = pools.iter().fold(self.free_cpus(), |cpus, pool| cpus.union(&pool.cpus));
        let online = self.host.topology.online();
        if listed == online {
            return Reading::Known(pools);
        }
        let missing: CpuSet = online.difference(&listed);
        Reading::unknown(
            "CpupoolsInconsistent",
            format!("pCPUs {missing} are online, in no cpupool and not free: a change is under way, look again"),
        )
    }
}

fn list_domain(domid: u32, domain: &Domain, all: &CpuSet) -> protocol::Domain {
    let dying = domain.is_dying();
    let store = domain.store.as_ref();
    protocol::Domain {
        domid,
        uuid: domain.uuid,
        name: store.map(|store| store.name.clone()),
        kind: store.map(|store| store.kind),
        state: domain.state(),
        poolid: (!dying).then_some(domain.poolid),
        vcpus: read_vcpus(domain, all),
        vcpus_asked: store.filter(|store| store.mark.is_some()).map(|store| store.vcpus_online),
        memory: DomainMemory {
            current_kib: domain.current_kib,
            target_kib: store.map(|store| store.target_kib),
            static_max_kib: store.map(|store| store.static_max_kib),
        },
        sched: if domain.state() == DomainState::Dying {
            Reading::unknown("Dying", "the domain is being torn down")
        } else {
            Reading::Known(domain.sched)
        },
        mark: store.and_then(|store| store.mark),
        ready: store.is_some_and(|store| store.ready),
        disks: domain.disks.clone(),
        nics: domain.nics.clone(),
        hvm: None,
        cpu_time_ns: domain.cpu_time_ns,
        // Terminals are effects: whoever runs the world gives its domains theirs.
        console: None,
        stored: domain.stored.clone().filter(|_| store.is_some_and(|store| store.mark.is_none() || !store.ready)),
        toolstack: domain.toolstack,
    }
}

/// libxl_list_vcpu answers nothing at all when one hypercall of it fails, as for domains that are dying. It also fails for one that has no
/// vCPUs yet; there Xen says itself that it has none (`XEN_INVALID_MAX_VCPU_ID`), and the worker reports that.
fn read_vcpus(domain: &Domain, all: &CpuSet) -> Reading<Vec<Vcpu>> {
    if domain.is_dying() && !domain.vcpus.is_empty() {
        return Reading::unknown("Dying", "the domain is being torn down");
    }
    let vcpu = |(id, vcpu): (u32, &crate::world::Vcpu)| Vcpu {
        id,
        online: vcpu.online,
        hard: vcpu.hard.clone(),
        soft: Some(vcpu.soft.clone().unwrap_or_else(|| all.clone())),
    };
    Reading::Known((0..).zip(&domain.vcpus).map(vcpu).collect())
}
