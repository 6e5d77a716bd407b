//! One person at one console, in the daemon: waits for the VM's domain, carries bytes while there is one, and says what became of it.
//!
//! Learns of domains from the passes, and of nothing else. A terminal is opened first and believed afterwards: only when an observation that
//! began later still names it does a byte pass, in either direction.

use super::event::{End, Event};
use super::frame::Frame;
use super::holders::Hold;
use super::target::{Outlook, Place, Target, look, recorded_end, why_ended};
use super::tty::Tty;
use crate::reconcile::{Snapshot, Wake};
use jiff::Timestamp;
use planner::ObjectRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

/// Read from the guest at a time.
const CHUNK: usize = 16 * 1024;
/// Typed and not yet taken by the guest; more waits in the socket.
const MAX_TYPED: usize = 64 * 1024;
/// A guest's last words are on their way for so long at most, once Xen says that it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Passes after a hang-up in which a domain that still runs may be seen to be gone.
const PASSES_TO_GO: u32 = 3;

/// What a session works with.
#[derive(Debug)]
pub struct Session {
    /// The VM.
    pub vm: ObjectRef,
    /// The passes.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Makes the next pass come soon.
    pub wake: Wake,
    /// The right to this console.
    pub hold: Hold,
}

/// Why a session is over.
enum Over {
    /// The other side, or the daemon, goes.
    Gone,
    /// Somebody took the console over.
    Taken(String),
    /// There is no such VM any more.
    Missing,
}

/// What was said last about a VM without an attached console, so that it is said once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Unknown,
    Comes,
    Off,
    Lost(String),
}

/// What a conversation came to.
enum Outcome {
    Ended(End, String),
    Lost,
}

/// Runs until the other side goes, or somebody takes the console over, or the VM is gone.
pub async fn run(io: impl AsyncRead + AsyncWrite + Unpin, session: Session) {
    let Session { vm, snapshot, wake, hold } = session;
    let (reader, writer) = tokio::io::split(io);
    let mut line = Line { reader, writer, vm, snapshot, wake, hold, ended: None, said: None };
    let at = Timestamp::now();
    let last = match line.go().await {
        Over::Gone => None,
        Over::Taken(by) => Some(Event::Taken { at, by }),
        Over::Missing => Some(Event::Gone { at }),
    };
    let mut writer = line.writer;
    let bye = async {
        if let Some(last) = last {
            writer.write_all(&Frame::Event(last).encode()).await?;
        }
        writer.shutdown().await
    };
    // Whoever does not read is told nothing.
    let _ = tokio::time::timeout(LAST_WORDS, bye).await;
}

