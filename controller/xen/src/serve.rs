//! `serve`: answers observations, and says when domains come or go.
//!
//! One loop over standard input and xenstore's watches. It never makes a call that forks or changes anything. It ends when its standard
//! input closes. Lost xenstored: every answer says so until it is back, then everything is opened anew.

use crate::libxl::Watch;
use crate::observe::observe;
use crate::xen::Xen;
use crate::{complain, hello, say};
use protocol::{Ask, Call, Failure, FailureKind, Hello, Observation, Said};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};
use std::io;

/// What xenstored fires when domains come and go (docs/misc/xenstore.txt, "special watches").
const DOMAINS: [&str; 2] = ["@introduceDomain", "@releaseDomain"];
/// The longest line that is taken for a call.
const LINE_LIMIT: usize = 64 * 1024;

/// Runs the mode.
pub(crate) fn run() -> io::Result<()> {
    let hello = hello::hello();
    say(&hello)?;
    let mut server = Server { hello, open: None };
    // Before the first question, so that nothing that happens from now on is missed.
    server.reopen().ok();
    let mut lines = Lines::default();
    loop {
        let (input, woken) = wait(server.open.as_ref().map(|open| &open.watch))?;
        if woken && server.open.as_ref().is_some_and(|open| open.watch.drain()) {
            say(&Said::Woken)?;
        }
        if !input {
            continue;
        }
        if !lines.fill()? {
            return Ok(());
        }
        while let Some(line) = lines.next() {
            match serde_json::from_slice::<Call>(&line) {
                Ok(call) => say(&server.answer(&call))?,
                // Without its id a call cannot be answered; the caller's deadline ends it.
                Err(error) => complain(&format!("a line that is no call was ignored: {error}")),
            }
        }
    }
}

/// What a server keeps between calls: its connections.
struct Server {
    hello: Hello,
    open: Option<Open>,
}

/// Connections that are lost and opened together.
struct Open {
    xen: Xen,
    watch: Watch,
}

impl Server {
    fn answer(&mut self, call: &Call) -> Said {
        let answer = match call.ask {
            Ask::Observe => self.observe().map(Box::new),
        };
        Said::Answer { id: call.id, answer }
    }

    /// Observes. Connections to an earlier xenstored fail once, and are opened anew for a second try.
    fn observe(&mut self) -> Result<Observation, Failure> {
        if let Some(open) = &self.open {
            match observe(&open.xen) {
                Err(failure) if failure.kind == FailureKind::XenstoreLost => self.open = None,
                answer => {
                    open.xen.libxl.clear_log();
                    return answer;
                }
            }
        }
        observe(&self.reopen()?.xen)
    }

    fn reopen(&mut self) -> Result<&Open, Failure> {
        hello::check(&self.hello)?;
        let open = Open { xen: Xen::open("")?, watch: Watch::open(&DOMAINS)? };
        Ok(self.open.insert(open))
    }
}

/// Waits until there is input, or a watch fired.
fn wait(watch: Option<&Watch>) -> io::Result<(bool, bool)> {
    let stdin = rustix::stdio::stdin();
    let mut fds = vec![PollFd::new(&stdin, PollFlags::IN)];
    let watch_fd = watch.map(Watch::fd);
    if let Some(fd) = &watch_fd {
        fds.push(PollFd::new(fd, PollFlags::IN));
    }
    loop {
        match poll(&mut fds, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let readable = |fd: &PollFd<'_>| !fd.revents().is_empty();
    Ok((readable(&fds[0]), fds.get(1).is_some_and(readable)))
}

/// Standard input, cut into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Reads what is there; answers whether the input is still open.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        match read(rustix::stdio::stdin(), &mut chunk) {
            Ok(0) => Ok(false),
            Ok(count) if self.buffer.len() + count <= LINE_LIMIT => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Ok(_) => Err(io::Error::other("a line on standard input is too long to be a call")),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The next whole line.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}
