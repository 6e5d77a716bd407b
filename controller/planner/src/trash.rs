//! What lies in the trash: brought back when its file is, with the same disks only, and purged when its date has come.
//!
//! Only the VM's own folder lies there. Its disks stay where they are, so that what was recorded of each says whether it is still the same.

use crate::config::Disk;
use crate::draft::{Draft, Rank, moment};
use crate::power::TRASH_DAYS;
use crate::record::{Approval, Approved, VmRecord};
use crate::vms::Planning;
use crate::world::World;
use crate::{Action, Cause, Change, Effect, ObjectKind, ObjectRef, Operation, RecordEdit, Work};
use jiff::Timestamp;
use protocol::Reading;
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use uuid::Uuid;

/// How long the wall clock must have gone without a jump before its date counts, in milliseconds: a day, in which a wrong clock can be noticed.
const STEADY_MS: u64 = 24 * 60 * 60 * 1000;

/// What becomes of a VM that is deleted, for people: where it goes, until when, and what of its disks.
pub(crate) fn fate_text(disks: &[Disk]) -> String {
    let paths: Vec<&str> = disks.iter().map(|disk| disk.path.as_str()).collect();
    let disks = match paths.as_slice() {
        [] => "it has no disks".to_owned(),
        [one] => format!("its disk stays: {one}"),
        more => format!("its disks stay: {}", more.join(", ")),
    };
    format!("its record goes to the trash for {TRASH_DAYS} days; {disks}")
}

/// A VM's folder in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trashed {
    /// The VM.
    pub uuid: Uuid,
    /// Its name when it was removed.
    pub name: Name,
    /// Not purged before.
    pub purge_after: Timestamp,
    /// Its record.
    pub record: Reading<VmRecord>,
    /// How it came here; `None` when an earlier pinfold put it here, which noted nothing.
    pub removal: Option<Reading<Removal>>,
    /// What else lies in the folder. pinfold did not put it there, and purges nothing while it does.
    pub others: Vec<String>,
    /// Bytes of everything in it.
    pub size: u64,
}

/// How a VM came into the trash. Lies in its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// [`crate::record::RECORD_VERSION`].
    pub version: u32,
    /// The VM.
    pub uuid: Uuid,
    /// When.
    pub at: Timestamp,
    /// Not purged before.
    pub purge_after: Timestamp,
    /// The commit that removed it.
    pub commit: Option<String>,
    /// Who wrote that commit.
    pub author: Option<String>,
    /// Who allowed it, when the commit alone did not.
    pub approved: Option<Approved>,
    /// Its disks.
    pub disks: Vec<TrashedDisk>,
}

/// A disk of a removed VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashedDisk {
    /// File or device in dom0.
    pub path: String,
    /// What it was.
    pub mark: Reading<DiskMark>,
}

/// What tells a disk from another one in its place, without reading all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// `file` or `block device`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// Which file or device it is: `inode 12 of` when it was made, or the device's own name for itself. `None` when it has none.
    pub id: Option<String>,
    /// What its beginning says it is: `ext4 UUID`, `gpt UUID`, or a digest where it says nothing. `None` when that was not read.
    pub content: Option<String>,
}

impl fmt::Display for DiskMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.kind, self.size)?;
        [&self.id, &self.content].into_iter().flatten().try_for_each(|part| write!(f, ", {part}"))
    }
}

/// What differs between the disks that a VM had and those that it would come back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// All are the same.
    Same,
    /// Nobody has looked at these yet.
    NotLooked(Vec<String>),
    /// Each that differs: field, what was, what is. One that cannot be read is not the same.
    Differs(Vec<Change>),
}

