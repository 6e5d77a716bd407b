//! A cpupool made, or its pCPUs changed, with its domains running.
//!
//! ```text
//! take from Pool-0 → create, empty → add → re-mask every vCPU, read back → remove → give to Pool-0
//! ```

use crate::Hypervisor;
use crate::cpupool::{add_cpu, check_name_is_free, remove_cpu};
use crate::placement::{check_masks_reach, check_read_back, set_masks};
use crate::view::{POOL_0, View, name_of, name_of_pool, vcpus_for};
use protocol::{CpuSet, Cpupool, Domain, DomainMasks, Done, Failure, ShapeCpupool, Vcpu};

const OPERATION: &str = "shape-cpupool";

pub(crate) fn run(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool) -> Result<Done, Failure> {
    let view = View::read(hypervisor, OPERATION)?;
    check(&view, shape)?;
    check_dom0(hypervisor, &view, &shape.take)?;
    take(hypervisor, &view, shape)?;
    let pool = find_or_create(hypervisor, &view, shape)?;
    narrow(hypervisor, &view, &pool, shape)?;
    for cpu in shape.add.difference(&pool.cpus).iter() {
        add_cpu(hypervisor, pool.poolid, cpu)?;
    }
    mask(hypervisor, shape)?;
    for cpu in shape.remove.iter() {
        remove(hypervisor, shape, cpu)?;
    }
    give(hypervisor, shape)?;
    verify(hypervisor, shape)?;
    Ok(Done::default())
}

/// Every premise, before the first change.
fn check(view: &View, shape: &ShapeCpupool) -> Result<(), Failure> {
    let pool = view.find_pool(shape.uuid)?;
    let now = pool.map(|pool| pool.cpus.clone()).unwrap_or_default();
    let after = now.union(&shape.add).difference(&shape.remove);
    check_name_is_free(view, shape.uuid, &shape.name)?;
    check_take(view, shape, &now)?;
    let reachable = now.union(&view.free).union(&shape.take);
    check_places(view, "added to", shape, &shape.add.difference(&reachable))?;
    let givable = shape.remove.union(&view.free).union(&view.pool0()?.cpus);
    check_places(view, "given to Pool-0 by", shape, &shape.give.difference(&givable))?;
    for masks in &shape.masks {
        check_masked_domain(view, pool, masks, shape, &after)?;
    }
    match pool {
        Some(pool) => view.check_nobody_stranded(pool, &after, |domain, vcpu| mask_to_be(shape, domain, vcpu)),
        None => Ok(()),
    }
}

fn check_take(view: &View, shape: &ShapeCpupool, now: &CpuSet) -> Result<(), Failure> {
    if shape.take.contains(0) {
        return Err(view.stale("pCPU 0 never leaves Pool-0"));
    }
    let pool0 = view.pool0()?;
    let taken_before = view.free.union(&now.intersection(&shape.add));
    let elsewhere = shape.take.difference(&pool0.cpus).difference(&taken_before);
    check_places(view, "taken for", shape, &elsewhere)?;
    let left = pool0.cpus.difference(&shape.take);
    if left.is_empty() {
        return Err(view.stale("Pool-0 must keep at least one pCPU"));
    }
    if left == pool0.cpus {
        return Ok(());
    }
    view.check_nobody_stranded(pool0, &left, |_, vcpu| vcpu.hard.clone())
}

fn check_places(view: &View, verb: &str, shape: &ShapeCpupool, wrong: &CpuSet) -> Result<(), Failure> {
    match wrong.iter().next() {
        None => Ok(()),
        Some(cpu) => Err(view.stale(format!(
            "pCPU {cpu} is {}, so it cannot be {verb} cpupool {}",
            view.place_of(cpu),
            shape.name
        ))),
    }
}

