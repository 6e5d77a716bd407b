//! Frozen objects: what a commit or drift asks for waits for a person, what guests do goes on as it was last recorded.
//!
//! A freeze ends by itself. Whatever cannot be read of it counts as in force: nothing is changed by mistake, and the message says what ends it.

use crate::config::VmConfig;
use crate::consent::Fate;
use crate::create::Budget;
use crate::draft::{Draft, later, moment};
use crate::partitions::{Layout, Partition};
use crate::patience;
use crate::record::UpSince;
use crate::status::Report;
use crate::subjects::Subject;
use crate::vms::{self, Context};
use crate::world::World;
use crate::{Action, Cause, Disposition, Item, ObjectKind, ObjectRef, Observed, cpupools, planning};
use jiff::{SignedDuration, Timestamp};
use protocol::Reading;
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A person's order to leave an object as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// [`crate::record::RECORD_VERSION`].
    pub version: u32,
    /// What is frozen.
    pub object: ObjectRef,
    /// Since when.
    pub since: Timestamp,
    /// Until when, should nobody set the clock.
    pub until: Timestamp,
    /// When it began, by the clock that nobody sets.
    pub up: Option<UpSince>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What can be frozen, by an identity that a new name does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frozen {
    /// Everything of the host.
    Host,
    /// A partition's cores, and every VM that is or belongs in it.
    Partition(Uuid),
    /// A VM.
    Vm(Uuid),
}

impl Frozen {
    /// What an object is, if it can be frozen.
    pub fn of(object: &ObjectRef) -> Option<Self> {
        match (object.kind, object.uuid) {
            (ObjectKind::Host, _) => Some(Self::Host),
            (ObjectKind::CorePartition, Some(uuid)) => Some(Self::Partition(uuid)),
            (ObjectKind::VirtualMachine, Some(uuid)) => Some(Self::Vm(uuid)),
            _ => None,
        }
    }

    /// The name of its record.
    pub fn key(self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Partition(uuid) => format!("cp--{uuid}"),
            Self::Vm(uuid) => format!("vm--{uuid}"),
        }
    }

    /// What a record of that name freezes.
    pub fn parse(key: &str) -> Option<Self> {
        match key.split_once("--") {
            None => (key == "host").then_some(Self::Host),
            Some(("cp", uuid)) => uuid.parse().ok().map(Self::Partition),
            Some(("vm", uuid)) => uuid.parse().ok().map(Self::Vm),
            Some(_) => None,
        }
    }
}

/// Records of freezes whose time is over.
pub fn over(observed: &Observed) -> Vec<(&str, &Freeze)> {
    let boot_id = observed.xen.known().map(|xen| xen.hypervisor.boot_id);
    let up = boot_id.zip(observed.uptime).map(|(boot_id, uptime)| UpSince { boot_id, ms: uptime.ms });
    let freezes = observed.records.freezes.iter();
    freezes
        .filter_map(|(key, freeze)| Some((key.as_str(), freeze.known()?)))
        .filter(|(_, freeze)| ends(freeze, observed.now, up).is_none())
        .collect()
}

/// When it ends; `None` when it has.
fn ends(freeze: &Freeze, now: Timestamp, up: Option<UpSince>) -> Option<Timestamp> {
    patience::lasts(now, up, freeze.up, freeze.since, freeze.until)
}

/// The freezes in force.
pub(crate) struct Freezes {
    gates: BTreeMap<Frozen, Gate>,
    /// Partitions by name.
    partitions: BTreeMap<Name, Uuid>,
}

/// What keeps an object as it is.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// Until when, by whom and why, and what ends it.
    message: String,
    due: Option<Timestamp>,
}

impl Freezes {
    pub(crate) fn of(world: &World, partitions: &[Partition]) -> Self {
        let records = &world.observed.records.freezes;
        let gate = |(key, reading): (&String, _)| Some((Frozen::parse(key)?, Gate::of(world, key, reading)?));
        let gates: BTreeMap<Frozen, Gate> = records.iter().filter_map(gate).collect();
        let named = |partition: &Partition| (partition.name.clone(), partition.uuid);
        let partitions = if gates.is_empty() { BTreeMap::new() } else { partitions.iter().map(named).collect() };
        Self { gates, partitions }
    }

