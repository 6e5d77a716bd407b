//! The host goes down: every domain of ours ends, none begins, and nothing is recorded that would keep a VM off afterwards.
//!
//! The note that says so ([`HostShutdown`]) is part of the observation, so the daemon and the command that a shutdown of the host runs plan the same.
//! What a guest does meanwhile decides nothing: one that powers off was asked to, and comes back with the next boot. Foreign domains are left alone.

use crate::config::Power;
use crate::consent::Fate;
use crate::draft::{Draft, Rank, later, moment};
use crate::observed::HostShutdown;
use crate::patience::Left;
use crate::record::{AskedBy, Here, Stopping, UpSince, VmRecord};
use crate::status::Report;
use crate::subjects::{Blocked, Subject};
use crate::vms::{Planning, target};
use crate::world::{World, lives};
use crate::{
    Action, Cause, Change, Effect, ObjectKind, ObjectRef, Observed, Operation, RecordEdit, patience, pause, stop,
};
use jiff::{SignedDuration, Timestamp};
use protocol::{Domain, DomainState, Reading, Request};

/// What every item of it says.
pub(crate) const WHY: &str = "the host shuts down";

/// A guest whose request was lost is asked again after this.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// How long a guest is waited for whose record cannot be read: the language's default.
const DEFAULT_TIMEOUT_S: u64 = 60;

/// The note, while it counts: it speaks of this boot of the host, and its time is not over.
pub(crate) fn in_force<'a>(world: &World<'a>) -> Option<&'a HostShutdown> {
    let note = world.observed.host_shutdown.as_ref()?;
    counts(note, world.hypervisor.boot_id, world.observed.now).then_some(note)
}

fn counts(note: &HostShutdown, boot_id: uuid::Uuid, now: Timestamp) -> bool {
    note.boot_id == boot_id && note.until.is_none_or(|until| now < until)
}

/// What still runs of ours, and until when it may take to end; `None` when nobody can say.
///
/// Operations under way count: one that creates a domain has none yet.
pub fn remaining(observed: &Observed) -> Option<Remaining> {
    let (xen, pool_id) = (observed.xen.known()?, observed.pool_id);
    // Before the first accepted commit nothing can be ours.
    let Some(pool_id) = pool_id else { return Some(Remaining::default()) };
    let world = World::new(None, observed, pool_id, xen);
    let ours: Vec<&Domain> =
        world.domains?.iter().filter(|domain| lives(domain) && world.owner(domain).is_some()).collect();
    let timeout_s = ours.iter().map(|domain| timeout_s(&world, domain)).max().unwrap_or(0);
    let under_way = observed.operations.iter().map(|operation| format!("{}: {}", operation.object, operation.what));
    Some(Remaining {
        domains: ours.into_iter().map(World::domain_name).collect(),
        operations: under_way.collect(),
        timeout_s,
    })
}

/// What has not ended yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Our live domains, as messages call them.
    pub domains: Vec<String>,
    /// Operations under way, in a few words.
    pub operations: Vec<String>,
    /// The longest of the domains' shutdown timeouts, in seconds.
    pub timeout_s: u64,
}

impl Remaining {
    /// Nothing of ours is left.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.operations.is_empty()
    }
}

fn timeout_s(world: &World, domain: &Domain) -> u64 {
    let record = world.vm_record(domain.uuid).and_then(Reading::known);
    record.map_or(DEFAULT_TIMEOUT_S, |record| record.wanted.shutdown_timeout_s)
}

/// The host's own report.
pub(crate) fn report(note: &HostShutdown, report: &mut Report) {
    let until = match note.until {
        Some(until) => {
            report.due(until);
            format!(", or wait until {}: a host that is up then has not gone down", moment(until))
        }
        None => String::new(),
    };
    report.stalled(
        "HostShutdown",
        format!(
            "since {} guests are stopped and none is started ({}); they start again with the host's next boot; to have them back now, \
             `systemctl start pinfold-guests`{until}",
            moment(note.since),
            note.why
        ),
    );
}

/// One VM.
pub(crate) fn plan_vm(planning: &mut Planning, note: &HostShutdown) {
    let domains = planning.subject.domains.clone();
    if domains.is_empty() {
        stays_off(planning);
    }
    for domain in domains {
        let draft = end(planning, domain, note);
        planning.drafts.push(draft);
    }
}

/// One that would be started otherwise says why it is not.
fn stays_off(planning: &mut Planning) {
    let is_off = planning.subject.record.is_none_or(|record| record.off_by_guest.is_some());
    if is_off || planning.subject.fate != Fate::Declared || planning.intentions.config.power == Power::Stopped {
        return;
    }
    let draft = planning.draft(Rank::Start, Action::Start, Effect::Create).cause(Cause::HostShutdown).reason(WHY);
    planning.drafts.push(draft.waiting("the next boot of the host"));
}