fn check_masked_domain(
    view: &View,
    pool: Option<&Cpupool>,
    masks: &DomainMasks,
    shape: &ShapeCpupool,
    after: &CpuSet,
) -> Result<(), Failure> {
    let target = masks.target;
    let member = pool.and_then(|pool| view.members(pool.poolid).find(|domain| domain.domid == target.domid));
    let Some(domain) = member.filter(|domain| domain.uuid == target.uuid) else {
        return Err(view.stale(format!(
            "domain {} (UUID {}) is not in the cpupool whose vCPUs are to be re-masked",
            target.domid, target.uuid
        )));
    };
    vcpus_for(OPERATION, domain, &masks.hard)?;
    if masks.hard.iter().any(|mask| !mask.is_disjoint(&shape.remove)) {
        return Err(view.stale(format!("{} is to run on pCPUs that are to be removed", name_of(domain))));
    }
    check_masks_reach(OPERATION, &masks.hard, after)
}

/// The mask that a vCPU has once the shape's masks are set.
fn mask_to_be(shape: &ShapeCpupool, domain: &Domain, vcpu: &Vcpu) -> CpuSet {
    let masks = shape.masks.iter().find(|masks| masks.target.domid == domain.domid);
    let mask = masks.and_then(|masks| masks.hard.get(usize::try_from(vcpu.id).ok()?));
    mask.unwrap_or(&vcpu.hard).clone()
}

fn take(hypervisor: &mut dyn Hypervisor, view: &View, shape: &ShapeCpupool) -> Result<(), Failure> {
    let in_pool0 = view.pool0()?.cpus.clone();
    for cpu in shape.take.intersection(&in_pool0).iter() {
        let view = View::read(hypervisor, OPERATION)?;
        let pool0 = view.pool0()?;
        if !pool0.cpus.contains(cpu) {
            continue;
        }
        let left = pool0.cpus.difference(&CpuSet::from_iter([cpu]));
        view.check_nobody_stranded(pool0, &left, |_, vcpu| vcpu.hard.clone())?;
        check_dom0(hypervisor, &view, &CpuSet::from_iter([cpu]))?;
        remove_cpu(hypervisor, POOL_0, cpu)?;
    }
    Ok(())
}

/// Refuses to take pCPUs of which dom0 needs one, as when it was booted with `dom0_vcpus_pin`: Xen would widen its pins as silently.
fn check_dom0(hypervisor: &mut dyn Hypervisor, view: &View, take: &CpuSet) -> Result<(), Failure> {
    let left = view.pool0()?.cpus.difference(take);
    match hypervisor.dom0_affinity()?.iter().position(|hard| hard.is_disjoint(&left)) {
        None => Ok(()),
        Some(vcpu) => Err(view.stale(format!(
            "vCPU {vcpu} of dom0 is pinned, and would have no pCPU left without `{take}`: leave dom0 those cores, or unpin it"
        ))),
    }
}

/// The cpupool, made without pCPUs when there is none.
fn find_or_create(hypervisor: &mut dyn Hypervisor, before: &View, shape: &ShapeCpupool) -> Result<Cpupool, Failure> {
    let view = View::read(hypervisor, OPERATION)?;
    if view.find_pool(shape.uuid)?.is_none() {
        sweep_wrecks(hypervisor, before, &view)?;
        hypervisor.create_cpupool(shape.uuid, &shape.name)?;
    }
    let view = View::read(hypervisor, OPERATION)?;
    let pool = view.find_pool(shape.uuid)?;
    pool.cloned().ok_or_else(|| view.stale(format!("cpupool {} was made and is not listed", shape.name)))
}

/// Destroys what a creation that died left behind: a cpupool without name, identity, pCPUs and domains.
///
/// It hides every later cpupool from `xl`, whose listing ends at it (`libxl_list_cpupool`, tools/libs/light/libxl_cpupool.c:88). Our own
/// creations hold a lock that the caller has; another tool's is in that state for one hypercall, so it must be seen twice.
fn sweep_wrecks(hypervisor: &mut dyn Hypervisor, before: &View, now: &View) -> Result<(), Failure> {
    let is_wreck = |pool: &&Cpupool| {
        pool.name.is_none() && pool.uuid.is_none() && pool.cpus.is_empty() && pool.domains == 0 && pool.poolid != POOL_0
    };
    for wreck in now.pools.iter().filter(is_wreck) {
        if before.pools.contains(wreck) {
            hypervisor.destroy_cpupool(wreck.poolid)?;
        }
    }
    Ok(())
}