    fn get(&self, frozen: Frozen) -> Option<&Gate> {
        self.gates.get(&frozen).or_else(|| self.gates.get(&Frozen::Host))
    }

    pub(crate) fn host(&self) -> Option<&Gate> {
        self.gates.get(&Frozen::Host)
    }

    /// By itself, by its host, or by a partition that it is in or belongs in.
    pub(crate) fn vm(&self, world: &World, subject: &Subject) -> Option<&Gate> {
        if self.gates.is_empty() {
            return None;
        }
        let declared = self.named(&subject.config);
        let within = || {
            let mut homes = declared.into_iter().chain(self.homes(world, subject));
            homes.find_map(|uuid| self.gates.get(&Frozen::Partition(uuid)))
        };
        self.get(Frozen::Vm(subject.uuid)).or_else(within)
    }

    /// By itself, by its host, or by a VM in it, whose cores are the partition's.
    fn partition(&self, world: &World, uuid: Uuid, subjects: &[Subject]) -> Option<&Gate> {
        let is_in = |subject: &&Subject| self.homes(world, subject).contains(&uuid);
        let of_vm = |subject: &Subject| self.gates.get(&Frozen::Vm(subject.uuid));
        self.get(Frozen::Partition(uuid)).or_else(|| subjects.iter().filter(is_in).find_map(of_vm))
    }

    /// The partitions that a VM is in: where its domain is, and where it was last wanted.
    fn homes(&self, world: &World, subject: &Subject) -> Vec<Uuid> {
        let is_home = |poolid: u32| world.cpupools?.iter().find(|pool| pool.poolid == poolid)?.uuid;
        let present = subject.domains.iter().filter_map(|domain| is_home(domain.poolid?));
        present.chain(subject.record.and_then(|record| self.named(&record.wanted))).collect()
    }

    fn named(&self, config: &VmConfig) -> Option<Uuid> {
        self.partitions.get(config.partition.as_ref()?).copied()
    }

    /// Partitions: those that are frozen as they were last recorded, so that VMs find their places there; what the commit wants of them waits.
    pub(crate) fn plan_partitions<'w>(
        &self,
        world: &World<'w>,
        subjects: &[Subject],
        declared: Vec<Partition<'w>>,
    ) -> (Vec<Draft>, Vec<Report>, Layout) {
        let plan = |partitions: &[Partition]| {
            cpupools::plan_partitions(world, partitions, &planning::homes(subjects, partitions))
        };
        if self.gates.is_empty() {
            return plan(&declared);
        }
        let gate = |object: &ObjectRef| match Frozen::of(object) {
            Some(Frozen::Partition(uuid)) => self.partition(world, uuid, subjects),
            _ => self.host(),
        };
        let (wanted, said, _) = plan(&declared);
        let as_it_is = |partition: Partition<'w>| match gate(&partition.object) {
            Some(_) => partition.into_recorded(world),
            None => Some(partition),
        };
        let (own, mut reports, layout) = plan(&declared.into_iter().filter_map(as_it_is).collect::<Vec<_>>());
        let mut drafts: Vec<Draft> =
            own.into_iter().map(|draft| as_it_stays(gate(&draft.item.object), draft)).collect();
        let news = news(wanted, &drafts);
        drafts.extend(news.filter_map(|draft| Some(gate(&draft.item.object)?.hold(draft))));
        // One that was never made has nothing recorded.
        let is_new = |report: &Report| reports.iter().all(|other| other.object != report.object);
        let new: Vec<Report> = said.into_iter().filter(is_new).collect();
        reports.extend(new);
        for report in &mut reports {
            if let Some(gate) = gate(&report.object) {
                gate.report(report);
            }
        }
        (drafts, reports, layout)
    }

    /// What would take away what lies in the trash waits.
    pub(crate) fn purges(&self, drafts: Vec<Draft>) -> impl Iterator<Item = Draft> {
        let hold = |draft: Draft| match Frozen::of(&draft.item.object).and_then(|frozen| self.get(frozen)) {
            Some(gate) => gate.hold(draft),
            None => draft,
        };
        drafts.into_iter().map(hold)
    }
}

