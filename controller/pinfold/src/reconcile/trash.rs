//! The trash by hand: bringing a VM back without a commit, and letting one go before its date.

use super::journal::{Note, Reason};
use super::verb::Verb;
use host::Host;
use jiff::Timestamp;
use planner::record::{Grants, Records};
use planner::trash::{Match, Trashed, compare};
use planner::{ObjectKind, ObjectRef};
use protocol::Reading;
use std::collections::BTreeSet;

/// What a verb did: about what, and a sentence.
type Done = Result<(Option<ObjectRef>, String), String>;

/// Obeys a verb about the trash. `announce` writes down what is about to be done.
pub(super) fn obey(verb: &Verb, host: &dyn Host, announce: &dyn Fn(Note) -> Result<(), String>) -> Done {
    // As it is now: the last pass may be older than the last verb.
    let records = match host.store().records() {
        Reading::Known(records) => records,
        Reading::Unknown(cause) => return Err(format!("the records cannot be read: {}", cause.message)),
    };
    match verb {
        Verb::TrashRestore { what, any_disks, .. } => restore(what, *any_disks, host, &records, announce),
        Verb::TrashPurge { what, older_than, .. } => purge(what.as_deref(), *older_than, host, &records, announce),
        _ => Err("this verb is not about the trash".to_owned()),
    }
}

fn restore(
    what: &str,
    any_disks: bool,
    host: &dyn Host,
    records: &Records,
    announce: &dyn Fn(Note) -> Result<(), String>,
) -> Done {
    let (folder, trashed) = match named(records, what).as_slice() {
        [one] => *one,
        [] => return Err(none(what)),
        several => {
            return Err(format!(
                "{} lie in the trash under this name: name one by its UUID, or its folder: {}",
                several.len(),
                folders(several)
            ));
        }
    };
    let Reading::Known(record) = &trashed.record else {
        return Err(format!("the record of {} in the trash cannot be read{}", trashed.name, why(&trashed.record)));
    };
    if records.vms.contains_key(&trashed.uuid) {
        return Err(format!("a VM with the identity of {} is here already ({})", trashed.name, trashed.uuid));
    }
    let same_name = records.vms.values().filter_map(Reading::known).find(|other| other.name == record.name);
    if let Some(other) = same_name {
        return Err(format!("another VM is called {} now ({}): rename that one first", record.name, other.uuid));
    }
    if !any_disks {
        fits(host, trashed, &record.wanted.disks.iter().map(|disk| disk.path.as_str()).collect::<Vec<_>>())?;
    }
    let grants = match &records.grants {
        None => None,
        Some(Reading::Known(grants)) => Some(grants),
        Some(Reading::Unknown(cause)) => {
            return Err(format!("the grants cannot be read, so it might be removed again at once: {}", cause.message));
        }
    };
    announce(note(trashed, format!("about to bring {} back from the trash (`{folder}`)", trashed.name)))?;
    // The permission to remove it goes first: left in force, it would send it back.
    if let Some(grants) = grants.filter(|grants| grants.removed.contains_key(&trashed.uuid)) {
        let mut removed = grants.removed.clone();
        removed.remove(&trashed.uuid);
        host.store().write_grants(&Grants { removed, ..grants.clone() }).map_err(|error| error.chain())?;
    }
    host.store().restore(trashed.uuid, folder).map_err(|error| error.chain())?;
    let said =
        format!("brought {} back from the trash; restore its file too, or it stays held as orphaned", trashed.name);
    Ok((Some(object(trashed)), said))
}

