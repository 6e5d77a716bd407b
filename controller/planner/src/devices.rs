//! Disks and NICs of a domain that runs: attached and detached while it does.
//!
//! Two lists say what should be there: how the domain was built, with what was plugged since (its intent), and what is wanted now. A device
//! counts as the same one when it keeps its name, or is the same in everything but its name. What differs otherwise *within* one device takes
//! a restart, and is none of this module's business: the domain keeps the device as it was built until then.

use crate::config::{Disk, Drive, Nic, VmConfig};
use crate::create::{bridges, macs};
use crate::draft::{Draft, Rank};
use crate::place::Problem;
use crate::record::{Approval, VmRecord};
use crate::vms::{ANOTHER_DEVICE_MODEL, Planning, lost_device_model, target};
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, classify, files};
use protocol::{Cdrom, DeviceState, DiskConfig, Domain, DomainDisk, DomainNic, NicConfig, Request};
use schema::desired::Restarts;

/// Everything that is to be plugged or unplugged, each device as an item, removals first. Nothing, when nobody knows how the domain was built.
pub(crate) fn plan_devices(planning: &mut Planning, domain: &Domain) {
    let Some(intent) = planning.subject.describes(domain) else { return };
    let built = &intent.config;
    let wanted = planning.intentions.config.clone();
    for there in &domain.disks {
        detach_disk(planning, domain, there, built, &wanted);
    }
    for there in &domain.nics {
        detach_nic(planning, domain, there, built, &wanted);
    }
    for disk in &wanted.disks {
        attach_disk(planning, domain, disk, built);
    }
    for nic in &wanted.nics {
        attach_nic(planning, domain, nic, built);
    }
    for drive in built.drives() {
        change_medium(planning, domain, drive, &wanted);
    }
}

/// Whether one of `disks` is this very disk.
fn keeps_disk<'a>(disks: &'a [Disk], disk: &Disk) -> Option<&'a Disk> {
    disks.iter().find(|other| other.name == disk.name).or_else(|| disks.iter().find(|other| other.is_same_device(disk)))
}

fn keeps_nic<'a>(nics: &'a [Nic], nic: &Nic) -> Option<&'a Nic> {
    nics.iter().find(|other| other.name == nic.name).or_else(|| nics.iter().find(|other| other.is_same_device(nic)))
}

fn detach_disk(planning: &mut Planning, domain: &Domain, there: &DomainDisk, built: &VmConfig, wanted: &VmConfig) {
    let ours = built.disks.iter().find(|disk| disk.target == there.target);
    let as_built = ours.is_some_and(|disk| disk.path == there.path && disk.read_only == there.read_only);
    let stays = ours.is_some_and(|disk| keeps_disk(&wanted.disks, disk).is_some());
    if stays && as_built && there.state.is_attached() {
        return;
    }
    // A disk that only a restart takes away is shown as pending.
    if !stays && as_built && !classify::is_hot_pluggable(wanted, there.target.as_str()) {
        return;
    }
    let name = ours.filter(|_| as_built).map_or_else(|| there.target.clone(), |disk| disk.name.to_string());
    let (cause, reason) = match there.state {
        _ if !stays && as_built => (Cause::Commit, "it is not declared any more"),
        DeviceState::Closing => (Cause::Commit, "its removal was begun"),
        DeviceState::Unfinished => (Cause::Commit, "its attaching was cut off"),
        DeviceState::Attached => (Cause::Drift, "it was attached outside pinfold"),
    };
    let change = Change { field: format!("spec.disks[{name}]"), old: Some(there.path.clone()), new: None };
    let draft = plug_draft(planning, cause, change, format!("{reason}; {}", asked(there)));
    let id = draft.item.id.clone();
    let approval = planning.world.approval(&id);
    if may_lose_writes(planning, there) && approval.is_none() {
        let until = format!(
            "Linux lets go of a mounted disk too, and loses what it has not written: unmount it, then `pinfold approve {id}`; when it starts next, \
             it starts without"
        );
        planning.drafts.push(draft.held(until));
        return;
    }
    let draft = draft.approved(approval.map(Approval::given));
    let request = Request::DetachDisk { target: target(domain), device: there.target.clone() };
    let gone = ours.map(|disk| disk.name.clone());
    let edit = taken_away(planning, (!stays, as_built), |config| {
        config.disks.retain(|disk| Some(&disk.name) != gone.as_ref());
    });
    let used = approval.map(|_| RecordEdit::UseApproval(id));
    plug(planning, domain, draft, request, [edit].into_iter().chain(used), Vec::new());
}

