//! What a pass says of a VM's console. Pure.

use super::event::End;
use crate::reconcile::Snapshot;
use planner::{Action, ConditionKind, Disposition, Effect, Item, ObjectRef, Truth};
use protocol::{Domain, DomainState, Reading};
use uuid::Uuid;

/// Where a VM's console is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// There is no such VM.
    Missing,
    /// The host cannot be read; why.
    Unknown(String),
    /// It has no domain.
    Off {
        /// Why, and what would start it.
        why: String,
        /// What is to be expected.
        outlook: Outlook,
    },
    /// Its domain is being made, and its console with it.
    Building {
        /// Its number.
        domid: u32,
    },
    /// Its domain has no text console.
    Bare {
        /// Its number.
        domid: u32,
    },
    /// Here.
    At(Place),
}

/// Whether a VM that has no domain will have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The plan has a start for it, if only one that a person has to approve.
    Comes,
    /// Something is being done to it: the next passes will show.
    Busy,
    /// Only a commit or a verb will start it.
    Stays,
}

/// A domain with a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub domid: u32,
    /// Which start of the VM it is.
    pub incarnation: Option<Uuid>,
    /// The pseudo-terminal.
    pub tty: String,
    /// Its guest has ended, and it waits to be cleared away.
    pub ended: Option<End>,
}

/// Where the console of a VM is, as the last pass saw it.
pub fn look(snapshot: &Snapshot, vm: &ObjectRef) -> Target {
    let Some(view) = snapshot.objects.iter().find(|view| is_it(&view.object, vm)) else { return Target::Missing };
    let xen = match &snapshot.observed.xen {
        Reading::Known(xen) => xen,
        Reading::Unknown(cause) => return Target::Unknown(cause.message.clone()),
    };
    let domains = match &xen.domains {
        Reading::Known(domains) => domains,
        Reading::Unknown(cause) => return Target::Unknown(cause.message.clone()),
    };
    let uuid = view.object.uuid;
    let ours = domains.iter().filter(|domain| domain.mark.is_some_and(|mark| Some(mark.uuid) == uuid));
    match ours.filter(|domain| domain.state != DomainState::Dying).max_by_key(|domain| domain.domid) {
        Some(domain) => of_domain(domain),
        None => Target::Off { why: why_off(snapshot, vm), outlook: outlook(snapshot, vm) },
    }
}

/// What the plan says about the end of a VM's domain, in a sentence; empty when it says nothing.
pub(super) fn why_ended(snapshot: &Snapshot, vm: &ObjectRef) -> String {
    let ends = |item: &&Item| matches!(item.action, Action::Settle | Action::Stop | Action::Delete | Action::CleanUp);
    items(snapshot, vm).find(ends).map(|item| item.reason.clone()).unwrap_or_default()
}

/// How an incarnation ended, as its VM's record has it.
pub(super) fn recorded_end(snapshot: &Snapshot, vm: &ObjectRef, incarnation: Option<Uuid>) -> Option<End> {
    let record = snapshot.observed.records.vms.get(&vm.uuid?)?.known()?;
    let ended = record.here.ended.as_ref().filter(|ended| ended.incarnation.is_some())?;
    (ended.incarnation == incarnation).then(|| ended.reason.into())
}

fn of_domain(domain: &Domain) -> Target {
    let domid = domain.domid;
    match &domain.console {
        Some(tty) => Target::At(Place {
            domid,
            incarnation: domain.mark.map(|mark| mark.incarnation),
            tty: tty.clone(),
            ended: match domain.state {
                DomainState::Shutdown(reason) => Some(reason.into()),
                DomainState::Running | DomainState::Paused | DomainState::Dying => None,
            },
        }),
        // libxl is done with a domain before it is verified, and then with its console too.
        None if domain.ready => Target::Bare { domid },
        None => Target::Building { domid },
    }
}

/// The same VM: by identity where both have one. A rename in mid-session changes nothing.
fn is_it(object: &ObjectRef, vm: &ObjectRef) -> bool {
    object.kind == vm.kind
        && match (object.uuid, vm.uuid) {
            (Some(a), Some(b)) => a == b,
            _ => object.name == vm.name,
        }
}

fn items<'s>(snapshot: &'s Snapshot, vm: &'s ObjectRef) -> impl Iterator<Item = &'s Item> {
    snapshot.plan.items.iter().filter(|item| is_it(&item.object, vm))
}

fn outlook(snapshot: &Snapshot, vm: &ObjectRef) -> Outlook {
    let starts = |item: &Item| {
        matches!(item.effect, Effect::Create | Effect::Restart | Effect::Recreate)
            || matches!(item.action, Action::Create | Action::Start)
    };
    let mut soon = items(snapshot, vm).filter(|item| item.disposition != Disposition::AtNextStart).peekable();
    let is_busy =
        soon.peek().is_some() || snapshot.observed.operations.iter().any(|running| is_it(&running.object, vm));
    match (soon.any(starts), is_busy) {
        (true, _) => Outlook::Comes,
        (false, true) => Outlook::Busy,
        (false, false) => Outlook::Stays,
    }
}

/// What there is to say about a VM without a domain: what hinders it, or how it came to be off.
fn why_off(snapshot: &Snapshot, vm: &ObjectRef) -> String {
    let Some(view) = snapshot.objects.iter().find(|view| is_it(&view.object, vm)) else { return String::new() };
    let order = [ConditionKind::Stalled, ConditionKind::Held, ConditionKind::Reconciling];
    let hindered = order.into_iter().find_map(|kind| view.condition(kind));
    let ready = || {
        view.condition(ConditionKind::Ready).filter(|ready| ready.reason != "AsDeclared" || ready.status != Truth::True)
    };
    match hindered.or_else(ready) {
        Some(condition) => format!("{}: {}", view.power, condition.message),
        None => view.power.clone(),
    }
}

#[cfg(test)]
mod tests;
