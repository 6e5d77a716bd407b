//! What the store promises, on a file system that misbehaves.
#![allow(clippy::unwrap_used, reason = "tests")]

use host::store::{Disk, DiskFault, MemoryDisk, RealDisk};
use host::{Place, Store, StoreError};
use planner::record::{Grant, Grants};
use protocol::Reading;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

mod record;

use record::vm;

fn place(root: &Path) -> Place {
    Place { host: "xen1".parse().unwrap(), state: root.join("state"), storage: root.join("storage") }
}

fn open(disk: &MemoryDisk) -> Store {
    Store::open(place(Path::new("/")), Arc::new(disk.clone()))
}

/// The weight in the record, `None` without one; anything unknown fails the test.
fn weight(disk: &MemoryDisk) -> Option<u16> {
    match open(disk).records() {
        Reading::Known(records) => records.vms.into_values().next().map(|reading| match reading {
            Reading::Known(record) => record.wanted.sched.weight,
            Reading::Unknown(cause) => panic!("{}", cause.message),
        }),
        Reading::Unknown(cause) => panic!("{}", cause.message),
    }
}

/// Dies at every step of `change`, once by a kill and once by a power cut, and hands what is found afterwards to `check`.
fn at_every_step(
    prepare: impl Fn(&Store),
    change: impl Fn(&Store) -> Result<(), StoreError>,
    check: impl Fn(&MemoryDisk),
) {
    for power_cut in [false, true] {
        for steps in 1.. {
            let disk = MemoryDisk::default();
            let store = open(&disk);
            store.lock().unwrap();
            prepare(&store);
            disk.inject(DiskFault::KillAfter(steps));
            let done = change(&store).is_ok() && !disk.is_dead();
            drop(store);
            if done {
                disk.mend();
            }
            if power_cut {
                disk.cut_power();
            } else {
                disk.revive();
            }
            check(&disk);
            // And the next daemon can go on.
            let next = open(&disk);
            next.lock().unwrap();
            change(&next).unwrap();
            if done {
                assert!(steps > 3, "the change took {steps} steps");
                break;
            }
        }
    }
}

#[test]
fn a_first_record_is_there_whole_or_not_at_all() {
    at_every_step(
        |_| {},
        |store| store.write_vm(&vm("erp", 1)),
        |disk| assert!(matches!(weight(disk), None | Some(1))),
    );
}

#[test]
fn a_record_that_is_replaced_is_the_old_or_the_new_one() {
    at_every_step(
        |store| store.write_vm(&vm("erp", 1)).unwrap(),
        |store| store.write_vm(&vm("renamed", 2)),
        |disk| assert!(matches!(weight(disk), Some(1 | 2))),
    );
}

#[test]
fn what_was_written_survives_a_power_cut() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    store.lock().unwrap();
    store.write_vm(&vm("erp", 7)).unwrap();
    let grant = Grant {
        name: "old".parse().unwrap(),
        commit: "c".to_owned(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        author: None,
        approved: None,
    };
    let grants = Grants { version: 1, removed: BTreeMap::from([(Uuid::nil(), grant)]), over_budget: None };
    store.write_grants(&grants).unwrap();
    store.pin_pool(Uuid::nil()).unwrap();
    disk.cut_power();
    assert_eq!(weight(&disk), Some(7));
    let after = open(&disk);
    assert_eq!(after.records().known().unwrap().grants, Some(Reading::Known(grants)));
    assert_eq!(after.identity().unwrap().known().unwrap().pool_id, Some(Uuid::nil()));
}

