//! A guest whose memory goes to disk, and what becomes of it there. How it goes on from there is in `restore`.
//!
//! Each of these is seen in an observation, and has one next step:
//!
//! ```text
//! runs, wanted suspended                 save: the record names the image before the guest is asked
//! suspended, image not whole             the guest goes on, then is asked again
//! suspended, image whole                 that is recorded, then the domain is destroyed
//! no domain, image whole                 suspended; or restored, when it should run
//! no domain, image not whole             the host went down meanwhile: the memory is lost, and that is said
//! image used by a domain                 it is removed
//! ```
//! An image that is whole and unused is thrown away by a person's approval only, and then kept aside.

use crate::classify::{Group, of_group};
use crate::config::{Power, VmConfig};
use crate::create::Budget;
use crate::draft::{Draft, Rank, moment};
use crate::record::{Here, Saved, SavedStage, VmRecord};
use crate::vms::{ANOTHER_DEVICE_MODEL, Planning, lost_device_model, target};
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, live, pause, power, restore, stop};
use protocol::{Domain, DomainState, ImageRef, ImageState, Reading, Request};
use uuid::Uuid;

/// How much more than its target a guest may have without counting as one that keeps what it was asked to give back, in KiB: libxl allows
/// as much above the target (`LIBXL_MAXMEM_CONSTANT`, libxl_internal.h).
const SLACK_KIB: u64 = 1024;

/// Whether the domain was made by another toolstack, and taken over.
fn was_claimed(planning: &Planning) -> bool {
    planning.subject.record.and_then(|record| record.here.intent.as_ref()).is_some_and(|intent| intent.claimed)
}

/// A domain that lives and should be suspended.
pub(crate) fn plan_save(planning: &mut Planning, domain: &Domain) {
    if stop::withdrawn(planning, domain) || tidy_used(planning, domain) {
        return;
    }
    let draft = save_draft(planning, "it should be suspended");
    if lost_device_model(domain) {
        // libxl would suspend the guest, find no QEMU to save, and be unable to let it run on.
        planning.drafts.push(draft.waiting(ANOTHER_DEVICE_MODEL));
        return;
    }
    if domain.hvm.is_some() && was_claimed(planning) {
        planning.drafts.push(draft.waiting(
            "the guest starts again: another toolstack chose the devices of its QEMU, and what they hold fits no QEMU of pinfold's",
        ));
        return;
    }
    if domain.state == DomainState::Paused {
        let draft = draft.reason("it should be suspended; it is paused and cannot answer, so it runs again first");
        let unpause = if live::placement(planning, domain) { pause::unpause(planning, domain) } else { None };
        let draft = match unpause {
            Some(unpause) => draft.now(unpause),
            None => draft.waiting("it is where it belongs"),
        };
        planning.drafts.push(draft);
        return;
    }
    let (Some(intent), Some(mark)) = (planning.subject.describes(domain), domain.mark) else {
        let message = "its record does not say how its domain was built, so it could not be restored; it can be suspended after its next start";
        planning.report.stalled("BuiltUnknown", message);
        planning.drafts.push(draft.waiting(message));
        return;
    };
    let world = planning.world;
    let now = world.observed.now;
    let begun = planning.subject.record.and_then(|record| record.saved.as_ref());
    let begun = begun.filter(|saved| saved.stage == SavedStage::Writing && saved.incarnation == mark.incarnation);
    let image = begun.map_or_else(
        || Uuid::new_v5(&planning.subject.uuid, format!("image {now} {}", mark.incarnation).as_bytes()),
        |saved| saved.image,
    );
    let saved = Saved {
        image,
        incarnation: mark.incarnation,
        config: as_it_is(&intent.config, domain),
        xen: world.hypervisor.version.clone(),
        at: now,
        stage: SavedStage::Writing,
    };
    let record = planning.next_record();
    let whole = Saved { stage: SavedStage::Whole, ..saved.clone() };
    let operation = Operation::xen(Request::SaveDomain { target: target(domain), image })
        .before([with_saved(&record, Some(saved))])
        .on_success([with_saved(&record, Some(whole))]);
    let draft = planning.attempt(draft, operation, "SuspendFailed");
    planning.drafts.push(draft);
}

