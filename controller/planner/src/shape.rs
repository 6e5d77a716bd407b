//! The next step of every cpupool towards the pCPUs of its partition, within the law of cores.
//!
//! Invariants of every step: pCPU 0 and the last pCPU never leave Pool-0; no hard mask of a domain that runs is ever left with nothing (Xen would widen it to
//! *all*, silently); what another partition wants is left free for it; nothing is removed before every mask in the pool lies in what stays.

use crate::consent::Fate;
use crate::partitions::Partition;
use crate::release::{self, Homes};
use crate::world::{POOL0, World};
use protocol::{CpuSet, Domain, DomainMasks, Reading, ShapeCpupool, Target};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What is to be done about a cpupool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It has exactly the pCPUs of its partition; its number.
    Fits(u32),
    /// This can be done now.
    Step(Box<ShapeCpupool>),
    /// Something of ours must happen first.
    Waiting(String),
    /// A person must act or approve.
    Held(String),
    /// The host cannot do it: a reason and a sentence.
    Stalled(&'static str, String),
    /// What is needed to decide is not known.
    Unknown(String),
}

/// A shape that may depend on what the others do.
pub(crate) enum Draft {
    Decided(Shape),
    /// Nothing can be done before one of these partitions gives up pCPUs; and this one cannot give up its own first.
    Stuck(BTreeSet<Uuid>),
    /// It goes, as soon as nobody is in it.
    Dissolving,
}

/// The shapes of all partitions, in their order. Domains in Pool-0 whose masks are in the way are added to `remask`.
pub(crate) fn shapes(world: &World, partitions: &[Partition], homes: &Homes, remask: &mut BTreeSet<u32>) -> Vec<Shape> {
    let drafts = partitions.iter().map(|partition| draft(world, partitions, partition, remask)).collect();
    release::resolve(world, partitions, homes, drafts)
}

fn draft(world: &World, partitions: &[Partition], partition: &Partition, remask: &mut BTreeSet<u32>) -> Draft {
    if partition.fate == Fate::Removed {
        return dissolve(world, partitions, partition, remask);
    }
    match sources(world, partitions, partition) {
        Ok(sources) => step(world, partitions, partition, (sources, &partition.wanted), remask),
        Err(shape) => Draft::Decided(shape),
    }
}

/// While somebody is still in it, it gives up what others want, and keeps the rest.
fn dissolve(world: &World, partitions: &[Partition], partition: &Partition, remask: &mut BTreeSet<u32>) -> Draft {
    let (Some(pool), Some(_)) = (partition.pool, world.domains) else { return Draft::Dissolving };
    let keep = pool.cpus.difference(&wanted_by_others(partitions, partition));
    if keep.is_empty() || keep == pool.cpus || world.domains_in(pool.poolid).next().is_none() {
        return Draft::Dissolving;
    }
    let sources = Sources { current: pool.cpus.clone(), ..Sources::default() };
    step(world, partitions, partition, (sources, &keep), remask)
}

fn wanted_by_others(partitions: &[Partition], partition: &Partition) -> CpuSet {
    let others = partitions.iter().filter(|other| other.uuid != partition.uuid && other.fate != Fate::Removed);
    others.flat_map(|other| other.wanted.iter()).collect()
}

/// Where the pCPUs that a pool needs are now.
#[derive(Default)]
struct Sources {
    current: CpuSet,
    free: CpuSet,
    pool0: CpuSet,
    /// In pools of other partitions.
    others: BTreeSet<Uuid>,
}

fn sources(world: &World, partitions: &[Partition], partition: &Partition) -> Result<Sources, Shape> {
    let unknown = |what: &str| Shape::Unknown(format!("{what} are not known at present"));
    let pools = world.cpupools.ok_or_else(|| unknown("the host's cpupools"))?;
    world.domains.ok_or_else(|| unknown("the host's domains"))?;
    let absent = world.topology.absent(&partition.cores);
    if !absent.is_empty() {
        let message =
            format!("this host has no online core {}; correct `spec.cores`, or bring it online", absent.join(", "));
        return Err(Shape::Stalled("CoreAbsent", message));
    }
    if partition.wanted.contains(0) {
        return Err(Shape::Stalled(
            "CoreOfDom0",
            "pCPU 0 and its core always stay with dom0; choose another core".to_owned(),
        ));
    }
    let mut sources =
        Sources { current: partition.pool.map(|pool| pool.cpus.clone()).unwrap_or_default(), ..Sources::default() };
    for cpu in partition.wanted.difference(&sources.current).iter() {
        match pools.iter().find(|pool| pool.cpus.contains(cpu)) {
            None => {
                sources.free.insert(cpu);
            }
            Some(pool) if pool.poolid == POOL0 => {
                sources.pool0.insert(cpu);
            }
            Some(pool) => {
                if let Some(other) = partitions.iter().find(|other| pool.uuid == Some(other.uuid)) {
                    sources.others.insert(other.uuid);
                    continue;
                }
                let name = pool.name.as_deref().unwrap_or("without a name");
                return Err(Shape::Held(format!(
                    "pCPU {cpu} is in cpupool {name} (number {}), which is not pinfold's; take it out with `xl cpupool-cpu-remove {name} {cpu}`",
                    pool.poolid
                )));
            }
        }
    }
    Ok(sources)
}