/// What a daemon has seen may have had effects on the host: a power cut must not take it back, whoever wrote it and died on the way.
#[test]
fn what_was_seen_once_survives_a_power_cut() {
    for steps in 1..40 {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        store.lock().unwrap();
        disk.inject(DiskFault::KillAfter(steps));
        let _ = store.write_vm(&vm("erp", 1)).and_then(|()| store.write_vm(&vm("erp", 2)));
        drop(store);
        disk.revive();
        disk.mend();
        let next = open(&disk);
        next.lock().unwrap();
        let seen = weight(&disk);
        disk.cut_power();
        assert_eq!(weight(&disk), seen, "killed at step {steps}");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_says_what_to_do() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    store.lock().unwrap();
    store.write_vm(&vm("erp", 1)).unwrap();
    for (kind, advice) in [
        (io::ErrorKind::StorageFull, "(free some space)"),
        (io::ErrorKind::ReadOnlyFilesystem, "(mount it for writing)"),
    ] {
        disk.inject(DiskFault::Refuse(kind));
        let refused = store.write_vm(&vm("erp", 2)).unwrap_err().chain();
        assert!(refused.contains(advice) && refused.contains("record.json"), "{refused}");
        assert_eq!(weight(&disk), Some(1));
    }
}

#[test]
fn what_cannot_be_read_is_unknown_and_stays_as_it_is() {
    let record = vm("erp", 1);
    let path = Path::new("/storage").join(record.uuid.to_string()).join("record.json");
    let newer = serde_json::to_string(&record).unwrap().replacen("\"version\":1", "\"version\":99", 1);
    for (text, reason) in [("{\"version\": 1, \"na", "RecordTorn"), ("", "RecordTorn"), (newer.as_str(), "RecordNewer")]
    {
        let disk = MemoryDisk::default();
        let store = open(&disk);
        store.lock().unwrap();
        store.write_vm(&record).unwrap();
        disk.write(&path, text.as_bytes()).unwrap();
        let records = store.records();
        let Reading::Unknown(cause) = &records.known().unwrap().vms[&record.uuid] else { panic!("{text}") };
        assert_eq!(cause.reason, reason);
        assert!(cause.message.contains("record.json"), "{}", cause.message);
        assert!(matches!(store.write_vm(&record), Err(StoreError::Unreadable { .. })));
        assert_eq!(disk.read(&path).unwrap(), text.as_bytes());
    }
}

#[test]
fn a_missing_record_or_storage_is_not_an_empty_host() {
    let record = vm("erp", 1);
    let folder = Path::new("/storage").join(record.uuid.to_string());
    let disk = MemoryDisk::default();
    let store = open(&disk);
    store.lock().unwrap();
    store.write_vm(&record).unwrap();
    disk.remove(&folder.join("record.json")).unwrap();
    let records = store.records();
    let Reading::Unknown(cause) = &records.known().unwrap().vms[&record.uuid] else { panic!() };
    assert_eq!(cause.reason, "RecordMissing");
    // The mount is gone: an empty folder in its place.
    disk.rename(Path::new("/storage"), Path::new("/unmounted")).unwrap();
    disk.make_dir(Path::new("/storage")).unwrap();
    let Some(Reading::Unknown(cause)) = store.identity() else { panic!() };
    assert_eq!(cause.reason, "StorageMissing");
    disk.remove(Path::new("/state/partitions")).unwrap_err();
    disk.rename(Path::new("/state/partitions"), Path::new("/state/gone")).unwrap();
    let Reading::Unknown(cause) = store.records() else { panic!() };
    assert_eq!(cause.reason, "RecordsUnreadable");
}

#[test]
fn state_of_another_host_is_unknown() {
    let disk = MemoryDisk::default();
    open(&disk).lock().unwrap();
    disk.revive();
    let other = Store::open(Place { host: "xen2".parse().unwrap(), ..place(Path::new("/")) }, Arc::new(disk));
    other.lock().unwrap();
    let Some(Reading::Unknown(cause)) = other.identity() else { panic!() };
    assert_eq!(cause.reason, "IdentityMismatch");
    assert!(matches!(other.pin_pool(Uuid::nil()), Err(StoreError::Identity(_))));
}

#[test]
fn one_daemon_per_host() {
    let root = tempfile::tempdir().unwrap();
    let first = Store::open(place(root.path()), Arc::new(RealDisk));
    let second = Store::open(place(root.path()), Arc::new(RealDisk));
    assert!(matches!(second.write_vm(&vm("erp", 1)), Err(StoreError::NotLocked { .. })));
    first.lock().unwrap();
    let refused = second.lock().unwrap_err().to_string();
    assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
    first.write_vm(&vm("erp", 1)).unwrap();
    let link = root.path().join("storage/by-name/erp/record.json");
    assert!(link.is_file(), "{}", link.display());
    drop(first);
    second.lock().unwrap();
}
