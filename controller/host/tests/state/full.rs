//! A disk that cannot be written to.

use crate::stage::Stage;
use crate::{conditions, host, manifests, settled};
use host::Host;
use host::store::{DiskFault, Event};
use jiff::SignedDuration;
use std::io::ErrorKind;

fn starts_with(said: &[String], what: &str) -> bool {
    said.iter().any(|line| line.starts_with(what))
}

#[test]
fn what_came_of_an_operation_and_cannot_be_written_stalls_its_object() {
    let mut stage = Stage::new(host());
    stage.commit(manifests(&["a", "b"]));
    // The partition is made, b is being created.
    let report = stage.pass();
    assert_eq!(report.started.len(), 2, "{}", stage.transcript);
    stage.disk.inject(DiskFault::Refuse(ErrorKind::StorageFull));
    stage.advance(SignedDuration::from_secs(30));
    let report = stage.pass();
    for object in ["cp/p", "vm/b"] {
        let said = conditions(&report, object);
        assert!(starts_with(&said, "Ready False StateUnwritable"), "{said:#?}");
        assert!(starts_with(&said, "Stalled True StateUnwritable: what came of an operation"), "{said:#?}");
        assert!(said.join("").contains("(free some space)"), "{said:#?}");
    }
    let said = conditions(&report, "host/xen1");
    assert!(
        starts_with(&said, "Stalled True StateUnwritable: nothing that needs a record can begin or end"),
        "{said:#?}"
    );
    // Nothing new begins, and the next daemon sees the same.
    assert!(report.started.is_empty());
    stage.kill_daemon();
    stage.start_daemon();
    let report = stage.pass();
    assert!(starts_with(&conditions(&report, "vm/b"), "Stalled True StateUnwritable"));
    // Room again: all is taken in, and goes on.
    stage.disk.relieve();
    stage.settle(SignedDuration::from_mins(5));
    let report = stage.observe_and_plan();
    for object in ["host/xen1", "cp/p", "vm/a", "vm/b"] {
        let said = conditions(&report, object);
        assert!(said.len() == 1 && said[0].starts_with("Ready True"), "{object}: {said:#?}");
    }
    assert_eq!(stage.broken(), Vec::<String>::new());
}

/// An intent that cannot be written is no intent: neither the order nor the line in the journal may be missing when a worker starts.
#[test]
fn nothing_begins_without_its_intent_on_disk() {
    for fits in 0..40 {
        let mut stage = settled(&["a"]);
        stage.commit(manifests(&["a", "b"]));
        stage.disk.inject(DiskFault::RefuseAfter(fits, ErrorKind::StorageFull));
        let report = stage.pass();
        let begun = stage.machine.lock().unwrap().is_busy();
        assert_eq!(begun, !report.started.is_empty());
        stage.disk.relieve();
        let journal = stage.daemon().store().journal_tail(usize::MAX).unwrap();
        let intents = |entry: &&host::store::Entry| {
            matches!(&entry.event, Event::Started { .. })
                && entry.object.as_ref().is_some_and(|object| object.name == "b")
        };
        assert!(!begun || journal.iter().filter(intents).count() == 1, "{fits} steps fit");
        if let Some((_, error)) = report.start_errors.first() {
            assert!(error.unwritable && error.to_string().contains("(free some space)"), "{error}");
        }
        stage.settle(SignedDuration::from_mins(5));
        assert!(stage.summary().contains("domain  b "), "{}", stage.summary());
        if begun {
            assert!(fits > 3, "{fits} steps were enough");
            return;
        }
    }
    panic!("it never began");
}
