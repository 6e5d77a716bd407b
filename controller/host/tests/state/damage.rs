//! Every file of a host's state, cut off at any length, with any byte changed, or written by a newer pinfold.

use crate::stage::Stage;
use crate::stage::verbs::Order;
use crate::{manifests, settled};
use host::PassReport;
use host::store::{Disk, MemoryDisk};
use jiff::SignedDuration;
use planner::{Condition, ConditionKind, Disposition, Item, Truth};
use sim::Event;
use std::path::{Path, PathBuf};

/// A host in the middle of things: `b` is being stopped to be removed, `c` is being created, `d` is frozen, somebody wants `e` to run, its share
/// was changed by another hand, and an approval lies about.
fn busy() -> Stage {
    let mut stage = settled(&["a", "b", "d", "e"]);
    stage.freeze("vm/d");
    stage.order("vm/e", Order::Start, SignedDuration::from_hours(1));
    stage.apply(&Event::SchedSet { domain: "e".to_owned(), weight: 7, cap: 0 });
    stage.commit(manifests(&["a", "c", "d", "e"]));
    stage.settle(SignedDuration::from_secs(0));
    assert!(stage.machine.lock().unwrap().is_busy() || stage.pass().plan.items.len() > 1, "{}", stage.transcript);
    let at = stage.wall();
    let approval = planner::record::Approval {
        actor: "ada".to_owned(),
        reason: "test".to_owned(),
        at,
        expires: at + SignedDuration::from_hours(1),
    };
    host::Host::store(stage.daemon()).write_approval("0d658a9dca3d", &approval).unwrap();
    stage
}

/// All files of state and storage, but those that only a lock is taken on.
fn files(disk: &MemoryDisk) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/state"), PathBuf::from("/storage")];
    while let Some(folder) = folders.pop() {
        for name in disk.list(&folder).unwrap() {
            let path = folder.join(&name);
            if disk.list(&path).is_ok() {
                folders.push(path);
            } else if disk.read(&path).is_ok() && name != "daemon.lock" {
                found.push(path);
            }
        }
    }
    found
}

/// A file's contents, spoilt in all sorts of ways. A stride keeps it short: every length and every byte with `PINFOLD_DAMAGE_STRIDE=1`.
fn spoilt(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let stride = std::env::var("PINFOLD_DAMAGE_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(29);
    let mut all = Vec::new();
    for length in (0..text.len()).step_by(stride).chain([text.len().saturating_sub(1), text.len().saturating_sub(3)]) {
        all.push((format!("cut off at {length}"), text[..length].to_vec()));
    }
    for at in (0..text.len()).step_by(stride) {
        for bit in [0, 3, 7] {
            let mut changed = text.to_vec();
            changed[at] ^= 1 << bit;
            all.push((format!("bit {bit} of byte {at} changed"), changed));
        }
    }
    let newer = String::from_utf8_lossy(text).replacen("\"version\": 1", "\"version\": 99", 1);
    if newer.as_bytes() != text {
        all.push(("newer".to_owned(), newer.into_bytes()));
    }
    all
}

fn due(report: &PassReport) -> Vec<&Item> {
    report.plan.items.iter().filter(|item| item.disposition == Disposition::Now).collect()
}

/// Whether somebody is told which file it is.
fn is_told(report: &PassReport, path: &Path) -> bool {
    let path = path.display().to_string();
    let conditions = report.plan.objects.iter().flat_map(|status| &status.conditions);
    // A person's order that nobody can read any more stands: it is in force, and shown with its file.
    let stands = |condition: &Condition| {
        matches!(condition.kind, ConditionKind::Frozen | ConditionKind::Overridden)
            && condition.message.contains("nobody can say")
    };
    let unknown = conditions.clone().any(|condition| {
        condition.message.contains(&path) && (condition.status == Truth::Unknown || stands(condition))
    });
    let held = report.plan.items.iter().any(|item| match &item.disposition {
        Disposition::Held { until } => until.contains(&path),
        _ => false,
    });
    unknown || held
}

#[test]
fn a_damaged_file_makes_unknown_and_never_wrong() {
    let mut stage = busy();
    let good = stage.observe_and_plan();
    let all = files(&stage.disk);
    let kinds = [
        "identity.json",
        "grants.json",
        "record.json",
        "/partitions/",
        "/operations/",
        "/approvals/",
        "/freezes/",
        "/overrides/",
        "/drift/",
        "/journal/",
    ];
    for kind in kinds {
        assert!(all.iter().any(|path| path.display().to_string().contains(kind)), "no {kind} among {all:?}");
    }
    let mut count = 0;
    for path in &all {
        let text = stage.disk.read(path).unwrap();
        let is_of = |kind: &str| path.display().to_string().contains(kind);
        // For people only, and of no consequence when lost: what is in the journal is not planned from, and a void approval approves nothing. A
        // drift whose history is lost is seen for the first time.
        let (is_quiet, is_history) = (is_of("/journal/") || is_of("/approvals/"), is_of("/drift/"));
        for (how, spoilt) in spoilt(&text) {
            count += 1;
            let what = format!("{}: {how}", path.display());
            stage.disk.write(path, &spoilt).unwrap();
            let report = stage.observe_and_plan();
            for item in due(&report) {
                assert!(good.plan.items.contains(item), "{what}: {}", planner::render::item(item));
            }
            // What is read as it was written has been written so: a space more or less, or a checksum that nobody can find any more.
            let is_same = report.plan == good.plan;
            assert!(
                is_quiet || is_history || is_same || is_told(&report, path),
                "{what}: nobody is told: {:#?}",
                report.plan.objects
            );
            assert!(!is_quiet || is_same, "{what}: it counts");
            assert_eq!(stage.disk.read(path).unwrap(), spoilt, "{what}: it was overwritten");
            stage.disk.write(path, &text).unwrap();
        }
        // Put back, all is as it was.
        assert_eq!(stage.observe_and_plan().plan, good.plan, "{}", path.display());
    }
    assert!(count > 500, "{count} kinds of damage");
    stage.settle(SignedDuration::from_mins(30));
    let report = stage.observe_and_plan();
    assert!(report.plan.items.is_empty(), "{}", planner::render::plan(&report.plan));
    assert_eq!(stage.broken(), Vec::<String>::new());
}

/// The same for a daemon that starts on it, and then works: nothing runs or ends that should not.
#[test]
fn a_daemon_that_starts_on_a_damaged_file_harms_nothing() {
    let paths = files(&busy().disk);
    for (n, _) in paths.iter().enumerate() {
        let mut stage = busy();
        let path = files(&stage.disk)[n].clone();
        let text = stage.disk.read(&path).unwrap();
        stage.disk.write(&path, &text[..text.len() / 2]).unwrap();
        stage.kill_daemon();
        stage.start_daemon();
        // Longer than anything that waits for a deadline.
        stage.settle(SignedDuration::from_mins(30));
        let what = path.display();
        assert!(stage.summary().contains("domain  a "), "{what}\n{}", stage.transcript);
        assert_eq!(stage.broken(), Vec::<String>::new(), "{what}");
        if !path.to_string_lossy().contains("/journal/") {
            assert_eq!(stage.disk.read(&path).unwrap(), text[..text.len() / 2], "{what} was overwritten");
            stage.disk.write(&path, &text).unwrap();
        }
        stage.settle(SignedDuration::from_mins(30));
        let report = stage.observe_and_plan();
        assert!(report.plan.items.is_empty(), "{what}: {}", planner::render::plan(&report.plan));
        let summary = stage.summary();
        assert!(summary.contains("trash b") && summary.contains("domain  c "), "{what}: {summary}");
    }
}