/// How the domain was built, with what its guest uses now: what does not fit into the restored domain would fail it.
fn as_it_is(built: &VmConfig, domain: &Domain) -> VmConfig {
    let target = domain.memory.target_kib.unwrap_or(built.memory_kib);
    let current = domain.memory.current_kib;
    let memory_kib = if current > target + SLACK_KIB { current } else { target };
    VmConfig {
        memory_kib: memory_kib.min(built.memory_max_kib),
        vcpus_online: domain.vcpus_asked.unwrap_or(built.vcpus_online).clamp(1, built.vcpus_max),
        ..built.clone()
    }
}

/// A domain that ended with `suspend`.
pub(crate) fn plan_suspended(planning: &mut Planning, domain: &Domain) {
    let saved = planning.subject.record.and_then(|record| record.saved.as_ref());
    let Some(saved) = saved.filter(|saved| domain.mark.is_some_and(|mark| mark.incarnation == saved.incarnation))
    else {
        let message = format!(
            "its guest suspended, and not for pinfold: another tool may be writing its memory (`xl save`); if none is, let it go on with `xl resume {}`, or end it with `xl destroy {}` to have it started anew",
            domain.domid, domain.domid
        );
        return planning.report.stalled("Suspended", message);
    };
    match (planning.world.image(saved.image), saved.stage) {
        (Reading::Unknown(cause), _) => planning.report.unknown(&cause.reason, cause.message),
        (Reading::Known(ImageState::Whole(_)), SavedStage::Writing) => note_stage(planning, saved, SavedStage::Whole),
        (Reading::Known(ImageState::Whole(_)), SavedStage::Whole) => {
            let record = planning.next_record();
            let here = Here { intent: None, stopping: None, ..record.here.clone() };
            let operation = Operation::xen(Request::DestroyDomain { target: target(domain) })
                .on_success([RecordEdit::Vm(Box::new(VmRecord { here, ..record }))]);
            let draft = save_draft(planning, "its memory is on disk; its domain, which runs no more, goes");
            let draft = planning.attempt(draft, operation, "DestroyFailed");
            planning.drafts.push(draft);
        }
        (Reading::Known(ImageState::Missing | ImageState::Unfinished), SavedStage::Writing | SavedStage::Whole) => {
            go_on(planning, domain, saved);
        }
        (Reading::Known(state), _) => {
            let message = format!("its domain holds its memory, and its image {}", why_unusable(&state));
            planning.report.stalled("SavedUnusable", message);
            hold_discard(planning, saved, "then its guest goes on in its domain");
        }
    }
}

/// The guest goes on where it was: its memory did not become whole on disk.
fn go_on(planning: &mut Planning, domain: &Domain, saved: &Saved) {
    if !live::placement(planning, domain) {
        return;
    }
    let Some(placement) = pause::placement_of(planning, domain) else { return };
    let record = planning.subject.base_record(planning.world);
    let request = Request::ResumeDomain { target: target(domain), image: saved.image, placement };
    let operation = Operation::xen(request).on_success([with_saved(&record, None)]);
    let draft = planning
        .draft(Rank::Change, Action::Resume, Effect::Live)
        .cause(Cause::Drift)
        .reason("its guest suspended, and its memory did not become whole on disk; it goes on");
    let draft = planning.attempt(draft, operation, "ResumeFailed");
    planning.drafts.push(draft);
}

/// A domain that is not `ready`. Answers whether it is one that was restored: all there is of a guest's memory, once its image is used.
pub(crate) fn plan_unfinished(planning: &mut Planning, domain: &Domain) -> bool {
    let Some(record) = planning.subject.record else { return false };
    let Some(saved) = record.saved.as_ref().filter(|saved| saved.stage == SavedStage::Whole) else { return false };
    match planning.world.image(saved.image) {
        Reading::Unknown(cause) => planning.report.unknown(&cause.reason, cause.message),
        Reading::Known(ImageState::Used { by }) => {
            let its_own = domain.state == DomainState::Paused && domain.mark.is_some_and(|mark| mark.incarnation == by);
            return its_own && restore::plan_finish(planning, domain, saved);
        }
        Reading::Known(ImageState::Whole(_)) => return false,
        Reading::Known(state) => {
            let message = format!("its domain was left half-made, and its image {}", why_unusable(&state));
            planning.report.stalled("SavedUnusable", message);
        }
    }
    true
}

