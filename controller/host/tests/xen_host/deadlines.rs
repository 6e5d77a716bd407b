//! Workers that hang: each is made to end, whoever started it, and what became of it is said.

use super::{SERVE, SUCCEED, Scene, item, last_end, run_within, unknown};
use host::{Clock, Deadlines, Host, Interest, Moment, system_clock};
use jiff::SignedDuration;
use protocol::FailureKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Does nothing for ever; its number is in the file `pid`.
const HANG: &str = "echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.02; done";

/// Short, for workers that are meant to miss them.
fn impatient() -> Deadlines {
    Deadlines {
        answer: Duration::from_secs(1),
        operation: |_| Duration::from_millis(300),
        grace: Duration::from_millis(300),
    }
}

/// Waits until a process is gone; a zombie is one that somebody still has to bury.
fn until_gone(scene: &Scene) {
    let pid = std::fs::read_to_string(scene.path("pid")).unwrap();
    while Path::new("/proc").join(pid.trim()).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the worker is at work.
fn until_begun(scene: &Scene) {
    while !scene.path("pid").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_serve_that_stays_silent_is_replaced_and_said() {
    for serve in ["cat hello; read -r call; echo $$ > pid; exec sleep 1000", "echo $$ > pid; exec sleep 1000"] {
        let scene = Scene::new(serve, "");
        let (mut host, _woken) = scene.host_with(impatient(), system_clock());
        let said = unknown(&mut host);
        assert!(said.starts_with("WorkerSilent") && said.contains("no answer within 1 s"), "{said}");
        until_gone(&scene);
        // Not asked again at once: a pass must not wait for a host that does not answer, over and over.
        assert_eq!(unknown(&mut host), said);
    }
}

/// As on a host that is too busy for the usual deadline.
#[test]
fn a_serve_that_is_slow_is_given_more_time() {
    let slow = SERVE.replacen("while read -r call; do", "while read -r call; do sleep 0.6", 1);
    let scene = Scene::new(&slow, "");
    let deadlines = Deadlines { answer: Duration::from_millis(400), ..impatient() };
    let (mut host, _woken) = scene.host_with(deadlines, system_clock());
    assert!(unknown(&mut host).starts_with("WorkerSilent"), "the first one had 400 ms");
    let known = |_: &u32| {
        std::thread::sleep(Duration::from_millis(100));
        unknown(&mut host).is_empty()
    };
    // It needs one more, and the next answers as slowly; a busy machine may need more of both.
    assert!((0..200).filter(known).take(3).count() == 3, "it is asked again and again, and never waited for");
}

#[test]
fn a_worker_that_ignores_its_deadline_is_told_then_killed() {
    let scene = Scene::new(SERVE, &format!("trap 'touch told' TERM; {HANG}"));
    let failure = run_within(&scene, impatient()).unwrap();
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(failure.message.contains("ended by force"), "{failure:?}");
    assert!(scene.path("told").exists(), "libxl tidies up on SIGTERM: it comes first");
    until_gone(&scene);
}

#[test]
fn a_worker_that_ends_well_when_told_to_end_has_done_its_work() {
    let scene = Scene::new(SERVE, &format!("trap '{}; exit' TERM; {HANG}", SUCCEED.replace('\'', "'\\''")));
    assert_eq!(run_within(&scene, impatient()), None);
}

/// As the clock that nobody sets says when the worker of a dead daemon has worked for so long.
fn later(by: SignedDuration) -> Clock {
    let clock = system_clock();
    Arc::new(move || {
        let now = clock();
        Moment { up_ms: now.up_ms + u64::try_from(by.as_millis()).unwrap(), ..now }
    })
}

#[test]
fn a_worker_that_hangs_is_ended_by_the_next_daemon_too() {
    let within = |after: i64, work: &str| {
        let scene = Scene::new(SERVE, work);
        // This one is patient; it is gone before the deadline.
        let (mut first, _woken) = scene.host();
        first.start(&item()).unwrap();
        until_begun(&scene);
        drop(first);
        let (mut second, _woken) = scene.host_with(Deadlines::default(), later(SignedDuration::from_secs(after)));
        while !second.observe(&Interest::default()).operations.is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        until_gone(&scene);
        (last_end(&second), scene)
    };
    // Pool-0 is fed within 60 s, and after SIGTERM there are 10 s left.
    let (failure, _) = within(65, &format!("trap 'exit 1' TERM; {HANG}"));
    assert_eq!(failure.unwrap().kind, FailureKind::Deadline);
    let (failure, scene) = within(80, &format!("trap 'touch told' TERM; {HANG}"));
    let failure = failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(failure.message.contains("not done within 60 s"), "{failure:?}");
    assert!(!scene.path("told").exists(), "its grace is over");
}

#[test]
fn a_worker_of_another_daemon_has_its_time() {
    let scene = Scene::new(SERVE, &format!("touch pid; while [ ! -e go ]; do sleep 0.01; done\n{SUCCEED}"));
    let (mut first, _woken) = scene.host();
    first.start(&item()).unwrap();
    until_begun(&scene);
    drop(first);
    let (mut second, _woken) = scene.host_with(Deadlines::default(), later(SignedDuration::from_secs(30)));
    for _ in 0..3 {
        assert_eq!(second.observe(&Interest::default()).operations.len(), 1);
    }
    std::fs::write(scene.path("go"), "").unwrap();
    while !second.observe(&Interest::default()).operations.is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(last_end(&second), None);
}
