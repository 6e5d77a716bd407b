//! A guest's memory written to disk, and a guest built from it again.
//!
//! Memory may go on once: as the domain that it was written from, when the image did not become whole, or as one domain that is built from
//! the image. Which of them is on disk before either runs. Death at each point, and what follows:
//!
//! ```text
//! save     before the guest suspended     it runs on; the next try throws away what was begun of the image
//!          suspended, image not whole     `resume`: what there is of the image goes first, then the guest goes on
//!          image whole                    done: the domain is destroyed, and never goes on
//! restore  image not marked used          the domain is no `ready` one: destroyed as wreckage; it is restored again
//!          marked used, not `ready`       the domain has never run, and is all there is of the memory: restoring again ends it (verify, `ready`, run)
//!          `ready`, paused                verify-and-unpause, as for any domain
//!          marked used, and the host dies the memory is lost, as that of a running guest would be
//! ```

use crate::Hypervisor;
use crate::create::{check_memory, check_placement_request, destroy_again, find_namesake, still_there, verify};
use crate::placement::check_placement;
use crate::view::{live_target, name_of, require_pool, stale};
use protocol::{
    DomainConfig, DomainState, Done, Failure, FailureKind, ImageRef, ImageState, Placement, ShutdownReason, Target,
};
use uuid::Uuid;

const RESTORE: &str = "restore-domain";
const SUSPENDED: DomainState = DomainState::Shutdown(ShutdownReason::Suspend);

/// Writes a running guest's memory to an image.
pub(crate) fn save(hypervisor: &mut dyn Hypervisor, target: Target, image: Uuid) -> Result<Done, Failure> {
    const OPERATION: &str = "save-domain";
    let domain = live_target(hypervisor, OPERATION, target)?;
    let image = ImageRef { vm: target.uuid, image };
    let Some(mark) = domain.mark.filter(|mark| domain.ready && mark.uuid == target.uuid) else {
        return Err(stale(OPERATION, format!("{} bears no mark of ours, or was left half-made", name_of(&domain))));
    };
    let refused = |what: &str| Err(stale(OPERATION, format!("{} {what}", name_of(&domain))));
    match (domain.state, hypervisor.image(image)?) {
        // By an earlier run that died before it could say so.
        (SUSPENDED, ImageState::Whole(saved)) if saved.mark == mark => return Ok(Done::default()),
        (SUSPENDED, _) => return refused("has suspended, and its image is not whole: it has to go on first"),
        (DomainState::Running, ImageState::Missing) => {}
        (DomainState::Running, ImageState::Unfinished) => hypervisor.discard_image(image, false)?,
        (DomainState::Running, _) => return refused("runs, and there is an image of this name"),
        (DomainState::Paused, _) => return refused("is paused and cannot answer"),
        (DomainState::Shutdown(_) | DomainState::Dying, _) => return refused("has ended"),
    }
    match hypervisor.save_domain(target.domid, mark, image) {
        Ok(()) => Ok(Done::default()),
        Err(failure) => Err(take_back(hypervisor, target, image, failure)),
    }
}

/// Lets a guest go on whose image did not become whole. The failure stays the first one.
fn take_back(hypervisor: &mut dyn Hypervisor, target: Target, image: ImageRef, mut failure: Failure) -> Failure {
    let mut go_on = || {
        hypervisor.discard_image(image, false)?;
        if live_target(hypervisor, "save-domain", target)?.state == SUSPENDED {
            hypervisor.resume_domain(target.domid)?;
        }
        Ok(())
    };
    if let Err(second) = go_on() {
        let second: Failure = second;
        failure.message = format!("{}; the guest could not go on at once ({second})", failure.message);
    }
    failure
}

/// Lets a domain go on that has suspended, when it is placed as asked and no image of it is whole.
pub(crate) fn resume(
    hypervisor: &mut dyn Hypervisor,
    target: Target,
    image: Uuid,
    placement: &Placement,
) -> Result<Done, Failure> {
    const OPERATION: &str = "resume-domain";
    let domain = live_target(hypervisor, OPERATION, target)?;
    let image = ImageRef { vm: target.uuid, image };
    match domain.state {
        SUSPENDED if domain.ready => {}
        DomainState::Running => return Ok(Done::default()),
        _ => return Err(stale(OPERATION, format!("{} has not suspended", name_of(&domain)))),
    }
    match hypervisor.image(image)? {
        ImageState::Missing | ImageState::Unfinished => {}
        ImageState::Whole(_) | ImageState::Torn(_) | ImageState::Used { .. } => {
            let message =
                format!("the memory of {} was written whole: it goes on from there, or not at all", name_of(&domain));
            return Err(stale(OPERATION, message));
        }
    }
    let pool = require_pool(hypervisor, OPERATION, placement.cpupool)?;
    check_placement(&domain, &pool, placement).map_err(|message| stale(OPERATION, message))?;
    hypervisor.discard_image(image, false)?;
    hypervisor.resume_domain(target.domid)?;
    let domain = live_target(hypervisor, OPERATION, target)?;
    if domain.state == SUSPENDED {
        let message = format!("{} was let go on and did not", name_of(&domain));
        return Err(Failure::new(FailureKind::ReadBack, OPERATION, message));
    }
    Ok(Done::default())
}

