//! How a worker is started so that it outlives the daemon: in a process group of its own, and, below systemd, in a scope of its own.

use std::ffi::{OsStr, OsString};
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
    /// What fits this process.
    pub(crate) fn detect() -> Self {
        let below_systemd = std::env::var_os("INVOCATION_ID").is_some() && Path::new("/run/systemd/system").is_dir();
        Self::fitting(below_systemd, &std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")))
    }

    /// A scope where systemd started us and `systemd-run` is at hand.
    fn fitting(below_systemd: bool, search: &OsStr) -> Self {
        let found = std::env::split_paths(search).map(|dir| dir.join("systemd-run")).find(|path| path.is_file());
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
                // Without default dependencies: a shutdown of the host would end all scopes at its beginning, and with them the QEMUs of guests that
                // are still to power off; and it would let no new one begin. The slice is one that no shutdown ends, for the same reason.
                command.args(["--quiet", "--scope", "--collect", "--slice=system.slice"]);
                command.arg("--property=DefaultDependencies=no");
                command.arg(format!("--unit=pinfold-do-{id}")).arg("--").arg(worker);
                command
            }
        };
        command.arg("do").process_group(0).current_dir("/");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Stdio;

    /// Writes down how it was called, and becomes what it is to start, as the real one does with `--scope`.
    const SYSTEMD_RUN: &str = "#!/bin/sh\necho \"$*\" > \"$(dirname \"$0\")/called\"\n\
        while [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

    fn script(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn below_systemd_a_worker_runs_in_a_scope_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (systemd_run, worker) = (dir.path().join("systemd-run"), dir.path().join("worker"));
        let launch = |below_systemd| Launch::fitting(below_systemd, dir.path().as_os_str());
        assert_eq!(launch(true), Launch::Plain, "there is no systemd-run");
        script(&systemd_run, SYSTEMD_RUN);
        assert_eq!((launch(false), launch(true)), (Launch::Plain, Launch::Scope(systemd_run)));

        script(&worker, "#!/bin/sh\nread -r line\necho \"$line $* $$ $(pwd)\"\n");
        for launch in [launch(false), launch(true)] {
            let mut command = launch.command(&worker, Uuid::nil());
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let pid = child.id();
            child.stdin.take().unwrap().write_all(b"order\n").unwrap();
            let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
            // The process that is watched is the worker itself.
            assert_eq!(said, format!("order do {pid} /\n"), "{launch:?}");
        }
        assert_eq!(
            fs::read_to_string(dir.path().join("called")).unwrap(),
            format!(
                "--quiet --scope --collect --slice=system.slice --property=DefaultDependencies=no --unit=pinfold-do-{} -- {} do\n",
                Uuid::nil(),
                worker.display()
            )
        );
    }
}
