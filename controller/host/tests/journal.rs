//! What the journal promises: every line that was written is read, in its order, whatever was cut off beside it.
#![allow(clippy::unwrap_used, reason = "tests")]

use host::store::{Disk, DiskFault, Entry, Event, Line, MemoryDisk};
use host::{Place, Store};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

const CURRENT: &str = "/state/journal/current.ndjson";

fn open(disk: &MemoryDisk) -> Store {
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    Store::open(place, Arc::new(disk.clone())).with_journal_files_of(4000)
}

fn locked(disk: &MemoryDisk) -> Store {
    let store = open(disk);
    store.lock().unwrap();
    store
}

fn note(message: String) -> Entry {
    Entry::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        Event::Noted { reason: "Test".to_owned(), message, actor: None },
    )
}

/// A few of them fill a file.
fn large(n: usize) -> Entry {
    note(format!("{n} {}", "x".repeat(1000)))
}

/// The first word of each message, and what cannot be read in brackets.
fn words(store: &Store) -> Vec<String> {
    let word = |line: Line| match line {
        Line::Entry(entry) => match entry.event {
            Event::Noted { message, .. } => message.split(' ').next().unwrap().to_owned(),
            other => panic!("{other:?}"),
        },
        Line::Unreadable { file, number, why } => {
            format!("[{} {number}: {why}]", file.file_name().unwrap().to_string_lossy())
        }
    };
    store.journal_lines(usize::MAX).unwrap().into_iter().map(word).collect()
}

