//! What other hands change: since when it is seen, who may have done it, how often it was put right, and when that ends.
//!
//! Each field that differs although it was so has its line in a record of its object. A field that is put right and changes again, [`FIGHT`] times
//! within [`WINDOW`], is fought over: pinfold stops, the guest runs on as it is, and a person decides. Counted is what was *seen* to be right again,
//! so that tries that fail count for nothing, and a daemon that dies counts nothing twice.

use crate::draft::{Draft, later, moment};
use crate::freeze::Frozen;
use crate::gate::let_through;
use crate::record::RECORD_VERSION;
use crate::status::Report;
use crate::world::World;
use crate::{Action, Cause, Change, Disposition, Item, ObjectRef, RecordEdit};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// So often a field is put right within [`WINDOW`] before it counts as fought over.
pub const FIGHT: usize = 5;
/// The time that corrections are counted in.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What is known of one object's drift: a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The object.
    pub object: ObjectRef,
    /// By field, as plans name it.
    pub fields: BTreeMap<String, DriftField>,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftField {
    /// What differs now; `None`: nothing.
    pub seen: Option<Seen>,
    /// When it was seen to be right again, within [`WINDOW`], oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Timestamp>,
    /// Since when it is fought over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fought: Option<Timestamp>,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What is found; `None`: nothing.
    pub found: Option<String>,
    /// What it should be; `None`: nothing.
    pub wanted: Option<String>,
    /// When, and who may have done it.
    #[serde(flatten)]
    pub sighting: Sighting,
}

/// When a difference was seen first, and who may have made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The wall clock's time of the observation that first had it.
    pub since: Timestamp,
    /// Who could have done it, at that moment: other programs that speak to Xen, and people who were logged in. Whoever writes the record fills
    /// it in; `None`: nobody has looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspects: Option<Vec<String>>,
}

impl Sighting {
    /// Since when, and whom it may be attributed to.
    pub fn text(&self) -> String {
        let who = match self.suspects.as_deref() {
            None => String::new(),
            Some([]) => "; nobody was logged in, and no other toolstack ran".to_owned(),
            Some(suspects) => format!("; then there: {}", suspects.join(", ")),
        };
        format!("since {}{who}", moment(self.since))
    }
}

/// Fields of an item that other hands changed. Without any it is about the whole of what it brings back.
fn fields(item: &Item) -> Vec<Change> {
    let whole = match item.action {
        Action::Create | Action::Start | Action::Resume => "its existence",
        Action::Settle | Action::Discard => "its record",
        other => crate::render::doing(other),
    };
    if item.changes.is_empty() {
        vec![Change { field: whole.to_owned(), old: None, new: None }]
    } else {
        item.changes.clone()
    }
}

fn key(object: &ObjectRef) -> Option<String> {
    Frozen::of(object).map(Frozen::key)
}

/// What is fought over is held, unless a person wants it put right once more.
pub(crate) fn hold_fights(world: &World, drafts: &mut [Draft], reports: &mut [Report]) {
    for draft in drafts.iter_mut().filter(|draft| draft.item.cause == Cause::Drift) {
        let waits = matches!(draft.item.disposition, Disposition::Now | Disposition::Waiting { .. });
        let Some(fight) = Fight::over(world, &draft.item).filter(|_| waits) else { continue };
        let own = draft.clone();
        let id = &own.item.id;
        if let Some(approval) = world.approval(id) {
            *draft = let_through(own, approval);
            continue;
        }
        let message = fight.message();
        if let Some(report) = reports.iter_mut().find(|report| report.object == own.item.object) {
            report.stalled("Fight", message.clone());
        }
        *draft = own.clone().held(format!("{message}; `pinfold approve {id}` puts it right once more"));
    }
}

/// A field that is fought over.
struct Fight<'a> {
    field: &'a str,
    since: Timestamp,
    suspects: Option<&'a Sighting>,
}

impl<'a> Fight<'a> {
    /// The first field of an item that is fought over.
    fn over(world: &World<'a>, item: &Item) -> Option<Self> {
        let record = world.observed.records.drift.get(&key(&item.object)?)?;
        fields(item).iter().find_map(|change| {
            let (field, known) = record.fields.get_key_value(&change.field)?;
            let since = known.fought.or_else(|| begins(known, world.observed.now))?;
            Some(Fight { field, since, suspects: known.seen.as_ref().map(|seen| &seen.sighting) })
        })
    }