/// Whether its guest may lose what it has not written yet. Linux used to wait for whoever had a disk open; today it lets go at once
/// (`blkfront_closing`, drivers/block/xen-blkfront.c; seen with Debian 12's 6.1), of a mounted one as well. Nobody in dom0 can see what is mounted. Where pinfold may restart
/// guests by itself, it may do this; a removal that was begun is ended.
fn may_lose_writes(planning: &Planning, there: &DomainDisk) -> bool {
    !there.read_only && there.state == DeviceState::Attached && planning.intentions.restarts != Restarts::Allow
}

fn asked(there: &DomainDisk) -> &'static str {
    match there.state {
        DeviceState::Attached if !there.read_only => "the guest is asked, never forced; unmount it first",
        _ => "the guest is asked, never forced",
    }
}

fn detach_nic(planning: &mut Planning, domain: &Domain, there: &DomainNic, built: &VmConfig, wanted: &VmConfig) {
    let ours = built.nics.iter().find(|nic| nic.mac.to_string().eq_ignore_ascii_case(&there.mac));
    let as_built = ours.is_some_and(|nic| there.bridge.as_deref() == Some(&nic.bridge));
    let stays = ours.is_some_and(|nic| keeps_nic(&wanted.nics, nic).is_some());
    if stays && as_built && there.state.is_attached() {
        return;
    }
    let name = ours.map_or_else(|| there.devid.to_string(), |nic| nic.name.to_string());
    let (cause, reason) = match there.state {
        _ if !stays && as_built => (Cause::Commit, "it is not declared any more"),
        DeviceState::Closing => (Cause::Commit, "its removal was begun"),
        DeviceState::Unfinished => (Cause::Commit, "its attaching was cut off"),
        DeviceState::Attached => (Cause::Drift, "it was attached outside pinfold"),
    };
    let change = Change { field: format!("spec.nics[{name}]"), old: Some(there.mac.clone()), new: None };
    let reason = format!("{reason}; it is taken away by force when the guest does not let go of it within 10 s");
    let draft = plug_draft(planning, cause, change, reason);
    let request = Request::DetachNic { target: target(domain), devid: there.devid };
    let gone = ours.map(|nic| nic.name.clone());
    let edit = taken_away(planning, (!stays, as_built), |config| {
        if let Some(name) = &gone {
            config.remove_nic(name);
        }
    });
    plug(planning, domain, draft, request, [edit], Vec::new());
}

fn attach_disk(planning: &mut Planning, domain: &Domain, wanted: &Disk, built: &VmConfig) {
    // A device that the domain has already stays as it was built until the next start.
    let known = keeps_disk(&built.disks, wanted);
    let disk = known.unwrap_or(wanted);
    if known.is_none() && !classify::is_hot_pluggable(built, &disk.target) {
        return;
    }
    let change = Change { field: format!("spec.disks[{}]", disk.name), old: None, new: Some(disk.path.clone()) };
    let draft = match domain.disks.iter().find(|there| there.target == disk.target) {
        Some(there) if known.is_some() && there.path == disk.path => return,
        Some(there) => {
            let draft = attach_draft(planning, known.is_some(), change);
            let on = format!("{}, which is {} now, is taken away", there.target, there.path);
            planning.drafts.push(draft.waiting(on));
            return;
        }
        None => attach_draft(planning, known.is_some(), change),
    };
    let problems = files::disk_problems(planning, disk);
    let config = DiskConfig { target: disk.target.clone(), path: disk.path.clone(), read_only: disk.read_only };
    let request = Request::AttachDisk { target: target(domain), disk: config };
    let edit = recorded(planning, |config| config.set_disk(disk.clone()), |config| config.set_disk(disk.clone()));
    plug(planning, domain, draft, request, [edit], problems);
}

fn attach_nic(planning: &mut Planning, domain: &Domain, wanted: &Nic, built: &VmConfig) {
    let known = keeps_nic(&built.nics, wanted);
    let nic = known.unwrap_or(wanted).clone();
    let list = if known.is_some() { &built.nics } else { &planning.intentions.config.nics };
    let devid = Nic::number(list, &nic);
    let mac = nic.mac.to_string();
    let change = Change { field: format!("spec.nics[{}]", nic.name), old: None, new: Some(mac.clone()) };
    if domain.nics.iter().any(|there| there.mac.eq_ignore_ascii_case(&mac)) {
        return;
    }
    let draft = attach_draft(planning, known.is_some(), change);
    if let Some(there) = domain.nics.iter().find(|there| there.devid == devid) {
        planning.drafts.push(draft.waiting(format!("NIC {devid}, which has {} now, is taken away", there.mac)));
        return;
    }
    let only = std::slice::from_ref(&nic);
    let problems = bridges(planning.world, only).into_iter().chain(macs(planning, only)).collect();
    let config = NicConfig { mac, bridge: nic.bridge.clone(), devid: Some(devid) };
    let request = Request::AttachNic { target: target(domain), nic: config };
    let set = |config: &mut VmConfig| config.set_nic(devid, &nic);
    let edit = recorded(planning, set, set);
    plug(planning, domain, draft, request, [edit], problems);
}

