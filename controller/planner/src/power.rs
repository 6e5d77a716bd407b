//! A VM without a domain: left off, taken away, or started, and why.

use crate::classify::compare;
use crate::config::Power;
use crate::consent::Fate;
use crate::create::{self, Budget};
use crate::draft::{Draft, Rank, later};
use crate::guest_ends::reason_text;
use crate::record::{Decision, Here, VmRecord};
use crate::vms::Planning;
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, Work, classify, host_shutdown, suspend};
use jiff::SignedDuration;

/// Days that a removed VM's folder stays in the trash.
pub(crate) const TRASH_DAYS: i64 = 14;

/// What follows when there is no live domain.
pub(crate) fn plan_absent(planning: &mut Planning, budget: &mut Budget) {
    if planning.subject.fate == Fate::Removed {
        return trash(planning);
    }
    if suspend::plan_without_domain(planning, budget) {
        return;
    }
    if planning.intentions.config.power == Power::Stopped {
        return rest(planning, false);
    }
    let off = planning.subject.record.and_then(|record| record.off_by_guest.as_ref());
    let is_started = |since| planning.subject.overridden.as_ref().is_some_and(|order| order.starts_after(since));
    if let Some(off) = off.filter(|off| off.manifest == planning.subject.manifest && !is_started(off.since)) {
        let message = format!(
            "its guest ended by itself ({}) and stays off; any change of its manifest starts it, and so does `pinfold start`",
            reason_text(off.reason)
        );
        planning.report.ready("OffByGuest", message);
        return rest(planning, true);
    }
    let draft = start_draft(planning);
    create::plan_create(planning, draft, budget);
}

/// Why it starts.
pub(crate) fn start_draft(planning: &Planning) -> Draft {
    let Some(record) = planning.subject.record else {
        let draft = planning.draft(Rank::Start, Action::Create, Effect::Create);
        return draft
            .changes(classify::all_new(&planning.intentions.config))
            .reason("it is declared and does not exist yet");
    };
    let mut changes: Vec<Change> =
        compare(&record.wanted, &planning.intentions.config).into_iter().map(|field| field.change).collect();
    if record.name != planning.subject.name {
        changes.insert(
            0,
            Change {
                field: "metadata.name".to_owned(),
                old: Some(record.name.to_string()),
                new: Some(planning.subject.name.to_string()),
            },
        );
    }
    let (cause, reason) = start_cause(planning, record);
    let paused = if planning.intentions.config.power == Power::Paused { "; it stays paused" } else { "" };
    let draft = planning.draft(Rank::Start, Action::Start, Effect::Create);
    draft.cause(cause).changes(changes).reason(format!("{reason}{paused}"))
}

fn start_cause(planning: &Planning, record: &VmRecord) -> (Cause, &'static str) {
    let Here { intent, ended, stopping, backoff, .. } = &record.here;
    let by_shutdown = stopping.as_ref().is_some_and(|stop| stop.why == host_shutdown::WHY);
    match (intent, ended) {
        (_, Some(ended)) if ended.decision == Decision::StartAgain => {
            (Cause::Guest, "its guest ended and is started again")
        }
        // Stopped because the host went down: the next boot starts it, and nothing else does.
        (Some(intent), _) if by_shutdown && intent.boot_id != planning.world.hypervisor.boot_id => {
            (Cause::HostBoot, "the host booted")
        }
        (Some(_), _) if stopping.is_some() => (Cause::Commit, "it was stopped and should run"),
        (Some(_), _) if backoff.as_ref().is_some_and(|last| last.reason == create::CREATE_FAILED) => {
            (Cause::Commit, "it should run, and could not be started so far")
        }
        (Some(intent), _) if intent.boot_id != planning.world.hypervisor.boot_id => {
            (Cause::HostBoot, "the host booted")
        }
        (Some(_), _) => {
            (Cause::Drift, "it should run and has no domain: destroyed outside pinfold, or its start was cut off")
        }
        (None, _) => (Cause::Commit, "it should run"),
    }
}

/// It should be off, and is: what remains is to write that down.
pub(crate) fn rest(planning: &mut Planning, by_guest: bool) {
    let base = planning.next_record();
    let here = Here {
        host: base.here.host.clone(),
        intent: None,
        ended: base.here.ended.clone().filter(|_| by_guest),
        stopping: None,
        backoff: None,
        asked: None,
        claiming: None,
    };
    let off_by_guest = base.off_by_guest.clone().filter(|_| by_guest);
    let next = VmRecord { name: planning.subject.name.clone(), off_by_guest, here, ..base };
    let draft = match planning.subject.record {
        None => planning
            .draft(Rank::Record, Action::Create, Effect::Create)
            .changes(classify::all_new(&next.wanted))
            .reason("it is declared, to be stopped"),
        Some(record) if *record == next => return,
        Some(record) => {
            let changes: Vec<Change> =
                compare(&record.wanted, &next.wanted).into_iter().map(|field| field.change).collect();
            let action = match (record.name == next.name, changes.is_empty()) {
                (false, _) => Action::Rename,
                (true, true) => Action::Settle,
                (true, false) => Action::Change,
            };
            planning.draft(Rank::Record, action, Effect::Live).changes(changes).reason("it is off; that is recorded")
        }
    };
    // A foreign domain of this identity would count as ours once there is a record.
    if let Some(problem) = create::twin(planning) {
        let on = problem.note(&mut planning.report);
        planning.drafts.push(draft.waiting(on));
        return;
    }
    planning.drafts.push(draft.now(Operation::records(vec![RecordEdit::Vm(Box::new(next))])));
}

/// Nothing of it runs any more: its folder goes to the trash.
fn trash(planning: &mut Planning) {
    let draft = crate::stop::end_draft(planning);
    let draft = match planning.subject.record.and_then(|record| record.saved.as_ref()) {
        Some(_) => draft.reason("nothing declares it any more; its saved memory goes with its folder"),
        None => draft,
    };
    let dying = planning.subject.dying.iter().find(|domain| !domain.disks.is_empty());
    let draft = match dying {
        Some(domain) => {
            draft.waiting(format!("domain {} of it is still being torn down and has its disks open", domain.domid))
        }
        None => draft.now(Operation {
            before: planning.consent(),
            work: Work::Trash {
                uuid: planning.subject.uuid,
                name: planning.subject.name.clone(),
                purge_after: later(planning.world.observed.now, SignedDuration::from_hours(TRASH_DAYS * 24)),
            },
            on_success: Vec::new(),
            on_failure: Vec::new(),
        }),
    };
    planning.drafts.push(draft);
}