struct Line<I> {
    reader: ReadHalf<I>,
    writer: WriteHalf<I>,
    vm: ObjectRef,
    snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    wake: Wake,
    hold: Hold,
    /// The domain whose end was told; it may still be there.
    ended: Option<u32>,
    said: Option<Said>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Line<I> {
    async fn go(&mut self) -> Over {
        loop {
            let snapshot = self.snapshot.borrow_and_update().clone();
            let step = match snapshot {
                Some(snapshot) => self.step(&snapshot).await,
                None => Ok(()),
            };
            let step = match step {
                Ok(()) => self.next_pass().await,
                over => over,
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    /// What a pass means for this console.
    async fn step(&mut self, snapshot: &Snapshot) -> Result<(), Over> {
        let at = snapshot.observed.now;
        match look(snapshot, &self.vm) {
            Target::Missing => Err(Over::Missing),
            Target::Unknown(why) => self.once(Said::Unknown, Event::Waiting { at, why }).await,
            Target::Off { why, outlook: Outlook::Stays } => self.once(Said::Off, Event::Off { at, why }).await,
            // What comes of it is said when it has come.
            Target::Off { outlook: Outlook::Busy, .. } if self.said.is_some() || self.ended.is_some() => Ok(()),
            Target::Off { why, outlook: Outlook::Busy | Outlook::Comes } => {
                self.once(Said::Comes, Event::Waiting { at, why }).await
            }
            Target::Building { domid } => {
                self.once(Said::Comes, Event::Waiting { at, why: format!("domain {domid} is being built") }).await
            }
            Target::Bare { domid } => self.lost(at, domid, "it has no text console".to_owned()).await,
            Target::At(place) if self.ended == Some(place.domid) => Ok(()),
            Target::At(place) => self.attach(at, place).await,
        }
    }

    async fn attach(&mut self, at: Timestamp, place: Place) -> Result<(), Over> {
        let path = place.tty.clone();
        let tty = match tokio::task::spawn_blocking(move || Tty::open(&path)).await {
            Ok(Ok(tty)) => tty,
            Ok(Err(error)) => return self.lost(at, place.domid, error.to_string()).await,
            Err(_) => return Err(Over::Gone),
        };
        // The pass that ends next may have begun before; the one after it did not. By the clock nothing could be told: it may be set.
        for _ in 0..2 {
            self.wake.wake();
            self.next_pass().await?;
        }
        let Some(seen) = self.snapshot.borrow_and_update().clone() else { return Ok(()) };
        match look(&seen, &self.vm) {
            Target::At(now) if now.domid == place.domid && now.tty == place.tty => {}
            // Looked at afresh at once: nothing was said or read.
            _ => {
                self.snapshot.mark_changed();
                return Ok(());
            }
        }
        let domid = place.domid;
        self.say(Frame::Event(Event::Attached { at: Timestamp::now(), domid })).await?;
        self.said = None;
        match self.talk(&tty, &place).await? {
            Outcome::Ended(how, why) => {
                self.ended = Some(domid);
                self.say(Frame::Event(Event::Ended { at: Timestamp::now(), domid, how, why })).await?;
            }
            Outcome::Lost => {
                let why = "nobody is behind its terminal any more: is xenconsoled running?".to_owned();
                self.lost(Timestamp::now(), domid, why).await?;
            }
        }
        self.snapshot.mark_changed();
        Ok(())
    }

    /// Carries bytes both ways until the domain ends.
    async fn talk(&mut self, tty: &Tty, place: &Place) -> Result<Outcome, Over> {
        let (mut printed, mut came, mut typed) = (vec![0; CHUNK], [0; 4096], Vec::new());
        let mut end = place.ended.map(|how| (how, String::new()));
        let mut until = Instant::now() + LAST_WORDS;
        loop {
            tokio::select! {
                count = tty.read(&mut printed) => match (count, end) {
                    (0, Some((how, why))) => return Ok(Outcome::Ended(how, why)),
                    (0, None) => return self.after_hang_up(place).await,
                    (count, so_far) => {
                        end = so_far;
                        self.say(Frame::Output(printed[..count].to_vec())).await?;
                    }
                },
                count = self.reader.read(&mut came), if typed.len() < MAX_TYPED => match count {
                    Ok(count) if count > 0 => typed.extend_from_slice(&came[..count]),
                    _ => return Err(Over::Gone),
                },
                count = tty.write(&typed), if !typed.is_empty() => {
                    // What cannot be typed any more is for nobody; the hang-up follows.
                    let count = count.unwrap_or(typed.len());
                    typed.drain(..count);
                }
                () = tokio::time::sleep_until(until), if end.is_some() => {
                    if let Some((how, why)) = end {
                        return Ok(Outcome::Ended(how, why));
                    }
                }
                changed = self.snapshot.changed() => {
                    changed.map_err(|_| Over::Gone)?;
                    if end.is_none() {
                        end = self.end(place);
                        until = Instant::now() + LAST_WORDS;
                    }
                }
                by = &mut self.hold.taken => return Err(by.map_or(Over::Gone, Over::Taken)),
            }
        }
    }

    /// Whether the last pass says that the domain has ended, and how.
    fn end(&mut self, place: &Place) -> Option<(End, String)> {
        let snapshot = self.snapshot.borrow_and_update().clone()?;
        let how = match look(&snapshot, &self.vm) {
            Target::Unknown(_) => return None,
            Target::At(now) if now.domid == place.domid => now.ended?,
            Target::Building { domid } | Target::Bare { domid } if domid == place.domid => return None,
            _ => recorded_end(&snapshot, &self.vm, place.incarnation).unwrap_or(End::Destroyed),
        };
        Some((how, why_ended(&snapshot, &self.vm)))
    }

    /// A terminal hangs up when its domain goes, or when xenconsoled does.
    async fn after_hang_up(&mut self, place: &Place) -> Result<Outcome, Over> {
        for _ in 0..PASSES_TO_GO {
            if let Some((how, why)) = self.end(place) {
                return Ok(Outcome::Ended(how, why));
            }
            self.wake.wake();
            self.next_pass().await?;
        }
        Ok(Outcome::Lost)
    }

    /// Waits for a pass. What is typed meanwhile is for nobody.
    async fn next_pass(&mut self) -> Result<(), Over> {
        let mut came = [0; 4096];
        loop {
            tokio::select! {
                changed = self.snapshot.changed() => return changed.map_err(|_| Over::Gone),
                count = self.reader.read(&mut came) => {
                    if !count.is_ok_and(|count| count > 0) {
                        return Err(Over::Gone);
                    }
                }
                by = &mut self.hold.taken => return Err(by.map_or(Over::Gone, Over::Taken)),
            }
        }
    }

    async fn lost(&mut self, at: Timestamp, domid: u32, why: String) -> Result<(), Over> {
        self.once(Said::Lost(why.clone()), Event::Lost { at, domid, why }).await
    }

    async fn once(&mut self, said: Said, event: Event) -> Result<(), Over> {
        if self.said.as_ref() == Some(&said) {
            return Ok(());
        }
        self.said = Some(said);
        self.say(Frame::Event(event)).await
    }

    /// Whoever does not read holds up only this session, and loses the console to whoever takes it over.
    async fn say(&mut self, frame: Frame) -> Result<(), Over> {
        let bytes = frame.encode();
        tokio::select! {
            written = self.writer.write_all(&bytes) => written.map_err(|_| Over::Gone),
            // In the middle of a frame: nothing more can be said.
            _ = &mut self.hold.taken => Err(Over::Gone),
        }
    }
}
