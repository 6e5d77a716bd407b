//! A domain that runs and should: what can be changed while it does.
//!
//! A step writes the fields it changed to the record when it succeeded, so that what differs *and* is not yet recorded is ours to do (cause commit),
//! and what differs although it is recorded was changed by somebody else (drift).

use crate::classify::{Group, of_group, with_group};
use crate::config::VmConfig;
use crate::draft::{Draft, Rank, moment, next_backoff};
use crate::guest_ends::CRASH_LOOP;
use crate::place::{Problem, Spot, spot};
use crate::record::{Here, VmRecord};
use crate::vms::{Planning, target};
use crate::world::{POOL0, World, lives};
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, devices, digest};
use crate::{pause, requests, stop};
use protocol::{CpuSet, Domain, Placement, Reading, Request};

/// Everything that differs, each as an item; what is recorded besides, when nothing more is to be done.
pub(crate) fn plan_live(planning: &mut Planning, domain: &Domain) {
    if stop::withdrawn(planning, domain) {
        return;
    }
    let before = planning.drafts.len();
    rename(planning, domain);
    // Before its placement: a guest that stands still runs nowhere else.
    pause::hold_still(planning, domain);
    let placed = placement(planning, domain);
    if placed {
        pause::let_run(planning, domain);
    }
    sched(planning, domain);
    requests::memory(planning, domain);
    requests::vcpus(planning, domain);
    devices::plan_devices(planning, domain);
    note(planning, before);
}

/// What a group's step is called and caused by.
pub(crate) fn step(planning: &Planning, group: Group, changes: Vec<Change>, meddled: &str) -> Draft {
    let committed = planning
        .subject
        .record
        .is_none_or(|record| !of_group(&record.wanted, &planning.intentions.config, group).is_empty());
    let (action, cause, reason) = if committed {
        (Action::Change, Cause::Commit, "it is not as declared")
    } else {
        (Action::Repair, Cause::Drift, meddled)
    };
    planning.draft(Rank::Change, action, Effect::Live).cause(cause).changes(changes).reason(reason)
}

impl Planning<'_, '_> {
    /// Lets a step go now, unless it failed a short while ago.
    pub(crate) fn attempt(&mut self, draft: Draft, operation: Operation, reason: &str) -> Draft {
        let now = self.world.observed.now;
        let input = format!("{reason} {} {}", draft.item.id, digest::config_digest(&self.intentions.config));
        let last = self.subject.record.and_then(|record| record.here.backoff.as_ref());
        if let Some(last) = last.filter(|last| last.input == input) {
            self.report.stalled(&last.reason, last.message.clone());
            if last.waits(now) {
                self.report.due(last.until);
                let on = format!("the next try at {}, after {} failure(s)", moment(last.until), last.failures);
                return draft.waiting(on);
            }
        }
        let failed = RecordEdit::VmFailed(self.subject.uuid, next_backoff(now, last, reason, &input));
        draft.now(operation.on_failure(failed))
    }

    /// The record once the fields of these groups are so.
    pub(crate) fn recorded(&self, groups: &[Group]) -> RecordEdit {
        let record = self.subject.base_record(self.world);
        let wanted = groups
            .iter()
            .fold(record.wanted.clone(), |wanted, group| with_group(&wanted, &self.intentions.config, *group));
        let backoff = record.here.backoff.clone().filter(|backoff| backoff.reason == CRASH_LOOP);
        let here = Here { backoff, ..record.here.clone() };
        let is_power = groups.contains(&Group::Power);
        let declared_power = if is_power { self.subject.declared_power } else { record.declared_power };
        RecordEdit::Vm(Box::new(VmRecord { wanted, declared_power, here, ..record }))
    }

    pub(crate) fn attempt_live(&mut self, draft: Draft, request: Request, groups: &[Group]) {
        let operation = Operation::xen(request).on_success([self.recorded(groups)]);
        let draft = self.attempt(draft, operation, "ChangeFailed");
        self.drafts.push(draft);
    }
}

fn rename(planning: &mut Planning, domain: &Domain) {
    let name = planning.subject.name.to_string();
    let Some(old) = domain.name.clone().filter(|old| *old != name) else { return };
    let renamed = planning.subject.record.is_some_and(|record| record.name != planning.subject.name);
    let change = Change { field: "metadata.name".to_owned(), old: Some(old), new: Some(name.clone()) };
    let draft = planning
        .draft(Rank::Change, Action::Rename, Effect::Live)
        .cause(if renamed { Cause::Commit } else { Cause::Drift })
        .changes(vec![change])
        .reason(if renamed { "it has a new name" } else { "its domain was renamed outside pinfold" });
    let taken = planning
        .world
        .domains
        .unwrap_or_default()
        .iter()
        .find(|other| other.domid != domain.domid && lives(other) && other.name.as_deref() == Some(name.as_str()));
    if let Some(other) = taken {
        let message = format!("{} has the name {name} already", World::domain_name(other));
        planning.report.stalled("NameTaken", message.clone());
        planning.drafts.push(draft.waiting(message));
        return;
    }
    let record = VmRecord { name: planning.subject.name.clone(), ..planning.subject.base_record(planning.world) };
    let operation = Operation::xen(Request::RenameDomain { target: target(domain), name })
        .on_success([RecordEdit::Vm(Box::new(record))]);
    let draft = planning.attempt(draft, operation, "RenameFailed");
    planning.drafts.push(draft);
}

