//! What must hold on a host whatever happens: checked after every call, on real code, in memory.

use crate::world::{Domain, POOL_0, World};
use protocol::{CpuSet, Placement, Request, Target};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The law of cores.
    #[error("vCPU {vcpu} of domain {domid} ({uuid}) can run on pCPUs `{effective}`, which is none of {allowed:?}")]
    Cores {
        /// The domain.
        domid: u32,
        /// Its UUID.
        uuid: Uuid,
        /// The vCPU.
        vcpu: usize,
        /// Hard affinity ∩ cpupool.
        effective: CpuSet,
        /// Where it may run.
        allowed: Vec<CpuSet>,
    },
    /// Two domains of one VM.
    #[error("domains {0} and {1} both have UUID {2}")]
    TwoDomains(u32, u32, Uuid),
    /// A guest has gone on twice from the same memory: its disks are not what one of the two believes.
    #[error("the memory of {0} has gone on twice")]
    MemoryTwice(String),
    /// A foreign domain is not as it was.
    #[error("foreign domain {domid} was changed: {what}")]
    ForeignDomain {
        /// The domain.
        domid: u32,
        /// What changed.
        what: String,
    },
    /// A foreign cpupool is not as it was.
    #[error("foreign cpupool {poolid} was changed")]
    ForeignCpupool {
        /// The cpupool.
        poolid: u32,
    },
}

/// Everything that must hold after each call of a request that began in the world `before`.
pub fn after_call(before: &World, request: &Request, now: &World) -> Result<(), Broken> {
    law_of_cores(now, &allowed(before, request))?;
    foreign_untouched(before, now)?;
    memory_goes_on_once(now)?;
    no_more_domains_of_a_uuid(before, now)
}

/// Where each domain that is, or comes, into a cpupool of ours may run while a request is carried out: the cores of its partition
/// before and after.
pub fn allowed(before: &World, request: &Request) -> BTreeMap<Uuid, Vec<CpuSet>> {
    let cpus = |poolid: u32| before.pools.get(&poolid).map(|pool| pool.cpus.clone()).unwrap_or_default();
    let in_ours = |domain: &&Domain| before.pools.get(&domain.poolid).is_some_and(|pool| pool.ours);
    let members = before.domains.values().filter(|domain| domain.ours).filter(in_ours);
    let mut allowed: BTreeMap<Uuid, Vec<CpuSet>> =
        members.map(|domain| (domain.uuid, vec![cpus(domain.poolid)])).collect();
    let mut also = |uuid: Uuid, cpus: CpuSet| allowed.entry(uuid).or_default().push(cpus);
    match request {
        Request::ShapeCpupool(shape) => {
            for (poolid, pool) in before.pools.iter().filter(|(_, pool)| pool.uuid == Some(shape.uuid)) {
                let after = pool.cpus.union(&shape.add).difference(&shape.remove);
                before
                    .domains
                    .values()
                    .filter(|domain| domain.ours && domain.poolid == *poolid)
                    .for_each(|domain| also(domain.uuid, after.clone()));
            }
        }
        Request::MoveDomain { target: Target { domid, uuid }, placement: Placement { cpupool, .. } } => {
            let from = before.domains.get(domid).map(|domain| domain.poolid);
            let to = match cpupool {
                None => Some(POOL_0),
                Some(wanted) => {
                    before.pools.iter().find(|(_, pool)| pool.uuid == Some(*wanted)).map(|(poolid, _)| *poolid)
                }
            };
            from.into_iter().chain(to).for_each(|poolid| also(*uuid, cpus(poolid)));
        }
        Request::CreateDomain(config) | Request::RestoreDomain { config, .. } => {
            let to = before.pools.values().find(|pool| pool.uuid.is_some() && pool.uuid == config.placement.cpupool);
            if let Some(pool) = to {
                also(config.mark.uuid, pool.cpus.clone());
            }
        }
        _ => {}
    }
    allowed
}