    fn message(&self) -> String {
        let who = self.suspects.map(|sighting| format!(" ({})", sighting.text())).unwrap_or_default();
        format!(
            "somebody fights over {}: it was put right {FIGHT} times within {} minutes before {} and changed again{who}; pinfold leaves it as it is, and the guest runs on: find who does it",
            self.field,
            WINDOW.as_mins(),
            moment(self.since)
        )
    }
}

/// Whether corrections are so many that what differs now is a fight.
fn begins(field: &DriftField, now: Timestamp) -> Option<Timestamp> {
    (recent(field, now).count() >= FIGHT).then_some(now)
}

/// Corrections that count. Those of the future were counted by a clock that was set back since.
fn recent(field: &DriftField, now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    field.corrected.iter().copied().filter(move |at| *at <= now && now < later(*at, WINDOW))
}

/// Adds to items of drift since when it is seen, and answers what is to be written down.
pub(crate) fn note(world: &World, items: &mut [Item]) -> Vec<RecordEdit> {
    let records = &world.observed.records.drift;
    let now = world.observed.now;
    let mut differ: BTreeMap<String, (ObjectRef, Vec<Change>)> = BTreeMap::new();
    for item in items.iter_mut().filter(|item| item.cause == Cause::Drift) {
        let Some(key) = key(&item.object) else { continue };
        let changes = fields(item);
        let known = records.get(&key);
        let first = changes.iter().filter_map(|change| known?.fields.get(&change.field)?.seen.as_ref());
        let first = first.map(|seen| &seen.sighting).min_by_key(|sighting| sighting.since).cloned();
        // Where nothing can be written, the next observation would say another time.
        let is_written = world.observed.unwritable.is_none();
        item.drift = first.or_else(|| is_written.then_some(Sighting { since: now, suspects: None }));
        differ.entry(key).or_insert_with(|| (item.object.clone(), Vec::new())).1.extend(changes);
    }
    // What is busy, or cannot be seen, says nothing of what it was.
    let is_dark = world.domains.is_none() || world.cpupools.is_none();
    let keys: BTreeSet<&String> = differ.keys().chain(records.keys()).collect();
    let next = |key: &&String| {
        let last = records.get(*key);
        let object = differ.get(*key).map(|(object, _)| object).or_else(|| last.map(|last| &last.object))?;
        let changes = differ.get(*key).map_or(&[][..], |(_, changes)| changes);
        let is_settled = !is_dark && world.under_way(object).is_none();
        let next = follow(last, object, changes, is_settled, now);
        (next.as_ref() != last).then(|| RecordEdit::Drift((*key).clone(), next))
    };
    keys.iter().filter_map(next).collect()
}

/// The record of an object after an observation. `None`: nothing is left to know.
fn follow(
    last: Option<&DriftRecord>,
    object: &ObjectRef,
    changes: &[Change],
    is_settled: bool,
    now: Timestamp,
) -> Option<DriftRecord> {
    let mut fields = last.map(|last| last.fields.clone()).unwrap_or_default();
    for Change { field, old, new } in changes {
        let known = fields.entry(field.clone()).or_default();
        let is_other = known.seen.as_ref().is_none_or(|seen| seen.found != *old || seen.wanted != *new);
        if is_other {
            let sighting = Sighting { since: now, suspects: None };
            known.seen = Some(Seen { found: old.clone(), wanted: new.clone(), sighting });
        }
        known.fought = known.fought.or_else(|| begins(known, now));
    }
    let differs = |field: &String| changes.iter().any(|change| change.field == *field);
    for (_, known) in fields.iter_mut().filter(|(field, _)| is_settled && !differs(field)) {
        if known.seen.take().is_some() {
            known.corrected = recent(known, now).chain([now]).collect();
        }
    }
    // After a whole window of peace nobody fights any more.
    let is_over = |known: &DriftField| known.seen.is_none() && recent(known, now).next().is_none();
    if is_settled {
        fields.retain(|_, known| !is_over(known));
    }
    (!fields.is_empty()).then(|| DriftRecord { version: RECORD_VERSION, object: object.clone(), fields })
}