/// Pool and masks. Answers whether the domain is where it belongs.
pub(crate) fn placement(planning: &mut Planning, domain: &Domain) -> bool {
    let Reading::Known(vcpus) = &domain.vcpus else {
        planning.report.unknown("VcpusUnknown", "its vCPUs cannot be read at present");
        return false;
    };
    let Some(pools) = planning.world.cpupools else {
        planning.report.unknown("CpupoolsUnknown", "the host's cpupools are not known at present");
        return false;
    };
    let (from, to) =
        (pools.iter().find(|pool| Some(pool.poolid) == domain.poolid), spot(planning.cx, &planning.intentions.config));
    let meddled = "its placement was changed outside pinfold";
    let Spot { cpupool, poolid, mask, soft } = match to {
        Ok(spot) => spot,
        Err(problem) => return unplaced(planning, domain, problem, vcpus.len()),
    };
    let pool_name = |uuid, name: Option<&String>| match uuid {
        POOL0 => "Pool-0".to_owned(),
        number => name.cloned().unwrap_or_else(|| number.to_string()),
    };
    if domain.poolid != Some(poolid) {
        let to = pools.iter().find(|pool| pool.poolid == poolid);
        let change = Change {
            field: "cpupool".to_owned(),
            old: from.map(|pool| pool_name(pool.poolid, pool.name.as_ref())),
            new: to.map(|pool| pool_name(pool.poolid, pool.name.as_ref())),
        };
        let draft = step(planning, Group::Placement, vec![change], meddled);
        let soft = planning.intentions.config.soft_pins.is_some().then_some(soft);
        let placement =
            Placement { cpupool, hard: vec![mask; vcpus.len()], soft, sched: planning.intentions.config.sched };
        planning.attempt_live(
            draft,
            Request::MoveDomain { target: target(domain), placement },
            &[Group::Placement, Group::Sched],
        );
        return false;
    }
    let topology = &planning.world.topology;
    let is_wrong = |now: &CpuSet, wanted: &CpuSet| !topology.same_mask(now, wanted);
    let wrong = vcpus.iter().find(|vcpu| is_wrong(&vcpu.hard, &mask)).map(|vcpu| &vcpu.hard);
    let wrong_soft = vcpus.iter().filter_map(|vcpu| vcpu.soft.as_ref()).find(|now| is_wrong(now, &soft));
    if wrong.is_none() && wrong_soft.is_none() {
        return true;
    }
    let hard_change = wrong.map(|now| mask_change(planning.world, "hard affinity", now, &mask));
    let soft_change = wrong_soft.map(|now| mask_change(planning.world, "soft affinity", now, &soft));
    let draft = step(planning, Group::Placement, hard_change.into_iter().chain(soft_change).collect(), meddled);
    let soft = wrong_soft.map(|_| soft);
    let request = Request::SetAffinity { target: target(domain), hard: vec![mask; vcpus.len()], soft };
    planning.attempt_live(draft, request, &[Group::Placement]);
    wrong.is_none()
}

/// Where it belongs does not exist yet. While its partition is only changing shape, the domain is where it belongs.
fn unplaced(planning: &mut Planning, domain: &Domain, problem: Problem, vcpus: usize) -> bool {
    free_pool0(planning, domain, vcpus);
    let config = &planning.intentions.config;
    let partition = config.partition.as_ref().and_then(|name| planning.cx.layout.place(name));
    let pool = partition.and_then(|place| planning.world.cpupool(place.uuid));
    let inside = pool.is_some_and(|pool| Some(pool.poolid) == domain.poolid);
    let changes = planning.subject.record.map(|record| of_group(&record.wanted, config, Group::Placement));
    let draft = step(planning, Group::Placement, changes.unwrap_or_default(), "it is not where it belongs");
    let on = problem.note(&mut planning.report);
    if !inside {
        planning.drafts.push(draft.waiting(on));
    }
    false
}

pub(crate) fn mask_change(world: &World, which: &str, old: &CpuSet, new: &CpuSet) -> Change {
    Change {
        field: which.to_owned(),
        old: Some(world.topology.mask_text(old)),
        new: Some(world.topology.mask_text(new)),
    }
}

