//! The verbs about the trash, with the daemon killed at every step of them.
#![allow(clippy::unwrap_used)]

use super::super::journal::intend;
use super::{Verb, obey};
use host::store::{Disk, DiskFault, MemoryDisk};
use host::{Host, Machine, Moment, Place, SimHost, SimSettings, Store};
use planner::record::{Grant, Grants, RECORD_VERSION, VmRecord};
use protocol::Reading;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

#[path = "../../../host/tests/record/mod.rs"]
mod record;

fn now() -> Moment {
    Moment { at: "2026-01-01T02:00:00Z".parse().unwrap(), up_ms: 3_600_000 }
}

/// A daemon that has just started.
fn daemon(disk: &MemoryDisk) -> SimHost {
    let machine = serde_json::json!({"topology": {"cores": 4}, "memory": {"total-kib": 4_194_304}});
    let machine =
        Machine::new(serde_json::from_value(machine).unwrap(), now().at, Arc::new(disk.other_process())).unwrap();
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    let store = Arc::new(Store::open(place, Arc::new(disk.clone())));
    // One that dies while it starts has not begun the verb.
    let _ = store.lock();
    let settings =
        SimSettings { allow_paths: vec!["/srv".to_owned()], memory_reserve_kib: 128 * 1024, core_dump_quota_kib: 0 };
    SimHost::new(settings, store, machine.shared(), Arc::new(now), Arc::new(|| {}))
}

fn uuid() -> Uuid {
    record::vm("erp", 1).uuid
}

/// A VM in the trash, with the permission to remove it still in force.
fn removed(record: &VmRecord) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let host = daemon(&disk);
    host.store().write_vm(record).unwrap();
    let (name, commit) = ("erp".parse().unwrap(), "c2".to_owned());
    let grant = Grant { name, commit, at: now().at, author: None, approved: None };
    let removed = BTreeMap::from([(uuid(), grant)]);
    host.store().write_grants(&Grants { version: RECORD_VERSION, removed, over_budget: None }).unwrap();
    let trash = Path::new("/storage/trash");
    disk.make_dir(trash).unwrap();
    let folder = trash.join(format!("2026-01-15--erp--{}", uuid()));
    disk.rename(&Path::new("/storage").join(uuid().to_string()), &folder).unwrap();
    disk.sync_dir(trash).unwrap();
    disk.sync_dir(Path::new("/storage")).unwrap();
    drop(host);
    disk.revive();
    disk
}

fn whereabouts(host: &SimHost) -> &'static str {
    let records = host.store().records();
    let records = records.known().unwrap();
    let is_granted = records.grants.as_ref().and_then(Reading::known).unwrap().removed.contains_key(&uuid());
    let here = records.vms.get(&uuid()).map(|record| record.known().unwrap());
    let there = records.trash.values().find(|trashed| trashed.uuid == uuid()).map(|it| it.record.known().unwrap());
    match (here, there) {
        (Some(_), None) => {
            assert!(!is_granted, "it would be removed again at once");
            "here"
        }
        (None, Some(_)) => "in the trash",
        (None, None) => "gone",
        both => panic!("{both:?}"),
    }
}

fn say(host: &SimHost, verb: &Verb) -> Result<String, String> {
    let announce = |note| intend(host.store(), now().at, None, note).map_err(|error| error.to_string());
    obey(verb, host, &announce).map(|(_, said)| said)
}

fn killed_at_every_step(verb: &Verb, ends: &str) {
    for (between, step) in (1..).enumerate() {
        let disk = removed(&record::vm("erp", 1));
        let host = daemon(&disk);
        disk.inject(DiskFault::KillAfter(step));
        let _ = say(&host, verb);
        let is_over = !disk.is_dead();
        drop(host);
        disk.revive();
        let next = daemon(&disk);
        let found = whereabouts(&next);
        assert!(found == ends || found == "in the trash", "step {step}: {found}");
        if is_over {
            assert_eq!(found, ends);
            assert!(between > 3, "it was killed {between} times");
            return;
        }
        // Whoever repeats it is either obeyed, or told that nothing lies there any more.
        let said = say(&next, verb);
        assert_eq!(said.is_ok(), found == "in the trash", "step {step}: {said:?}");
        assert_eq!(whereabouts(&next), ends, "step {step}");
    }
}

#[test]
fn a_restoration_by_hand_that_is_killed_loses_nothing() {
    let (what, reason) = ("erp".to_owned(), "test".to_owned());
    killed_at_every_step(&Verb::TrashRestore { what, reason, any_disks: false }, "here");
}

#[test]
fn a_purge_by_hand_that_is_killed_is_done_or_not() {
    let (what, reason) = (Some("erp".to_owned()), "test".to_owned());
    killed_at_every_step(&Verb::TrashPurge { what, older_than: None, reason }, "gone");
}

#[test]
fn what_is_not_clear_is_refused() {
    let disk = removed(&record::vm("erp", 1));
    let host = daemon(&disk);
    let restore =
        |what: &str| Verb::TrashRestore { what: what.to_owned(), reason: "test".to_owned(), any_disks: false };
    insta::assert_snapshot!(say(&host, &restore("web")).unwrap_err(), @"nothing called `web` lies in the trash; see `pinfold trash list`");
    // Somebody else is called so by now.
    let other = VmRecord { uuid: Uuid::from_u128(9), ..record::vm("erp", 1) };
    host.store().write_vm(&other).unwrap();
    insta::assert_snapshot!(say(&host, &restore("erp")).unwrap_err(), @"another VM is called erp now (00000000-0000-0000-0000-000000000009): rename that one first");
    assert_eq!(whereabouts(&host), "in the trash");
    let older = "2026-01-01T00:00:00Z".parse().unwrap();
    let purge = Verb::TrashPurge { what: None, older_than: Some(older), reason: "test".to_owned() };
    insta::assert_snapshot!(say(&host, &purge).unwrap(), @"nothing in the trash is that old");
}

#[test]
fn by_hand_too_only_its_own_disks_bring_it_back() {
    let mut record = record::vm("erp", 1);
    let root = serde_json::json!({"name": "root", "target": "xvda", "path": "/srv/erp.img", "read_only": false});
    record.wanted.disks = vec![serde_json::from_value(root).unwrap()];
    let disk = removed(&record);
    let host = daemon(&disk);
    let verb = |any_disks| Verb::TrashRestore { what: "erp".to_owned(), reason: "test".to_owned(), any_disks };
    insta::assert_snapshot!(say(&host, &verb(false)).unwrap_err(), @"an earlier pinfold removed it and did not note what its disks were; `--any-disks` brings it back with the disks as they are");
    insta::assert_snapshot!(say(&host, &verb(true)).unwrap(), @"brought erp back from the trash; restore its file too, or it stays held as orphaned");
    assert_eq!(whereabouts(&host), "here");
}