/// Compares the disks of a removed VM with those that are named now, by what was found at their paths.
pub fn compare(removal: &Removal, named: &[&str], found: impl Fn(&str) -> Option<Reading<DiskMark>>) -> Match {
    let had = |path: &str| removal.disks.iter().any(|disk| disk.path == path);
    let mut not_looked = Vec::new();
    let mut changes = Vec::new();
    for TrashedDisk { path, mark } in &removal.disks {
        let field = format!("disk {path}");
        if !named.contains(&path.as_str()) {
            changes.push(Change { field, old: Some(text(mark)), new: None });
            continue;
        }
        match found(path) {
            None => not_looked.push(path.clone()),
            Some(now) if mark.known().is_some_and(|was| now.known() == Some(was)) => {}
            Some(now) => changes.push(Change { field, old: Some(text(mark)), new: Some(text(&now)) }),
        }
    }
    let others = named.iter().filter(|path| !had(path));
    changes.extend(others.map(|path| Change {
        field: format!("disk {path}"),
        old: None,
        new: Some("another than it had".to_owned()),
    }));
    match (changes.is_empty(), not_looked.is_empty()) {
        (false, _) => Match::Differs(changes),
        (true, false) => Match::NotLooked(not_looked),
        (true, true) => Match::Same,
    }
}

fn text(mark: &Reading<DiskMark>) -> String {
    match mark {
        Reading::Known(mark) => mark.to_string(),
        Reading::Unknown(cause) => format!("unknown: {}", cause.message),
    }
}

/// A declared VM whose folder lies in the trash.
pub(crate) fn plan_restore(planning: &mut Planning, folder: &str, trashed: &Trashed) {
    let shown = format!("`trash/{folder}`");
    let purge = format!("`pinfold trash purge {}` has it made anew", planning.subject.uuid);
    let Reading::Known(record) = &trashed.record else {
        if let Reading::Unknown(cause) = &trashed.record {
            let message = format!(
                "its folder lies in the trash ({shown}), and its record cannot be read: {}; or {purge}",
                cause.message
            );
            planning.report.unknown("TrashUnknown", message);
        }
        return;
    };
    if record.pool_id != planning.world.pool_id || record.here.host != planning.world.observed.host {
        let message = format!("its folder in the trash ({shown}) is of another Pool or host; move it away, or {purge}");
        planning.report.stalled("TrashForeign", message);
        return;
    }
    let disks = disks(planning, trashed);
    let changes = if let Disks::Others(changes) = &disks { changes.clone() } else { Vec::new() };
    let draft = planning
        .draft(Rank::Record, Action::Restore, Effect::Create)
        .changes(changes)
        .reason(format!("its file is back; it has lain in the trash since {}", since(trashed)));
    let id = draft.item.id.clone();
    let given = planning.world.approval(&id).map(Approval::given);
    let why = match disks {
        Disks::Same => None,
        Disks::NotLooked(paths) => {
            let on = format!("its disks are compared with those that it had once the commit is in force ({paths})");
            planning.drafts.push(draft.waiting(on));
            return;
        }
        Disks::Others(_) => Some("its disks are not those that it had; put them back".to_owned()),
        Disks::Unknown(why) => Some(why),
    };
    if let Some(why) = why.filter(|_| given.is_none()) {
        let until =
            format!("{why}, or `pinfold approve {id}` brings it back with the disks as they are now, or {purge}");
        planning.drafts.push(draft.held(until));
        return;
    }
    // The approval lasts until the folder is back: a daemon that dies before has not used it up.
    let used: Vec<RecordEdit> = given.iter().map(|_| RecordEdit::UseApproval(id.clone())).collect();
    let cause = if given.is_some() { Cause::Verb } else { Cause::Commit };
    let work = Work::Restore { uuid: trashed.uuid, folder: folder.to_owned() };
    let operation = Operation { before: Vec::new(), work, on_success: used, on_failure: Vec::new() };
    planning.drafts.push(draft.cause(cause).approved(given).now(operation));
}

enum Disks {
    Same,
    NotLooked(String),
    Others(Vec<Change>),
    /// Nobody can say what they were.
    Unknown(String),
}