/// A domain in Pool-0 that waits for its partition, but is pinned to a pCPU that the partition waits for: it lets go of it.
fn free_pool0(planning: &mut Planning, domain: &Domain, vcpus: usize) {
    if !planning.cx.layout.remask.contains(&domain.domid) {
        return;
    }
    let all = planning.world.topology.all.clone();
    let change = Change { field: "hard affinity".to_owned(), old: None, new: Some("all".to_owned()) };
    let draft = planning
        .draft(Rank::Remask, Action::Change, Effect::Live)
        .changes(vec![change])
        .reason("it is pinned to a pCPU that a partition takes");
    let operation = Operation::xen(Request::SetAffinity { target: target(domain), hard: vec![all; vcpus], soft: None });
    let draft = planning.attempt(draft, operation, "ChangeFailed");
    planning.drafts.push(draft);
}

fn sched(planning: &mut Planning, domain: &Domain) {
    let wanted = planning.intentions.config.sched;
    let Reading::Known(found) = &domain.sched else {
        planning.report.unknown("SchedUnknown", "its weight and cap cannot be read at present");
        return;
    };
    let values = [("spec.cpu.weight", found.weight, wanted.weight), ("spec.cpu.cap", found.cap, wanted.cap)];
    let changes: Vec<Change> = values
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(field, old, new)| Change {
            field: field.to_owned(),
            old: Some(old.to_string()),
            new: Some(new.to_string()),
        })
        .collect();
    if !changes.is_empty() {
        let draft = step(planning, Group::Sched, changes, "its share of the processors was changed outside pinfold");
        planning.attempt_live(draft, Request::SetSched { target: target(domain), sched: wanted }, &[Group::Sched]);
    }
}

/// Groups that steps on the host bring about, and record.
const LIVE: [Group; 8] = [
    Group::Power,
    Group::Placement,
    Group::Sched,
    Group::Memory,
    Group::Vcpus,
    Group::Disks,
    Group::Nics,
    Group::Media,
];

/// Writes down what is wanted and needs no step on the host.
fn note(planning: &mut Planning, before: usize) {
    let Some(record) = planning.subject.record else { return };
    let steps = &planning.drafts[before..];
    if steps.is_empty() && is_noted(planning, record) {
        return;
    }
    // A step that can go writes its own part; the rest follows when it is done.
    if steps.iter().any(|draft| draft.item.operation.is_some()) {
        return;
    }
    let mut wanted: VmConfig = planning.intentions.config.clone();
    if !steps.is_empty() {
        for group in LIVE {
            wanted = with_group(&wanted, &record.wanted, group);
        }
    }
    let next = planning.next_record();
    let input = &planning.subject.manifest;
    let backoff = record
        .here
        .backoff
        .clone()
        .filter(|last| !steps.is_empty() || (last.reason == CRASH_LOOP && last.input == *input));
    let here = Here { ended: None, backoff, claiming: None, ..record.here.clone() };
    // A worker may have died after it renamed the domain: then no step is left that would record the name.
    let name = if steps.is_empty() { planning.subject.name.clone() } else { next.name.clone() };
    let declared_power = if steps.is_empty() { next.declared_power } else { record.declared_power };
    let next = VmRecord { name, wanted, off_by_guest: None, declared_power, here, ..next };
    if next == *record {
        return;
    }
    // What the host takes over at the next start is an item of its own; what only pinfold reads takes effect with this.
    let changes = of_group(&record.wanted, &next.wanted, Group::Policy);
    let action = if changes.is_empty() { Action::Settle } else { Action::Change };
    let draft = planning
        .draft(Rank::Record, action, Effect::Live)
        .changes(changes)
        .reason("nothing on the host differs; that is recorded");
    planning.drafts.push(draft.now(Operation::records(vec![RecordEdit::Vm(Box::new(next))])));
}

/// Whether the record says already what is wanted, when no step is to be done. Destructured whole: a new field does not compile until it is
/// decided here.
fn is_noted(planning: &Planning, record: &VmRecord) -> bool {
    let VmRecord {
        version: _,
        pool_id: _,
        uuid: _,
        name,
        defaults,
        wanted,
        manifest,
        off_by_guest,
        declared_power,
        saved: _,
        here,
    } = record;
    let Here { host: _, intent: _, ended, stopping: _, backoff, asked: _, claiming } = here;
    let subject = planning.subject;
    *name == subject.name
        && *defaults == subject.defaults
        && *wanted == planning.intentions.config
        && *manifest == subject.manifest
        && off_by_guest.is_none()
        && *declared_power == subject.declared_power
        && ended.is_none()
        && backoff.is_none()
        && claiming.is_none()
}
