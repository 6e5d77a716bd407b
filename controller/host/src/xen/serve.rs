//! The long-lived `pinfold-xen serve`: started when it is needed, asked with a deadline, and started again when it died.

use crate::Waker;
use crate::observe::unknown;
use crate::xen::lines::lines;
use protocol::{Ask, Call, Cause, Hello, Observation, PROTOCOL, Reading, Said};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why nothing is known of a host whose worker does not answer.
const SILENT: &str = "WorkerSilent";
/// The first wait after a death; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two starts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// As long as this an answer is waited for at most, in times of the first deadline: with 10 s a pass stays below the 60 s of systemd's watchdog.
const MOST_PATIENCE: u32 = 4;
/// Bytes of one line: an observation of ten thousand domains is below it.
const LINE: u64 = 256 << 20;
/// Lines of standard error that are kept for the reason of a death.
const LAST_WORDS: usize = 5;

/// The worker that is asked.
///
/// A silent one is replaced, and the next has twice as long: on a host that is busy a new worker, which has to read everything again, is slower
/// than the one that it replaces. Answers that come soon take the patience back.
pub(crate) struct Serve {
    worker: PathBuf,
    waker: Waker,
    deadline: Duration,
    patience: Duration,
    running: Option<Running>,
    /// Why the last one is gone, how many went in a row, and when the next may start.
    lost: Option<Lost>,
    next_call: u64,
}

struct Lost {
    cause: Cause,
    in_a_row: u32,
    retry: Instant,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<Line>,
    last_words: Arc<Mutex<Vec<String>>>,
}

enum Line {
    Hello(Hello),
    Answer(u64, Result<Box<Observation>, protocol::Failure>),
    Garbage(String),
}

impl Serve {
    pub(crate) fn new(worker: PathBuf, waker: Waker, deadline: Duration) -> Self {
        Self { worker, waker, deadline, patience: deadline, running: None, lost: None, next_call: 0 }
    }

    /// What Xen says now, or why it cannot be known.
    pub(crate) fn observe(&mut self) -> Reading<Observation> {
        if let Some(lost) = &self.lost
            && Instant::now() < lost.retry
        {
            return Reading::Unknown(lost.cause.clone());
        }
        let began = Instant::now();
        match self.ask() {
            Ok(answer) => {
                self.lost = None;
                if began.elapsed() < self.patience / 4 {
                    self.patience = (self.patience / 2).max(self.deadline);
                }
                match answer {
                    Ok(observation) => Reading::Known(*observation),
                    Err(failure) => unknown(&failure),
                }
            }
            Err(cause) => {
                self.bury();
                if cause.reason == SILENT {
                    self.patience = self.patience.saturating_mul(2).min(self.deadline.saturating_mul(MOST_PATIENCE));
                }
                let in_a_row = self.lost.as_ref().map_or(0, |lost| lost.in_a_row) + 1;
                let wait = FIRST_WAIT.saturating_mul(1 << (in_a_row - 1).min(10)).min(LONGEST_WAIT);
                self.lost = Some(Lost { cause: cause.clone(), in_a_row, retry: Instant::now() + wait });
                Reading::Unknown(cause)
            }
        }
    }

    /// Asks, starting the worker when there is none. One that died since the last answer is replaced at once: its death says nothing
    /// about the next one, which has what is left of the time: systemd waits for a pass.
    fn ask(&mut self) -> Result<Result<Box<Observation>, protocol::Failure>, Cause> {
        let (fresh, deadline) = (self.running.is_none(), self.patience);
        let until = Instant::now() + deadline;
        match self.ask_once(until) {
            Err(Trouble::Died(_)) if !fresh => {
                self.bury();
                self.ask_once(until).map_err(|trouble| trouble.cause(deadline))
            }
            answer => answer.map_err(|trouble| trouble.cause(deadline)),
        }
    }

    fn ask_once(&mut self, until: Instant) -> Result<Result<Box<Observation>, protocol::Failure>, Trouble> {
        if self.running.is_none() {
            self.running = Some(self.spawn(until)?);
        }
        let Some(running) = &mut self.running else { unreachable!("it was just started") };
        self.next_call += 1;
        let id = self.next_call;
        let call = serde_json::to_string(&Call { id, ask: Ask::Observe })
            .map_err(|error| Trouble::Died(format!("the call cannot be written: {error}")))?;
        if writeln!(running.stdin, "{call}").and_then(|()| running.stdin.flush()).is_err() {
            return Err(running.died());
        }
        loop {
            match running.hear(until)? {
                Line::Answer(answered, answer) if answered == id => return Ok(answer),
                // An answer to a question whose asker gave up.
                Line::Answer(..) => {}
                Line::Hello(_) => return Err(Trouble::Died("it said hello twice".to_owned())),
                Line::Garbage(text) => return Err(Trouble::Died(format!("it said `{text}`, which is no message"))),
            }
        }
    }

