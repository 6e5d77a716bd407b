//! What an operation reads before it acts, and the refusals that follow from it.

use crate::Hypervisor;
use protocol::{CpuSet, Cpupool, Domain, DomainState, Failure, FailureKind, Target, Vcpu};
use uuid::Uuid;

/// Number of the cpupool that Xen boots with; it can never be destroyed.
pub(crate) const POOL_0: u32 = 0;

/// Cpupools, free pCPUs and domains, read one after the other.
pub(crate) struct View {
    /// Name of the operation, for its failures.
    operation: &'static str,
    pub(crate) pools: Vec<Cpupool>,
    pub(crate) free: CpuSet,
    pub(crate) domains: Vec<Domain>,
}

impl View {
    pub(crate) fn read(hypervisor: &mut dyn Hypervisor, operation: &'static str) -> Result<Self, Failure> {
        Ok(Self {
            operation,
            pools: hypervisor.cpupools()?,
            free: hypervisor.free_cpus()?,
            domains: hypervisor.domains()?,
        })
    }

    pub(crate) fn stale(&self, message: impl Into<String>) -> Failure {
        stale(self.operation, message)
    }

    /// The cpupool with this identity, or that there is none.
    pub(crate) fn find_pool(&self, uuid: Uuid) -> Result<Option<&Cpupool>, Failure> {
        find_pool(self.operation, &self.pools, uuid)
    }

    pub(crate) fn pool0(&self) -> Result<&Cpupool, Failure> {
        let pool0 = self.pools.iter().find(|pool| pool.poolid == POOL_0);
        pool0.ok_or_else(|| self.stale("Xen lists no Pool-0; look at `xl cpupool-list` before anything else"))
    }

    /// Where a pCPU is now, in words.
    pub(crate) fn place_of(&self, cpu: u32) -> String {
        if self.free.contains(cpu) {
            return "free".to_owned();
        }
        match self.pools.iter().find(|pool| pool.cpus.contains(cpu)) {
            Some(pool) => format!("in {}", name_of_pool(pool)),
            None => "offline".to_owned(),
        }
    }

    /// The domains that Xen schedules in a cpupool; dying ones are no longer among them.
    pub(crate) fn members(&self, poolid: u32) -> impl Iterator<Item = &Domain> {
        self.domains.iter().filter(move |domain| domain.poolid == Some(poolid) && domain.state != DomainState::Dying)
    }

    /// Refuses to leave a cpupool with only `remaining`, when that leaves a vCPU of a domain in it with no pCPU.
    ///
    /// Xen would not refuse: it widens the hard affinity of such a vCPU to all pCPUs, silently (xen/common/sched/core.c, `cpu_disable_scheduler`).
    /// `mask` says which mask each vCPU will have by then.
    pub(crate) fn check_nobody_stranded(
        &self,
        pool: &Cpupool,
        remaining: &CpuSet,
        mask: impl Fn(&Domain, &Vcpu) -> CpuSet,
    ) -> Result<(), Failure> {
        for domain in self.members(pool.poolid) {
            if remaining.is_empty() {
                return Err(self.stale(format!(
                    "{} holds {}: it must keep at least one pCPU",
                    name_of_pool(pool),
                    name_of(domain)
                )));
            }
            let Some(vcpus) = domain.vcpus.known() else {
                return Err(self.stale(format!(
                    "the vCPUs of {} in {} cannot be read, so no pCPU is taken from it now",
                    name_of(domain),
                    name_of_pool(pool)
                )));
            };
            if let Some(vcpu) = vcpus.iter().find(|vcpu| mask(domain, vcpu).is_disjoint(remaining)) {
                return Err(self.stale(format!(
                    "vCPU {} of {} may run on {} only, which would leave it no pCPU of {} (Xen would then let it run on all): change its affinity first",
                    vcpu.id,
                    name_of(domain),
                    mask(domain, vcpu),
                    name_of_pool(pool)
                )));
            }
        }
        Ok(())
    }
}

/// The target as it is now; `None` when its number belongs to no domain.
pub(crate) fn find_target(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
) -> Result<Option<Domain>, Failure> {
    match hypervisor.domain(target.domid)? {
        Some(domain) if domain.uuid != target.uuid => {
            Err(stale(operation, format!("domain {} has UUID {} now, not {}", target.domid, domain.uuid, target.uuid)))
        }
        found => Ok(found),
    }
}

/// The target, which must exist and not be dying.
pub(crate) fn live_target(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
) -> Result<Domain, Failure> {
    match find_target(hypervisor, operation, target)? {
        None => Err(stale(operation, format!("there is no domain {} (UUID {})", target.domid, target.uuid))),
        Some(domain) if domain.state == DomainState::Dying => {
            Err(stale(operation, format!("{} is being torn down", name_of(&domain))))
        }
        Some(domain) => Ok(domain),
    }
}

/// The cpupool with this identity; Pool-0 for `None`.
pub(crate) fn require_pool(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    uuid: Option<Uuid>,
) -> Result<Cpupool, Failure> {
    let pools = hypervisor.cpupools()?;
    let found = match uuid {
        None => pools.iter().find(|pool| pool.poolid == POOL_0),
        Some(uuid) => find_pool(operation, &pools, uuid)?,
    };
    found.cloned().ok_or_else(|| {
        let wanted = uuid.map_or_else(|| "Pool-0".to_owned(), |uuid| format!("cpupool with UUID {uuid}"));
        stale(operation, format!("there is no {wanted}"))
    })
}

/// The vCPUs of a domain, when they can be read and `masks` has one mask for each of them.
pub(crate) fn vcpus_for<'a>(
    operation: &'static str,
    domain: &'a Domain,
    masks: &[CpuSet],
) -> Result<&'a [Vcpu], Failure> {
    match domain.vcpus.known() {
        None => Err(stale(operation, format!("the vCPUs of {} cannot be read", name_of(domain)))),
        Some(vcpus) if vcpus.len() != masks.len() => Err(stale(
            operation,
            format!("{} has {} vCPUs, and {} masks were given", name_of(domain), vcpus.len(), masks.len()),
        )),
        Some(vcpus) => Ok(vcpus),
    }
}

pub(crate) fn stale(operation: &str, message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Stale, operation, message)
}

pub(crate) fn name_of(domain: &Domain) -> String {
    name_with(domain.domid, domain.name.as_deref())
}

pub(crate) fn name_with(domid: u32, name: Option<&str>) -> String {
    format!("domain {domid} ({})", name.unwrap_or("no name"))
}

pub(crate) fn name_of_pool(pool: &Cpupool) -> String {
    match &pool.name {
        Some(name) => format!("cpupool {name}"),
        None => format!("cpupool {} (no name)", pool.poolid),
    }
}

fn find_pool<'a>(operation: &'static str, pools: &'a [Cpupool], uuid: Uuid) -> Result<Option<&'a Cpupool>, Failure> {
    let mut found = pools.iter().filter(|pool| pool.uuid == Some(uuid));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(stale(
            operation,
            format!(
                "cpupools {} and {} both have UUID {uuid}: destroy the wrong one by hand",
                first.poolid, second.poolid
            ),
        )),
        (Some(Cpupool { name: None, poolid, .. }), None) => {
            Err(stale(operation, format!("cpupool {poolid} (UUID {uuid}) has no name yet: it is being made")))
        }
        (found, _) => Ok(found),
    }
}
