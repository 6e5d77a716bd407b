//! Where a domain runs: cpupool, hard affinities, weight and cap.

use crate::Hypervisor;
use crate::view::{live_target, name_of, name_of_pool, require_pool, stale, vcpus_for};
use protocol::{CpuSet, Cpupool, Domain, DomainState, Done, Failure, FailureKind, Placement, Sched, Target, Vcpu};

const MOVE: &str = "move-domain";

/// Moves a domain to another cpupool. A running one is paused meanwhile, because Xen lets a moved domain run on the whole new cpupool
/// (xen/common/sched/core.c, `sched_move_domain`), and runs again only after everything was read back.
///
/// A domain that was paused stays paused, also one that an earlier run paused and left: pauses count, and to let it run is
/// another request's work.
pub(crate) fn move_domain(
    hypervisor: &mut dyn Hypervisor,
    target: Target,
    placement: &Placement,
) -> Result<Done, Failure> {
    let before = live_target(hypervisor, MOVE, target)?;
    let pool = require_pool(hypervisor, MOVE, placement.cpupool)?;
    vcpus_for(MOVE, &before, &placement.hard)?;
    check_masks_reach(MOVE, &placement.hard, &pool.cpus)?;
    if before.poolid == Some(pool.poolid) {
        place(hypervisor, MOVE, target, &pool, placement)?;
        return Ok(Done::default());
    }
    let was_running = before.state == DomainState::Running;
    if was_running {
        hypervisor.pause_domain(target.domid)?;
    }
    if let Err(failure) = hypervisor.move_domain(target.domid, pool.poolid) {
        if was_running {
            resume_unmoved(hypervisor, target, &before)?;
        }
        return Err(failure);
    }
    match place(hypervisor, MOVE, target, &pool, placement) {
        Ok(()) if was_running => hypervisor.unpause_domain(target.domid)?,
        Ok(()) => {}
        Err(mut failure) => {
            failure.message += "; the domain stays paused until it is placed as asked";
            return Err(failure);
        }
    }
    Ok(Done::default())
}

/// Sets the hard affinity of every vCPU within the domain's own cpupool.
pub(crate) fn set_affinity(
    hypervisor: &mut dyn Hypervisor,
    target: Target,
    hard: &[CpuSet],
    soft: Option<&CpuSet>,
) -> Result<Done, Failure> {
    const OPERATION: &str = "set-affinity";
    let domain = live_target(hypervisor, OPERATION, target)?;
    vcpus_for(OPERATION, &domain, hard)?;
    let pools = hypervisor.cpupools()?;
    let Some(pool) = pools.iter().find(|pool| Some(pool.poolid) == domain.poolid) else {
        return Err(stale(OPERATION, format!("the cpupool of {} is not listed", name_of(&domain))));
    };
    check_masks_reach(OPERATION, hard, &pool.cpus)?;
    set_masks(hypervisor, OPERATION, target, hard)?;
    set_soft(hypervisor, OPERATION, target, soft)?;
    check_read_back(hypervisor, OPERATION, target, hard)?;
    Ok(Done::default())
}

/// Sets weight and cap.
pub(crate) fn set_sched(hypervisor: &mut dyn Hypervisor, target: Target, sched: Sched) -> Result<Done, Failure> {
    const OPERATION: &str = "set-sched";
    let domain = live_target(hypervisor, OPERATION, target)?;
    if domain.sched.known() == Some(&sched) {
        return Ok(Done::default());
    }
    hypervisor.set_sched(target.domid, sched)?;
    let domain = live_target(hypervisor, OPERATION, target)?;
    check_sched(&domain, sched).map_err(|message| Failure::new(FailureKind::ReadBack, OPERATION, message))?;
    Ok(Done::default())
}

/// Sets the masks of those vCPUs that have others.
pub(crate) fn set_masks(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
    hard: &[CpuSet],
) -> Result<(), Failure> {
    let domain = live_target(hypervisor, operation, target)?;
    for (vcpu, mask) in vcpus_for(operation, &domain, hard)?.iter().zip(hard) {
        if vcpu.hard != *mask {
            hypervisor.set_hard_affinity(target.domid, vcpu.id, mask)?;
        }
    }
    Ok(())
}

/// Sets the soft affinity of those vCPUs that have another, and reads it back.
fn set_soft(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
    soft: Option<&CpuSet>,
) -> Result<(), Failure> {
    let Some(soft) = soft else { return Ok(()) };
    let vcpus = |domain: Domain| domain.vcpus.known().cloned().unwrap_or_default();
    let differs = |vcpu: &Vcpu| vcpu.soft.as_ref().is_some_and(|now| now != soft);
    for vcpu in vcpus(live_target(hypervisor, operation, target)?).iter().filter(|vcpu| differs(vcpu)) {
        hypervisor.set_soft_affinity(target.domid, vcpu.id, soft)?;
    }
    match vcpus(live_target(hypervisor, operation, target)?).iter().find(|vcpu| differs(vcpu)) {
        None => Ok(()),
        Some(vcpu) => {
            let message =
                format!("vCPU {} of domain {} does not prefer `{soft}` as it was told", vcpu.id, target.domid);
            Err(Failure::new(FailureKind::ReadBack, operation, message))
        }
    }
}

