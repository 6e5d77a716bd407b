//! Nothing outlives its lab: a small shell between the lab's process and its QEMU.
//!
//! ```text
//!   test process ──pipe──► sh (the guard) ──parent of──► QEMU (setpriv --pdeathsig KILL)
//! ```
//!
//! The guard makes the lab's folder, then obeys a pipe that only the lab's process holds. When that process ends, by
//! return, panic, signal or SIGKILL, the pipe closes; the guard kills QEMU and removes the folder. If the guard itself is
//! killed, the kernel kills QEMU. It has a process group of its own, so that a Ctrl-C at the terminal does not reach it.
//!
//! The guard reaps QEMU only when told to cut the power, so until then QEMU's process id means no other process.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::command::quote;
use crate::freeze::used;

const SCRIPT: &str = r#"
# Whoever started it may be dead before it reads a word: then what is said is lost, and the folder goes all the same.
trap '' PIPE
folder=$(mktemp -d "${TMPDIR:-/tmp}/pinfold-lab-XXXXXX") || exit
exec 3<&0 </dev/null
echo "$folder"
qemu=
cut() {
    [ -z "$qemu" ] || { kill -KILL "$qemu"; wait "$qemu"; }
    qemu=
}
while read -r word <&3; do
    case $word in
    start)
        cut
        setpriv --pdeathsig KILL -- sh "$folder/machine" 3<&- >/dev/null 2>"$folder/qemu.log" &
        qemu=$!
        echo "$qemu"
        ;;
    cut)
        cut
        echo off
        ;;
    esac
done
cut
rm -rf "$folder"
"#;

/// The guard over one lab's folder and QEMU. Dropped, both are gone.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// None before the first start and after a cut.
    qemu: Option<u32>,
}

impl Guard {
    /// Starts the guard, which makes the lab's folder below `$TMPDIR`, else `/tmp`.
    pub(crate) fn start() -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "lab-guard"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take());
        let answers = BufReader::new(answers.expect("stdout is piped above"));
        let mut guard = Self { shell, orders, answers, folder: PathBuf::new(), qemu: None };
        guard.folder = PathBuf::from(guard.answer()?);
        Ok(guard)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts QEMU in this working folder; whatever QEMU ran before is killed.
    pub(crate) fn start_qemu(&mut self, directory: &Path, command: &[String]) -> io::Result<()> {
        let words: Vec<_> = command.iter().map(|word| quote(word)).collect();
        let directory = quote(&directory.to_string_lossy());
        fs::write(self.folder.join("machine"), format!("cd {directory} && exec {}\n", words.join(" \\\n    ")))?;
        let pid = self.order("start")?;
        self.qemu = Some(pid.parse().map_err(|_| io::Error::other(format!("the guard says `{pid}`, no process id")))?);
        Ok(())
    }

    /// Kills QEMU as a power loss would, and returns when it is gone.
    pub(crate) fn cut_power(&mut self) -> io::Result<()> {
        self.qemu = None;
        self.order("cut").map(drop)
    }

    /// QEMU's process id, unless the power is cut.
    pub(crate) fn qemu(&self) -> Option<u32> {
        self.qemu
    }

    /// Whether QEMU runs.
    pub(crate) fn qemu_runs(&self) -> bool {
        self.qemu.is_some_and(|qemu| used(qemu).is_some())
    }

    /// What QEMU, or the shell that was to start it, printed on stderr.
    pub(crate) fn qemu_words(&self) -> String {
        fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default().trim().to_owned()
    }

    fn order(&mut self, word: &str) -> io::Result<String> {
        let orders = self.orders.as_mut().expect("open until the drop");
        writeln!(orders, "{word}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the lab's guard, a shell, is gone"));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take());
        // If it cannot be waited for it is gone already.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    /// As when the lab's process is killed in the very moment in which the folder is made.
    #[test]
    fn a_guard_that_nobody_listens_to_leaves_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sleep 0.2\n{SCRIPT}"), "lab-guard"])
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(shell.stdout.take());
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
