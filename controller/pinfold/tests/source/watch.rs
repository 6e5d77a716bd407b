//! The watcher: told by the kernel, by hints, by time. Waits are bounds on hanging, not measurements.

use crate::fixture::{Daemon, File, Origin, location, run};
use pinfold::source::{CommitId, FetchErrorKind, SourceEvent, Watcher, last_fetches};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// So long that only a broken watcher needs it.
const FOREVER: Duration = Duration::from_secs(60);

fn start(daemon: &Daemon) -> (Watcher, Receiver<SourceEvent>) {
    let (sender, events) = channel();
    let watcher = Watcher::start(daemon.state.path(), daemon.fetcher(), move |event| {
        sender.send(event).ok();
    });
    (watcher.unwrap(), events)
}

fn wait_for(events: &Receiver<SourceEvent>, wanted: &CommitId) {
    loop {
        match events.recv_timeout(FOREVER).expect("the watcher says that the branch has moved") {
            SourceEvent::Fetched { head, .. } if head == *wanted => return,
            SourceEvent::Fetched { .. } | SourceEvent::Failed(_) => {}
        }
    }
}

fn wait_for_failure(events: &Receiver<SourceEvent>, wanted: FetchErrorKind) {
    loop {
        match events.recv_timeout(FOREVER).expect("the watcher says that fetching fails") {
            SourceEvent::Failed(failing) if failing.kind == wanted => return,
            SourceEvent::Fetched { .. } | SourceEvent::Failed(_) => {}
        }
    }
}

#[test]
fn a_local_push_is_noticed_without_polling() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    daemon.settings.poll = Duration::from_secs(86_400);
    let (_watcher, events) = start(&daemon);
    wait_for(&events, &origin.head());
    for number in 0..3 {
        let head = origin.commit("next", &[("note.txt", File::Text(&number.to_string()))]);
        wait_for(&events, &head);
    }
    // Packed refs, and then a new loose one.
    run(Command::new("git").arg("-C").arg(origin.path()).args(["pack-refs", "--all", "--prune"]));
    let head = origin.commit("after packing", &[("note.txt", File::Text("packed"))]);
    wait_for(&events, &head);
}

#[test]
fn a_repository_that_goes_and_comes_back_is_watched_again() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    daemon.settings.poll = Duration::from_secs(5);
    let first = origin.head();
    let (watcher, events) = start(&daemon);
    wait_for(&events, &first);
    let away = origin.folder.path().join("away.git");
    std::fs::rename(origin.path(), &away).unwrap();
    wait_for_failure(&events, FetchErrorKind::NoRepository);
    let failing = watcher.fetches().failing.unwrap();
    assert!(failing.attempts >= 1 && failing.since <= failing.last);
    assert_eq!(watcher.fetches().head, Some(first));
    // Kept for whoever asks while no daemon runs.
    assert!(last_fetches(daemon.state.path()).failing.is_some());
    std::fs::rename(&away, origin.path()).unwrap();
    let head = origin.commit("back", &[("note.txt", File::Text("back"))]);
    wait_for(&events, &head);
    assert_eq!(watcher.fetches().failing, None);
}

#[test]
fn a_hint_is_followed() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    // As a remote one would be: the kernel says nothing of it.
    daemon.settings.url = location("https://127.0.0.1:9/xen.git");
    daemon.settings.poll = Duration::from_secs(86_400);
    let (watcher, events) = start(&daemon);
    wait_for_failure(&events, FetchErrorKind::Unreachable);
    watcher.hint();
    wait_for_failure(&events, FetchErrorKind::Unreachable);
}

#[test]
fn dropping_the_watcher_ends_a_fetch_that_hangs() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::with_vms(&[]);
    let mut daemon = Daemon::of(&origin);
    daemon.settings.url = location(&format!("https://{}/xen.git", listener.local_addr().unwrap()));
    daemon.settings.deadline = Duration::from_secs(86_400);
    let (watcher, _events) = start(&daemon);
    // The child has connected, and waits for an answer that never comes.
    let _connection = listener.accept().unwrap();
    drop(watcher);
}