/// What is left on disk of the memory of a domain that runs. Answers whether that goes first.
pub(crate) fn tidy(planning: &mut Planning, domain: &Domain) -> bool {
    if tidy_used(planning, domain) {
        return true;
    }
    let Some(saved) = planning.subject.record.and_then(|record| record.saved.as_ref()) else { return false };
    match planning.world.image(saved.image) {
        Reading::Unknown(cause) => {
            planning.report.unknown(&cause.reason, cause.message);
            false
        }
        Reading::Known(state) if domain.mark.is_some_and(|mark| mark.incarnation == saved.incarnation) => {
            let unused = matches!(state, ImageState::Whole(_) | ImageState::Torn(_));
            discard(planning, saved, unused, "its guest goes on without it: the image is not its memory any more");
            true
        }
        Reading::Known(_) => {
            let message =
                "it runs, and memory of it lies on disk that no domain was built from; it is not restored any more";
            planning.report.stalled("SavedUnused", message);
            hold_discard(planning, saved, "it is not needed any more");
            false
        }
    }
}

/// An image that the domain was built from.
fn tidy_used(planning: &mut Planning, domain: &Domain) -> bool {
    let Some(saved) = planning.subject.record.and_then(|record| record.saved.as_ref()) else { return false };
    let state = (saved.stage, planning.world.image(saved.image));
    let ((SavedStage::Used(by), _) | (_, Reading::Known(ImageState::Used { by }))) = state else { return false };
    let why = match domain.mark {
        Some(mark) if mark.incarnation == by => "its guest has gone on from it",
        _ => "another domain went on from it",
    };
    discard(planning, saved, false, why);
    true
}

/// A VM without a domain. Answers whether its memory on disk, or the lack of it, decides what follows.
pub(crate) fn plan_without_domain(planning: &mut Planning, budget: &mut Budget) -> bool {
    let record = planning.subject.record;
    let Some(saved) = record.and_then(|record| record.saved.as_ref()) else {
        let refused = planning.intentions.config.power == Power::Suspended;
        if refused {
            refuse(planning);
        }
        return refused;
    };
    let state = match (saved.stage, planning.world.image(saved.image)) {
        (SavedStage::Used(_), _) => {
            discard(planning, saved, false, "a domain went on from it, and is gone: its guest starts anew");
            return true;
        }
        (_, Reading::Unknown(cause)) => {
            planning.report.unknown(&cause.reason, cause.message);
            return true;
        }
        (_, Reading::Known(state)) => state,
    };
    match (saved.stage, state) {
        (_, ImageState::Used { by }) => note_stage(planning, saved, SavedStage::Used(by)),
        (SavedStage::Writing, ImageState::Whole(_)) => note_stage(planning, saved, SavedStage::Whole),
        (SavedStage::Writing, ImageState::Missing | ImageState::Unfinished) => {
            let why =
                "its domain went before its memory was whole on disk: the memory is lost, as with any end of the host";
            discard(planning, saved, false, why);
        }
        (_, state) => on_disk(planning, budget, saved, &state),
    }
    true
}

/// Its memory lies on disk, and there is no domain.
fn on_disk(planning: &mut Planning, budget: &mut Budget, saved: &Saved, state: &ImageState) {
    let wanted = planning.intentions.config.power;
    if wanted == Power::Stopped {
        power::rest(planning, false);
        return hold_discard(planning, saved, "to be stopped, it loses its memory");
    }
    if !matches!(state, ImageState::Whole(_)) {
        let message = format!("its memory cannot be restored: its image {}", why_unusable(state));
        planning.report.stalled("SavedUnusable", message);
        return hold_discard(planning, saved, "then its guest starts anew");
    }
    if wanted.has_domain() {
        return restore::plan_restore(planning, saved, budget);
    }
    planning.report.ready("Suspended", format!("its memory lies on disk since {}", moment(saved.at)));
    let before = planning.drafts.len();
    power::rest(planning, false);
    let pending = of_group(&saved.config, &planning.intentions.config, Group::Built);
    // What is just being recorded is told by that.
    if !pending.is_empty() && planning.drafts.len() == before {
        let draft = planning.draft(Rank::Start, Action::Change, Effect::Restart).changes(pending);
        planning.drafts.push(draft.reason("it goes on as it was built; this takes a start anew").at_next_start());
    }
}

