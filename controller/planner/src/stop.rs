//! Ending a domain gracefully: ask the guest, wait until the deadline that is on disk, then destroy.

use crate::classify::{Group, of_group, power_text};
use crate::config::Power;
use crate::consent::{Fate, signed};
use crate::draft::{Draft, Rank, later, moment};
use crate::patience::{self, Left};
use crate::pause;
use crate::record::{Approval, AskedBy, Here, Stopping, VmRecord};
use crate::vms::{Planning, target};
use crate::world::World;
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, trash};
use jiff::SignedDuration;
use protocol::{Domain, DomainState, Request};
use schema::desired::Restarts;

/// Why a VM is deleted.
const UNDECLARED: &str = "nothing declares it any more";

/// A domain that should not be there any more.
pub(crate) fn plan_stop(planning: &mut Planning, domain: &Domain) {
    let draft = end_draft(planning);
    let why = if planning.subject.fate == Fate::Removed { UNDECLARED.to_owned() } else { draft.item.reason.clone() };
    let draft = next_step(planning, domain, draft, &why);
    planning.drafts.push(draft);
}

/// The item that ends a VM's domain: the same in each of its phases.
pub(crate) fn end_draft(planning: &Planning) -> Draft {
    let cause = if planning.consent().is_empty() { Cause::Commit } else { Cause::Verb };
    if planning.subject.fate == Fate::Removed {
        let draft = planning.draft(Rank::Stop, Action::Delete, Effect::Delete);
        let fate = trash::fate_text(&planning.subject.config.disks);
        return signed(planning.world, draft.cause(cause).reason(format!("{UNDECLARED}; {fate}")));
    }
    let last = planning.subject.record.map(|record| record.wanted.power).filter(|power| *power != Power::Stopped);
    let old = power_text(last.unwrap_or(Power::Running)).to_owned();
    let change = Change { field: "spec.power".to_owned(), old: Some(old), new: Some("stopped".to_owned()) };
    planning
        .draft(Rank::Stop, Action::Stop, Effect::Stop)
        .cause(cause)
        .changes(vec![change])
        .approved(planning.intentions.given.clone())
        .reason("it should be stopped")
}

/// Changes that need a restart: shown as pending, or brought about. Answers whether the domain is being ended for them.
pub(crate) fn plan_restart(planning: &mut Planning, domain: &Domain) -> bool {
    let changes = pending(planning, domain);
    if changes.is_empty() {
        return false;
    }
    let draft =
        planning.draft(Rank::Stop, Action::Change, Effect::Restart).changes(changes).reason("it takes a restart");
    let given = planning.world.approval(&draft.item.id).map(Approval::given).or(planning.intentions.given.clone());
    let approval = planning.world.approval(&draft.item.id).map(|_| RecordEdit::UseApproval(draft.item.id.clone()));
    // Nobody waits for a guest that should stand still: to restart it, it would have to run.
    let stands_still = planning.intentions.config.power == Power::Paused;
    let allowed =
        planning.intentions.restarts == Restarts::Allow && planning.world.over_budget().is_none() && !stands_still;
    if approval.is_none() && !allowed && !planning.intentions.approved && stopping(planning, domain).is_none() {
        planning.drafts.push(draft.at_next_start());
        return false;
    }
    let approved = approval.is_some() || planning.intentions.approved;
    planning.intentions.consent.extend(approval);
    let draft = draft.cause(if approved { Cause::Verb } else { Cause::Commit }).approved(given);
    let draft = next_step(planning, domain, draft, "it is restarted with a changed configuration");
    planning.drafts.push(draft);
    let start = planning
        .draft(Rank::Start, Action::Start, Effect::Create)
        .reason("it is restarted with a changed configuration");
    planning.drafts.push(start.waiting(format!("{} has stopped", planning.subject.object)));
    true
}

/// A restart that a person wants: with whatever waits for the next start.
pub(crate) fn plan_restart_by_hand(planning: &mut Planning, domain: &Domain) {
    const WHY: &str = "it is restarted by hand";
    let changes = pending(planning, domain);
    let draft =
        planning.draft(Rank::Stop, Action::Stop, Effect::Restart).cause(Cause::Commit).changes(changes).reason(WHY);
    let draft = next_step(planning, domain, draft, WHY);
    planning.drafts.push(draft);
    let start = planning.draft(Rank::Start, Action::Start, Effect::Create).reason(WHY);
    planning.drafts.push(start.waiting(format!("{} has stopped", planning.subject.object)));
}

/// What differs between how the domain was built and how it would be built now. Nothing, when nobody knows how it was built.
fn pending(planning: &mut Planning, domain: &Domain) -> Vec<Change> {
    let Some(intent) = planning.subject.describes(domain) else {
        planning
            .report
            .fact("built", "unknown: its record does not describe this domain; known again from its next start");
        return Vec::new();
    };
    let (built, wanted) = (&intent.config, &planning.intentions.config);
    let mut changes = of_group(built, wanted, Group::Built);
    // Beyond what the domain was built for, a live change is none.
    if wanted.vcpus_online > built.vcpus_max {
        changes.extend(of_group(built, wanted, Group::Vcpus));
    }
    if wanted.memory_kib > built.memory_max_kib {
        changes.extend(of_group(built, wanted, Group::Memory));
    }
    changes
}

