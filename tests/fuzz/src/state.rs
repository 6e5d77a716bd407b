//! Files of the state directory, torn, edited, or somebody else's: read, planned from, and never taken for what they are not.

use crate::edits::edited;
use crate::inventories::STATES;
use host::store::{Disk, MemoryDisk};
use host::{Host, Interest, Machine, Moment, Place, SimHost, SimSettings, Store};
use planner::laws;
use protocol::Reading;
use std::path::Path;
use std::sync::Arc;

/// The first three bytes choose a recorded state, a file in it, and how it is spoilt: replaced by the rest, or edited by it.
pub(crate) fn run_state(bytes: &[u8]) {
    let [which, file, how, rest @ ..] = bytes else { return };
    let state = &STATES[usize::from(*which) % STATES.len()];
    let files: Vec<_> = state.iter().filter(|(path, _)| is_record(path)).collect();
    let (spoilt, text) = files[usize::from(*file) % files.len()];
    let content = match serde_json::from_str(text) {
        Ok(value) if how % 2 == 1 => serde_json::to_vec(&edited(value, rest)).unwrap(),
        _ => rest.to_vec(),
    };
    let disk = MemoryDisk::default();
    for (path, text) in state {
        match path.strip_suffix('/') {
            Some(folder) => disk.make_dir(Path::new(folder)).unwrap(),
            None if path == spoilt => disk.write(Path::new(path), &content).unwrap(),
            None => disk.write(Path::new(path), text.as_bytes()).unwrap(),
        }
    }
    plan_from(disk);
}

fn is_record(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "json")
}

/// A daemon starts on these files, on a host of which nothing is left, and looks.
fn plan_from(disk: MemoryDisk) {
    let now = "2026-01-01T02:00:00Z".parse().unwrap();
    let host = serde_json::json!({"topology": {"cores": 8}, "memory": {"total-kib": 4_194_304}});
    let machine = Machine::new(serde_json::from_value(host).unwrap(), now, Arc::new(disk.other_process())).unwrap();
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    let store = Arc::new(Store::open(place, Arc::new(disk)));
    if store.lock().is_err() {
        return;
    }
    let moment = Moment { at: now, up_ms: 3_600_000 };
    let settings = SimSettings {
        allow_paths: vec!["/srv".to_owned()],
        memory_reserve_kib: 128 * 1024,
        core_dump_quota_kib: 1024 * 1024,
    };
    let mut host = SimHost::new(settings, store, machine.shared(), Arc::new(move || moment), Arc::new(|| {}));
    let observed = host.observe(&Interest::default());
    let plan = planner::plan(None, &observed);
    laws::deterministic(None, &observed, &plan).unwrap();
    laws::no_harm_from_unknown(&observed, &plan).unwrap();
    laws::foreign_untouched(&observed, &plan).unwrap();
    // What was read can be read again, from what an inventory says of it.
    let text = serde_json::to_string(&observed).unwrap();
    assert_eq!(serde_json::from_str::<planner::Observed>(&text).unwrap(), observed);
}

pub(crate) fn seeds_state() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, state) in (0..).zip(STATES.iter()) {
        for (file, (_, text)) in (0..).zip(state.iter().filter(|(path, _)| is_record(path))) {
            seeds.push([&[which, file, 0], text.as_bytes()].concat());
            seeds.push(vec![which, file, 1, 3, 0, 14, 0, 0, 9, 1, 11, 200, 1]);
        }
    }
    seeds
}

/// The bytes are the journal. It is read and mended, and a line that is then written is the last one read.
pub(crate) fn run_journal(bytes: &[u8]) {
    let disk = MemoryDisk::default();
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    let store = Store::open(place, Arc::new(disk.clone()));
    for folder in ["/state", "/state/journal"] {
        disk.make_dir(Path::new(folder)).unwrap();
    }
    disk.write(Path::new("/state/journal/current.ndjson"), bytes).unwrap();
    let before = store.journal_tail(usize::MAX).unwrap();
    store.lock().unwrap();
    assert!(matches!(store.identity(), Some(Reading::Known(_))));
    let event = host::store::Event::Noted { reason: "Fuzzed".to_owned(), message: String::new(), actor: None };
    let entry = host::store::Entry::new(jiff::Timestamp::UNIX_EPOCH, event);
    store.journal(&entry).unwrap();
    let after = store.journal_tail(usize::MAX).unwrap();
    let (last, others) = after.split_last().unwrap();
    assert_eq!(*last, host::store::Entry { seq: last.seq, ..entry }, "what was written is read");
    assert!(others.iter().all(|other| other.seq < last.seq), "it has the greatest number");
    assert_eq!(others, before, "and nothing else is lost or comes up");
    assert_eq!(store.journal_tail(1).unwrap(), std::slice::from_ref(last));
}

pub(crate) fn seeds_journal() -> Vec<Vec<u8>> {
    let of = |state: &std::collections::BTreeMap<String, String>| state.get("/state/journal/current.ndjson").cloned();
    let texts: Vec<String> = STATES.iter().filter_map(of).collect();
    let lines = texts.iter().flat_map(|text| text.lines().take(6)).map(|line| format!("{line}\n").into_bytes());
    lines.chain([b"\n\n".to_vec(), b"{\"at\":".to_vec()]).collect()
}