/// Each vCPU that Xen schedules, of each domain named in `allowed` (by UUID), can run only within one of the sets given for it: its partition
/// before the step, and after it. An empty effective mask cannot run and breaks nothing.
pub fn law_of_cores(world: &World, allowed: &BTreeMap<Uuid, Vec<CpuSet>>) -> Result<(), Broken> {
    for (domid, domain) in world.domains().filter(|(_, domain)| domain.ours && domain.is_runnable()) {
        let Some(allowed) = allowed.get(&domain.uuid) else {
            continue;
        };
        for (vcpu, state) in domain.vcpus.iter().enumerate() {
            let effective = world.effective(domain, state);
            if !allowed.iter().any(|cpus| effective.is_subset(cpus)) {
                return Err(Broken::Cores { domid, uuid: domain.uuid, vcpu, effective, allowed: allowed.clone() });
            }
        }
    }
    Ok(())
}

/// No guest has gone on twice from the memory of one suspension.
pub fn memory_goes_on_once(world: &World) -> Result<(), Broken> {
    world.gone_on_twice.first().map_or(Ok(()), |which| Err(Broken::MemoryTwice(which.clone())))
}

/// No two domains that are not being torn down have one UUID.
pub fn one_domain_per_uuid(world: &World) -> Result<(), Broken> {
    no_more_than(world, &BTreeMap::new())
}

/// The same, but for those that another hand had made before.
fn no_more_domains_of_a_uuid(before: &World, now: &World) -> Result<(), Broken> {
    no_more_than(now, &by_uuid(before))
}

fn no_more_than(world: &World, before: &BTreeMap<Uuid, Vec<u32>>) -> Result<(), Broken> {
    for (uuid, domids) in by_uuid(world) {
        let were = before.get(&uuid).map_or(0, Vec::len);
        if let [.., one, other] = domids[..]
            && domids.len() > were
        {
            return Err(Broken::TwoDomains(one, other, uuid));
        }
    }
    Ok(())
}

/// Domains that are not being torn down.
fn by_uuid(world: &World) -> BTreeMap<Uuid, Vec<u32>> {
    let mut domids: BTreeMap<Uuid, Vec<u32>> = BTreeMap::new();
    for (domid, domain) in world.domains().filter(|(_, domain)| !domain.is_dying()) {
        domids.entry(domain.uuid).or_default().push(domid);
    }
    domids
}

/// Foreign domains and cpupools, and dom0, are as they were, apart from what guests do to themselves.
pub fn foreign_untouched(before: &World, after: &World) -> Result<(), Broken> {
    for (domid, was) in before.domains.iter().filter(|(_, domain)| !domain.ours) {
        let changed = |what: &str| Err(Broken::ForeignDomain { domid: *domid, what: what.to_owned() });
        let Some(is) = after.domains.get(domid).filter(|is| is.uuid == was.uuid) else {
            if was.is_dying() {
                continue;
            }
            return changed("it is gone");
        };
        if let Some(what) = difference(was, is) {
            return changed(what);
        }
    }
    for (poolid, was) in before.pools.iter().filter(|(poolid, pool)| !pool.ours && **poolid != 0 && pool.name.is_some())
    {
        if after.pools.get(poolid) != Some(was) {
            return Err(Broken::ForeignCpupool { poolid: *poolid });
        }
    }
    Ok(())
}

/// What another hand has changed about a domain.
fn difference(was: &Domain, is: &Domain) -> Option<&'static str> {
    let masks = |domain: &Domain| domain.vcpus.iter().map(|vcpu| vcpu.hard.clone()).collect::<Vec<_>>();
    let asked = |domain: &Domain| domain.store.as_ref().map(|store| (store.target_kib, store.vcpus_online));
    [
        (was.poolid != is.poolid && !is.is_dying(), "its cpupool"),
        (masks(was) != masks(is), "its hard affinity"),
        (was.sched != is.sched, "its weight or cap"),
        (was.pauses != is.pauses, "its pauses"),
        (was.is_dying() != is.is_dying(), "it was destroyed"),
        (was.name() != is.name() && !is.is_dying(), "its name"),
        (asked(was) != asked(is) && !is.is_dying(), "its memory target or online vCPUs"),
        (was.max_kib != is.max_kib, "its memory limit"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}
