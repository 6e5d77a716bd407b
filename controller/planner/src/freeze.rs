//! Frozen objects: what a commit or drift asks for waits for a person, what guests do goes on as it was last recorded.
//!
//! A freeze ends by itself. Whatever cannot be read of it counts as in force: nothing is changed by mistake, and the message says what ends it.

use crate::consent::Fate;
use crate::create::Budget;
use crate::draft::{Draft, later, moment};
use crate::gate::{Gate, Rule, news};
use crate::patience;
use crate::record::UpSince;
use crate::status::Report;
use crate::subjects::Subject;
use crate::vms::{self, Context};
use crate::world::World;
use crate::{ObjectKind, ObjectRef, Observed};
use jiff::{SignedDuration, Timestamp};
use protocol::Reading;
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

/// The freezes in force, as what they do.
pub(crate) fn in_force(world: &World) -> BTreeMap<Frozen, Gate> {
    let records = &world.observed.records.freezes;
    let gate = |(key, reading): (&String, _)| Some((Frozen::parse(key)?, gate(world, key, reading)?));
    records.iter().filter_map(gate).collect()
}

fn gate(world: &World, key: &str, reading: &Reading<Freeze>) -> Option<Gate> {
    let freeze = match reading {
        Reading::Known(freeze) => freeze,
        Reading::Unknown(cause) => {
            let message =
                format!("frozen, and nobody can say until when: {}; `pinfold unfreeze` ends it ({key})", cause.message);
            return Some(Gate { rule: Rule::Frozen, message, due: None });
        }
    };
    let until = ends(freeze, world.observed.now, patience::up(world))?;
    let Freeze { object, actor, reason, .. } = freeze;
    let message = format!("frozen until {} by {actor}: {reason}; `pinfold unfreeze {object}` ends it", moment(until));
    Some(Gate { rule: Rule::Frozen, message, due: Some(until) })
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
        drafts.extend(own.into_iter().map(|draft| gate.as_it_stays(cx.world, draft)));
        report = as_it_is;
    }
    let news = news(wanted, &drafts);
    drafts.extend(news.map(|draft| gate.hold(cx.world, draft)));
    (drafts, report)
}

/// The VM as its record last wanted it.
pub(crate) fn as_recorded<'w>(subject: &Subject<'w>) -> Option<Subject<'w>> {
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
        declared_power: record.declared_power,
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