fn disks(planning: &Planning, trashed: &Trashed) -> Disks {
    let named: Vec<&str> = planning.intentions.config.disks.iter().map(|disk| disk.path.as_str()).collect();
    let removal = match &trashed.removal {
        Some(Reading::Known(removal)) => removal,
        Some(Reading::Unknown(cause)) => {
            return Disks::Unknown(format!("what its disks were cannot be read: {}", cause.message));
        }
        None if named.is_empty() && had_none(trashed) => return Disks::Same,
        None => return Disks::Unknown("an earlier pinfold removed it and did not note what its disks were".to_owned()),
    };
    let marks = &planning.world.observed.dom0.marks;
    match compare(removal, &named, |path| marks.get(path).cloned()) {
        Match::Same => Disks::Same,
        Match::NotLooked(paths) => Disks::NotLooked(paths.join(", ")),
        Match::Differs(changes) => Disks::Others(changes),
    }
}

fn had_none(trashed: &Trashed) -> bool {
    trashed.record.known().is_some_and(|record| record.wanted.disks.is_empty())
}

/// When it came there, and by whose commit.
fn since(trashed: &Trashed) -> String {
    let Some(removal) = trashed.removal.as_ref().and_then(Reading::known) else { return "an unknown time".to_owned() };
    let commit =
        removal.commit.iter().map(|commit| format!(", by commit {}", commit.chars().take(12).collect::<String>()));
    std::iter::once(moment(removal.at)).chain(commit).collect()
}

/// What has lain there past its date. By date alone, never to make room, and by a clock that nobody has set lately.
pub(crate) fn purges(world: &World) -> Vec<Draft> {
    let observed = world.observed;
    let Some(desired) = world.desired else { return Vec::new() };
    if observed.uptime.is_none_or(|uptime| uptime.steady_ms < STEADY_MS) {
        return Vec::new();
    }
    let declared: BTreeSet<Uuid> = desired.vms.values().map(|vm| vm.uuid(world.pool_id)).collect();
    let due = observed.records.trash.iter().filter(|(_, trashed)| {
        trashed.purge_after <= observed.now
            && trashed.others.is_empty()
            && matches!(trashed.record, Reading::Known(_))
            && !matches!(trashed.removal, Some(Reading::Unknown(_)))
            && world.vm_record(trashed.uuid).is_none()
            && !declared.contains(&trashed.uuid)
    });
    let mut seen = BTreeSet::new();
    due.filter(|(_, trashed)| seen.insert(trashed.uuid))
        .map(|(folder, trashed)| purge(world, folder, trashed))
        .collect()
}

/// The item is signed by whoever removed the VM.
fn purge(world: &World, folder: &str, trashed: &Trashed) -> Draft {
    let kind = ObjectKind::VirtualMachine;
    let object = ObjectRef { kind, name: trashed.name.to_string(), uuid: Some(trashed.uuid) };
    let operation = Operation {
        before: Vec::new(),
        work: Work::Purge { folder: folder.to_owned() },
        on_success: Vec::new(),
        on_failure: Vec::new(),
    };
    let mut draft = Draft::new(world, &object, Rank::Record, Action::Purge, Effect::Delete);
    let removal = trashed.removal.as_ref().and_then(Reading::known);
    draft.item.commit = removal.and_then(|removal| removal.commit.clone());
    draft.item.trail.author = removal.and_then(|removal| removal.author.clone());
    draft.item.trail.approved = removal.and_then(|removal| removal.approved.clone());
    let until = moment(trashed.purge_after);
    let text =
        format!("it was kept in the trash until {until}; its record goes for good, its disks stay where they are");
    draft.reason(text).now(operation)
}

/// The VM's folder in the trash; of several, the one that is kept longest.
pub(crate) fn of<'a>(world: &World<'a>, uuid: Uuid) -> Option<(&'a str, &'a Trashed)> {
    let all = world.observed.records.trash.iter().filter(|(_, trashed)| trashed.uuid == uuid);
    all.max_by_key(|(folder, trashed)| (trashed.purge_after, *folder))
        .map(|(folder, trashed)| (folder.as_str(), trashed))
}
