//! A guest that goes on from its memory on disk: built with the configuration that it had, placed as is wanted now.

use crate::classify::{Group, of_group, power_text, with_group};
use crate::config::VmConfig;
use crate::create::{self, Budget};
use crate::draft::{Rank, next_backoff};
use crate::memory::need_kib;
use crate::place::spot;
use crate::record::{Here, Intent, Saved, SavedStage, VmRecord};
use crate::suspend::{hold_discard, with_saved};
use crate::vms::Planning;
use crate::{Action, Change, Effect, Operation, RecordEdit, digest, live};
use protocol::{Domain, Request};
use uuid::Uuid;

/// Back-off of guests that could not be restored.
pub(crate) const RESTORE_FAILED: &str = "RestoreFailed";

/// Restores it now, or says what it waits for, or that it cannot be.
pub(crate) fn plan_restore(planning: &mut Planning, saved: &Saved, budget: &mut Budget) {
    let config = restored(planning, saved);
    let running = &planning.world.hypervisor.version;
    if !reads(running, &saved.xen) {
        let message = format!(
            "its memory was written by Xen {}, and Xen {running} runs: Xen reads its own release's and the last one's; boot that Xen",
            saved.xen
        );
        planning.report.stalled("SavedByOtherXen", message);
        return hold_discard(planning, saved, "then its guest starts anew");
    }
    let wanted = power_text(planning.intentions.config.power).to_owned();
    let change = Change { field: "spec.power".to_owned(), old: Some("suspended".to_owned()), new: Some(wanted) };
    let draft = planning
        .draft(Rank::Start, Action::Resume, Effect::Live)
        .changes(vec![change])
        .reason("its guest goes on from its memory on disk");
    let pending = of_group(&config, &planning.intentions.config, Group::Built);
    if !pending.is_empty() {
        let later = planning.draft(Rank::Start, Action::Change, Effect::Restart).changes(pending);
        planning.drafts.push(later.reason("it goes on as it was built; this takes a start anew").at_next_start());
    }
    let failed_before = planning.subject.record.and_then(|record| record.here.backoff.as_ref());
    if failed_before.is_some_and(|last| last.reason == RESTORE_FAILED) {
        hold_discard(planning, saved, "then its guest starts anew");
    }
    let problems = create::problems(planning, &config, budget, true);
    if !problems.is_empty() {
        let on: Vec<String> = problems.into_iter().map(|problem| problem.note(&mut planning.report)).collect();
        planning.drafts.push(draft.waiting(on.join("; ")));
        return;
    }
    budget.planned_kib += need_kib(&config);
    let Some(operation) = build(planning, saved, &config) else { return };
    planning.drafts.push(draft.now(operation));
}

/// The domain that is all there is of the memory is verified, marked and let run: by the request that built it.
pub(crate) fn plan_finish(planning: &mut Planning, domain: &Domain, saved: &Saved) -> bool {
    let intent = planning.subject.describes(domain).cloned();
    let Some(intent) = intent else { return false };
    if !live::placement(planning, domain) {
        return true;
    }
    let config = restored(planning, saved);
    let record = planning.subject.base_record(planning.world);
    let Some(request) = request(planning, saved, &config, intent.incarnation) else { return true };
    let operation = Operation::xen(request).on_success([used(&record, saved, intent.incarnation)]);
    let draft = planning
        .draft(Rank::Change, Action::Resume, Effect::Live)
        .reason("it was restored, and whoever did so died before it ran; it is verified and goes on");
    let draft = planning.attempt(draft, operation, RESTORE_FAILED);
    planning.drafts.push(draft);
    true
}

/// What it was, placed and shared as is wanted now: that is changed while it runs as well.
fn restored(planning: &Planning, saved: &Saved) -> VmConfig {
    let groups = [Group::Placement, Group::Sched, Group::Policy, Group::Power, Group::Media];
    groups
        .into_iter()
        .fold(saved.config.clone(), |config, group| with_group(&config, &planning.intentions.config, group))
}

fn build(planning: &Planning, saved: &Saved, config: &VmConfig) -> Option<Operation> {
    let world = planning.world;
    let (now, boot_id) = (world.observed.now, world.hypervisor.boot_id);
    let uuid = planning.subject.uuid;
    let base = planning.next_record();
    let last = base.here.backoff.as_ref();
    let failures = last.map_or(0, |last| last.failures);
    let incarnation = Uuid::new_v5(&uuid, format!("{now} {boot_id} {failures}").as_bytes());
    let failed = next_backoff(now, last, RESTORE_FAILED, &digest::config_digest(config));
    let intent =
        Intent { incarnation, config: config.clone(), at: now, boot_id, commit: world.commit(), claimed: false };
    // What its guest was asked to use is changed when it runs, by the commit that wants it otherwise.
    let wanted = [Group::Memory, Group::Vcpus]
        .into_iter()
        .fold(base.wanted.clone(), |wanted, group| with_group(&wanted, config, group));
    let here = Here { intent: Some(intent), ended: None, stopping: None, ..base.here.clone() };
    let record = VmRecord { name: planning.subject.name.clone(), wanted, off_by_guest: None, here, ..base };
    let done = VmRecord { here: Here { backoff: None, ..record.here.clone() }, ..record.clone() };
    let operation = Operation::xen(request(planning, saved, config, incarnation)?)
        .before([RecordEdit::Vm(Box::new(record))])
        .on_success([used(&done, saved, incarnation)])
        .on_failure(RecordEdit::VmFailed(uuid, failed));
    Some(operation)
}

fn request(planning: &Planning, saved: &Saved, config: &VmConfig, incarnation: Uuid) -> Option<Request> {
    let spot = spot(planning.cx, config).ok()?;
    let config = create::domain_config(planning, config, &spot, incarnation);
    Some(Request::RestoreDomain { config: Box::new(config), image: saved.image })
}

fn used(record: &VmRecord, saved: &Saved, by: Uuid) -> RecordEdit {
    with_saved(record, Some(Saved { stage: SavedStage::Used(by), ..saved.clone() }))
}

/// Whether a Xen restores what another wrote: of its own minor release, or of the one before (docs/features/migration.pandoc: from N to N+1).
fn reads(running: &str, wrote: &str) -> bool {
    let release = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    match (release(running), release(wrote)) {
        (Some((major, minor)), Some((wrote_major, wrote_minor))) => {
            major == wrote_major && (minor == wrote_minor || Some(minor) == wrote_minor.checked_add(1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::reads;

    #[test]
    fn a_xen_reads_its_own_release_and_the_last_one() {
        assert!(reads("4.17.5", "4.17.2") && reads("4.18.0", "4.17.5"));
        assert!(
            !reads("4.17.5", "4.18.0") && !reads("4.19.0", "4.17.5") && !reads("5.0", "4.17") && !reads("4.17", "?")
        );
    }
}
