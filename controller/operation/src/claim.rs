//! A domain that another toolstack made becomes ours, while its guest runs on.
//!
//! First nobody else acts on its end any more, then it is marked. Between the two nobody does; whoever claims it again finds no monitor and goes on. The mark and
//! `ready` appear together: a domain with our mark and without `ready` may count as wreckage, and would be destroyed. One that bears our mark
//! already, as after `xl restore`, gets `ready` last, and counts as another tool's until then.

use crate::view::{live_target, name_of, name_with, stale};
use crate::{Hypervisor, Identity};
use protocol::{Done, Failure, Mark, Target};

const OPERATION: &str = "claim-domain";

pub(crate) fn run(hypervisor: &mut dyn Hypervisor, target: Target, mark: Mark) -> Result<Done, Failure> {
    let done = Ok(Done { domid: Some(target.domid) });
    if check(hypervisor, target, mark)? {
        return done;
    }
    hypervisor.stop_monitor(target.domid)?;
    // The monitor may have destroyed it, or begun to, before it was ended.
    if !check(hypervisor, target, mark)? {
        hypervisor.claim_domain(target.domid, mark)?;
    }
    let domain = live_target(hypervisor, OPERATION, target)?;
    if domain.mark == Some(mark) && domain.ready {
        return done;
    }
    let message = format!("{} did not keep the mark that it was given", name_of(&domain));
    Err(Failure::new(protocol::FailureKind::ReadBack, OPERATION, message))
}

/// Whether an earlier run of this very request has claimed it. Refuses what must not be claimed.
fn check(hypervisor: &mut dyn Hypervisor, target: Target, mark: Mark) -> Result<bool, Failure> {
    let domain = live_target(hypervisor, OPERATION, target)?;
    if let Some(found) = domain.mark {
        if found == mark && domain.ready {
            return Ok(true);
        }
        // Another tool made it from what it had saved of a domain of ours (`xl restore`), mark and all, and nobody has verified it since.
        let is_copy = found.pool_id == mark.pool_id && found.uuid == mark.uuid && !domain.ready;
        if !is_copy {
            let message = format!("{} bears a mark of Pool {} already", name_of(&domain), found.pool_id);
            return Err(stale(OPERATION, message));
        }
    }
    if target.uuid != mark.uuid {
        return Err(stale(OPERATION, format!("{} has UUID {}, not {}", name_of(&domain), target.uuid, mark.uuid)));
    }
    if domain.name.is_none() || domain.kind.is_none() {
        return Err(stale(OPERATION, format!("{} is being made, or libxl did not make it", name_of(&domain))));
    }
    let is_twin = |other: &Identity| other.domid != target.domid && other.uuid == target.uuid && !other.dying;
    if let Some(twin) = hypervisor.identities()?.into_iter().find(is_twin) {
        let twin = name_with(twin.domid, twin.name.as_deref());
        return Err(stale(OPERATION, format!("{twin} has the same UUID: end the wrong one")));
    }
    Ok(false)
}
