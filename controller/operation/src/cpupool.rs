//! Cpupools as a whole: rename, destroy, and pCPUs for Pool-0.

use crate::Hypervisor;
use crate::view::{POOL_0, View, name_of_pool};
use protocol::{CpuSet, Done, Failure};
use uuid::Uuid;

/// How often a removal that Xen calls temporary is tried.
const REMOVE_TRIES: u32 = 3;

/// Errors of `XEN_SYSCTL_CPUPOOL_OP_RMCPU` that pass by themselves (xen/common/sched/cpupool.c): `EAGAIN`, `EBUSY`, `EADDRINUSE`.
const PASSING: [i32; 3] = [11, 16, 98];

/// `EADDRNOTAVAIL`: the pCPU is in another cpupool, or Xen has begun the removal of one and not finished it.
const ELSEWHERE: i32 = 99;

/// Gives a cpupool another name.
pub(crate) fn rename(hypervisor: &mut dyn Hypervisor, uuid: Uuid, name: &str) -> Result<Done, Failure> {
    let view = View::read(hypervisor, "rename-cpupool")?;
    let Some(pool) = view.find_pool(uuid)? else {
        return Err(view.stale(format!("there is no cpupool with UUID {uuid}")));
    };
    check_name_is_free(&view, uuid, name)?;
    if pool.name.as_deref() != Some(name) {
        hypervisor.rename_cpupool(pool.poolid, name)?;
    }
    Ok(Done::default())
}

/// Gives a cpupool's pCPUs to Pool-0, one by one so that a death loses at most one to the free ones, and destroys it.
pub(crate) fn destroy(hypervisor: &mut dyn Hypervisor, uuid: Uuid) -> Result<Done, Failure> {
    let view = View::read(hypervisor, "destroy-cpupool")?;
    let Some(pool) = view.find_pool(uuid)? else {
        return Ok(Done::default());
    };
    if pool.poolid == POOL_0 {
        return Err(view.stale("Pool-0 cannot be destroyed"));
    }
    if pool.domains > 0 {
        return Err(view.stale(format!(
            "{} still has {} domain(s), those being torn down included",
            name_of_pool(pool),
            pool.domains
        )));
    }
    for cpu in pool.cpus.iter() {
        remove_cpu(hypervisor, pool.poolid, cpu)?;
        add_cpu(hypervisor, POOL_0, cpu)?;
    }
    hypervisor.destroy_cpupool(pool.poolid)?;
    Ok(Done::default())
}

/// Gives free pCPUs to Pool-0.
pub(crate) fn feed_pool0(hypervisor: &mut dyn Hypervisor, cpus: &CpuSet) -> Result<Done, Failure> {
    let view = View::read(hypervisor, "feed-pool-0")?;
    let missing = cpus.difference(&view.pool0()?.cpus);
    if let Some(cpu) = missing.difference(&view.free).iter().next() {
        return Err(view.stale(format!("pCPU {cpu} is {}, so it cannot go to Pool-0", view.place_of(cpu))));
    }
    for cpu in missing.iter() {
        add_cpu(hypervisor, POOL_0, cpu)?;
    }
    Ok(Done::default())
}

/// Refuses a name that another cpupool has: libxl does not, only `xl` does.
pub(crate) fn check_name_is_free(view: &View, uuid: Uuid, name: &str) -> Result<(), Failure> {
    match view.pools.iter().find(|pool| pool.uuid != Some(uuid) && pool.name.as_deref() == Some(name)) {
        None => Ok(()),
        Some(other) => {
            Err(view.stale(format!("cpupool {} has the name {name} already: rename one of them", other.poolid)))
        }
    }
}

/// Adds a free pCPU.
pub(crate) fn add_cpu(hypervisor: &mut dyn Hypervisor, poolid: u32, cpu: u32) -> Result<(), Failure> {
    let added = hypervisor.add_cpu(poolid, cpu);
    if failed_with(&added, &[ELSEWHERE]) && finish_removal(hypervisor)? {
        return hypervisor.add_cpu(poolid, cpu);
    }
    added
}

/// Removes a pCPU. When Xen does not let it go, it is added again: Xen otherwise keeps it half-removed and refuses to move any other
/// (`cpupool_moving_cpu`, xen/common/sched/cpupool.c).
pub(crate) fn remove_cpu(hypervisor: &mut dyn Hypervisor, poolid: u32, cpu: u32) -> Result<(), Failure> {
    let mut removed = try_to_remove(hypervisor, poolid, cpu);
    if failed_with(&removed, &[ELSEWHERE]) && finish_removal(hypervisor)? {
        removed = try_to_remove(hypervisor, poolid, cpu);
    }
    if failed_with(&removed, &PASSING) {
        // It is what a person would be told to do as well; the first failure is the one that says why.
        let _ = hypervisor.add_cpu(poolid, cpu);
    }
    removed
}

/// Ends the removal of a pCPU that an earlier run, killed in it, left half-done, and answers whether there was one.
///
/// Xen lists such a pCPU as free, and finishes its removal from whichever cpupool it is asked for; to remove any other free pCPU it
/// refuses. So all free ones are tried. When Xen still does not let this one go, it stays as it is: which cpupool it could be given
/// back to is not known.
fn finish_removal(hypervisor: &mut dyn Hypervisor) -> Result<bool, Failure> {
    for cpu in hypervisor.free_cpus()?.iter() {
        let removed = try_to_remove(hypervisor, POOL_0, cpu);
        if !failed_with(&removed, &[ELSEWHERE]) {
            return removed.map(|()| true);
        }
    }
    Ok(false)
}

fn try_to_remove(hypervisor: &mut dyn Hypervisor, poolid: u32, cpu: u32) -> Result<(), Failure> {
    let mut removed = hypervisor.remove_cpu(poolid, cpu);
    for _ in 1..REMOVE_TRIES {
        if failed_with(&removed, &PASSING) {
            removed = hypervisor.remove_cpu(poolid, cpu);
        }
    }
    removed
}

fn failed_with(outcome: &Result<(), Failure>, errors: &[i32]) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.errno.is_some_and(|errno| errors.contains(&errno)))
}
