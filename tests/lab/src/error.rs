//! What can go wrong with a lab, each with what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a lab could not be had or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot build the image or run labs as it is.
    #[error("{what}\nhelp: {help}")]
    Machine {
        /// What is missing.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// The recipe failed.
    #[error("building the lab's image failed\nthe last lines of {log}:\n{tail}", log = log.display())]
    Build {
        /// All that the recipe printed.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A file or a program of this machine failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// How the system refused.
        source: io::Error,
    },
    /// QEMU ended although the lab should be on.
    #[error("the lab's QEMU ended while {doing}\nits own words:\n{qemu}\nthe end of the serial console, {log}:\n{console}", log = log.display())]
    Ended {
        /// What was being done.
        doing: String,
        /// QEMU's stderr.
        qemu: String,
        /// The whole serial console.
        log: PathBuf,
        /// Its end.
        console: String,
    },
    /// QEMU stopped working without ending; see [`crate::steadily`].
    #[error("the lab's QEMU froze while {doing}\nthe end of the serial console, {log}:\n{console}", log = log.display())]
    Frozen {
        /// What was being done.
        doing: String,
        /// The whole serial console.
        log: PathBuf,
        /// Its end.
        console: String,
    },
    /// The hypervisor printed a panic.
    #[error("Xen panicked while {doing}\nthe end of the serial console, {log}:\n{console}", log = log.display())]
    Panicked {
        /// What was being done.
        doing: String,
        /// The whole serial console.
        log: PathBuf,
        /// Its end.
        console: String,
    },
    /// Something did not happen in time.
    #[error("not within {} s: {what}\nthe end of the serial console, {log}:\n{console}", after.as_secs(), log = log.display())]
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// The whole serial console.
        log: PathBuf,
        /// Its end.
        console: String,
    },
    /// The connection to dom0 broke under a command, so that its outcome is unknown.
    #[error("no answer from dom0 to `{command}`: {why}\nthe end of the serial console, {log}:\n{console}", log = log.display())]
    Channel {
        /// What was to be run in dom0.
        command: String,
        /// ssh's words.
        why: String,
        /// The whole serial console.
        log: PathBuf,
        /// Its end.
        console: String,
    },
    /// A command that had to succeed did not.
    #[error("`{command}` exited {code}\nstdout: {stdout}\nstderr: {stderr}")]
    Command {
        /// What was run.
        command: String,
        /// Its exit status.
        code: i32,
        /// What it printed.
        stdout: String,
        /// What it complained about.
        stderr: String,
    },
}

impl LabError {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
