//! The real host's side of the conversation with `pinfold-xen`, with a scripted worker in its place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod deadlines;

use host::store::{Event, RealDisk};
use host::{Clock, Deadlines, Host, Interest, Place, Settings, Store, XenHost, system_clock};
use planner::{Action, Cause, Disposition, Effect, Item, ObjectKind, ObjectRef, Operation, Work};
use protocol::{CpuSet, Dom0, Failure, FailureKind, Hello, Hypervisor, Observation, PROTOCOL, Reading, Request};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A folder with a state directory, a storage, and a worker that is a shell script.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(serve: &str, work: &str) -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        let hello = Hello {
            protocol: PROTOCOL,
            worker: "1".to_owned(),
            built_for: "4.17".to_owned(),
            running: Some("4.17".to_owned()),
        };
        fs::write(scene.path("hello"), serde_json::to_string(&hello).unwrap() + "\n").unwrap();
        fs::write(scene.path("observation"), serde_json::to_string(&observation()).unwrap()).unwrap();
        let script = format!(
            "#!/bin/sh\ncd {}\nfield() {{ sed -E \"s/.*\\\"$1\\\":\\\"?([^\\\",}}]*).*/\\1/\"; }}\n\
             case $1 in\nserve)\n{serve}\n;;\ndo)\ncat hello\nread -r order\nid=$(echo \"$order\" | field operation)\n\
             outcome=$(echo \"$order\" | field outcome)\n{work}\n;;\nesac\n",
            scene.dir.path().display()
        );
        fs::write(scene.path("worker"), script).unwrap();
        fs::set_permissions(scene.path("worker"), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn host(&self) -> (XenHost, Receiver<()>) {
        self.host_with(Deadlines::default(), system_clock())
    }

    fn host_with(&self, deadlines: Deadlines, clock: Clock) -> (XenHost, Receiver<()>) {
        let place = Place { host: "xen1".parse().unwrap(), state: self.path("state"), storage: self.path("storage") };
        let store = Arc::new(Store::open(place, Arc::new(RealDisk)));
        // When tests are threads of one process, a child that another one has just forked holds our lock until it becomes its program.
        while store.lock().is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (sender, woken) = channel();
        let settings = Settings {
            worker: self.path("worker"),
            allow_paths: Vec::new(),
            memory_reserve_kib: 0,
            core_dump_quota_kib: 0,
        };
        let waker = Arc::new(move || {
            let _ = sender.send(());
        });
        (XenHost::with_deadlines(settings, deadlines, store, clock, waker), woken)
    }
}

/// Answers every call.
const SERVE: &str = "cat hello\nwhile read -r call; do\n\
    printf '{\"answer\":{\"id\":%s,\"answer\":{\"Ok\":%s}}}\\n' \"$(echo \"$call\" | field id)\" \"$(cat observation)\"\ndone";

/// Succeeds, as a worker should: outcome first, then the line.
const SUCCEED: &str = "printf '{\"operation\":\"%s\",\"request\":{\"do\":\"feed-pool0\",\"cpus\":\"1\"},\
    \"result\":{\"Ok\":{\"domid\":null}},\"log\":[]}\\n' \"$id\" > \"$outcome.new\"\n\
    mv \"$outcome.new\" \"$outcome\"\ncat \"$outcome\"";

fn observation() -> Observation {
    Observation {
        hypervisor: Hypervisor {
            version: "4.17.5".to_owned(),
            pcpus: Vec::new(),
            memory_total_kib: 1,
            memory_free_kib: 1,
            pv: true,
            hvm: true,
            hvm_parts: None,
            boot_id: uuid::Uuid::nil(),
            dom0: Dom0 { memory_kib: 1, memory_max_kib: Some(1), vcpus: 1, cpu_time_ns: None },
        },
        cpupools: Reading::Known(Vec::new()),
        domains: Reading::Known(Vec::new()),
    }
}

fn item() -> Item {
    Item {
        id: "item".to_owned(),
        commit: None,
        object: ObjectRef { kind: ObjectKind::Host, name: "xen1".to_owned(), uuid: None },
        action: Action::Repair,
        effect: Effect::Live,
        disposition: Disposition::Now,
        cause: Cause::Drift,
        changes: Vec::new(),
        reason: "test".to_owned(),
        drift: None,
        trail: planner::Trail::default(),
        operation: Some(Operation {
            before: Vec::new(),
            work: Work::Xen(Box::new(Request::FeedPool0 { cpus: CpuSet::from_iter([1]) })),
            on_success: Vec::new(),
            on_failure: Vec::new(),
        }),
    }
}

/// Why nothing is known of Xen; empty when something is.
fn unknown(host: &mut XenHost) -> String {
    match host.observe(&Interest::default()).xen {
        Reading::Known(_) => String::new(),
        Reading::Unknown(cause) => format!("{}: {}", cause.reason, cause.message),
    }
}

/// Starts an operation and observes until it is over; its failure, if it failed.
fn run(scene: &Scene) -> Option<Failure> {
    run_within(scene, Deadlines::default())
}