/// What is in a drive that stays. Drives come and go at the next start.
fn change_medium(planning: &mut Planning, domain: &Domain, drive: &Drive, wanted: &VmConfig) {
    let there = domain.hvm.iter().flat_map(|hvm| &hvm.cdroms).find(|there| there.target == drive.target);
    let wanted = wanted.drives().iter().find(|wanted| wanted.name == drive.name);
    let (Some(there), Some(wanted)) = (there, wanted) else { return };
    if there.medium == wanted.medium {
        return;
    }
    let recorded_medium = |record: &VmRecord| {
        let recorded = record.wanted.drives().iter().find(|recorded| recorded.name == drive.name)?;
        Some(recorded.medium == wanted.medium)
    };
    let is_drift = planning.subject.record.and_then(recorded_medium) == Some(true);
    let (cause, reason) = if is_drift {
        (Cause::Drift, "it was changed outside pinfold, or by the guest")
    } else {
        (Cause::Commit, "another medium is declared")
    };
    let change = Change {
        field: format!("spec.cdroms[{}].medium", drive.name),
        old: there.medium.clone(),
        new: wanted.medium.clone(),
    };
    let draft = plug_draft(planning, cause, change, reason.to_owned());
    if lost_device_model(domain) {
        planning.drafts.push(draft.waiting(ANOTHER_DEVICE_MODEL));
        return;
    }
    let problems = files::medium_problems(planning, wanted);
    let cdrom = Cdrom { target: drive.target.clone(), medium: wanted.medium.clone() };
    let request = Request::SetMedium { target: target(domain), cdrom };
    let set = |config: &mut VmConfig| config.set_medium(&drive.name, wanted.medium.as_ref());
    let edit = recorded(planning, set, set);
    plug(planning, domain, draft, request, [edit], problems);
}

fn attach_draft(planning: &Planning, is_known: bool, change: Change) -> Draft {
    let (cause, reason) = if is_known {
        (Cause::Drift, "it was detached outside pinfold")
    } else {
        (Cause::Commit, "it is declared, and not attached yet")
    };
    plug_draft(planning, cause, change, reason.to_owned())
}

fn plug_draft(planning: &Planning, cause: Cause, change: Change, reason: String) -> Draft {
    let action = if cause == Cause::Drift { Action::Repair } else { Action::Change };
    planning.draft(Rank::Change, action, Effect::Live).cause(cause).changes(vec![change]).reason(reason)
}

fn plug(
    planning: &mut Planning,
    domain: &Domain,
    draft: Draft,
    request: Request,
    edits: impl IntoIterator<Item = RecordEdit>,
    problems: Vec<Problem>,
) {
    let draft = if problems.is_empty() {
        debug_assert_eq!(domain.uuid, planning.subject.uuid);
        let operation = Operation::xen(request).on_success(edits);
        planning.attempt(draft, operation, "PlugFailed")
    } else {
        let on: Vec<String> = problems.into_iter().map(|problem| problem.note(&mut planning.report)).collect();
        draft.waiting(on.join("; "))
    };
    planning.drafts.push(draft);
}

/// The record once a device of ours has gone: the domain is built without it now, and it is wanted no more unless it stays wanted. What is
/// not as it was built is somebody else's device in its place.
fn taken_away(planning: &Planning, (unwanted, as_built): (bool, bool), remove: impl Fn(&mut VmConfig)) -> RecordEdit {
    let wanted = |config: &mut VmConfig| {
        if unwanted {
            remove(config);
        }
    };
    recorded(planning, wanted, |config| {
        if as_built {
            remove(config);
        }
    })
}

/// The record once a device has come or gone: what is wanted, and how the domain is built now.
fn recorded(planning: &Planning, wanted: impl Fn(&mut VmConfig), built: impl Fn(&mut VmConfig)) -> RecordEdit {
    let mut record = planning.subject.base_record(planning.world);
    wanted(&mut record.wanted);
    if let Some(intent) = &mut record.here.intent {
        built(&mut intent.config);
    }
    record.here.backoff = None;
    RecordEdit::Vm(Box::new(record))
}
