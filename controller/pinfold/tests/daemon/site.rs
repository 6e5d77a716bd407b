//! A host with a daemon, a repository, and hands: everything a test needs, in a folder of its own.

use super::entry::entry;
use git2::{Oid, Repository, Signature};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that is waited for. Nothing is measured: a slow machine is only slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// One socket with ten single-thread cores, and calls that take a tenth of what they take on a real host.
const HOST: &str = "topology: {cores: 10}
memory: {total-kib: 8388608}
bridges: [xenbr0]
files:
  /srv/guests/vmlinuz: {file: {size: 8000000}}
";

pub(crate) struct Site {
    home: TempDir,
    daemon: Option<Child>,
    /// What the daemon finds in its environment.
    environment: Vec<(&'static str, PathBuf)>,
}

/// What a command printed, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Site {
    /// A repository without commits, and a configuration. No daemon yet.
    pub(crate) fn new() -> Self {
        let site = Self { home: tempfile::tempdir().unwrap(), daemon: None, environment: Vec::new() };
        Repository::init_bare(site.repository()).unwrap().set_head("refs/heads/main").unwrap();
        fs::write(site.path("host.yaml"), HOST).unwrap();
        let home = site.home.path().display();
        let config = format!(
            "host: xen1\nrepository: {{url: {home}/config.git, poll: 1s}}\nstate: {home}/state\nsocket: {home}/pinfold.sock\n\
             allowPaths: [/srv/guests]\nmemoryReserve: 64Mi\n"
        );
        fs::write(site.path("pinfold.yaml"), config).unwrap();
        site
    }

    /// One whose daemon has brought the first configuration about.
    pub(crate) fn settled() -> Self {
        let mut site = Self::new();
        let commit = site.commit("first commit", &super::manifests::first());
        site.start();
        site.until_settled(&commit);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The folder of everything.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The daemon's process, while one runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("config.git")
    }

    /// A commit on `main`; a file without text is removed.
    pub(crate) fn commit(&self, message: &str, files: &[(String, Option<String>)]) -> String {
        let git = Repository::open(self.repository()).unwrap();
        let parent = git.find_branch("main", git2::BranchType::Local).ok();
        let parent = parent.map(|branch| branch.get().peel_to_commit().unwrap());
        let id = write(&git, message, files, parent.as_ref());
        git.reference("refs/heads/main", id, true, message).unwrap();
        id.to_string()
    }

    /// Rewrites the branch: its only commit is this one.
    pub(crate) fn force(&self, message: &str, files: &[(String, Option<String>)]) -> String {
        let git = Repository::open(self.repository()).unwrap();
        let id = write(&git, message, files, None);
        git.reference("refs/heads/main", id, true, "forced").unwrap();
        id.to_string()
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.until("the daemon answers", |_| true);
    }