    fn spawn(&self, until: Instant) -> Result<Running, Trouble> {
        let mut command = Command::new(&self.worker);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            Trouble::NotStarted(format!(
                "cannot start `{}`: {error}; install the package of pinfold-xen for the running Xen, or set `worker:` to its path",
                self.worker.display()
            ))
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three were asked for")
        };
        // Bounded: a worker that talks without being asked waits in its pipe, and meets the deadline.
        let (sender, said) = sync_channel(16);
        let waker = Arc::clone(&self.waker);
        std::thread::spawn(move || listen(stdout, &sender, &waker));
        let last_words = Arc::new(Mutex::new(Vec::new()));
        let words = Arc::clone(&last_words);
        std::thread::spawn(move || remember(stderr, &words));
        let mut running = Running { child, stdin, said, last_words };
        match running.hear(until) {
            Ok(Line::Hello(hello)) => match check(&hello) {
                Ok(()) => Ok(running),
                Err(trouble) => {
                    running.kill();
                    Err(trouble)
                }
            },
            Ok(line) => {
                running.kill();
                let said = if let Line::Garbage(text) = line { text } else { "an answer".to_owned() };
                Err(Trouble::Died(format!("it said `{said}` where a hello is due; is it a pinfold-xen?")))
            }
            Err(trouble) => {
                running.kill();
                Err(trouble)
            }
        }
    }

    fn bury(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.bury();
    }
}

impl Running {
    fn hear(&mut self, until: Instant) -> Result<Line, Trouble> {
        match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(Trouble::Silent),
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    fn died(&mut self) -> Trouble {
        let _ = self.child.kill();
        let how = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).join(" | ");
        Trouble::Died(if words.is_empty() { how } else { format!("{how}; its last words: {words}") })
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Trouble {
    NotStarted(String),
    Mismatch(String),
    NoXen(String),
    Died(String),
    Silent,
}

impl Trouble {
    fn cause(self, deadline: Duration) -> Cause {
        let (reason, message) = match self {
            Self::NotStarted(message) => ("WorkerMissing", message),
            Self::Mismatch(message) => ("WorkerMismatch", message),
            Self::NoXen(message) => ("NoXen", message),
            Self::Died(how) => ("WorkerDied", format!("pinfold-xen serve is gone ({how}); it is started again")),
            Self::Silent => (
                SILENT,
                format!("pinfold-xen serve gave no answer within {} s; it is started again", deadline.as_secs()),
            ),
        };
        Cause { reason: reason.to_owned(), message }
    }
}

fn check(hello: &Hello) -> Result<(), Trouble> {
    if hello.protocol != PROTOCOL {
        return Err(Trouble::Mismatch(format!(
            "this pinfold speaks protocol {PROTOCOL}, and pinfold-xen {} speaks {}: install both from the same release",
            hello.worker, hello.protocol
        )));
    }
    match &hello.running {
        Some(running) if *running == hello.built_for => Ok(()),
        Some(running) => Err(Trouble::Mismatch(format!(
            "Xen {running} runs, and this pinfold-xen was built for Xen {}: install the pinfold-xen for {running}",
            hello.built_for
        ))),
        None => Err(Trouble::NoXen(
            "no Xen answers here: boot this host with Xen, and run the daemon in dom0 as root".to_owned(),
        )),
    }
}

/// Reads lines until the pipe closes. A wake-up goes to the waker at once; the end is one too, so that a dead worker is replaced soon.
fn listen(stdout: ChildStdout, sender: &SyncSender<Line>, waker: &Waker) {
    let mut greeted = false;
    for line in lines(stdout, LINE) {
        let heard = if greeted {
            match serde_json::from_str::<Said>(&line) {
                Ok(Said::Woken) => {
                    waker();
                    continue;
                }
                Ok(Said::Answer { id, answer }) => Line::Answer(id, answer),
                Err(_) => Line::Garbage(line.trim_end().chars().take(200).collect()),
            }
        } else {
            greeted = true;
            serde_json::from_str(&line)
                .map_or_else(|_| Line::Garbage(line.trim_end().chars().take(200).collect()), Line::Hello)
        };
        if sender.send(heard).is_err() {
            return;
        }
    }
    waker();
}

fn remember(stderr: impl Read, words: &Mutex<Vec<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        tracing::warn!(target: "pinfold-xen", "{line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == LAST_WORDS {
            words.remove(0);
        }
        words.push(line.chars().take(300).collect());
    }
}
