//! What an older pinfold recorded, a newer one reads, and plans the same from it: nothing where nothing was to do.
//!
//! `tests/inventories/<version>/` holds what that version wrote while it played every scenario and example on the simulator: inventories at
//! rest and in the middle of things with their plans, and the files of its state directory. A version's folder is written once
//! (`PINFOLD_RECORD_INVENTORIES=1`, see [`recording`]) and never changed: hosts out there have such files.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod differences;
#[path = "../stage/examples.rs"]
mod examples;
#[path = "../../../../tests/scenarios/script.rs"]
mod format;
mod recording;
#[path = "../scenarios/script.rs"]
mod script;
#[path = "../stage/mod.rs"]
mod stage;

use differences::{CHANGED, difference};
use host::store::{Disk, MemoryDisk};
use host::{Place, Store};
use protocol::Reading;
use recording::{Files, Moment, Recording};
use std::path::Path;
use std::sync::Arc;

#[test]
fn every_recorded_inventory_plans_the_same() {
    let (mut at_rest, mut in_motion, mut wrong) = (0, 0, Vec::new());
    let mut unused: Vec<_> = CHANGED.iter().map(|(version, name, when, _)| (*version, *name, *when)).collect();
    for (version, name, recording) in recording::all() {
        for moment in &recording.moments {
            if moment.plan.items.is_empty() {
                at_rest += 1;
            } else {
                in_motion += 1;
            }
            let Some(said) = held_against(&recording, moment) else { continue };
            let here = (version.as_str(), name.as_str(), moment.when.as_str());
            // What was at rest stays at rest: no reason makes a new binary act on a repository that did not change.
            let changed = CHANGED.iter().position(|(version, name, when, _)| (*version, *name, *when) == here);
            match changed.filter(|_| !moment.plan.items.is_empty()) {
                Some(_) => unused.retain(|row| *row != here),
                None => wrong.push(format!("{version} {name}, {}: {said}", moment.when)),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "another plan than the one recorded (tests/inventories/differences.rs):\n{}",
        wrong.join("\n")
    );
    assert!(unused.is_empty(), "rows of CHANGED that change nothing: {unused:?}");
    assert!(
        at_rest >= 300 && in_motion >= 600,
        "only {at_rest} inventories at rest and {in_motion} in motion were read"
    );
}

#[test]
fn every_recorded_state_directory_is_read() {
    let (mut recorded, mut in_the_trash) = (0, 0);
    for (version, name, recording) in recording::all() {
        let (Some(state), Some(last)) = (&recording.state, recording.moments.last()) else { continue };
        recorded += 1;
        let disk = lay_out(state);
        let place = Place { host: last.observed.host.clone(), state: "/state".into(), storage: "/storage".into() };
        let store = Store::open(place, Arc::new(disk));
        let what = format!("{version} {name}");
        assert!(matches!(store.identity(), Some(Reading::Known(_))), "{what}: {:?}", store.identity());
        let mut records = store.records().known().unwrap().clone();
        if last.observed.records.trash.is_empty() {
            // An older version did not observe what it had put into the trash; this one reads it.
            let trash = std::mem::take(&mut records.trash);
            let is_there = |path: &&String| path.contains("/trash/") && path.ends_with("/record.json");
            assert_eq!(trash.len(), state.keys().filter(is_there).count(), "{what}");
            assert!(trash.values().all(|trashed| trashed.record.known().is_some()), "{what}: {trash:?}");
            in_the_trash += trash.len();
        }
        assert_eq!(records, last.observed.records, "{what}");
        assert!(matches!(store.orders(), Reading::Known(_)), "{what}: {:?}", store.orders());
        let lines: usize =
            state.iter().filter(|(path, _)| path.ends_with(".ndjson")).map(|(_, text)| text.lines().count()).sum();
        assert_eq!(store.journal_tail(usize::MAX).unwrap().len(), lines, "{what}: lines of the journal");
    }
    assert!(in_the_trash >= 2, "only {in_the_trash} folders in the trash");
    assert!(recorded >= 55, "only {recorded} state directories");
}

/// Whatever else a plan does than the recorded one is seen: the comparison is no formality.
#[test]
fn another_plan_is_seen() {
    let (_, _, recording) = recording::all().into_iter().find(|(_, name, _)| name == "three-partitions").unwrap();
    let moment = recording.moments.iter().find(|moment| moment.plan.items.len() > 1).unwrap();
    let spoilt = |spoil: &dyn Fn(&mut recording::Recorded)| {
        let mut recorded = serde_json::from_value(serde_json::to_value(&moment.plan).unwrap()).unwrap();
        spoil(&mut recorded);
        let moment = Moment { when: String::new(), observed: moment.observed.clone(), plan: recorded, ..*moment };
        held_against(&recording, &moment)
    };
    assert_eq!(spoilt(&|_| {}), None);
    assert!(spoilt(&|plan| drop(plan.items.pop())).unwrap().starts_with("items were"));
    assert!(spoilt(&|plan| plan.due = Some(jiff::Timestamp::UNIX_EPOCH)).unwrap().starts_with("due was"));
    assert_eq!(
        spoilt(&|plan| plan.items[0]["action"] = "delete".into()).unwrap(),
        "/action was \"delete\", is \"create\""
    );
    assert_eq!(spoilt(&|plan| plan.items[0]["lost"] = true.into()).unwrap(), "/lost is gone");
    let said = spoilt(&|plan| drop(plan.items[0].as_object_mut().unwrap().remove("effect"))).unwrap();
    assert!(said.starts_with("/effect is new and \"create\": list it in NEW"), "{said}");
}

/// Writes down what this version records. Not with `make test`: a version records once, when it is done.
#[test]
fn recordings_of_this_version_are_made_on_order() {
    if std::env::var_os("PINFOLD_RECORD_INVENTORIES").is_some() {
        recording::record_all();
    }
    let folders = recording::versions();
    assert!(!folders.is_empty(), "nothing was ever recorded: tests/inventories is empty");
}

/// How today's plan differs from the recorded one.
fn held_against(recording: &Recording, moment: &Moment) -> Option<String> {
    let desired = moment.commit.map(|commit| {
        let files: Files = recording.commits[&commit].clone();
        let bytes = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
        let reading = schema::read(&stage::tree(&bytes));
        reading.desired.unwrap_or_else(|| panic!("an accepted commit is refused: {:?}", reading.findings))
    });
    let plan = planner::plan(desired.as_ref(), &moment.observed);
    difference(&moment.plan, &plan)
}

fn lay_out(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::default();
    // In ascending order a directory, which ends with `/`, comes before what is in it.
    for (path, text) in files {
        match path.strip_suffix('/') {
            Some(folder) => disk.make_dir(Path::new(folder)).unwrap(),
            None => disk.write(Path::new(path), text.as_bytes()).unwrap(),
        }
    }
    disk
}
