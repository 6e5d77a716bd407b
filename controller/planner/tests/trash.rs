//! The trash: who comes back with its file, and what is purged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Stage, base, vm};
use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use planner::observed::{Observed, Uptime};
use planner::record::Approval;
use planner::trash::{DiskMark, Removal, Trashed, TrashedDisk};
use planner::{Item, laws, plan};
use protocol::Reading;

const FOLDER: &str = "2026-01-15--web--folder";

fn mark(size: u64) -> Reading<DiskMark> {
    Reading::Known(DiskMark {
        kind: "file".to_owned(),
        size,
        id: Some("inode 7".to_owned()),
        content: Some("ext 01".to_owned()),
    })
}

fn unreadable() -> Reading<DiskMark> {
    Reading::unknown("DiskUnreadable", "no such file")
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A host on which `web` ran with /srv/a.img, and lies in the trash; its file is back with these disks.
fn removed(now: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", &disk("/srv/a.img"))));
    stage.converge();
    let (uuid, record) = stage.records.vms.iter().map(|(uuid, record)| (*uuid, record.clone())).next().unwrap();
    stage.commit(&base(""));
    stage.converge();
    assert!(stage.records.vms.is_empty());
    let removal = Removal {
        version: 1,
        uuid,
        at: at("2026-01-01T00:05:00Z"),
        purge_after: at("2026-01-15T00:05:00Z"),
        commit: Some("c2".to_owned()),
        author: Some("Alice <alice@example.org>".to_owned()),
        approved: None,
        disks: vec![TrashedDisk { path: "/srv/a.img".to_owned(), mark: mark(1) }],
    };
    let trashed = Trashed {
        uuid,
        name: "web".parse().unwrap(),
        purge_after: removal.purge_after,
        record,
        removal: Some(Reading::Known(removal)),
        others: Vec::new(),
        size: 1000,
    };
    stage.records.trash.insert(FOLDER.to_owned(), trashed);
    stage.epoch = at(now);
    stage
}

fn trashed(stage: &mut Stage) -> &mut Trashed {
    stage.records.trash.get_mut(FOLDER).unwrap()
}

fn removal(stage: &mut Stage) -> &mut Removal {
    match &mut trashed(stage).removal {
        Some(Reading::Known(removal)) => removal,
        other => panic!("{other:?}"),
    }
}

/// What is planned when its file is back with this disk, and this was found in the disk's place.
fn back(stage: &mut Stage, path: &str, found: Option<&Reading<DiskMark>>) -> Vec<Item> {
    stage.commit(&(base("") + &vm("web", &disk(path))));
    items(stage, |observed| {
        observed.dom0.marks.extend(found.map(|found| (path.to_owned(), found.clone())));
    })
}

fn items(stage: &Stage, change: impl Fn(&mut Observed)) -> Vec<Item> {
    let mut observed = stage.observe();
    observed.uptime = Some(Uptime { ms: 1 << 40, steady_ms: 1 << 40 });
    change(&mut observed);
    let plan = plan(stage.desired.as_ref(), &observed);
    laws::all(stage.desired.as_ref(), &observed, &plan).unwrap();
    plan.items
}

fn lines(items: &[Item]) -> String {
    items.iter().map(planner::render::item).collect()
}

#[test]
fn the_same_disk_brings_it_back_at_once() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    assert_snapshot!(lines(&back(&mut stage, "/srv/a.img", Some(&mark(1)))), @r"
    ~ vm/web                   restore   create      commit    now
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
    ");
}

#[test]
fn another_disk_in_its_place_waits_for_a_person_who_approves_that_very_disk() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    let held = back(&mut stage, "/srv/a.img", Some(&mark(2)));
    assert_snapshot!(lines(&held), @r"
    ~ vm/web                   restore   create      commit    held  [70555de4055d]
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
        held: its disks are not those that it had; put them back, or `pinfold approve 70555de4055d` brings it back with the disks as they are now, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
        ~ disk /srv/a.img  file of 1 bytes, inode 7, ext 01 -> file of 2 bytes, inode 7, ext 01
    ");
    let approval = |stage: &Stage| Approval {
        actor: "uid 0 (root)".to_owned(),
        reason: "restored from a backup".to_owned(),
        at: stage.now(),
        expires: stage.now() + SignedDuration::from_hours(1),
    };
    stage.records.approvals.insert(held[0].id.clone(), approval(&stage));
    let approved = back(&mut stage, "/srv/a.img", Some(&mark(2)));
    assert_snapshot!(lines(&approved), @r"
    ~ vm/web                   restore   create      approval  now
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
        ~ disk /srv/a.img  file of 1 bytes, inode 7, ext 01 -> file of 2 bytes, inode 7, ext 01
    ");
    // The approval is used up only when the folder is back: whoever dies between has lost nothing.
    let operation = approved[0].operation.as_ref().unwrap();
    assert_eq!((operation.before.len(), operation.on_success.len()), (0, 1));
    // It was for this disk, not for any.
    let third = back(&mut stage, "/srv/a.img", Some(&mark(3)));
    assert_ne!(third[0].id, held[0].id);
    assert!(third[0].operation.is_none());
}

#[test]
fn what_is_not_known_of_a_disk_is_not_the_same() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    assert_snapshot!(lines(&back(&mut stage, "/srv/a.img", Some(&unreadable()))), @r"
    ~ vm/web                   restore   create      commit    held  [e412dd386f05]
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
        held: its disks are not those that it had; put them back, or `pinfold approve e412dd386f05` brings it back with the disks as they are now, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
        ~ disk /srv/a.img  file of 1 bytes, inode 7, ext 01 -> unknown: no such file
    ");
    // Neither when it was unreadable both times.
    removal(&mut stage).disks[0].mark = unreadable();
    assert!(back(&mut stage, "/srv/a.img", Some(&unreadable()))[0].operation.is_none());
    // Nor when nobody noted what they were, or the note is damaged.
    trashed(&mut stage).removal = None;
    assert_snapshot!(lines(&back(&mut stage, "/srv/a.img", Some(&mark(1)))), @r"
    ~ vm/web                   restore   create      commit    held  [9b85716c42a5]
        because its file is back; it has lain in the trash since an unknown time
        held: an earlier pinfold removed it and did not note what its disks were, or `pinfold approve 9b85716c42a5` brings it back with the disks as they are now, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
    ");
    trashed(&mut stage).removal = Some(Reading::unknown("RecordTorn", "`removed.json` has another checksum"));
    assert_snapshot!(lines(&back(&mut stage, "/srv/a.img", Some(&mark(1)))), @r"
    ~ vm/web                   restore   create      commit    held  [9b85716c42a5]
        because its file is back; it has lain in the trash since an unknown time
        held: what its disks were cannot be read: `removed.json` has another checksum, or `pinfold approve 9b85716c42a5` brings it back with the disks as they are now, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
    ");
}

#[test]
fn one_without_disks_needs_no_note_of_them() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    trashed(&mut stage).removal = None;
    let Reading::Known(record) = &mut trashed(&mut stage).record else { panic!() };
    record.wanted.disks.clear();
    stage.commit(&(base("") + &vm("web", "")));
    assert_snapshot!(lines(&items(&stage, |_| {})), @r"
    ~ vm/web                   restore   create      commit    now
        because its file is back; it has lain in the trash since an unknown time
    ");
    assert!(back(&mut stage, "/srv/a.img", Some(&mark(1)))[0].operation.is_none(), "it had no such disk");
}

#[test]
fn a_file_that_names_another_disk_waits_too() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    assert_snapshot!(lines(&back(&mut stage, "/srv/b.img", Some(&mark(1)))), @r"
    ~ vm/web                   restore   create      commit    held  [496706687ac9]
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
        held: its disks are not those that it had; put them back, or `pinfold approve 496706687ac9` brings it back with the disks as they are now, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
        - disk /srv/a.img  file of 1 bytes, inode 7, ext 01
        + disk /srv/b.img  another than it had
    ");
}

#[test]
fn offline_nobody_has_looked_at_its_disks_and_the_item_is_the_same() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    let offline = back(&mut stage, "/srv/a.img", None);
    assert_snapshot!(lines(&offline), @r"
    ~ vm/web                   restore   create      commit    waiting
        because its file is back; it has lain in the trash since 2026-01-01T00:05:00Z, by commit c2
        waits: its disks are compared with those that it had once the commit is in force (/srv/a.img)
    ");
    assert_eq!(offline[0].id, back(&mut stage, "/srv/a.img", Some(&mark(1)))[0].id);
}

#[test]
fn a_record_in_the_trash_that_cannot_be_relied_on_makes_nothing_anew() {
    let mut stage = removed("2026-01-03T00:00:00Z");
    let record = trashed(&mut stage).record.clone();
    trashed(&mut stage).record = Reading::unknown("RecordTorn", "`record.json` has another checksum");
    assert!(back(&mut stage, "/srv/a.img", Some(&mark(1))).is_empty());
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready Unknown TrashUnknown: its folder lies in the trash (`trash/2026-01-15--web--folder`), and its record cannot be read: `record.json` has another checksum; or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
    ");
    let mut foreign = record.known().unwrap().clone();
    foreign.here.host = "xen2".parse().unwrap();
    trashed(&mut stage).record = Reading::Known(foreign);
    assert!(back(&mut stage, "/srv/a.img", Some(&mark(1))).is_empty());
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready False TrashForeign: its folder in the trash (`trash/2026-01-15--web--folder`) is of another Pool or host; move it away, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
      Stalled True TrashForeign: its folder in the trash (`trash/2026-01-15--web--folder`) is of another Pool or host; move it away, or `pinfold trash purge f4107b80-67e5-5bf6-a539-ab11394853c6` has it made anew
    ");
}

#[test]
fn it_is_purged_by_its_date_and_by_nothing_else() {
    let day = |now: &str, change: &dyn Fn(&mut Observed)| {
        let stage = removed(now);
        items(&stage, |observed| change(observed))
    };
    let same = |_: &mut Observed| {};
    let folder = |change: fn(&mut Trashed)| {
        move |observed: &mut Observed| change(observed.records.trash.get_mut(FOLDER).unwrap())
    };
    assert_snapshot!(lines(&day("2026-01-15T00:05:00Z", &same)), @r"
    - vm/web                   purge     delete      commit    now
        because it was kept in the trash until 2026-01-15T00:05:00Z; its record goes for good, its disks stay where they are
    ");
    assert!(day("2026-01-15T00:04:00Z", &same).is_empty(), "the day has begun, the moment has not come");
    // However much lies there.
    let full = folder(|trashed| trashed.size = u64::MAX);
    assert!(day("2026-01-14T00:00:00Z", &full).is_empty());
    // What cannot be relied on, or is not all pinfold's.
    let late = "2027-01-01T00:00:00Z";
    assert_eq!(day(late, &same).len(), 1);
    assert!(day(late, &folder(|trashed| trashed.others = vec!["notes".to_owned()])).is_empty());
    assert!(day(late, &folder(|trashed| trashed.record = Reading::unknown("RecordTorn", ""))).is_empty());
    assert!(day(late, &folder(|trashed| trashed.removal = Some(Reading::unknown("RecordTorn", "")))).is_empty());
    // A clock that was set less than a day ago, or of which nothing is known.
    assert!(day(late, &|observed| observed.uptime = None).is_empty());
    let steady = |hours: u64| {
        move |observed: &mut Observed| observed.uptime = Some(Uptime { ms: 1 << 40, steady_ms: hours * 3_600_000 })
    };
    assert!(day(late, &steady(23)).is_empty());
    assert_eq!(day(late, &steady(24)).len(), 1);
    // Nobody knows what is declared.
    let mut lost = removed(late);
    lost.desired = None;
    assert!(items(&lost, |_| {}).is_empty());
    // It is wanted again.
    let mut wanted = removed(late);
    assert_eq!(back(&mut wanted, "/srv/a.img", Some(&mark(1)))[0].action, planner::Action::Restore);
}

fn disk(path: &str) -> String {
    format!("  disks: [{{name: root, target: xvda, path: \"{path}\"}}]")
}
