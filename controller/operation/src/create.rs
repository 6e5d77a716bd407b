//! A domain made: built paused, verified, marked ready, then unpaused, unless it is to stay paused. *Verify-and-unpause* is one operation.
//!
//! A domain of ours without `ready` and without a worker that holds its lock is wreckage: it has never run.

use crate::placement::{check_masks_reach, check_placement};
use crate::view::{name_of, name_with, require_pool, stale};
use crate::{Hypervisor, Identity};
use protocol::{Cpupool, Domain, DomainConfig, DomainState, Done, Failure, FailureKind};

const OPERATION: &str = "create-domain";

pub(crate) fn run(hypervisor: &mut dyn Hypervisor, config: &DomainConfig) -> Result<Done, Failure> {
    if let Some(domid) = check_absent(hypervisor, config)? {
        return Ok(Done { domid: Some(domid) });
    }
    let pool = check_placement_request(hypervisor, OPERATION, config)?;
    check_memory(hypervisor, OPERATION, config)?;
    let domid = hypervisor.create_domain(config, pool.poolid)?;
    let verified = verify(hypervisor, OPERATION, config, &pool, domid).and_then(|()| hypervisor.mark_ready(domid));
    if let Err(failure) = verified {
        return Err(destroy_again(hypervisor, domid, failure));
    }
    if !config.stays_paused {
        hypervisor.unpause_domain(domid)?;
    }
    Ok(Done { domid: Some(domid) })
}

/// No domain may have this UUID or name, in whatever state. Answers the domain that an earlier run of this very request has made.
fn check_absent(hypervisor: &mut dyn Hypervisor, config: &DomainConfig) -> Result<Option<u32>, Failure> {
    let Some(domain) = find_namesake(hypervisor, OPERATION, config)? else { return Ok(None) };
    let state = if config.stays_paused { DomainState::Paused } else { DomainState::Running };
    let same = domain.mark == Some(config.mark) && domain.ready && domain.state == state;
    if same { Ok(Some(domain.domid)) } else { Err(still_there(OPERATION, &domain)) }
}

/// The domain with this UUID. Refuses another one with this name.
pub(crate) fn find_namesake(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    config: &DomainConfig,
) -> Result<Option<Domain>, Failure> {
    for Identity { domid, uuid, name, .. } in hypervisor.identities()? {
        if uuid == config.mark.uuid {
            match hypervisor.domain(domid)?.filter(|domain| domain.uuid == uuid) {
                Some(domain) => return Ok(Some(domain)),
                // Gone since then.
                None => continue,
            }
        }
        if name.as_deref() == Some(&config.name) {
            let other = name_with(domid, name.as_deref());
            return Err(stale(operation, format!("{other} with UUID {uuid} has this name already: rename or stop it")));
        }
    }
    Ok(None)
}

pub(crate) fn still_there(operation: &str, domain: &Domain) -> Failure {
    let what = match domain.state {
        DomainState::Running => "runs",
        DomainState::Paused if domain.ready => "is paused",
        DomainState::Paused => "was left half-made and must be destroyed first",
        DomainState::Shutdown(_) => "has ended and must be destroyed first",
        DomainState::Dying => "is still being torn down",
    };
    stale(operation, format!("{} with UUID {} {what}", name_of(domain), domain.uuid))
}

pub(crate) fn check_placement_request(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    config: &DomainConfig,
) -> Result<Cpupool, Failure> {
    let pool = require_pool(hypervisor, operation, config.placement.cpupool)?;
    if usize::try_from(config.vcpus_max).ok() != Some(config.placement.hard.len()) {
        return Err(stale(
            operation,
            format!("{} masks were given for {} vCPUs", config.placement.hard.len(), config.vcpus_max),
        ));
    }
    check_masks_reach(operation, &config.placement.hard, &pool.cpus)?;
    Ok(pool)
}

pub(crate) fn check_memory(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    config: &DomainConfig,
) -> Result<(), Failure> {
    let need = hypervisor.need_memory(config)?;
    let free = hypervisor.free_memory()?;
    let reserve = config.memory_reserve_kib;
    if need.saturating_add(reserve) <= free {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Memory,
        operation,
        format!(
            "{} needs {need} KiB and {reserve} KiB must stay free, but only {free} KiB are free: stop or shrink other domains, or give dom0 less memory",
            config.name
        ),
    ))
}

/// The domain is what was asked for, in its place, and the only one with its UUID and name.
pub(crate) fn verify(
    hypervisor: &mut dyn Hypervisor,
    operation: &'static str,
    config: &DomainConfig,
    pool: &Cpupool,
    domid: u32,
) -> Result<(), Failure> {
    let wrong = |message: String| Failure::new(FailureKind::ReadBack, operation, message);
    let Some(domain) = hypervisor.domain(domid)? else {
        return Err(wrong(format!("domain {domid} was made and is not listed")));
    };
    if domain.uuid != config.mark.uuid || domain.mark != Some(config.mark) {
        return Err(wrong(format!("{} does not carry its UUID {} and our mark", name_of(&domain), config.mark.uuid)));
    }
    if domain.state != DomainState::Paused {
        return Err(wrong(format!("{} is not paused", name_of(&domain))));
    }
    // Xen does not enforce that UUIDs are unique, and libxl's check of names can be raced.
    let is_twin = |other: &Identity| {
        other.domid != domid && (other.uuid == config.mark.uuid || other.name.as_deref() == Some(&config.name))
    };
    if let Some(twin) = hypervisor.identities()?.into_iter().find(is_twin) {
        let twin = name_with(twin.domid, twin.name.as_deref());
        return Err(stale(operation, format!("{twin} was made by somebody else meanwhile")));
    }
    check_placement(&domain, pool, &config.placement).map_err(wrong)
}

/// Takes back a domain that has not run. The failure stays the first one.
pub(crate) fn destroy_again(hypervisor: &mut dyn Hypervisor, domid: u32, mut failure: Failure) -> Failure {
    if let Err(second) = hypervisor.destroy_domain(domid) {
        failure.message =
            format!("{}; domain {domid} has not run and could not be destroyed again ({second})", failure.message);
    }
    failure
}