fn step(
    world: &World,
    partitions: &[Partition],
    partition: &Partition,
    (sources, wanted): (Sources, &CpuSet),
    remask: &mut BTreeSet<u32>,
) -> Draft {
    if let Some(shape) = pool0_keeps(world, &sources.pool0, remask) {
        return Draft::Decided(shape);
    }
    let Sources { current, free, pool0: take, others } = sources;
    let add = free.union(&take);
    let after_add = current.union(&add);
    let stays = after_add.intersection(wanted);
    let surplus = current.difference(wanted);
    let inside: Vec<&Domain> = partition.pool.into_iter().flat_map(|pool| world.domains_in(pool.poolid)).collect();
    if let (Some(pool), true, true) = (partition.pool, add.is_empty() && surplus.is_empty(), others.is_empty()) {
        return Draft::Decided(Shape::Fits(pool.poolid));
    }
    let removable = !stays.is_empty() || inside.is_empty();
    let remove = if removable { surplus } else { CpuSet::new() };
    if add.is_empty() && remove.is_empty() && !others.is_empty() {
        return Draft::Stuck(others);
    }
    let masks = match masks(world, &inside, &stays, &after_add.difference(&remove)) {
        Ok(masks) => masks,
        Err(shape) => return Draft::Decided(shape),
    };
    let give = remove.difference(&wanted_by_others(partitions, partition));
    let name = partition.pool.and_then(|pool| pool.name.clone()).unwrap_or_else(|| partition.name.to_string());
    Draft::Decided(Shape::Step(Box::new(ShapeCpupool { uuid: partition.uuid, name, take, add, masks, remove, give })))
}

/// What keeps Pool-0 from giving these pCPUs up.
fn pool0_keeps(world: &World, take: &CpuSet, remask: &mut BTreeSet<u32>) -> Option<Shape> {
    if take.is_empty() {
        return None;
    }
    let pool0 = world.pool0()?;
    let rest = pool0.cpus.difference(take);
    if rest.is_empty() {
        return Some(Shape::Stalled("Pool0Empty", "Pool-0 would be left without a pCPU; dom0 needs one".to_owned()));
    }
    let mut ours = Vec::new();
    for domain in world.domains_in(POOL0) {
        let Reading::Known(vcpus) = &domain.vcpus else {
            return Some(Shape::Unknown(format!(
                "the vCPUs of {} are not known at present",
                World::domain_name(domain)
            )));
        };
        if vcpus.iter().all(|vcpu| !vcpu.hard.is_disjoint(&rest)) {
            continue;
        }
        if world.owner(domain).is_none() {
            let name = domain.name.clone().unwrap_or_else(|| domain.domid.to_string());
            return Some(Shape::Held(format!(
                "{} is pinned to pCPUs of this partition and is not pinfold's; give it others with `xl vcpu-pin {name} all {rest}`",
                World::domain_name(domain)
            )));
        }
        remask.insert(domain.domid);
        ours.push(World::domain_name(domain));
    }
    (!ours.is_empty()).then(|| Shape::Waiting(format!("{} gets other pCPUs of Pool-0", ours.join(", "))))
}

/// The masks of our domains in the pool, and whether what is removed harms nobody.
fn masks(world: &World, inside: &[&Domain], stays: &CpuSet, rest: &CpuSet) -> Result<Vec<DomainMasks>, Shape> {
    let mut masks = Vec::new();
    for domain in inside {
        let Reading::Known(vcpus) = &domain.vcpus else {
            return Err(Shape::Unknown(format!(
                "the vCPUs of {} are not known at present",
                World::domain_name(domain)
            )));
        };
        if world.owner(domain).is_none() {
            if vcpus.iter().any(|vcpu| vcpu.hard.is_disjoint(rest)) {
                return Err(Shape::Held(format!(
                    "{} is in this cpupool, pinned to pCPUs that are to leave it, and is not pinfold's; give it others with `xl vcpu-pin {} all {rest}`",
                    World::domain_name(domain),
                    domain.domid
                )));
            }
        } else if !domain.ready {
            if vcpus.iter().any(|vcpu| vcpu.hard.is_disjoint(rest)) {
                return Err(Shape::Waiting(format!("{} is cleared away", World::domain_name(domain))));
            }
        } else if vcpus.iter().any(|vcpu| vcpu.hard != *stays) {
            let target = Target { domid: domain.domid, uuid: domain.uuid };
            masks.push(DomainMasks { target, hard: vec![stays.clone(); vcpus.len()] });
        }
    }
    Ok(masks)
}