fn end(planning: &mut Planning, domain: &Domain, note: &HostShutdown) -> Draft {
    let draft = planning.draft(Rank::Stop, Action::Stop, Effect::Stop);
    let draft = draft.cause(Cause::HostShutdown).changes(vec![change(domain)]).reason(WHY);
    if !domain.ready {
        return destroy(draft, domain, &format!("{WHY}; it was never verified as placed right"));
    }
    if matches!(domain.state, DomainState::Shutdown(_)) {
        return destroy(draft, domain, &format!("{WHY}; its guest has ended"));
    }
    let now = planning.world.observed.now;
    let timeout_s = planning.intentions.config.shutdown_timeout_s;
    let asked = stop::stopping(planning, domain);
    // One that was asked before the host went down keeps its own time. Where nobody knows how long it was, nothing is forced.
    let earlier = asked.filter(|stop| stop.asked).map(|stop| patience::left(planning.world, stop));
    let deadlines =
        [Some(left(planning.world, note, timeout_s)), earlier].into_iter().flatten().map(|left| match left {
            Left::Over => now,
            Left::Until(deadline) => deadline,
            Left::Unknown => Timestamp::MAX,
        });
    let deadline = deadlines.min().unwrap_or(Timestamp::MAX);
    if now >= deadline {
        return destroy(draft, domain, &format!("{WHY}; its guest did not power off within {timeout_s} s: forced"));
    }
    planning.report.due(deadline);
    match asked {
        Some(stop) if stop.asked => {
            let powers_off = stop.by.waits();
            draft.waiting(format!("{powers_off}; it is destroyed at {} if it does not", moment(deadline)))
        }
        Some(stop) if now < later(stop.since, ASK_AGAIN) => {
            planning.report.due(later(stop.since, ASK_AGAIN));
            draft.waiting(format!("the request failed; asked again at {}", moment(later(stop.since, ASK_AGAIN))))
        }
        _ => ask(planning, domain, draft, deadline),
    }
}

/// What a guest has left of its own timeout, counted from the note.
fn left(world: &World, note: &HostShutdown, timeout_s: u64) -> Left {
    let up = note.up_ms.map(|ms| UpSince { boot_id: note.boot_id, ms });
    let deadline = later(note.since, span(timeout_s));
    let (why, approved, by) = (WHY.to_owned(), None, AskedBy::Request);
    patience::left(world, &Stopping { domid: 0, since: note.since, deadline, asked: true, why, up, approved, by })
}

/// Asks the guest. One that is paused cannot hear: it runs first, if it is where it belongs.
fn ask(planning: &Planning, domain: &Domain, draft: Draft, deadline: Timestamp) -> Draft {
    if domain.state == DomainState::Paused
        && let Some(unpause) = pause::unpause(planning, domain)
    {
        return draft.now(unpause);
    }
    let by = AskedBy::of(domain);
    let draft = if by == AskedBy::Request { draft } else { draft.reason(format!("{WHY}{}", by.note())) };
    let stop = Stopping {
        domid: domain.domid,
        since: planning.world.observed.now,
        deadline,
        asked: false,
        why: WHY.to_owned(),
        up: patience::up(planning.world),
        approved: None,
        by,
    };
    // What is wanted stays as it was last recorded: a shutdown of the host decides nothing else.
    let record = planning.subject.base_record(planning.world);
    let recorded = |stop: Stopping| {
        let here = Here { stopping: Some(stop), ..record.here.clone() };
        RecordEdit::Vm(Box::new(VmRecord { here, ..record.clone() }))
    };
    let operation = Operation::xen(by.operation(target(domain)))
        .before([recorded(stop.clone())])
        .on_success([recorded(Stopping { asked: true, ..stop })]);
    draft.now(operation)
}

/// The record keeps the intent: a VM whose domain is of an earlier boot is started, because the host booted.
fn destroy(draft: Draft, domain: &Domain, reason: &str) -> Draft {
    draft.reason(reason).now(Operation::xen(Request::DestroyDomain { target: target(domain) }))
}

fn change(domain: &Domain) -> Change {
    Change { field: "domain".to_owned(), old: Some(domain.domid.to_string()), new: None }
}

/// Domains that bear our mark and that nothing can be planned for otherwise, such as one whose record cannot be read: their guests are asked, in
/// the first moments, and nothing is forced. The host's end ends them.
pub(crate) fn strays(world: &World, note: &HostShutdown, subjects: &[Subject], blocked: &[Blocked]) -> Vec<Draft> {
    if world.observed.now >= later(note.since, ASK_AGAIN) {
        return Vec::new();
    }
    let planned =
        |domain: &Domain| subjects.iter().any(|subject| subject.domains.iter().any(|own| own.domid == domain.domid));
    let all = world.domains.unwrap_or_default().iter();
    let strays =
        all.filter(|domain| domain.state == DomainState::Running && world.owner(domain).is_some() && !planned(domain));
    let draft = |domain: &Domain| {
        let known = blocked.iter().map(|blocked| &blocked.object).find(|object| object.uuid == Some(domain.uuid));
        let object = known.cloned().unwrap_or_else(|| ObjectRef {
            kind: ObjectKind::VirtualMachine,
            name: domain.name.clone().unwrap_or_else(|| format!("domid-{}", domain.domid)),
            uuid: Some(domain.uuid),
        });
        let request = Operation::xen(AskedBy::of(domain).operation(target(domain)));
        Draft::new(world, &object, Rank::Stop, Action::Stop, Effect::Stop)
            .cause(Cause::HostShutdown)
            .changes(vec![change(domain)])
            .reason(format!("{WHY}; nothing else is known of it, so its guest is asked and nothing is forced"))
            .now(request)
    };
    strays.map(draft).collect()
}

fn span(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}