/// It should be suspended, and there is nothing to be.
fn refuse(planning: &mut Planning) {
    let message = "it does not run, so there is no memory to be saved; set `spec.power` to `running` first and to `suspended` when it runs, or to `stopped`";
    planning.report.stalled("NothingToSuspend", message);
    if let Some(record) = planning.subject.record {
        power::rest(planning, record.off_by_guest.is_some());
    }
}

/// The item that throws away memory that nobody has used: a person decides.
pub(crate) fn hold_discard(planning: &mut Planning, saved: &Saved, why: &str) {
    let at = Change { field: "saved memory".to_owned(), old: Some(format!("of {}", moment(saved.at))), new: None };
    let draft = planning.draft(Rank::Record, Action::Discard, Effect::Stop).changes(vec![at]);
    let id = draft.item.id.clone();
    let draft = draft.reason(format!("its saved memory is thrown away: {why}"));
    let draft = if planning.world.approval(&id).is_some() {
        let record = planning.subject.base_record(planning.world);
        let request = Request::DiscardImage { image: image_of(planning, saved), unused: true };
        let operation = Operation::xen(request).on_success([with_saved(&record, None), RecordEdit::UseApproval(id)]);
        planning.attempt(draft.cause(Cause::Verb), operation, "DiscardFailed")
    } else {
        draft.held(format!("`pinfold approve {id}` moves it aside; it is then never restored"))
    };
    planning.drafts.push(draft);
}

/// Takes away an image that nobody can need.
fn discard(planning: &mut Planning, saved: &Saved, unused: bool, why: &str) {
    let record = planning.subject.base_record(planning.world);
    let operation = Operation::xen(Request::DiscardImage { image: image_of(planning, saved), unused })
        .on_success([with_saved(&record, None)]);
    let draft = planning.draft(Rank::Record, Action::Discard, Effect::Live).cause(Cause::Drift);
    let cause = if matches!(saved.stage, SavedStage::Used(_)) { Cause::Commit } else { Cause::Drift };
    let draft = planning.attempt(draft.cause(cause).reason(why), operation, "DiscardFailed");
    planning.drafts.push(draft);
}

/// Writes down how far an image has got; what follows from it follows in the next pass.
fn note_stage(planning: &mut Planning, saved: &Saved, stage: SavedStage) {
    let record = planning.subject.base_record(planning.world);
    let edit = with_saved(&record, Some(Saved { stage, ..saved.clone() }));
    let reason = match stage {
        SavedStage::Used(_) => "a domain went on from its memory on disk; that is recorded",
        SavedStage::Whole | SavedStage::Writing => "its memory is whole on disk; that is recorded",
    };
    let draft = planning.draft(Rank::Record, Action::Settle, Effect::Live).cause(Cause::Drift).reason(reason);
    planning.drafts.push(draft.now(Operation::records(vec![edit])));
}

pub(crate) fn with_saved(record: &VmRecord, saved: Option<Saved>) -> RecordEdit {
    RecordEdit::Vm(Box::new(VmRecord { saved, ..record.clone() }))
}

fn image_of(planning: &Planning, saved: &Saved) -> ImageRef {
    ImageRef { vm: planning.subject.uuid, image: saved.image }
}

fn save_draft(planning: &Planning, why: &str) -> Draft {
    let change =
        Change { field: "spec.power".to_owned(), old: Some("running".to_owned()), new: Some("suspended".to_owned()) };
    planning.draft(Rank::Stop, Action::Suspend, Effect::Pause).changes(vec![change]).reason(why)
}

/// Why an image is of no use.
fn why_unusable(state: &ImageState) -> String {
    match state {
        ImageState::Missing => "is gone; bring the VM's folder back".to_owned(),
        ImageState::Unfinished => "was never whole".to_owned(),
        ImageState::Torn(why) => format!("is torn: {why}"),
        ImageState::Used { by } => format!("was used by incarnation {by}"),
        ImageState::Whole(_) => "is whole".to_owned(),
    }
}