/// The graceful stop of this very domain, when one is under way.
pub(crate) fn stopping<'a>(planning: &Planning<'_, 'a>, domain: &Domain) -> Option<&'a Stopping> {
    let record = planning.subject.record?;
    let boot_id = planning.world.hypervisor.boot_id;
    let same_boot = record.here.intent.as_ref().is_none_or(|intent| intent.boot_id == boot_id);
    let this_boot = |stop: &Stopping| same_boot && stop.up.is_none_or(|up| up.boot_id == boot_id);
    record.here.stopping.as_ref().filter(|stop| stop.domid == domain.domid && this_boot(stop))
}

fn next_step(planning: &mut Planning, domain: &Domain, draft: Draft, why: &str) -> Draft {
    // Whoever was to ask died before it was known that the guest was asked. To be asked twice does it no harm.
    let Some(stop) = stopping(planning, domain).filter(|stop| stop.asked) else {
        return ask(planning, domain, draft, why);
    };
    let draft = draft.approved(stop.approved.clone());
    match patience::left(planning.world, stop) {
        Left::Unknown => ask(planning, domain, draft, why),
        Left::Until(deadline) => {
            planning.report.due(deadline);
            let powers_off = stop.by.waits();
            draft.waiting(format!("{powers_off}; it is destroyed at {} if it does not", moment(deadline)))
        }
        Left::Over => {
            let draft = draft.reason(format!("{why}; the guest did not power off in time{}", forced(stop.by)));
            destroy(planning, domain, draft)
        }
    }
}

/// How the guest was asked that is destroyed now.
pub(crate) fn forced(by: AskedBy) -> &'static str {
    match by {
        AskedBy::Request => "",
        AskedBy::PowerButton => " after its ACPI power button was pressed",
    }
}

/// Asks the guest. One that is paused cannot hear: it runs first, if it is where it belongs.
fn ask(planning: &mut Planning, domain: &Domain, draft: Draft, why: &str) -> Draft {
    if domain.state == DomainState::Paused
        && let Some(unpause) = pause::unpause(planning, domain)
    {
        return draft.reason(format!("{why}; it is paused and cannot hear, so it runs again first")).now(unpause);
    }
    let by = AskedBy::of(domain);
    let draft = if by == AskedBy::Request { draft } else { draft.reason(format!("{why}{}", by.note())) };
    let now = planning.world.observed.now;
    let timeout = planning.intentions.config.shutdown_timeout_s;
    let span = SignedDuration::from_secs(i64::try_from(timeout).unwrap_or(i64::MAX));
    let stop = Stopping {
        domid: domain.domid,
        since: now,
        deadline: later(now, span),
        asked: false,
        why: why.to_owned(),
        up: patience::up(planning.world),
        approved: draft.item.trail.approved.clone(),
        by,
    };
    let record = planning.next_record();
    let recorded = |stop: Stopping| {
        let here = Here { stopping: Some(stop), ..record.here.clone() };
        RecordEdit::Vm(Box::new(VmRecord { here, off_by_guest: None, ..record.clone() }))
    };
    // Each approval is used up last: a daemon that dies in between finds it, or what it was given for.
    let operation = Operation::xen(by.operation(target(domain)))
        .before(planning.subject.consent.clone())
        .before([recorded(stop.clone())])
        .before(planning.intentions.consent.clone())
        .on_success([recorded(Stopping { asked: true, ..stop })]);
    planning.attempt(draft, operation, "ShutdownFailed")
}

/// Destroys a domain whose end is decided, and forgets it.
pub(crate) fn destroy(planning: &mut Planning, domain: &Domain, draft: Draft) -> Draft {
    let record = planning.next_record();
    let here = Here { intent: None, stopping: None, ..record.here.clone() };
    let gone = RecordEdit::Vm(Box::new(VmRecord { here, ..record.clone() }));
    // What was approved is recorded before the approval is used up.
    let used = planning.intentions.consent.clone();
    let allowed = (!used.is_empty()).then(|| RecordEdit::Vm(Box::new(record)));
    let operation = Operation::xen(Request::DestroyDomain { target: target(domain) })
        .before(planning.subject.consent.clone())
        .before(allowed)
        .before(used)
        .on_success([gone]);
    planning.attempt(draft, operation, "DestroyFailed")
}

/// A stop that nobody wants any more: it cannot be taken back, but the domain is not destroyed for it.
pub(crate) fn withdrawn(planning: &mut Planning, domain: &Domain) -> bool {
    let Some(stop) = stopping(planning, domain) else { return false };
    let draft = planning.draft(Rank::Record, Action::Settle, Effect::Live);
    if let Left::Until(deadline) = patience::left(planning.world, stop) {
        planning.report.due(deadline);
        let on = format!(
            "{} was asked to power off ({}), which is not wanted any more; if it does, it is started again",
            World::domain_name(domain),
            stop.why
        );
        planning.drafts.push(draft.reason("a stop was withdrawn").waiting(on));
        return true;
    }
    let record = planning.subject.base_record(planning.world);
    let here = Here { stopping: None, ..record.here.clone() };
    let edit = RecordEdit::Vm(Box::new(VmRecord { here, ..record }));
    planning
        .drafts
        .push(draft.reason("a stop was withdrawn, and the guest went on running").now(Operation::records(vec![edit])));
    true
}
