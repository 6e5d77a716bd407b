//! Nothing outlives its lab: a small shell between the lab's process and its QEMU.
//!
//! ```text
//!   test process ──pipe──► sh (the guard) ──parent of──► QEMU (setpriv --pdeathsig KILL)
//! ```
//!
//! The guard reads a pipe that only the lab's process holds. When that process ends, by return, panic, signal or SIGKILL,
//! the pipe closes; the guard kills QEMU and removes the lab's folder. If the guard itself is killed, the kernel kills
//! QEMU. It has a process group of its own, so that a Ctrl-C at the terminal reaches it only in this order.
//!
//! While the guard lives it does not reap QEMU, so QEMU's process id cannot come to mean another process.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
folder=$1; shift
exec 3<&0 </dev/null
setpriv --pdeathsig KILL -- "$@" 3<&- >/dev/null 2>"$folder/qemu.log" &
qemu=$!
echo "$qemu"
exec >/dev/null
read -r word <&3 || word=gone
kill -KILL "$qemu"
wait "$qemu"
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// A running QEMU and the guard over it.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    qemu_pid: u32,
}

/// What becomes of the lab's folder when its QEMU is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Keep,
    Remove,
}

impl Guard {
    /// Starts QEMU with these arguments, with `folder` as what is removed at the end, and `directory` as its working folder.
    pub(crate) fn start(folder: &Path, directory: &Path, qemu: &[String]) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "lab-guard"])
            .arg(folder)
            .args(qemu)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let qemu_pid = line.trim().parse().map_err(|_| io::Error::other("the guard's shell started no QEMU"))?;
        Ok(Self { shell, qemu_pid })
    }

    /// Whether QEMU still runs.
    pub(crate) fn qemu_runs(&self) -> bool {
        // `PID (NAME) STATE …`; the name is QEMU's own, without a closing parenthesis after it.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.qemu_pid)).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
    }

    /// Kills QEMU as a power loss would, and returns when it is gone.
    pub(crate) fn end(mut self, folder: Folder) -> io::Result<()> {
        if let Some(mut pipe) = self.shell.stdin.take()
            && folder == Folder::Keep
        {
            pipe.write_all(b"keep\n")?;
        }
        self.shell.wait().map(drop)
    }
}
