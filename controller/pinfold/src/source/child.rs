//! Running `pinfold fetch`: the daemon's side of a fetch.
//!
//! libgit2 cannot be interrupted while a server says nothing, so a fetch is a process of its own that is killed at its deadline.

use crate::source::known_hosts;
use crate::source::layout::{self, FileError, Layout};
use crate::source::message::{FetchError, FetchErrorKind, Fetched, Message, Progress, Request, Stage, VERSION};
use crate::source::settings::Settings;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How often a fetch under way looks whether it is to stop.
const TICK: Duration = Duration::from_millis(100);
/// How long the child may take to end after SIGTERM, and to be gone after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// The longest output of a child that is read: progress lines are about 100 bytes.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;

/// How fetches are run.
#[derive(Clone, Debug)]
pub struct Fetcher {
    program: PathBuf,
    layout: Layout,
    settings: Settings,
}

impl Fetcher {
    /// Fetches with this very binary, even after it has been replaced on disk.
    pub fn new(state: &Path, settings: Settings) -> Self {
        Self::with_program(PathBuf::from("/proc/self/exe"), state, settings)
    }

    /// Fetches with the `pinfold` at this path.
    pub fn with_program(program: PathBuf, state: &Path, settings: Settings) -> Self {
        Self { program, layout: Layout::new(state), settings }
    }

    /// The settings that fetches follow.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Fetches once. Returns at the latest a few seconds after the deadline, or shortly after `stop` becomes true.
    ///
    /// # Errors
    /// What failed, and what to do; the mirror is then as it was.
    pub fn fetch(&self, stop: &AtomicBool, say: &mut dyn FnMut(Progress)) -> Result<Fetched, FetchError> {
        let mut running = self.start()?;
        let deadline = Instant::now() + self.settings.deadline;
        let mut last = None;
        let mut outcome = None;
        let ended = loop {
            match running.lines.recv_timeout(TICK) {
                Ok(Message::Progress(progress)) => {
                    last = Some(progress);
                    say(progress);
                }
                Ok(Message::Fetched(fetched)) => outcome = Some(Ok(fetched)),
                Ok(Message::Failed(error)) => outcome = Some(Err(error)),
                Err(RecvTimeoutError::Disconnected) => break running.ended_by(deadline),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stop.load(Ordering::Relaxed) || Instant::now() >= deadline {
                break None;
            }
        };
        match (outcome, ended) {
            (Some(outcome), _) => outcome,
            (None, Some(status)) => {
                let message = format!(
                    "the fetch process ended without an answer ({status}); see the daemon's log, it is tried again"
                );
                Err(FetchError::new(FetchErrorKind::Other, message))
            }
            (None, None) if stop.load(Ordering::Relaxed) => {
                Err(FetchError::new(FetchErrorKind::Other, "the fetch was stopped with the daemon"))
            }
            (None, None) => Err(self.too_slow(last)),
        }
    }

    fn start(&self) -> Result<Running, FetchError> {
        let failed = |error: FileError| FetchError::new(FetchErrorKind::Storage, with_cause(&error));
        self.settings.check().map_err(|error| FetchError::new(FetchErrorKind::Other, error.to_string()))?;
        self.layout.create().map_err(failed)?;
        self.prepare_home()?;
        let request = Request {
            version: VERSION,
            state: absolute(self.layout.state()),
            parent: std::process::id(),
            settings: self.settings.clone(),
        };
        let request = serde_json::to_vec(&request).expect("a request has only strings and numbers");
        let mut command = Command::new(&self.program);
        command.arg("fetch").env_clear().envs(self.environment());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else { unreachable!("both were asked to be pipes") };
        let (sender, lines) = sync_channel(16);
        let running = Running { child: Some(child), lines };
        stdin.write_all(&request).map_err(|error| self.not_started(&error))?;
        drop(stdin);
        std::thread::spawn(move || messages(stdout).try_for_each(|message| sender.send(message)));
        Ok(running)
    }

    /// What the child sees: nothing of the daemon's own environment, in which proxies, helpers and configuration files could be named.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let home = absolute(&self.layout.home());
        let mut environment =
            vec![("HOME", home.clone().into_os_string()), ("XDG_CONFIG_HOME", home.join("none").into_os_string())];
        if let Some(ca) = self.settings.https.as_ref().and_then(|https| https.ca_file.as_ref()) {
            environment.push(("SSL_CERT_FILE", ca.clone().into_os_string()));
            environment.push(("SSL_CERT_DIR", home.join("none").into_os_string()));
        }
        environment
    }