fn purge(
    what: Option<&str>,
    older_than: Option<Timestamp>,
    host: &dyn Host,
    records: &Records,
    announce: &dyn Fn(Note) -> Result<(), String>,
) -> Done {
    let chosen: Vec<(&str, &Trashed)> = match (what, older_than) {
        (Some(what), None) => match named(records, what).as_slice() {
            [] => return Err(none(what)),
            [one] => vec![*one],
            several => {
                return Err(format!(
                    "{} lie in the trash under this name: name one by its folder: {}",
                    several.len(),
                    folders(several)
                ));
            }
        },
        (None, Some(date)) => {
            let all = records.trash.iter().filter(|(_, trashed)| removed_at(trashed).is_some_and(|at| at < date));
            all.map(|(folder, trashed)| (folder.as_str(), trashed)).collect()
        }
        _ => return Err("say which: a name, or --older-than a date".to_owned()),
    };
    let mut refused = Vec::new();
    let mut purged = Vec::new();
    for (folder, trashed) in &chosen {
        announce(note(trashed, format!("about to purge {} from the trash (`{folder}`)", trashed.name)))?;
        match host.store().purge(folder) {
            Ok(()) => purged.push(trashed.name.to_string()),
            Err(error) => refused.push(error.chain()),
        }
    }
    let object = chosen.first().filter(|_| chosen.len() == 1).map(|(_, trashed)| object(trashed));
    match (purged.is_empty(), refused.is_empty()) {
        (_, false) => Err(format!("purged {}; refused: {}", list(&purged), refused.join("; "))),
        (true, true) => Ok((None, "nothing in the trash is that old".to_owned())),
        (false, true) => Ok((object, format!("purged {} from the trash", list(&purged)))),
    }
}

/// Whether the disks are those that it had.
fn fits(host: &dyn Host, trashed: &Trashed, disks: &[&str]) -> Result<(), String> {
    const AS_THEY_ARE: &str = "`--any-disks` brings it back with the disks as they are";
    let removal = match &trashed.removal {
        Some(Reading::Known(removal)) => removal,
        Some(unknown) => return Err(format!("what its disks were cannot be read{}; {AS_THEY_ARE}", why(unknown))),
        None if disks.is_empty() => return Ok(()),
        None => {
            return Err(format!("an earlier pinfold removed it and did not note what its disks were; {AS_THEY_ARE}"));
        }
    };
    let marks = host.marks(&disks.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>());
    let changes = match compare(removal, disks, |path| marks.get(path).cloned()) {
        Match::Same => return Ok(()),
        Match::NotLooked(paths) => {
            return Err(format!("its disks were not looked at ({}); try again", paths.join(", ")));
        }
        Match::Differs(changes) => changes,
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not its own".to_owned());
    let each = changes
        .iter()
        .map(|change| format!("{} was {}, and is {}", change.field, text(&change.old), text(&change.new)));
    Err(format!(
        "its disks are not those that it had: {}; put them back, or {AS_THEY_ARE}",
        each.collect::<Vec<_>>().join("; ")
    ))
}

/// When it was removed, as far as that was noted.
pub(crate) fn removed_at(trashed: &Trashed) -> Option<Timestamp> {
    trashed.removal.as_ref().and_then(Reading::known).map(|removal| removal.at)
}

fn named<'a>(records: &'a Records, what: &str) -> Vec<(&'a str, &'a Trashed)> {
    let is_it = |folder: &str, trashed: &Trashed| {
        folder == what || trashed.name.as_str() == what || trashed.uuid.to_string() == what.to_ascii_lowercase()
    };
    let all = records.trash.iter().map(|(folder, trashed)| (folder.as_str(), trashed));
    all.filter(|(folder, trashed)| is_it(folder, trashed)).collect()
}

fn none(what: &str) -> String {
    format!("nothing called `{what}` lies in the trash; see `pinfold trash list`")
}

fn folders(of: &[(&str, &Trashed)]) -> String {
    of.iter().map(|(folder, _)| format!("`{folder}`")).collect::<Vec<_>>().join(", ")
}

fn why<T>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Unknown(cause) => format!(": {}", cause.message),
        Reading::Known(_) => String::new(),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn object(trashed: &Trashed) -> ObjectRef {
    ObjectRef { kind: ObjectKind::VirtualMachine, name: trashed.name.to_string(), uuid: Some(trashed.uuid) }
}

fn note(trashed: &Trashed, message: String) -> Note {
    Note { object: Some(object(trashed)), reason: Reason::Verb, message, actor: None }
}

#[cfg(test)]
#[path = "trash_tests.rs"]
mod tests;
