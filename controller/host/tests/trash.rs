//! Coming back from the trash and being purged, killed at every step: a VM's folder is in one place, whole, or gone for good.
#![allow(clippy::unwrap_used, reason = "tests")]

use host::store::{Disk, DiskFault, MemoryDisk};
use host::{Place, Store, StoreError};
use protocol::Reading;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

mod record;

const FOLDER: &str = "2026-01-15--erp--";

fn open(disk: &MemoryDisk) -> Store {
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    let store = Store::open(place, Arc::new(disk.clone()));
    store.lock().unwrap();
    store
}

fn uuid() -> Uuid {
    record::vm("erp", 1).uuid
}

fn folder() -> String {
    format!("{FOLDER}{}", uuid())
}

fn trashed() -> PathBuf {
    Path::new("/storage/trash").join(folder())
}

fn folder_of_vm() -> PathBuf {
    Path::new("/storage").join(uuid().to_string())
}

/// A VM in the trash.
fn removed() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    store.write_vm(&record::vm("erp", 1)).unwrap();
    // It was suspended once, and crashed.
    for dir in ["state", "state/image", "crashes"] {
        disk.make_dir(&folder_of_vm().join(dir)).unwrap();
    }
    for file in ["state/image/memory", "crashes/a.core"] {
        disk.write(&folder_of_vm().join(file), b"pages").unwrap();
    }
    disk.make_dir(Path::new("/storage/trash")).unwrap();
    disk.rename(&Path::new("/storage").join(uuid().to_string()), &trashed()).unwrap();
    for dir in ["/storage", "/storage/trash"] {
        disk.sync_dir(Path::new(dir)).unwrap();
    }
    drop(store);
    disk.revive();
    disk
}

/// Where the VM is, and that it can be read there.
fn whereabouts(store: &Store) -> &'static str {
    let records = store.records();
    let records = records.known().unwrap();
    let here = records.vms.get(&uuid()).map(|record| matches!(record, Reading::Known(_)));
    let there = records.trash.get(&folder()).map(|trashed| matches!(trashed.record, Reading::Known(_)));
    match (here, there) {
        (Some(true), None) => "here",
        (None, Some(true)) => "in the trash",
        (None, None) => "gone",
        other => panic!("{other:?}"),
    }
}

/// Dies at every step of `change`, by a kill and by power cuts that keep this and that.
fn at_every_step(change: impl Fn(&Store) -> Result<(), StoreError>, may_be: &[&str], ends: &str) {
    for seed in 0..12 {
        for step in 1.. {
            let disk = removed();
            let store = open(&disk);
            disk.inject(DiskFault::KillAfter(step));
            let done = change(&store).is_ok() && !disk.is_dead();
            drop(store);
            match seed {
                0 => disk.revive(),
                seed => disk.cut_power_midway(seed),
            }
            disk.mend();
            let next = open(&disk);
            let found = whereabouts(&next);
            assert!(may_be.contains(&found), "step {step}, seed {seed}: {found}");
            if done {
                assert!(step > 3, "it took {step} steps");
                assert!(seed > 0 || found == ends);
            }
            // Whoever comes next goes on.
            change(&next).unwrap();
            assert_eq!(whereabouts(&next), ends, "step {step}, seed {seed}");
            let left = disk.list(Path::new("/storage/trash")).unwrap();
            assert!(left.is_empty(), "step {step}, seed {seed}: {left:?}");
            disk.cut_power();
            assert_eq!(whereabouts(&open(&disk)), ends, "step {step}, seed {seed}: it was not durable");
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_vm_that_comes_back_is_in_one_place_at_every_step() {
    at_every_step(|store| store.restore(uuid(), &folder()), &["here", "in the trash"], "here");
}

#[test]
fn a_vm_that_is_purged_is_whole_or_gone_at_every_step() {
    at_every_step(|store| store.purge(&folder()), &["in the trash", "gone"], "gone");
}

#[test]
fn what_pinfold_did_not_put_there_is_never_purged() {
    let disk = removed();
    let store = open(&disk);
    disk.write(&trashed().join("root.img"), b"data").unwrap();
    let refused = store.purge(&folder()).unwrap_err().chain();
    assert!(refused.contains("root.img") && refused.contains("move it away"), "{refused}");
    assert_eq!(whereabouts(&store), "in the trash");
    let records = store.records();
    let trashed = &records.known().unwrap().trash[&folder()];
    assert_eq!(trashed.others, ["root.img"]);
    assert_eq!(trashed.purge_after, "2026-01-15T00:00:00Z".parse().unwrap());
    // And it comes back with the VM.
    store.restore(uuid(), &folder()).unwrap();
    assert_eq!(disk.read(&Path::new("/storage").join(uuid().to_string()).join("root.img")).unwrap(), b"data");
}

#[test]
fn what_is_cut_off_between_goes_with_it() {
    let disk = removed();
    let store = open(&disk);
    disk.write(&trashed().join(".removed.json.new"), b"torn").unwrap();
    store.purge(&folder()).unwrap();
    assert_eq!(whereabouts(&store), "gone");
    assert!(disk.list(Path::new("/storage/trash")).unwrap().is_empty());
}

#[test]
fn nothing_comes_back_over_what_is_there() {
    let disk = removed();
    let store = open(&disk);
    store.write_vm(&record::vm("erp", 2)).unwrap();
    let refused = store.restore(uuid(), &folder()).unwrap_err().chain();
    assert!(refused.contains("is there already"), "{refused}");
    let records = store.records();
    let records = records.known().unwrap();
    assert_eq!(records.vms[&uuid()].known().unwrap().wanted.sched.weight, 2);
    assert_eq!(records.trash[&folder()].record.known().unwrap().wanted.sched.weight, 1);
}

#[test]
fn a_folder_that_cannot_be_listed_makes_only_itself_unknown() {
    let disk = removed();
    let store = open(&disk);
    let file = "2026-01-15--crm--00000000-0000-0000-0000-000000000001";
    disk.write(&Path::new("/storage/trash").join(file), b"no folder").unwrap();
    assert_eq!(whereabouts(&store), "in the trash");
    let records = store.records();
    let trashed = &records.known().unwrap().trash[file];
    assert!(matches!(trashed.record, Reading::Unknown(_)), "{trashed:?}");
}

#[test]
fn nothing_outside_of_the_trash_can_be_named() {
    let disk = removed();
    let store = open(&disk);
    for name in [
        "..",
        "../trash",
        "",
        "x",
        "2026-01-15--erp",
        ".purged--x",
        "2026-01-15--../../x--00000000-0000-0000-0000-000000000000",
    ] {
        assert!(store.purge(name).is_err(), "{name}");
        assert!(store.restore(Uuid::nil(), name).is_err(), "{name}");
    }
    assert_eq!(whereabouts(&store), "in the trash");
}