fn assert_numbered(store: &Store) {
    let numbers: Vec<u64> = store.journal_tail(usize::MAX).unwrap().iter().map(|entry| entry.seq).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn it_is_bounded_and_the_oldest_goes_first() {
    let disk = MemoryDisk::default();
    let store = locked(&disk);
    for n in 0..60 {
        store.journal(&large(n)).unwrap();
    }
    let files = disk.list(Path::new("/state/journal")).unwrap();
    assert_eq!(files.len(), 8, "{files:?}");
    let kept = words(&store);
    let first: usize = kept[0].parse().unwrap();
    assert!(first <= 36, "{first}");
    assert_eq!(kept, (first..60).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_numbered(&store);
    let last = store.journal_tail(3).unwrap();
    assert_eq!(last.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [58, 59, 60]);
}

/// Killed, or without power, at any step: what was written before is there, once, and the next daemon goes on counting.
#[test]
fn a_death_in_a_rotation_loses_no_line() {
    for seed in 0..12 {
        for step in 1.. {
            let disk = MemoryDisk::default();
            let store = locked(&disk);
            // One file too many is the least that makes one go.
            (0..44).for_each(|n| store.journal(&large(n)).unwrap());
            disk.inject(DiskFault::KillAfter(step));
            let mut written = 44;
            while written < 50 && store.journal(&large(written)).is_ok() && !disk.is_dead() {
                written += 1;
            }
            let died = disk.is_dead();
            drop(store);
            match seed {
                0 => disk.revive(),
                1 => disk.cut_power(),
                seed => disk.cut_power_midway(seed),
            }
            disk.mend();
            let store = locked(&disk);
            store.journal(&note("after".to_owned())).unwrap();
            let mut kept = words(&store);
            assert_eq!(kept.pop().unwrap(), "after");
            // The line in which it died may be there, or a part of it.
            if kept.last().is_some_and(|last| last.starts_with('[') || *last == written.to_string()) {
                kept.pop();
            }
            let first: usize = kept[0].parse().unwrap();
            assert!(first <= 20, "step {step}, seed {seed}: {first}");
            assert_eq!(kept, (first..written).map(|n| n.to_string()).collect::<Vec<_>>(), "step {step}, seed {seed}");
            assert_numbered(&store);
            if !died {
                assert!(step > 8, "the lines took {step} steps");
                break;
            }
        }
    }
}

#[test]
fn a_line_that_was_cut_off_stands_alone_and_is_told() {
    let disk = MemoryDisk::default();
    let store = locked(&disk);
    store.journal(&note("one".to_owned())).unwrap();
    // A full disk takes a part of a line. The daemon lives on.
    disk.inject(DiskFault::Refuse(ErrorKind::StorageFull));
    store.journal(&note("lost".to_owned())).unwrap_err();
    store.journal(&note("lost-too".to_owned())).unwrap_err();
    disk.relieve();
    store.journal(&note("two".to_owned())).unwrap();
    // The power takes another part of one.
    disk.append(Path::new(CURRENT), b"{\"version\":2,\"seq\":9,\"at\":").unwrap();
    drop(store);
    disk.revive();
    let store = locked(&disk);
    store.journal(&note("three".to_owned())).unwrap();
    let cut = |number| format!("[current.ndjson {number}: it was cut off: the power went, or the disk was full]");
    assert_eq!(words(&store), ["one".to_owned(), cut(2), cut(3), "two".to_owned(), cut(5), "three".to_owned()]);
    assert_numbered(&store);
}

/// Fifty guests that end in one pass are fifty lines and one wait for the disk; the power takes the last of them, never one in between.
#[test]
fn lines_written_together_are_synchronised_once() {
    for seed in 0..12 {
        let disk = MemoryDisk::default();
        let store = locked(&disk);
        store.journal(&note("before".to_owned())).unwrap();
        let together: Vec<Entry> = (0..50).map(|n| note(n.to_string())).collect();
        let steps = disk.steps();
        store.journal(&note("alone".to_owned())).unwrap();
        let one = disk.steps() - steps;
        store.journal_together(&together).unwrap();
        store.journal_together(&[]).unwrap();
        assert_eq!(disk.steps() - steps, 2 * one, "as many steps as a line takes");
        disk.inject(DiskFault::KillAfter(1));
        // Whether it answers is nobody's business: the process is dead.
        let _ = store.journal_together(&together);
        drop(store);
        disk.cut_power_midway(seed);
        disk.mend();
        let store = locked(&disk);
        store.journal(&note("after".to_owned())).unwrap();
        let mut kept = words(&store);
        assert_eq!(kept.pop().unwrap(), "after");
        if kept.last().is_some_and(|last| last.starts_with('[')) {
            kept.pop();
        }
        let numbers = (0..50).chain(0..50).map(|n| n.to_string());
        let all: Vec<String> = ["before".to_owned(), "alone".to_owned()].into_iter().chain(numbers).collect();
        assert!(kept.len() >= 52 && all.starts_with(&kept), "seed {seed}: {kept:?}");
        assert_numbered(&store);
    }
}

#[test]
fn what_another_version_or_chance_wrote_is_read_as_far_as_it_goes() {
    let disk = MemoryDisk::default();
    let store = locked(&disk);
    let old = |word: &str| {
        format!(
            "{{\"at\":\"2026-01-01T00:00:00Z\",\"object\":null,\"commit\":null,\"event\":{{\"event\":\"noted\",\"reason\":\"Old\",\"message\":\"{word}\",\"actor\":null}}}}\n"
        )
    };
    // As an earlier pinfold left them: 1 is newer than 2.
    disk.write(Path::new("/state/journal/2.ndjson"), old("oldest").as_bytes()).unwrap();
    disk.write(Path::new("/state/journal/1.ndjson"), old("older").as_bytes()).unwrap();
    let newer = "{\"version\":99,\"happened\":[1]}\n{\"at\":7}\n\u{fffd}\u{fffd}\n";
    disk.write(Path::new(CURRENT), format!("{}{newer}", old("old")).as_bytes()).unwrap();
    drop(store);
    disk.revive();
    let store = locked(&disk);
    store.journal(&note("new".to_owned())).unwrap();
    let read = words(&store).join("\n");
    insta::assert_snapshot!(read, @"
    oldest
    older
    old
    [current.ndjson 2: it was written by a newer pinfold (version 99, this one reads 2)]
    [current.ndjson 3: it is damaged (invalid type: integer `7`, expected a timestamp string at line 1 column 7)]
    [current.ndjson 4: it is damaged (expected value at line 1 column 1)]
    new
    ");
    assert!(store.journal_tail(1).unwrap()[0].seq > 0);
}

#[test]
fn numbers_go_on_where_nothing_can_be_read_any_more() {
    let disk = MemoryDisk::default();
    let store = locked(&disk);
    (0..6).for_each(|n| store.journal(&large(n)).unwrap());
    for name in disk.list(Path::new("/state/journal")).unwrap() {
        disk.write(&Path::new("/state/journal").join(name), b"rubble\n").unwrap();
    }
    drop(store);
    disk.revive();
    let store = locked(&disk);
    store.journal(&note("new".to_owned())).unwrap();
    assert_eq!(store.journal_tail(1).unwrap()[0].seq, 5, "greater than all that were in the full file");
}