impl Gate {
    fn of(world: &World, key: &str, reading: &Reading<Freeze>) -> Option<Self> {
        let freeze = match reading {
            Reading::Known(freeze) => freeze,
            Reading::Unknown(cause) => {
                let message = format!(
                    "frozen, and nobody can say until when: {}; `pinfold unfreeze` ends it ({key})",
                    cause.message
                );
                return Some(Self { message, due: None });
            }
        };
        let until = ends(freeze, world.observed.now, patience::up(world))?;
        let Freeze { object, actor, reason, .. } = freeze;
        let message =
            format!("frozen until {} by {actor}: {reason}; `pinfold unfreeze {object}` ends it", moment(until));
        Some(Self { message, due: Some(until) })
    }

    /// Says so.
    pub(crate) fn report(&self, report: &mut Report) {
        report.frozen(self.message.clone());
        if let Some(due) = self.due {
            report.due(due);
        }
    }

    /// What would go waits for the end of the freeze. An approval does not let it through: what takes several steps would stop half-way.
    fn hold(&self, draft: Draft) -> Draft {
        match draft.item.disposition {
            Disposition::Held { .. } | Disposition::AtNextStart => draft,
            Disposition::Now | Disposition::Waiting { .. } => draft.held(self.message.clone()),
        }
    }
}

/// A frozen VM is planned twice: as it was last recorded, which goes on without what would undo somebody's hand; and as the commit says, which is
/// shown and waits.
pub(crate) fn plan_vm<'w>(
    cx: &Context<'_, 'w>,
    subject: &Subject<'w>,
    budget: &mut Budget,
    gate: &Gate,
) -> (Vec<Draft>, Report) {
    let mut shadow = budget.clone();
    let (wanted, mut report) = vms::plan_vm(cx, subject, &mut shadow);
    let mut drafts = Vec::new();
    if let Some(recorded) = as_recorded(subject) {
        let (own, as_it_is) = vms::plan_vm(cx, &recorded, budget);
        drafts.extend(own.into_iter().map(|draft| as_it_stays(Some(gate), draft)));
        report = as_it_is;
    }
    let news = news(wanted, &drafts);
    drafts.extend(news.map(|draft| gate.hold(draft)));
    gate.report(&mut report);
    (drafts, report)
}

/// What follows from the records alone goes on, but for the repair of what other hands changed.
fn as_it_stays(gate: Option<&Gate>, draft: Draft) -> Draft {
    match gate {
        Some(gate) if draft.item.cause == Cause::Drift => gate.hold(draft),
        _ => draft,
    }
}

/// What a commit, a foreign hand or a verb wants that the records do not.
fn news(wanted: Vec<Draft>, own: &[Draft]) -> impl Iterator<Item = Draft> + use<> {
    let known: Vec<(Action, String)> = own.iter().map(|draft| (draft.item.action, draft.item.id.clone())).collect();
    let is_known = move |item: &Item| known.iter().any(|(action, id)| *action == item.action && *id == item.id);
    let is_asked_for = |item: &Item| matches!(item.cause, Cause::Commit | Cause::Drift | Cause::Verb);
    wanted.into_iter().filter(move |draft| is_asked_for(&draft.item) && !is_known(&draft.item))
}

/// The VM as its record last wanted it.
fn as_recorded<'w>(subject: &Subject<'w>) -> Option<Subject<'w>> {
    let record = subject.record?;
    Some(Subject {
        object: subject.object.clone(),
        uuid: subject.uuid,
        name: record.name.clone(),
        fate: Fate::Recorded,
        consent: Vec::new(),
        config: record.wanted.clone(),
        defaults: record.defaults.clone(),
        manifest: record.manifest.clone(),
        record: Some(record),
        domains: subject.domains.clone(),
        dying: subject.dying.clone(),
        overridden: None,
    })
}

/// A freeze from now on.
pub fn freeze(
    object: ObjectRef,
    span: SignedDuration,
    now: Timestamp,
    up: Option<UpSince>,
    by: (&str, &str),
) -> Freeze {
    let (actor, reason) = (by.0.to_owned(), by.1.to_owned());
    let version = crate::record::RECORD_VERSION;
    Freeze { version, object, since: now, until: later(now, span), up, actor, reason }
}