fn run_within(scene: &Scene, deadlines: Deadlines) -> Option<Failure> {
    let (mut host, woken) = scene.host_with(deadlines, system_clock());
    host.start(&item()).unwrap();
    loop {
        let observed = host.observe(&Interest::default());
        if observed.operations.is_empty() {
            return last_end(&host);
        }
        assert_eq!(observed.operations[0].what, "give pCPUs to Pool-0");
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

fn last_end(host: &XenHost) -> Option<Failure> {
    let last = host.store().journal_tail(1).unwrap().pop().unwrap();
    let Event::Ended { failure, .. } = last.event else { panic!("{last:?}") };
    failure
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn serve_is_asked_and_asked_again() {
    let scene = Scene::new(SERVE, "");
    let (mut host, _woken) = scene.host();
    for _ in 0..3 {
        assert_eq!(host.observe(&Interest::default()).xen, Reading::Known(observation()));
    }
}

#[test]
fn a_serve_that_died_is_replaced_at_once() {
    let once = SERVE.replace("\ndone", "\nexit 3\ndone");
    let scene = Scene::new(&once, "");
    let (mut host, _woken) = scene.host();
    for _ in 0..3 {
        assert_eq!(unknown(&mut host), "");
    }
}

#[test]
fn a_wake_up_wakes() {
    let scene = Scene::new(&SERVE.replacen("cat hello\n", "cat hello\necho '\"woken\"'\n", 1), "");
    let (mut host, woken) = scene.host();
    assert_eq!(unknown(&mut host), "");
    woken.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn what_is_wrong_with_a_worker_is_said() {
    let check = |serve: &str, says: &[&str]| {
        let scene = Scene::new(serve, "");
        let (mut host, _woken) = scene.host();
        let said = unknown(&mut host);
        assert!(says.iter().all(|part| said.contains(part)), "{said}");
        // Not started again at once: the same answer, from before.
        assert_eq!(unknown(&mut host), said);
    };
    check(
        "sed 's/running\":\"4.17/running\":\"4.19/' hello; cat",
        &["WorkerMismatch", "Xen 4.19 runs", "for Xen 4.17"],
    );
    check("sed 's/protocol\":1/protocol\":9/' hello; cat", &["WorkerMismatch", "speaks 9"]);
    check("sed 's/running\":\"4.17\"/running\":null/' hello; cat", &["NoXen", "boot this host with Xen"]);
    check("echo boo", &["WorkerDied", "`boo`"]);
    check("echo 'no xenstore today' >&2; exit 7", &["WorkerDied", "exit status: 7"]);
    let lost = "cat hello; read -r call; echo '{\"answer\":{\"id\":1,\"answer\":{\"Err\":{\"kind\":\"xenstore-lost\",\
        \"call\":\"xs_open\",\"rc\":null,\"errno\":2,\"message\":\"gone\"}}}}'; read -r call; \
        echo '{\"answer\":{\"id\":2,\"answer\":{\"Err\":{\"kind\":\"xenstore-lost\",\"call\":\"xs_open\",\"rc\":null,\
        \"errno\":2,\"message\":\"gone\"}}}}'";
    check(lost, &["XenstoreLost", "xs_open: gone"]);
    let scene = Scene::new(SERVE, "");
    fs::remove_file(scene.path("worker")).unwrap();
    assert!(unknown(&mut scene.host().0).starts_with("WorkerMissing"));
}

#[test]
fn an_operation_ends_with_its_outcome_and_leaves_nothing() {
    let scene = Scene::new(SERVE, SUCCEED);
    assert_eq!(run(&scene), None);
    assert_eq!(files(&scene.path("state/operations")), Vec::<String>::new());
    assert_eq!(files(&scene.path("state/outcomes")), Vec::<String>::new());
}

#[test]
fn a_worker_that_dies_is_a_failure_with_its_last_words() {
    let failure = run(&Scene::new(SERVE, "echo 'libxl: error: oh' >&2; exit 5")).unwrap();
    assert_eq!(failure.kind, FailureKind::WorkerDied);
    assert!(failure.message.contains("exit status: 5") && failure.message.contains("libxl: error: oh"), "{failure:?}");
}

#[test]
fn a_worker_that_is_missing_is_a_failure() {
    let scene = Scene::new(SERVE, "");
    fs::remove_file(scene.path("worker")).unwrap();
    let failure = run(&scene).unwrap();
    assert!(failure.message.contains("install the package"), "{failure:?}");
}

#[test]
fn a_worker_outlives_its_daemon() {
    // It goes on when the file `go` appears.
    let scene = Scene::new(SERVE, &format!("touch begun; while [ ! -e go ]; do sleep 0.01; done\n{SUCCEED}"));
    let (mut first, _woken) = scene.host();
    first.start(&item()).unwrap();
    drop(first);
    let (mut second, _woken) = scene.host();
    let observed = second.observe(&Interest::default());
    assert_eq!(observed.operations.len(), 1, "busy for the next daemon too");
    fs::write(scene.path("go"), "").unwrap();
    while !second.observe(&Interest::default()).operations.is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(last_end(&second), None);
}

#[test]
fn a_worker_that_died_without_a_daemon_is_a_failure() {
    let scene = Scene::new(SERVE, "touch begun; exit 1");
    let (mut first, _woken) = scene.host();
    first.start(&item()).unwrap();
    drop(first);
    let (mut second, _woken) = scene.host();
    while !second.observe(&Interest::default()).operations.is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(last_end(&second).unwrap().kind, FailureKind::WorkerDied);
}
