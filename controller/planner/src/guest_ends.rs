//! Guests that ended by themselves: record the reason and the decision, clear the domain away, start again or leave off.

use crate::config::{Power, Restart, VmConfig};
use crate::consent::Fate;
use crate::draft::{Rank, later, moment, pause};
use crate::record::{Backoff, Decision, DumpEnd, Ended, Here, OffByGuest, VmRecord};
use crate::stop;
use crate::vms::{Planning, target};
use crate::{Action, Cause, Effect, Operation, RecordEdit};
use jiff::SignedDuration;
use protocol::{Domain, Request, ShutdownReason};

/// Back-off of guests that crash again and again.
pub(crate) const CRASH_LOOP: &str = "CrashLoop";

/// A guest that ran this long before it crashed did not crash in a loop.
const STEADY: SignedDuration = SignedDuration::from_mins(10);

/// A domain of ours whose guest has ended.
pub(crate) fn plan_ended(planning: &mut Planning, domain: &Domain, reason: ShutdownReason) {
    if reason == ShutdownReason::SoftReset {
        planning.report.stalled(
            "Suspended",
            format!(
                "its guest ended with `{}`, which keeps its memory, and pinfold cannot resume it; resume it with `xl resume {}`, or end it with `xl destroy {}` to have it started anew",
                reason_text(reason),
                domain.domid,
                domain.domid
            ),
        );
        return;
    }
    let off = planning.subject.fate == Fate::Removed || planning.intentions.config.power == Power::Stopped;
    let stopping = stop::stopping(planning, domain).is_some();
    if off {
        let draft = stop::end_draft(planning);
        let draft = stop::destroy(planning, domain, draft);
        planning.drafts.push(draft);
        return;
    }
    if stopping {
        let draft =
            planning.draft(Rank::Clear, Action::Stop, Effect::Stop).reason("it was asked to power off, and did");
        let draft = stop::destroy(planning, domain, draft);
        planning.drafts.push(draft);
        start_waits(planning, None);
        return;
    }
    settle(planning, domain, reason);
}

fn settle(planning: &mut Planning, domain: &Domain, reason: ShutdownReason) {
    let now = planning.world.observed.now;
    let record = planning.next_record();
    let incarnation = domain.mark.map(|mark| mark.incarnation);
    // Decided before, by one who died between the record and the work: the decision stands.
    let before = record.here.ended.clone().filter(|ended| incarnation.is_some() && ended.incarnation == incarnation);
    let known = before.is_some();
    let ended = before.unwrap_or_else(|| Ended {
        incarnation,
        reason,
        decision: decision(&planning.intentions.config, reason),
        at: now,
        dump: None,
    });
    let stays_off = ended.decision == Decision::StayOff;
    let off_by_guest = stays_off.then(|| OffByGuest { manifest: record.manifest.clone(), reason, since: ended.at });
    let crash = matches!(reason, ShutdownReason::Crash | ShutdownReason::Watchdog);
    let backoff =
        if crash && !stays_off && !known { Some(crash_backoff(planning, reason)) } else { record.here.backoff.clone() };
    let until = backoff
        .as_ref()
        .filter(|backoff| backoff.reason == CRASH_LOOP && backoff.waits(now))
        .map(|backoff| backoff.until);
    let here = Here { ended: Some(ended), stopping: None, backoff, ..record.here.clone() };
    let record = VmRecord { off_by_guest, here, ..record };
    if crash && dump(planning, domain, &record, reason) {
        return;
    }
    let gone = VmRecord { here: Here { intent: None, ..record.here.clone() }, ..record.clone() };
    let then = if stays_off { "it stays off" } else { "it is started again" };
    let draft = planning
        .draft(Rank::Clear, Action::Settle, Effect::Stop)
        .cause(Cause::Guest)
        .reason(format!("its guest ended by itself ({}); {then}", reason_text(reason)));
    let operation = Operation::xen(Request::DestroyDomain { target: target(domain) })
        .before([RecordEdit::Vm(Box::new(record))])
        .on_success([RecordEdit::Vm(Box::new(gone))]);
    let draft = planning.attempt(draft, operation, "DestroyFailed");
    planning.drafts.push(draft);
    if !stays_off {
        start_waits(planning, until);
    }
}

