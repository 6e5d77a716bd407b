//! A command's outcome in dom0, and programs of this machine run to their end with a deadline.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::LabError;
use crate::patience::Patience;

/// What a command printed and how it exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command.
    pub command: String,
    /// Exit status; 128 + the signal's number if a signal ended it.
    pub code: i32,
    /// Standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// Whether it exited 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// Its standard output if it exited 0, else an error that shows all of it.
    pub fn ok(self) -> Result<String, LabError> {
        let Self { command, code, stdout, stderr } = self;
        if code == 0 { Ok(stdout) } else { Err(LabError::Command { command, code, stdout, stderr }) }
    }
}

/// What a program of this machine printed.
pub(crate) struct Printed {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a program to its end, or kills it at the deadline: then `None`.
///
/// A program whose children keep its output open counts as running.
pub(crate) fn run_within(command: &mut Command, deadline: &Patience) -> io::Result<Option<Printed>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let printed =
        next(&stdout, deadline).zip(next(&stderr, deadline)).map(|(stdout, stderr)| Printed { stdout, stderr });
    if printed.is_none() {
        child.kill()?;
    }
    child.wait()?;
    Ok(printed)
}

/// All that comes from a pipe, unless the deadline passes first.
fn next(pipe: &mpsc::Receiver<Vec<u8>>, deadline: &Patience) -> Option<Vec<u8>> {
    loop {
        match pipe.recv_timeout(Duration::from_millis(250)) {
            Ok(all) => return Some(all),
            Err(mpsc::RecvTimeoutError::Timeout) if !deadline.is_over() => {}
            Err(_) => return None,
        }
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has said all it will.
            let _ = pipe.read_to_end(&mut all);
        }
        // Nobody listens any more once the deadline has passed.
        let _ = send.send(all);
    });
    receive
}

/// Quotes a word for a POSIX shell.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