    /// Starts the daemon.
    pub(crate) fn spawn(&mut self) {
        assert!(self.daemon.is_none(), "a daemon runs already");
        let log = File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let mut command = self.command(&["run", "--backend", &self.backend(), "--config", &self.config()]);
        command.envs(self.environment.clone()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// Sends SIGTERM; `true` when the daemon then ended well.
    pub(crate) fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.daemon.take().unwrap().wait().unwrap().success()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.daemon.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// Puts a variable into the environment of every daemon that is started from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: PathBuf) {
        self.environment.push((name, value));
    }

    /// Changes a line of the daemon's configuration, or adds one.
    pub(crate) fn configure(&self, key: &str, value: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        let other = text.lines().filter(|line| !line.starts_with(&format!("{key}:")));
        let lines: Vec<String> = other.map(str::to_owned).chain([format!("{key}: {value}\n")]).collect();
        fs::write(self.config(), lines.join("\n")).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    pub(crate) fn backend(&self) -> String {
        format!("sim:{}", self.path("host.yaml").display())
    }

    pub(crate) fn config(&self) -> String {
        self.path("pinfold.yaml").display().to_string()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
        // Nothing of the tester's own environment counts.
        command.env_clear().env("PINFOLD_SOCKET", self.path("pinfold.sock")).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn pinfold(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command that must succeed; its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.pinfold(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    /// Waits until something holds in `pinfold status -o json`; answers that status.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        let mut last = String::new();
        while started.elapsed() < PATIENCE {
            let said = self.pinfold(&["status", "-o", "json"]);
            last.clone_from(&said.err);
            if said.code == 0 {
                let status: Value = serde_json::from_str(&said.out).unwrap();
                if holds(&status) {
                    return status;
                }
                last = self.pinfold(&["status"]).out;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it never came to this: {what}\n{last}\n{}", self.log());
    }

    /// Waits, looking as often as can be, until something holds that the daemon need not answer for.
    pub(crate) fn until_there(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < PATIENCE, "it never came to this: {what}\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Waits until something holds that the daemon need not answer for, and that nobody has to see at once.
    pub(crate) fn until_soon(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        self.until_there(what, |site| {
            std::thread::sleep(Duration::from_millis(20));
            holds(site)
        });
    }

    /// Waits until a commit is in force and everything is as it says.
    pub(crate) fn until_settled(&self, commit: &str) -> Value {
        self.until(&format!("everything is as {commit} says"), |status| {
            status["commit"]["id"] == commit && status["ready"]["status"] == "True" && is_quiet(status)
        })
    }

    /// Waits until everything has been looked at a few times since now: if something was about to happen, it has begun.
    pub(crate) fn let_it_look(&self) -> Value {
        let now = self.until("it answers", |_| true)["observedAt"].as_str().unwrap().to_owned();
        let mut seen = now;
        for _ in 0..3 {
            let status = self.until("it looks again", |status| status["observedAt"].as_str() > Some(seen.as_str()));
            status["observedAt"].as_str().unwrap().clone_into(&mut seen);
        }
        self.until("nothing is under way", is_quiet)
    }

    /// Speaks HTTP to one of the sockets: the status line and the body.
    pub(crate) fn http(&self, socket: &str, request: &str) -> (String, String) {
        let mut stream = std::os::unix::net::UnixStream::connect(self.path(socket)).unwrap();
        let head = "HTTP/1.1\r\nhost: pinfold\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(format!("{request} {head}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Lets something happen to the host that pinfold does not do.
    pub(crate) fn happens(&self, event: &str) {
        let said = self.pinfold(&["sim-event", event, "--host", &self.path("host.yaml").display().to_string()]);
        assert_eq!(said.code, 0, "{event}: {}", said.err);
    }

    /// Everything that runs on the host, one line each: `db 2 oracle-a running 2-3`. Domain numbers tell one incarnation from the next.
    pub(crate) fn domains(&self) -> Vec<String> {
        let xen = self.json(&["inventory"])["xen"]["known"].clone();
        let pools = xen["cpupools"]["known"].as_array().unwrap().clone();
        let pool = |id: &Value| pools.iter().find(|pool| pool["poolid"] == *id).unwrap()["name"].clone();
        let mut lines: Vec<String> = xen["domains"]["known"]
            .as_array()
            .unwrap()
            .iter()
            .map(|domain| {
                let masks: Vec<_> =
                    domain["vcpus"]["known"].as_array().unwrap().iter().map(|vcpu| text(&vcpu["hard"])).collect();
                let (name, state) = (text(&domain["name"]), text(&domain["state"]));
                format!("{name} {} {} {state} {}", domain["domid"], text(&pool(&domain["poolid"])), masks.join(" "))
            })
            .collect();
        lines.sort();
        lines
    }

    /// The names of what runs, without the numbers that change with every start.
    pub(crate) fn shape(&self) -> Vec<String> {
        let without_number = |line: String| {
            let parts: Vec<&str> = line.split(' ').collect();
            format!("{} {}", parts[0], parts[2..].join(" "))
        };
        self.domains().into_iter().map(without_number).collect()
    }

    /// The reasons of all events, of one object or all.
    pub(crate) fn events(&self, object: Option<&str>) -> Vec<String> {
        let mut arguments = vec!["events", "--limit", "10000", "-o", "json"];
        arguments.extend(object.into_iter().flat_map(|object| ["--for", object]));
        let events = self.json(&arguments);
        events["items"].as_array().unwrap().iter().map(|event| text(&event["reason"])).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It may be gone already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Nothing is under way.
pub(crate) fn is_quiet(status: &Value) -> bool {
    status["operations"].as_array().is_some_and(Vec::is_empty)
}

/// One object of a status.
pub(crate) fn object<'s>(status: &'s Value, kind: &str, name: &str) -> &'s Value {
    let objects = status["objects"].as_array().unwrap();
    objects
        .iter()
        .find(|object| object["object"]["kind"] == kind && object["object"]["name"] == name)
        .unwrap_or(&Value::Null)
}

/// A VM's condition as `status reason`; empty when it has none such.
pub(crate) fn condition(status: &Value, name: &str, kind: &str) -> String {
    let conditions = object(status, "virtual-machine", name)["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map(|condition| format!("{} {}", text(&condition["status"]), text(&condition["reason"]))).unwrap_or_default()
}

fn write(git: &Repository, message: &str, files: &[(String, Option<String>)], parent: Option<&git2::Commit>) -> Oid {
    let mut index = git2::Index::new().unwrap();
    if let Some(parent) = parent {
        index.read_tree(&parent.tree().unwrap()).unwrap();
    }
    for (path, content) in files {
        match content {
            Some(text) => index.add(&entry(path.as_bytes(), 0o100_644, git.blob(text.as_bytes()).unwrap())).unwrap(),
            None => index.remove_path(Path::new(path)).unwrap(),
        }
    }
    let tree = git.find_tree(index.write_tree_to(git).unwrap()).unwrap();
    let who = Signature::now("Alice", "alice@example.org").unwrap();
    git.commit(None, &who, &who, message, &tree, &parent.into_iter().collect::<Vec<_>>()).unwrap()
}

/// A string as it is, anything else as JSON.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
