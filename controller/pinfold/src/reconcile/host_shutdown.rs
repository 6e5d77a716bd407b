//! While the host goes down: which guests are ended by force, for the journal.

use super::journal::{Note, Reason};
use planner::{Cause, Disposition, Item, Observed, Plan, Work};
use protocol::{Domain, DomainState, Reading, Request};

/// A line for every guest that did not power off in time, and is destroyed now.
pub fn forced(observed: &Observed, plan: &Plan) -> Vec<Note> {
    let domains: &[Domain] = match &observed.xen {
        Reading::Known(xen) => xen.domains.known().map_or(&[], Vec::as_slice),
        Reading::Unknown(_) => &[],
    };
    let is_forced = |item: &&Item| {
        let work = item.operation.as_ref().map(|operation| &operation.work);
        let Some(Work::Xen(request)) = work else { return false };
        let Request::DestroyDomain { target } = **request else { return false };
        let runs = |domain: &Domain| {
            domain.domid == target.domid && matches!(domain.state, DomainState::Running | DomainState::Paused)
        };
        item.cause == Cause::HostShutdown && item.disposition == Disposition::Now && domains.iter().any(runs)
    };
    let note = |item: &Item| Note {
        object: Some(item.object.clone()),
        reason: Reason::HostShutdown,
        message: item.reason.clone(),
        actor: None,
    };
    plan.items.iter().filter(is_forced).map(note).collect()
}
