//! What pinfold may do with a host and its VMs (`spec.mode`): everything, only what a person approves, or nothing.
//!
//! The stricter of host and VM counts. Modes are written down, so that a VM without a manifest, or a commit that cannot be read, keeps the last one.

use crate::classify::{Group, compare, of_group, with_group};
use crate::config::VmConfig;
use crate::consent::{Fate, removal_id};
use crate::create::Budget;
use crate::draft::{Draft, Rank};
use crate::freeze::as_recorded;
use crate::gate::{Gate, Rule};
use crate::record::{Approved, RECORD_VERSION, VmRecord};
use crate::status::Report;
use crate::subjects::Subject;
use crate::vms::{self, Context};
use crate::world::World;
use crate::{Action, Cause, Change, Effect, ObjectRef, Operation, RecordEdit, trash};
use protocol::Reading;
use schema::desired::Mode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The modes that were last declared: a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastModes {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The host's.
    pub host: Mode,
    /// Those of VMs that are not enforced.
    pub vms: BTreeMap<Uuid, Mode>,
}

/// The modes in force.
pub(crate) struct Modes {
    host: ObjectRef,
    now: LastModes,
    /// Why the modes of what is not declared cannot be told.
    unknown: Option<String>,
    /// Nothing is declared: the commit cannot be read.
    undeclared: bool,
    declared: Vec<Uuid>,
}

impl Modes {
    pub(crate) fn of(world: &World, subjects: &[Subject]) -> Self {
        let (last, unknown) = match &world.observed.records.modes {
            None => (None, None),
            Some(Reading::Known(last)) => (Some(last), None),
            Some(Reading::Unknown(cause)) => (None, Some(cause.message.clone())),
        };
        let host = match world.desired {
            Some(desired) => desired.hosts.get(&world.observed.host).and_then(|host| host.mode).unwrap_or_default(),
            None => last.map_or(Mode::Enforce, |last| last.host),
        };
        let declared: Vec<Uuid> =
            subjects.iter().filter(|one| one.fate == Fate::Declared).map(|one| one.uuid).collect();
        let vm = |one: &Subject| Some((one.uuid, world.desired?.vms.get(&one.name)?.mode.unwrap_or_default()));
        let mut vms: BTreeMap<Uuid, Mode> =
            subjects.iter().filter(|one| one.fate == Fate::Declared).filter_map(vm).collect();
        // As long as something of it is here.
        let is_kept =
            |uuid: &&Uuid| world.observed.records.vms.contains_key(uuid) || trash::of(world, **uuid).is_some();
        for uuid in last.iter().flat_map(|last| last.vms.keys()).filter(is_kept) {
            vms.entry(*uuid).or_insert_with(|| last.map_or(Mode::Enforce, |last| last.vms[uuid]));
        }
        vms.retain(|_, mode| *mode != Mode::Enforce);
        let now = LastModes { version: RECORD_VERSION, host, vms };
        Self { host: world.host(), now, unknown, undeclared: world.desired.is_none(), declared }
    }

    /// Everything is enforced.
    pub(crate) fn all_enforce(&self) -> bool {
        self.now.host == Mode::Enforce && self.now.vms.is_empty() && self.unknown.is_none()
    }

    /// Of a VM, with its host's.
    pub(crate) fn vm(&self, uuid: Uuid) -> Mode {
        let own = self.now.vms.get(&uuid).copied().unwrap_or_default();
        let own = if self.unknown.is_some() && !self.declared.contains(&uuid) { Mode::Observe } else { own };
        own.min(self.host_mode())
    }

    fn host_mode(&self) -> Mode {
        if self.undeclared && self.unknown.is_some() { Mode::Observe } else { self.now.host }
    }

    pub(crate) fn host_gate(&self) -> Option<Gate> {
        self.gate(self.host_mode(), &self.host)
    }

    pub(crate) fn vm_gate(&self, subject: &Subject) -> Option<Gate> {
        self.gate_of(&subject.object, subject.uuid)
    }

    /// The host's, when it is as strict.
    pub(crate) fn gate_of(&self, object: &ObjectRef, uuid: Uuid) -> Option<Gate> {
        let mode = self.vm(uuid);
        self.gate(mode, if mode == self.host_mode() { &self.host } else { object })
    }

    fn gate(&self, mode: Mode, whose: &ObjectRef) -> Option<Gate> {
        let (rule, message) = match (mode, &self.unknown) {
            (Mode::Enforce, _) => return None,
            (Mode::Plan, _) => (Rule::Plan, format!("`spec.mode` of {whose} is plan")),
            (Mode::Observe, Some(why)) => {
                (Rule::Observe, format!("what pinfold may do with it cannot be told, so nothing is done: {why}"))
            }
            (Mode::Observe, None) => (
                Rule::Observe,
                format!("`spec.mode` of {whose} is observe: nothing is done until a commit changes that"),
            ),
        };
        Some(Gate { rule, message, due: None })
    }

