//! A domain as a whole: shut down, destroy, pause, unpause, memory, vCPUs, name.

use crate::Hypervisor;
use crate::placement::check_placement;
use crate::view::{find_target, live_target, name_of, name_with, require_pool, stale};
use protocol::{DomainState, Done, Failure, FailureKind, Placement, Target};

/// How many pauses are taken away at most; more than that is a tool that pauses as fast as we unpause.
const UNPAUSE_TRIES: u32 = 16;

/// Asks the guest to power off. A domain that has ended or is gone needs nothing more.
pub(crate) fn shutdown(hypervisor: &mut dyn Hypervisor, target: Target) -> Result<Done, Failure> {
    const OPERATION: &str = "shutdown-domain";
    let Some(domain) = find_target(hypervisor, OPERATION, target)? else {
        return Ok(Done::default());
    };
    match domain.state {
        DomainState::Shutdown(_) | DomainState::Dying => Ok(Done::default()),
        DomainState::Paused => Err(Failure::new(
            FailureKind::GuestIgnored,
            OPERATION,
            format!("{} is paused and cannot answer", name_of(&domain)),
        )),
        DomainState::Running => hypervisor.shutdown_domain(target.domid).map(|()| Done::default()),
    }
}

/// Presses the power button of a guest that hears nothing else. A domain that has ended or is gone needs nothing more.
pub(crate) fn press_power_button(hypervisor: &mut dyn Hypervisor, target: Target) -> Result<Done, Failure> {
    const OPERATION: &str = "press-power-button";
    let Some(domain) = find_target(hypervisor, OPERATION, target)? else {
        return Ok(Done::default());
    };
    match (domain.state, &domain.hvm) {
        (DomainState::Shutdown(_) | DomainState::Dying, _) => Ok(Done::default()),
        (_, None) => Err(stale(OPERATION, format!("{} is no HVM guest: it has no power button", name_of(&domain)))),
        // It may have brought its drivers up since it was looked at: then it hears the request, which is the safer way.
        (_, Some(hvm)) if hvm.pv_drivers => shutdown(hypervisor, target),
        (DomainState::Paused, Some(_)) => Err(Failure::new(
            FailureKind::GuestIgnored,
            OPERATION,
            format!("{} is paused and cannot answer", name_of(&domain)),
        )),
        (DomainState::Running, Some(_)) => hypervisor.press_power_button(target.domid).map(|()| Done::default()),
    }
}

/// Destroys a domain. One that is being torn down may linger; nothing more can be done to it.
pub(crate) fn destroy(hypervisor: &mut dyn Hypervisor, target: Target) -> Result<Done, Failure> {
    match find_target(hypervisor, "destroy-domain", target)? {
        None => {}
        Some(domain) if domain.state == DomainState::Dying => {}
        Some(_) => hypervisor.destroy_domain(target.domid)?,
    }
    Ok(Done::default())
}

/// Pauses a domain. Pauses count in Xen, and nobody can see how many there are: one that is paused is left as it is, whoever paused it, so
/// that a second run adds none.
pub(crate) fn pause(hypervisor: &mut dyn Hypervisor, target: Target) -> Result<Done, Failure> {
    const OPERATION: &str = "pause-domain";
    let domain = live_target(hypervisor, OPERATION, target)?;
    match domain.state {
        DomainState::Paused => return Ok(Done::default()),
        DomainState::Running => hypervisor.pause_domain(target.domid)?,
        DomainState::Shutdown(_) | DomainState::Dying => {
            return Err(stale(OPERATION, format!("{} has ended", name_of(&domain))));
        }
    }
    let domain = live_target(hypervisor, OPERATION, target)?;
    match domain.state {
        // Its guest may have ended in the very moment: that is for the next look.
        DomainState::Paused | DomainState::Shutdown(_) => Ok(Done::default()),
        DomainState::Running | DomainState::Dying => Err(Failure::new(
            FailureKind::ReadBack,
            OPERATION,
            format!("{} was paused and runs: another tool unpauses it", name_of(&domain)),
        )),
    }
}

/// Lets a paused domain run, if it is `ready` and placed as asked.
pub(crate) fn unpause(hypervisor: &mut dyn Hypervisor, target: Target, placement: &Placement) -> Result<Done, Failure> {
    const OPERATION: &str = "unpause-domain";
    for _ in 0..UNPAUSE_TRIES {
        let domain = live_target(hypervisor, OPERATION, target)?;
        match domain.state {
            DomainState::Running => return Ok(Done::default()),
            DomainState::Paused => {}
            DomainState::Shutdown(_) | DomainState::Dying => {
                return Err(stale(OPERATION, format!("{} has ended", name_of(&domain))));
            }
        }
        if !domain.ready {
            return Err(stale(OPERATION, format!("{} was left half-made: destroy it", name_of(&domain))));
        }
        let pool = require_pool(hypervisor, OPERATION, placement.cpupool)?;
        check_placement(&domain, &pool, placement).map_err(|message| stale(OPERATION, message))?;
        hypervisor.unpause_domain(target.domid)?;
    }
    let domain = live_target(hypervisor, OPERATION, target)?;
    if domain.state == DomainState::Running {
        return Ok(Done::default());
    }
    Err(stale(
        OPERATION,
        format!("{} is still paused after {UNPAUSE_TRIES} unpauses: another tool pauses it", name_of(&domain)),
    ))
}

/// Asks the guest to use this much memory, and lets it have no more.
pub(crate) fn set_memory(hypervisor: &mut dyn Hypervisor, target: Target, memory_kib: u64) -> Result<Done, Failure> {
    const OPERATION: &str = "set-memory";
    let domain = live_target(hypervisor, OPERATION, target)?;
    if let Some(max) = domain.memory.static_max_kib.filter(|max| memory_kib > *max) {
        return Err(stale(
            OPERATION,
            format!("{} was built for {max} KiB: {memory_kib} KiB need a restart", name_of(&domain)),
        ));
    }
    hypervisor.set_memory_target(target.domid, memory_kib)?;
    Ok(Done::default())
}

/// Asks the guest to use the first `online` vCPUs.
pub(crate) fn set_vcpus(hypervisor: &mut dyn Hypervisor, target: Target, online: u32) -> Result<Done, Failure> {
    const OPERATION: &str = "set-vcpus";
    let domain = live_target(hypervisor, OPERATION, target)?;
    let Some(vcpus) = domain.vcpus.known() else {
        return Err(stale(OPERATION, format!("the vCPUs of {} cannot be read", name_of(&domain))));
    };
    if online == 0 || usize::try_from(online).is_ok_and(|online| online > vcpus.len()) {
        return Err(stale(
            OPERATION,
            format!("{} has {} vCPUs, so {online} cannot be online", name_of(&domain), vcpus.len()),
        ));
    }
    hypervisor.set_vcpus_online(target.domid, online)?;
    Ok(Done::default())
}

/// Gives a domain another name.
pub(crate) fn rename(hypervisor: &mut dyn Hypervisor, target: Target, name: &str) -> Result<Done, Failure> {
    const OPERATION: &str = "rename-domain";
    let domain = live_target(hypervisor, OPERATION, target)?;
    if domain.name.as_deref() == Some(name) {
        return Ok(Done::default());
    }
    let others = hypervisor.identities()?;
    if let Some(other) = others.iter().find(|other| other.domid != target.domid && other.name.as_deref() == Some(name))
    {
        return Err(stale(OPERATION, format!("{} has the name {name} already", name_with(other.domid, Some(name)))));
    }
    hypervisor.rename_domain(target.domid, name)?;
    Ok(Done::default())
}