/// Makes a domain from an image.
pub(crate) fn restore(hypervisor: &mut dyn Hypervisor, config: &DomainConfig, image: Uuid) -> Result<Done, Failure> {
    let image = ImageRef { vm: config.mark.uuid, image };
    let state = hypervisor.image(image)?;
    let domid = match earlier(hypervisor, config, &state)? {
        Some((domid, true)) => return Ok(Done { domid: Some(domid) }),
        Some((domid, false)) => {
            let pool = check_placement_request(hypervisor, RESTORE, config)?;
            verify(hypervisor, RESTORE, config, &pool, domid)?;
            domid
        }
        None => build(hypervisor, config, image, &state)?,
    };
    // From here on the domain is all there is of the memory: it stays, whatever fails.
    hypervisor.mark_ready(domid)?;
    if !config.stays_paused {
        hypervisor.unpause_domain(domid)?;
    }
    Ok(Done { domid: Some(domid) })
}

/// The domain that an earlier run of this very request has made, and whether nothing is left to do for it.
fn earlier(
    hypervisor: &mut dyn Hypervisor,
    config: &DomainConfig,
    image: &ImageState,
) -> Result<Option<(u32, bool)>, Failure> {
    let Some(domain) = find_namesake(hypervisor, RESTORE, config)? else { return Ok(None) };
    let ours = domain.mark == Some(config.mark) && *image == ImageState::Used { by: config.mark.incarnation };
    let as_asked = if config.stays_paused { DomainState::Paused } else { DomainState::Running };
    match (domain.ready, domain.state) {
        (true, state) if ours && state == as_asked => Ok(Some((domain.domid, true))),
        (false, DomainState::Paused) if ours => Ok(Some((domain.domid, false))),
        _ => Err(still_there(RESTORE, &domain)),
    }
}

/// A paused domain, verified, for which the image is used up.
fn build(
    hypervisor: &mut dyn Hypervisor,
    config: &DomainConfig,
    image: ImageRef,
    state: &ImageState,
) -> Result<u32, Failure> {
    let refused = |why: String| Err(stale(RESTORE, format!("the image of {} {why}", config.name)));
    match state {
        ImageState::Whole(saved) if saved.mark.uuid == config.mark.uuid => {}
        ImageState::Whole(saved) => return refused(format!("is the memory of VM {}", saved.mark.uuid)),
        ImageState::Missing | ImageState::Unfinished => return refused("is not there".to_owned()),
        ImageState::Torn(why) => return refused(format!("is torn: {why}")),
        ImageState::Used { by } => return refused(format!("was used by incarnation {by}")),
    }
    let pool = check_placement_request(hypervisor, RESTORE, config)?;
    check_memory(hypervisor, RESTORE, config)?;
    let domid = hypervisor.restore_domain(config, pool.poolid, image)?;
    if let Err(failure) = verify(hypervisor, RESTORE, config, &pool, domid) {
        return Err(destroy_again(hypervisor, domid, failure));
    }
    // Whether a mark of use that failed is on disk is not known: the domain stays, and the next look decides.
    hypervisor.use_image(image, config.mark.incarnation)?;
    Ok(domid)
}

/// Takes an image away. One that is whole and that nobody used is only ever moved aside, and that by a person's decision.
pub(crate) fn discard(hypervisor: &mut dyn Hypervisor, image: ImageRef, unused: bool) -> Result<Done, Failure> {
    let state = hypervisor.image(image)?;
    match state {
        ImageState::Whole(_) | ImageState::Torn(_) if unused => hypervisor.discard_image(image, true)?,
        ImageState::Whole(_) | ImageState::Torn(_) => {
            return Err(stale(
                "discard-image",
                "the image was never used: it is thrown away by a person's decision only",
            ));
        }
        ImageState::Missing | ImageState::Unfinished | ImageState::Used { .. } => {
            hypervisor.discard_image(image, false)?;
        }
    }
    Ok(Done::default())
}