/// Reads the masks back.
pub(crate) fn check_read_back(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
    hard: &[CpuSet],
) -> Result<(), Failure> {
    let domain = live_target(hypervisor, operation, target)?;
    check_masks(&domain, hard).map_err(|message| Failure::new(FailureKind::ReadBack, operation, message))
}

/// Refuses masks that have nothing in common with the pCPUs of the cpupool, as Xen would, but before anything is changed.
pub(crate) fn check_masks_reach(operation: &str, hard: &[CpuSet], cpus: &CpuSet) -> Result<(), Failure> {
    match hard.iter().position(|mask| mask.is_disjoint(cpus)) {
        None => Ok(()),
        Some(vcpu) => Err(stale(
            operation,
            format!(
                "vCPU {vcpu} is to run on `{}`, and its cpupool has `{cpus}`: they have nothing in common",
                hard[vcpu]
            ),
        )),
    }
}

/// Whether a domain is placed as asked; if not, what is different.
pub(crate) fn check_placement(domain: &Domain, pool: &Cpupool, placement: &Placement) -> Result<(), String> {
    if domain.poolid != Some(pool.poolid) {
        return Err(format!("{} is not in {}", name_of(domain), name_of_pool(pool)));
    }
    check_masks(domain, &placement.hard)?;
    check_soft(domain, placement.soft.as_ref())?;
    check_sched(domain, placement.sched)
}

/// Masks, weight and cap of a domain that is in its cpupool, read back.
fn place(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    target: Target,
    pool: &Cpupool,
    placement: &Placement,
) -> Result<(), Failure> {
    set_masks(hypervisor, operation, target, &placement.hard)?;
    set_soft(hypervisor, operation, target, placement.soft.as_ref())?;
    let domain = live_target(hypervisor, operation, target)?;
    if domain.sched.known() != Some(&placement.sched) {
        hypervisor.set_sched(target.domid, placement.sched)?;
    }
    let domain = live_target(hypervisor, operation, target)?;
    check_placement(&domain, pool, placement).map_err(|message| Failure::new(FailureKind::ReadBack, operation, message))
}

/// Lets a domain run on whose move Xen refused, if it really is where it was.
fn resume_unmoved(hypervisor: &mut dyn Hypervisor, target: Target, before: &Domain) -> Result<(), Failure> {
    let now = live_target(hypervisor, MOVE, target)?;
    if now.poolid == before.poolid && now.vcpus == before.vcpus && now.sched == before.sched {
        hypervisor.unpause_domain(target.domid)?;
    }
    Ok(())
}

fn check_masks(domain: &Domain, hard: &[CpuSet]) -> Result<(), String> {
    let Some(vcpus) = domain.vcpus.known() else {
        return Err(format!("the vCPUs of {} cannot be read", name_of(domain)));
    };
    if vcpus.len() != hard.len() {
        return Err(format!("{} has {} vCPUs instead of {}", name_of(domain), vcpus.len(), hard.len()));
    }
    match vcpus.iter().zip(hard).find(|(vcpu, mask)| vcpu.hard != **mask) {
        None => Ok(()),
        Some((vcpu, mask)) => {
            Err(format!("vCPU {} of {} may run on `{}` instead of `{mask}`", vcpu.id, name_of(domain), vcpu.hard))
        }
    }
}

/// Soft affinity that cannot be read is none that is wrong: it is only a preference.
fn check_soft(domain: &Domain, soft: Option<&CpuSet>) -> Result<(), String> {
    let vcpus = domain.vcpus.known().into_iter().flatten();
    let wrong = soft.and_then(|soft| vcpus.into_iter().find(|vcpu| vcpu.soft.as_ref().is_some_and(|now| now != soft)));
    match wrong {
        None => Ok(()),
        Some(vcpu) => Err(format!("vCPU {} of {} has another soft affinity", vcpu.id, name_of(domain))),
    }
}

fn check_sched(domain: &Domain, sched: Sched) -> Result<(), String> {
    match domain.sched.known() {
        Some(now) if *now == sched => Ok(()),
        Some(now) => Err(format!(
            "{} has weight {} and cap {} instead of weight {} and cap {}",
            name_of(domain),
            now.weight,
            now.cap,
            sched.weight,
            sched.cap
        )),
        None => Err(format!("weight and cap of {} cannot be read", name_of(domain))),
    }
}
