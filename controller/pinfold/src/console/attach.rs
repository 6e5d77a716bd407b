//! The side of a console where the person sits.
//!
//! Bytes of the guest go to standard output as they are, everything else to standard error. With a terminal on standard input every key goes
//! to the guest but the escape key; a pipe goes to it whole. When the daemon goes away (an upgrade, a restart), this waits for it and attaches
//! again: the guest's words wait in its terminal.

use super::PROTOCOL;
use super::event::Event;
use super::frame::{Frame, Frames};
use super::keys::Escape;
use crate::api::client::ClientError;
use crate::api::stream::{StreamError, upgrade};
use crate::report::console as words;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Between two tries to reach a daemon that is away.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `vm/web`, for people.
    pub object: String,
    /// Where the daemon has its console.
    pub path: String,
    /// The key that ends it.
    pub escape: Escape,
    /// End with the domain, also when another one follows.
    pub once: bool,
    /// Stay when the VM is off for good.
    pub stay: bool,
    /// One JSON object a line on standard output, for everything.
    pub json: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The escape key, a signal, or the reader of our output went away.
    Left,
    /// The domain ended, and there is nothing more to wait for.
    Done,
    /// Somebody took the console over.
    Taken,
}

/// Why it could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The daemon, or what it said.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard input or the signals.
    #[error("the system refused {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Attaches, and stays until there is a reason to go.
pub fn attach(socket: &Path, wish: &Wish) -> Result<Finish, AttachError> {
    let system = |what| move |source| AttachError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("an asynchronous runtime"))?;
    runtime.block_on(async {
        let signals = Signals::new().map_err(system("a signal handler"))?;
        let io = upgrade(socket, &wish.path, PROTOCOL).await.map_err(StreamError::into_client)?;
        let raw = if wish.json { None } else { Raw::enter().map_err(system("the terminal"))? };
        let seat = Seat { wish, is_raw: raw.is_some(), is_attached: false, was_attached: false, typed: None, signals };
        seat.sit(socket, io).await
    })
}

/// The terminal on standard input, raw until this is dropped.
struct Raw(Termios);

impl Raw {
    /// `None` when standard input is no terminal.
    fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut settings = before.clone();
        settings.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &settings)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nobody is left to be told; the terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// What would end the process at once, and leave the terminal raw.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        let of = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
        let [a, b, c, d] = of.map(signal);
        Ok(Self([a?, b?, c?, d?]))
    }

    async fn any(&mut self) {
        let [a, b, c, d] = &mut self.0;
        tokio::select! { _ = a.recv() => {}, _ = b.recv() => {}, _ = c.recv() => {}, _ = d.recv() => {} }
    }
}

struct Seat<'w> {
    wish: &'w Wish,
    is_raw: bool,
    is_attached: bool,
    was_attached: bool,
    /// Standard input, once somebody is there to type to.
    typed: Option<mpsc::Receiver<Vec<u8>>>,
    signals: Signals,
}

type Io = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;

impl Seat<'_> {
    async fn sit(mut self, socket: &Path, mut io: Io) -> Result<Finish, AttachError> {
        self.talk(&words::hello(&self.wish.object, self.escape()));
        if self.is_raw {
            self.typed = Some(read_stdin());
        }
        loop {
            if let Some(finish) = self.converse(io).await {
                return Ok(finish);
            }
            self.is_attached = false;
            self.talk(words::DAEMON_AWAY);
            io = loop {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    () = self.signals.any() => return Ok(Finish::Left),
                    typed = next(&mut self.typed) => if self.ends(&typed) { return Ok(Finish::Left) },
                }
                match upgrade(socket, &self.wish.path, PROTOCOL).await {
                    Ok(io) => break io,
                    Err(StreamError::NotNow(_)) => {}
                    Err(StreamError::No(error)) => return Err(error.into()),
                }
            };
        }
    }

    /// One connection to its end; `None` when the daemon went away.
    async fn converse(&mut self, io: Io) -> Option<Finish> {
        let (mut reader, mut writer) = tokio::io::split(io);
        let (mut frames, mut came) = (Frames::default(), vec![0; 32 * 1024]);
        loop {
            tokio::select! {
                count = reader.read(&mut came) => {
                    let count = count.ok().filter(|count| *count > 0)?;
                    frames.feed(&came[..count]);
                    while let Some(frame) = frames.take().ok()? {
                        if let Some(finish) = self.hear(frame) {
                            return Some(finish);
                        }
                    }
                }
                typed = next(&mut self.typed) => {
                    let keys = if self.is_raw { self.wish.escape.part(&typed).guest } else { &typed };
                    if self.is_attached {
                        writer.write_all(keys).await.ok()?;
                    }
                    if self.ends(&typed) {
                        return Some(Finish::Left);
                    }
                }
                () = self.signals.any() => return Some(Finish::Left),
            }
        }
    }

    fn escape(&self) -> Option<Escape> {
        self.is_raw.then_some(self.wish.escape)
    }

    fn ends(&self, typed: &[u8]) -> bool {
        self.is_raw && self.wish.escape.part(typed).ends
    }

    /// What the daemon said; an answer ends the session.
    fn hear(&mut self, frame: Frame) -> Option<Finish> {
        let event = match frame {
            Frame::Output(bytes) => return self.print(&bytes).err().map(|_| Finish::Left),
            Frame::Event(event) => event,
        };
        if self.wish.json {
            let line = serde_json::to_string(&event).unwrap_or_default();
            if write(format!("{line}\n").as_bytes()).is_err() {
                return Some(Finish::Left);
            }
        } else {
            self.talk(&words::event(&self.wish.object, &event));
        }
        self.is_attached = matches!(event, Event::Attached { .. });
        match event {
            Event::Attached { .. } => {
                self.was_attached = true;
                // A pipe is read only now: before, there was nobody to send it to.
                self.typed.get_or_insert_with(read_stdin);
                None
            }
            Event::Ended { .. } => self.wish.once.then_some(Finish::Done),
            Event::Off { .. } => (self.was_attached && !self.wish.stay).then_some(Finish::Done),
            Event::Gone { .. } => Some(Finish::Done),
            Event::Taken { .. } => Some(Finish::Taken),
            Event::Waiting { .. } | Event::Lost { .. } => None,
        }
    }

    fn print(&self, bytes: &[u8]) -> io::Result<()> {
        if !self.wish.json {
            return write(bytes);
        }
        let line = json!({"type": "Output", "text": String::from_utf8_lossy(bytes)});
        write(format!("{line}\n").as_bytes())
    }

    /// A line beside the guest's words: on a line of its own also where the cursor stands in the middle of one.
    fn talk(&self, text: &str) {
        let text = if self.is_raw { format!("\r\n{text}\r\n") } else { format!("{text}\n") };
        // Nobody is left to be told that standard error is closed.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// What is typed next; never, while nobody listens and after the end of standard input.
async fn next(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Vec<u8> {
    if let Some(receiver) = typed
        && let Some(bytes) = receiver.recv().await
    {
        return bytes;
    }
    std::future::pending().await
}

/// Reads standard input on a thread of its own, which ends with the process: a read from a terminal cannot be given up.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count) = io::stdin().read(&mut bytes) {
            if count == 0 || sender.blocking_send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