/// Keeps wide masks (drift) from reaching the new pCPUs while the old ones are still there: such a vCPU would for a moment run on more
/// than the partition before or after.
fn narrow(hypervisor: &mut dyn Hypervisor, view: &View, pool: &Cpupool, shape: &ShapeCpupool) -> Result<(), Failure> {
    let during = pool.cpus.union(&shape.add);
    let after = during.difference(&shape.remove);
    for masks in &shape.masks {
        let Some(domain) = view.members(pool.poolid).find(|domain| domain.domid == masks.target.domid) else {
            continue;
        };
        for vcpu in vcpus_for(OPERATION, domain, &masks.hard)? {
            let effective = vcpu.hard.intersection(&during);
            if !effective.is_subset(&pool.cpus) && !effective.is_subset(&after) {
                hypervisor.set_hard_affinity(domain.domid, vcpu.id, &vcpu.hard.intersection(&pool.cpus))?;
            }
        }
    }
    Ok(())
}

/// Sets the masks and reads them back.
fn mask(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool) -> Result<(), Failure> {
    for masks in &shape.masks {
        set_masks(hypervisor, OPERATION, masks.target, &masks.hard)?;
    }
    check_masks(hypervisor, shape)
}

fn check_masks(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool) -> Result<(), Failure> {
    for masks in &shape.masks {
        check_read_back(hypervisor, OPERATION, masks.target, &masks.hard)?;
    }
    Ok(())
}

fn remove(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool, cpu: u32) -> Result<(), Failure> {
    let view = View::read(hypervisor, OPERATION)?;
    let Some(pool) = view.find_pool(shape.uuid)? else {
        return Ok(());
    };
    if !pool.cpus.contains(cpu) {
        return Ok(());
    }
    let left = pool.cpus.difference(&CpuSet::from_iter([cpu]));
    view.check_nobody_stranded(pool, &left, |_, vcpu| vcpu.hard.clone())?;
    remove_cpu(hypervisor, pool.poolid, cpu)
}

fn give(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool) -> Result<(), Failure> {
    let view = View::read(hypervisor, OPERATION)?;
    let missing = shape.give.difference(&view.pool0()?.cpus);
    check_places(&view, "given to Pool-0 by", shape, &missing.difference(&view.free))?;
    for cpu in missing.iter() {
        add_cpu(hypervisor, POOL_0, cpu)?;
    }
    Ok(())
}

/// The cpupool has what was added, nothing of what was removed, and its domains still have their masks.
fn verify(hypervisor: &mut dyn Hypervisor, shape: &ShapeCpupool) -> Result<(), Failure> {
    let view = View::read(hypervisor, OPERATION)?;
    let Some(pool) = view.find_pool(shape.uuid)? else {
        return Err(view.stale(format!("cpupool {} went away meanwhile", shape.name)));
    };
    let kept = shape.add.difference(&shape.remove);
    if !kept.is_subset(&pool.cpus) || !shape.remove.is_disjoint(&pool.cpus) {
        return Err(view.stale(format!(
            "{} has pCPUs {} now: somebody else changes it as well",
            name_of_pool(pool),
            pool.cpus
        )));
    }
    if let Some(stranger) = shape.masks.iter().find(|masks| {
        !view.members(pool.poolid).any(|domain| domain.domid == masks.target.domid && domain.uuid == masks.target.uuid)
    }) {
        let domain = view.domains.iter().find(|domain| domain.domid == stranger.target.domid);
        let name = domain.map_or_else(|| format!("domain {}", stranger.target.domid), name_of);
        return Err(view.stale(format!("{name} left {} meanwhile", name_of_pool(pool))));
    }
    check_masks(hypervisor, shape)
}