    /// A home in which libgit2 finds what it looks for, and nothing else: that repositories of other owners may be read (we run no hook of
    /// theirs and obey no configuration of theirs), and the known hosts, by which it chooses the sort of key to ask a server for.
    fn prepare_home(&self) -> Result<(), FetchError> {
        let failed = |error: FileError| FetchError::new(FetchErrorKind::Storage, with_cause(&error));
        let ssh = self.layout.home().join(".ssh");
        std::fs::create_dir_all(&ssh)
            .map_err(|source| failed(FileError { act: "create", path: ssh.clone(), source }))?;
        layout::replace(&self.layout.home().join(".gitconfig"), b"[safe]\n\tdirectory = *\n").map_err(failed)?;
        let known_hosts = match &self.settings.ssh {
            Some(ssh) => known_hosts::readable(&ssh.known_hosts)?,
            None => String::new(),
        };
        layout::replace(&ssh.join("known_hosts"), known_hosts.as_bytes()).map_err(failed)?;
        if let Some(ca) = self.settings.https.as_ref().and_then(|https| https.ca_file.as_ref()) {
            std::fs::metadata(ca).map_err(|error| {
                let message = format!("cannot read `https.caFile: {}`: {error}", ca.display());
                FetchError::new(FetchErrorKind::Certificate, message)
            })?;
        }
        Ok(())
    }

    fn not_started(&self, error: &std::io::Error) -> FetchError {
        let message = format!("cannot start `{} fetch`: {error}", self.program.display());
        FetchError::new(FetchErrorKind::Other, message)
    }

    fn too_slow(&self, last: Option<Progress>) -> FetchError {
        let (url, seconds) = (&self.settings.url, self.settings.deadline.as_secs());
        match last.map(|progress| (progress.stage, progress)) {
            Some((Stage::Waiting, _)) => {
                let message = format!(
                    "another fetch has held the mirror for {seconds} s; is a second daemon using this state directory?"
                );
                FetchError::new(FetchErrorKind::Other, message)
            }
            Some((Stage::Receiving, Progress { received, total, .. })) => {
                let message = format!(
                    "{url} gave {received} of {total} objects in {seconds} s; if it is only slow, raise `repository.deadline`"
                );
                FetchError::new(FetchErrorKind::Unreachable, message)
            }
            _ => {
                let message =
                    format!("{url} gave no answer in {seconds} s; check network and server; it is tried again");
                FetchError::new(FetchErrorKind::Unreachable, message)
            }
        }
    }
}

/// A child under way. Dropping it ends it.
struct Running {
    child: Option<Child>,
    lines: Receiver<Message>,
}

impl Running {
    /// Waits for a child that has closed its output.
    fn ended_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        wait(child, deadline)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        for signal in [Signal::TERM, Signal::KILL] {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            if let Some(pid) = pid {
                // Not reaped yet, so the number is still this child's.
                kill_process(pid, signal).ok();
            }
            if wait(&mut child, Instant::now() + GRACE).is_some() {
                return;
            }
        }
        // It hangs in the kernel, on a dead network file system perhaps: whoever waits for it must not be us.
        std::thread::spawn(move || child.wait());
    }
}

fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The messages of a child; a line that is none is passed over.
fn messages(output: ChildStdout) -> impl Iterator<Item = Message> {
    let lines = BufReader::new(output.take(MAX_OUTPUT)).lines().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn with_cause(error: &FileError) -> String {
    format!("{error}: {}", error.source)
}
