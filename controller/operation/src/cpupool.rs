//! Cpupools as a whole: rename, destroy, and pCPUs for Pool-0.

use crate::Hypervisor;
use crate::view::{POOL_0, View, name_of_pool};
use protocol::{CpuSet, Done, Failure};
use uuid::Uuid;

/// How often a removal that Xen calls temporary is tried.
const REMOVE_TRIES: u32 = 3;

/// Errors of `XEN_SYSCTL_CPUPOOL_OP_RMCPU` that pass by themselves (xen/common/sched/cpupool.c): `EAGAIN`, `EBUSY`, `EADDRINUSE`.
const PASSING: [i32; 3] = [11, 16, 98];

/// Errors of the same call for a pCPU that is offline, or not in this cpupool: `EINVAL`, `EADDRNOTAVAIL`.
const NOT_OURS: [i32; 2] = [22, 99];

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
        hypervisor.add_cpu(POOL_0, cpu)?;
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
        hypervisor.add_cpu(POOL_0, cpu)?;
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

/// Removes a pCPU that is in no cpupool and not free: an earlier run may have died while Xen held it half-removed. One that is only offline,
/// or on its way out of another cpupool, is nothing of ours.
pub(crate) fn finish_removal(hypervisor: &mut dyn Hypervisor, poolid: u32, cpu: u32) -> Result<(), Failure> {
    match remove_cpu(hypervisor, poolid, cpu) {
        Err(failure) if failure.errno.is_some_and(|errno| NOT_OURS.contains(&errno)) => Ok(()),
        finished => finished,
    }
}

/// Removes a pCPU. When Xen does not let it go, it is added again: Xen otherwise keeps it half-removed and refuses to move any other
/// (`cpupool_moving_cpu`, xen/common/sched/cpupool.c).
pub(crate) fn remove_cpu(hypervisor: &mut dyn Hypervisor, poolid: u32, cpu: u32) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        let Err(failure) = hypervisor.remove_cpu(poolid, cpu) else {
            return Ok(());
        };
        let passing = failure.errno.is_some_and(|errno| PASSING.contains(&errno));
        if !passing {
            return Err(failure);
        }
        if tries == REMOVE_TRIES {
            // It is what a person would be told to do as well; the first failure is the one that says why.
            let _ = hypervisor.add_cpu(poolid, cpu);
            return Err(failure);
        }
        tries += 1;
    }
}
