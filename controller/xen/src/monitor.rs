//! The process that `xl create` leaves behind for each domain: it waits for the domain's end, and then destroys it or makes it again (xl_vmcontrol.c, `create_domain`).
//!
//! Found by what nobody else has: it runs `xl`, and its standard output is the log that `xl` opens for its domain by name (`/var/log/xen/xl-NAME.log`, `do_daemonize` in
//! xl_utils.c; older logs are renamed `.log.N`, and the kernel shows an open file under its new name).

use crate::libxl::io_failure;
use protocol::{Failure, FailureKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where `xl` keeps its logs (`XEN_LOG_DIR`).
const LOGS: &str = "/var/log/xen/xl-";
/// Seconds that a process has to end after a signal; one that only waits ends at once.
const PATIENCE_S: i64 = 5;
const CALL: &str = "stop-monitor";

/// A process that watches a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Monitor {
    pid: i32,
    /// The name that its domain had when `xl` made it.
    name: String,
}

/// The names of domains that `xl` watches: those that they had when they were made.
pub(crate) fn watched() -> Result<BTreeSet<String>, Failure> {
    Ok(monitors(Path::new("/proc"))?.into_iter().map(|monitor| monitor.name).collect())
}

/// Ends the process that watches the domain of this name; the guest does not notice. `names` are those of all domains: a process for a domain that was
/// renamed since could be this one's, and then nothing is ended.
pub(crate) fn stop(name: &str, names: &BTreeSet<String>) -> Result<(), Failure> {
    let monitors = monitors(Path::new("/proc"))?;
    let of_it: Vec<&Monitor> = monitors.iter().filter(|monitor| monitor.name == name).collect();
    let strays: Vec<&Monitor> = monitors.iter().filter(|monitor| !names.contains(&monitor.name)).collect();
    let refuse = |message: String| Err(Failure::new(FailureKind::Stale, CALL, message));
    match (of_it.as_slice(), strays.as_slice()) {
        ([], []) => Ok(()),
        ([monitor], _) => end(monitor),
        ([], [stray, ..]) => refuse(format!(
            "process {} of `xl` watches a domain that was called {} and is not any more, which may be {name}; rename it back, or end that process by hand",
            stray.pid, stray.name
        )),
        (several, _) => {
            let pids: Vec<String> = several.iter().map(|monitor| monitor.pid.to_string()).collect();
            refuse(format!(
                "processes {} of `xl` all watch a domain called {name}; end those of other domains by hand",
                pids.join(", ")
            ))
        }
    }
}

/// Ends one process: asked first, then killed. The descriptor stands for this process and never for a later one of the same number.
fn end(monitor: &Monitor) -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| io_failure(CALL, &error.into());
    let pid = Pid::from_raw(monitor.pid).ok_or_else(|| failed(rustix::io::Errno::SRCH))?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // Looked at again: the number may have gone to another process before it was opened.
    if of_process(Path::new("/proc"), monitor.pid).as_ref() != Some(monitor) {
        return Ok(());
    }
    for signal in [Signal::TERM, Signal::KILL] {
        match pidfd_send_signal(&process, signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        if has_ended(&process).map_err(failed)? {
            return Ok(());
        }
    }
    let message = format!("process {} of `xl` does not end; look at it by hand", monitor.pid);
    Err(Failure::new(FailureKind::Refused, CALL, message))
}

fn has_ended(process: &OwnedFd) -> rustix::io::Result<bool> {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
    Ok(poll(&mut fds, Some(&patience))? > 0)
}

/// Every such process.
fn monitors(proc: &Path) -> Result<Vec<Monitor>, Failure> {
    let entries = fs::read_dir(proc).map_err(|error| io_failure("/proc", &error))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut monitors: Vec<Monitor> = pids.filter_map(|pid| of_process(proc, pid)).collect();
    monitors.sort_by_key(|monitor| monitor.pid);
    Ok(monitors)
}

/// What a process watches, if it is one of `xl`'s. One that ends meanwhile is none.
fn of_process(proc: &Path, pid: i32) -> Option<Monitor> {
    let folder = proc.join(pid.to_string());
    // The kernel says so when the program's file was replaced by an upgrade.
    let program = fs::read_link(folder.join("exe")).ok()?;
    let program = program.file_name()?.to_str()?.trim_end_matches(" (deleted)");
    if program != "xl" {
        return None;
    }
    let log = fs::read_link(folder.join("fd/1")).ok()?;
    let name = name_in(log.to_str()?)?.to_owned();
    Some(Monitor { pid, name })
}

/// The domain's name in the path of a log: `/var/log/xen/xl-web.log`, `/var/log/xen/xl-web.log.3`.
fn name_in(log: &str) -> Option<&str> {
    let log = log.trim_end_matches(" (deleted)").strip_prefix(LOGS)?;
    let rotated =
        log.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(".log.").filter(|_| !log.ends_with('.'));
    rotated.or_else(|| log.strip_suffix(".log")).filter(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn logs_name_domains() {
        for (log, name) in [
            ("/var/log/xen/xl-web.log", Some("web")),
            ("/var/log/xen/xl-web.log.3", Some("web")),
            ("/var/log/xen/xl-web.log.12 (deleted)", Some("web")),
            ("/var/log/xen/xl-a.b.log", Some("a.b")),
            ("/var/log/xen/xl-.log", None),
            ("/var/log/xen/xl-web", None),
            ("/var/log/xen/xen-hotplug.log", None),
            ("/dev/pts/0", None),
        ] {
            assert_eq!(name_in(log), name, "of {log}");
        }
    }

    #[test]
    fn only_processes_of_xl_with_such_a_log_are_monitors() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, exe: &str, out: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(folder.join("fd")).unwrap();
            symlink(exe, folder.join("exe")).unwrap();
            symlink(out, folder.join("fd/1")).unwrap();
        };
        process("10", "/usr/lib/xen-4.17/bin/xl", "/var/log/xen/xl-web.log");
        process("11", "/usr/lib/xen-4.17/bin/xl (deleted)", "/var/log/xen/xl-db.log.1");
        process("12", "/usr/lib/xen-4.17/bin/xl", "/dev/pts/0");
        process("13", "/usr/bin/tail", "/var/log/xen/xl-web.log");
        fs::create_dir(proc.path().join("self")).unwrap();
        let found: Vec<(i32, String)> =
            monitors(proc.path()).unwrap().into_iter().map(|monitor| (monitor.pid, monitor.name)).collect();
        assert_eq!(found, [(10, "web".to_owned()), (11, "db".to_owned())]);
    }
}