    /// Writes them down.
    pub(crate) fn note(&self, world: &World) -> Option<Draft> {
        let last = match &world.observed.records.modes {
            None => LastModes { version: RECORD_VERSION, host: Mode::Enforce, vms: BTreeMap::new() },
            Some(Reading::Known(last)) => last.clone(),
            // What cannot be read is not overwritten.
            Some(Reading::Unknown(_)) => return None,
        };
        if last == self.now {
            return None;
        }
        let draft = Draft::new(world, &self.host, Rank::Record, Action::Settle, Effect::Live);
        let edit = RecordEdit::Modes(self.now.clone());
        Some(draft.reason("another mode is in force; that is recorded").now(Operation::records(vec![edit])))
    }
}

/// A VM that is only looked at: what would be done is shown.
pub(crate) fn observe_vm<'w>(
    cx: &Context<'_, 'w>,
    subject: &Subject<'w>,
    budget: &Budget,
    gate: &Gate,
) -> (Vec<Draft>, Report) {
    let mut shadow = budget.clone();
    let (drafts, report) = vms::plan_vm(cx, subject, &mut shadow);
    // What began before is shown as under way.
    if cx.world.under_way(&subject.object).is_some() {
        return (drafts, report);
    }
    (drafts.into_iter().map(|draft| gate.hold(cx.world, draft)).collect(), report)
}

/// A VM that changes only as a person allows: it is planned as it was last recorded, with what was approved. Whoever approves a field approves
/// all the steps that it takes.
pub(crate) fn plan_vm<'w>(
    cx: &Context<'_, 'w>,
    subject: &Subject<'w>,
    budget: &mut Budget,
    gate: &Gate,
) -> (Vec<Draft>, Report) {
    let world = cx.world;
    let mut permitted = Permitted { gate, held: Vec::new(), approved: Vec::new() };
    let allowed = permitted.limit(world, subject);
    let (drafts, report) = vms::plan_vm(cx, &allowed, budget);
    let stays = |draft: Draft| match allowed.record {
        // What was never made has no record that anything could follow from.
        None if draft.item.cause == Cause::Commit => gate.hold(world, draft),
        _ => gate.as_it_stays(world, draft),
    };
    let mut drafts: Vec<Draft> = drafts.into_iter().map(stays).collect();
    for draft in &mut drafts {
        permitted.use_up(draft, subject);
    }
    // An order of a person's may bring about now what the manifest would bring about once approved.
    permitted.held.retain(|held| drafts.iter().all(|draft| draft.item.id != held.item.id));
    drafts.extend(permitted.held);
    (drafts, report)
}

/// What of a manifest may be brought about.
struct Permitted<'a> {
    gate: &'a Gate,
    held: Vec<Draft>,
    approved: Vec<(Part, String, Approved)>,
}

/// A part of a manifest that differs from the record.
#[derive(Clone, Debug)]
enum Part {
    Groups(Vec<Group>),
    Name,
    /// It starts although its guest switched it off.
    Start,
}

