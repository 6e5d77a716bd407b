//! How a worker is started so that it outlives the daemon: in a process group of its own, and, below systemd, in a scope of its own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

/// The two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Launch {
    /// A plain child.
    Plain,
    /// `systemd-run --scope`: its cgroup is not the daemon's, so neither it nor a QEMU it starts counts as part of the unit.
    Scope(PathBuf),
}

impl Launch {
    /// What fits this process: a scope where systemd started us and `systemd-run` is at hand.
    pub(crate) fn detect() -> Self {
        let below_systemd = std::env::var_os("INVOCATION_ID").is_some() && Path::new("/run/systemd/system").is_dir();
        let search = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let found = std::env::split_paths(&search).map(|dir| dir.join("systemd-run")).find(|path| path.is_file());
        match found {
            Some(path) if below_systemd => Self::Scope(path),
            _ => Self::Plain,
        }
    }

    /// The command of one worker. `systemd-run --scope` becomes the worker: same process, same descriptors.
    pub(crate) fn command(&self, worker: &Path, id: Uuid) -> Command {
        let mut command = match self {
            Self::Plain => Command::new(worker),
            Self::Scope(systemd_run) => {
                let mut command = Command::new(systemd_run);
                command.args(["--quiet", "--scope", "--collect", "--slice=pinfold-workers"]);
                command.arg(format!("--unit=pinfold-do-{id}")).arg("--").arg(worker);
                command
            }
        };
        command.arg("do").process_group(0).current_dir("/");
        command
    }
}