/// Writes the core dump of a guest that crashed, when one is wanted that was not tried yet. Answers whether. Nothing waits for a dump that fails.
fn dump(planning: &mut Planning, domain: &Domain, record: &VmRecord, reason: ShutdownReason) -> bool {
    let (keep, quota_kib) = (planning.intentions.config.crash_dumps, planning.world.observed.dom0.core_dump_quota_kib);
    let is_tried = record.here.ended.as_ref().is_some_and(|ended| ended.dump.is_some());
    if keep == 0 || quota_kib == 0 || is_tried {
        return false;
    }
    let dumped = |end| {
        let ended = record.here.ended.clone().map(|ended| Ended { dump: Some(end), ..ended });
        RecordEdit::Vm(Box::new(VmRecord { here: Here { ended, ..record.here.clone() }, ..record.clone() }))
    };
    let draft = planning
        .draft(Rank::Clear, Action::Settle, Effect::Stop)
        .cause(Cause::Guest)
        .reason(format!("its guest ended by itself ({}); its core dump is written first", reason_text(reason)));
    let operation = Operation::xen(Request::DumpDomain { target: target(domain), keep, quota_kib })
        .before([RecordEdit::Vm(Box::new(record.clone()))])
        .on_success([dumped(DumpEnd::Written)])
        .on_failure(dumped(DumpEnd::Failed));
    planning.drafts.push(draft.now(operation));
    true
}

fn start_waits(planning: &mut Planning, until: Option<jiff::Timestamp>) {
    let on = match until {
        Some(until) => format!("the domain that ended is cleared away, and then until {}", moment(until)),
        None => "the domain that ended is cleared away".to_owned(),
    };
    let draft =
        planning.draft(Rank::Start, Action::Start, Effect::Create).cause(Cause::Guest).reason("its guest ended");
    planning.drafts.push(draft.waiting(on));
}

fn decision(config: &VmConfig, reason: ShutdownReason) -> Decision {
    let restart = config.restart;
    let again = match reason {
        // What it had to be suspended with is gone.
        _ if config.power == Power::Suspended => false,
        ShutdownReason::Reboot => true,
        ShutdownReason::Poweroff => restart == Restart::Always,
        ShutdownReason::Crash | ShutdownReason::Watchdog => restart != Restart::Never,
        // Never decided about: see `plan_ended`.
        ShutdownReason::Suspend | ShutdownReason::SoftReset => false,
    };
    if again { Decision::StartAgain } else { Decision::StayOff }
}

/// The first crash is followed by a start at once, repeated ones by longer and longer pauses.
fn crash_backoff(planning: &Planning, reason: ShutdownReason) -> Backoff {
    let now = planning.world.observed.now;
    let here = planning.subject.record.map(|record| &record.here);
    let last = here.and_then(|here| here.backoff.as_ref());
    let started = here.and_then(|here| here.intent.as_ref()).map(|intent| intent.at);
    let steady = started.is_some_and(|at| now.duration_since(at) > STEADY);
    let repeated = last
        .filter(|last| !steady && last.reason == CRASH_LOOP && last.input == planning.subject.manifest)
        .map_or(0, |last| last.failures);
    Backoff {
        failures: repeated + 1,
        since: now,
        until: later(now, pause(repeated)),
        reason: CRASH_LOOP.to_owned(),
        message: format!("its guest ended with `{}`, {} time(s) in a row", reason_text(reason), repeated + 1),
        input: planning.subject.manifest.clone(),
    }
}

/// A reason as manifests and messages spell it.
pub(crate) fn reason_text(reason: ShutdownReason) -> &'static str {
    match reason {
        ShutdownReason::Poweroff => "poweroff",
        ShutdownReason::Reboot => "reboot",
        ShutdownReason::Suspend => "suspend",
        ShutdownReason::Crash => "crash",
        ShutdownReason::Watchdog => "watchdog",
        ShutdownReason::SoftReset => "soft-reset",
    }
}
