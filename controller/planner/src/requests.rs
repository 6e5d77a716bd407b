//! What a guest is asked for and may ignore: how much memory it uses, and how many of its vCPUs.
//!
//! The request is a step like any other, and done when it is written. Whether the guest follows is looked at afterwards: it has [`PATIENCE`]
//! for it, and one that does not follow is told of, keeps running, and is not asked again until something else is wanted. What a guest makes
//! of its first memory and vCPUs, those it was started with, is its own affair.

use crate::classify::Group;
use crate::draft::{Rank, later, moment};
use crate::live::step;
use crate::memory::{about, size};
use crate::record::{Asked, Requests};
use crate::vms::{Planning, target};
use crate::{Action, Change, Effect, Operation, RecordEdit};
use jiff::SignedDuration;
use protocol::{Domain, Reading, Request};

/// How long a guest has to follow a request before it counts as one that ignores it.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// How far a guest may stay from its memory target and still have followed: drivers round, and Xen counts pages of its own.
const TOLERANCE_KIB: u64 = 16 * 1024;

/// The memory target.
pub(crate) fn memory(planning: &mut Planning, domain: &Domain) {
    let wanted = planning.intentions.config.memory_kib;
    let built =
        domain.memory.static_max_kib.or(planning.subject.describes(domain).map(|intent| intent.config.memory_max_kib));
    let Some(target_kib) = domain.memory.target_kib else { return };
    if target_kib == wanted {
        let asked = asked(planning).and_then(|asked| asked.memory);
        let has_followed = domain.memory.current_kib.abs_diff(wanted) <= TOLERANCE_KIB;
        return follow(planning, asked.filter(|asked| asked.value == wanted && !has_followed), || {
            ("spec.memory.target", size(wanted))
        });
    }
    // More than it was built for takes a restart, which is shown as pending.
    if built.is_some_and(|max| wanted > max) {
        return;
    }
    let change =
        Change { field: "spec.memory.target".to_owned(), old: Some(size(target_kib)), new: Some(size(wanted)) };
    let draft = step(planning, Group::Memory, vec![change], "its memory target was changed outside pinfold");
    let free =
        planning.world.hypervisor.memory_free_kib.saturating_sub(planning.world.observed.dom0.memory_reserve_kib);
    let more = wanted.saturating_sub(domain.memory.current_kib);
    if more > free {
        let message = format!("{} more are needed, and the host has {} to give", about(more), about(free));
        planning.report.stalled("NotEnoughMemory", message.clone());
        planning.drafts.push(draft.waiting(message));
        return;
    }
    let request = Request::SetMemory { target: target(domain), memory_kib: wanted };
    let now = Asked { value: wanted, at: planning.world.observed.now };
    let edit = request_recorded(planning, Group::Memory, |asked| asked.memory = Some(now));
    let draft = planning.attempt(draft, Operation::xen(request).on_success([edit]), "ChangeFailed");
    planning.drafts.push(draft);
}

/// vCPUs in use.
pub(crate) fn vcpus(planning: &mut Planning, domain: &Domain) {
    let (Some(asked_for), Reading::Known(vcpus)) = (domain.vcpus_asked, &domain.vcpus) else { return };
    let wanted = planning.intentions.config.vcpus_online;
    if asked_for == wanted {
        let asked = asked(planning).and_then(|asked| asked.vcpus);
        let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
        let has_followed = u32::try_from(online) == Ok(wanted);
        return follow(planning, asked.filter(|asked| asked.value == u64::from(wanted) && !has_followed), || {
            ("spec.vcpus.online", wanted.to_string())
        });
    }
    if !usize::try_from(wanted).is_ok_and(|wanted| wanted <= vcpus.len()) {
        return;
    }
    let change = Change {
        field: "spec.vcpus.online".to_owned(),
        old: Some(asked_for.to_string()),
        new: Some(wanted.to_string()),
    };
    let draft = step(planning, Group::Vcpus, vec![change], "its number of vCPUs was changed outside pinfold");
    let request = Request::SetVcpus { target: target(domain), online: wanted };
    let now = Asked { value: wanted.into(), at: planning.world.observed.now };
    let edit = request_recorded(planning, Group::Vcpus, |asked| asked.vcpus = Some(now));
    let draft = planning.attempt(draft, Operation::xen(request).on_success([edit]), "ChangeFailed");
    planning.drafts.push(draft);
}

/// What the domain that runs now was asked for.
fn asked(planning: &Planning) -> Option<Requests> {
    planning.subject.record?.here.asked
}

/// A request that the guest has not followed yet.
fn follow(planning: &mut Planning, asked: Option<Asked>, field: impl Fn() -> (&'static str, String)) {
    let Some(Asked { at, .. }) = asked else { return };
    let (field, value) = field();
    let until = later(at, PATIENCE);
    if planning.world.observed.now < until {
        planning.report.due(until);
        let draft = planning.draft(Rank::Change, Action::Change, Effect::Live);
        let draft = draft.changes(vec![Change { field: field.to_owned(), old: None, new: Some(value) }]);
        let draft =
            draft.reason("its guest was asked for it").waiting(format!("the guest follows, until {}", moment(until)));
        planning.drafts.push(draft);
        return;
    }
    let message = format!(
        "its guest was asked for {field} {value} at {} and has not followed; it runs on as it is: look into the guest, or take the change back",
        moment(at)
    );
    planning.report.stalled("GuestIgnores", message);
}

fn request_recorded(planning: &Planning, group: Group, set: impl Fn(&mut Requests)) -> RecordEdit {
    let mut edit = planning.recorded(&[group]);
    if let RecordEdit::Vm(record) = &mut edit {
        set(record.here.asked.get_or_insert_default());
    }
    edit
}