impl Permitted<'_> {
    /// The VM with what is held back as it was last recorded.
    fn limit<'w>(&mut self, world: &World<'w>, subject: &Subject<'w>) -> Subject<'w> {
        let is_approved = || world.grant(subject.uuid).is_some_and(|grant| grant.approved.is_some());
        match subject.fate {
            Fate::Removed if subject.consent.is_empty() && !is_approved() => {
                let id = removal_id(&subject.object);
                let draft = Draft::new(world, &subject.object, Rank::Stop, Action::Delete, Effect::Delete);
                let draft =
                    draft.reason(format!("nothing declares it any more; {}", trash::fate_text(&subject.config.disks)));
                self.held.push(draft.held(format!("{}; `pinfold approve {id}` removes it", self.gate.message)));
                as_recorded(subject).unwrap_or_else(|| subject.clone())
            }
            Fate::Declared => match subject.record {
                Some(record) => self.limit_declared(world, subject, record),
                None => subject.clone(),
            },
            Fate::Removed | Fate::Recorded | Fate::Orphaned { .. } => subject.clone(),
        }
    }

    fn limit_declared<'w>(&mut self, world: &World<'w>, subject: &Subject<'w>, record: &VmRecord) -> Subject<'w> {
        // The end of an override is no commit's.
        let power = record.declared_power.unwrap_or(record.wanted.power);
        let last = &VmConfig { power, ..record.wanted.clone() };
        let mut allowed = subject.clone();
        for groups in units(subject, last) {
            let draft = draft(world, subject, last, &groups);
            if !self.is_allowed(world, draft, Part::Groups(groups.clone())) {
                let back = |config, group: &Group| with_group(&config, last, *group);
                allowed.config = groups.iter().fold(allowed.config, back);
            }
        }
        if record.name != subject.name {
            let change = Change {
                field: "metadata.name".to_owned(),
                old: Some(record.name.to_string()),
                new: Some(subject.name.to_string()),
            };
            let draft = Draft::new(world, &subject.object, Rank::Change, Action::Rename, Effect::Live);
            if !self.is_allowed(world, draft.changes(vec![change]).reason("it has a new name"), Part::Name) {
                allowed.name = record.name.clone();
            }
        }
        if let Some(off) = record.off_by_guest.as_ref().filter(|off| off.manifest != subject.manifest)
            && allowed.config.power.has_domain()
        {
            let draft = Draft::new(world, &subject.object, Rank::Start, Action::Start, Effect::Create);
            let draft = draft.reason("its guest switched it off, and its manifest has changed since");
            if !self.is_allowed(world, draft, Part::Start) {
                allowed.manifest.clone_from(&off.manifest);
            }
        } else if !self.held.is_empty() {
            allowed.manifest.clone_from(&record.manifest);
        }
        allowed
    }

    fn is_allowed(&mut self, world: &World, draft: Draft, part: Part) -> bool {
        let id = draft.item.id.clone();
        if let Some(approval) = world.approval(&id) {
            self.approved.push((part, id, approval.given()));
            return true;
        }
        self.held.push(draft.held(format!("{}; `pinfold approve {id}` does it", self.gate.message)));
        false
    }

    /// An approval ends with the step that records what it was given for.
    fn use_up(&self, draft: &mut Draft, subject: &Subject) {
        let Some(operation) = &mut draft.item.operation else { return };
        let mut given = None;
        for edits in [&mut operation.before, &mut operation.on_success] {
            for (part, id, by) in &self.approved {
                if edits.iter().any(|edit| matches!(edit, RecordEdit::Vm(next) if part.is_in(next, subject))) {
                    edits.push(RecordEdit::UseApproval(id.clone()));
                    given = Some(by.clone());
                }
            }
        }
        if given.is_some() {
            draft.item.trail.approved = given;
        }
    }
}

impl Part {
    /// Whether a record says that it is wanted.
    fn is_in(&self, next: &VmRecord, subject: &Subject) -> bool {
        match self {
            Self::Groups(groups) => {
                groups.iter().all(|group| of_group(&next.wanted, &subject.config, *group).is_empty())
            }
            Self::Name => next.name == subject.name,
            Self::Start => next.off_by_guest.is_none(),
        }
    }
}

/// What differs, each part with what cannot be without it.
fn units(subject: &Subject, last: &VmConfig) -> Vec<Vec<Group>> {
    let config = &subject.config;
    let differs = |group: Group| !of_group(last, config, group).is_empty();
    // Targets beyond the old maximum come with the new one.
    let with_built = |group: Group| match group {
        Group::Vcpus => config.vcpus_online > last.vcpus_max,
        Group::Memory => config.memory_kib > last.memory_max_kib,
        _ => false,
    };
    let built = differs(Group::Built);
    // What a person orders needs no other person.
    let is_ordered = |group: Group| group == Group::Power && subject.overridden.is_some();
    let own = Group::ALL.into_iter().filter(|group| {
        *group != Group::Built && differs(*group) && !is_ordered(*group) && !(built && with_built(*group))
    });
    let mut units: Vec<Vec<Group>> = own.map(|group| vec![group]).collect();
    if built {
        let later = [Group::Vcpus, Group::Memory].into_iter().filter(|group| with_built(*group));
        units.push([Group::Built].into_iter().chain(later).collect());
    }
    units
}

fn draft(world: &World, subject: &Subject, last: &VmConfig, groups: &[Group]) -> Draft {
    let fields: Vec<_> =
        compare(last, &subject.config).into_iter().filter(|field| groups.contains(&field.group)).collect();
    let effect = fields.iter().map(|field| field.effect).max().unwrap_or(Effect::Live);
    let (rank, action) = match effect {
        Effect::Stop => (Rank::Stop, Action::Stop),
        _ => (Rank::Change, Action::Change),
    };
    let changes = fields.into_iter().map(|field| field.change).collect();
    Draft::new(world, &subject.object, rank, action, effect).changes(changes).reason("it is not as declared")
}
