//! The process of a worker that another daemon started, found by the file that is its standard error.
//!
//! A number alone would not do: it may belong to somebody else by the time it is used. So the process is held by a descriptor first, and
//! looked at again then.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Sends a signal to the worker whose standard error is `talk`. None is no error: it has just ended.
pub(super) fn signal(talk: &Path, signal: Signal) -> io::Result<()> {
    let talk = file(talk)?;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if !is_worker(pid, talk) {
            continue;
        }
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        if is_worker(pid, talk) {
            pidfd_send_signal(process, signal)?;
        }
    }
    Ok(())
}

/// Whether it is `pinfold-xen do` and speaks to this file. Scripts that libxl started in it may speak to the same one.
fn is_worker(pid: Pid, talk: (u64, u64)) -> bool {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let speaks = file(&proc.join("fd/2")).is_ok_and(|stderr| stderr == talk);
    speaks && fs::read(proc.join("cmdline")).is_ok_and(|arguments| arguments.ends_with(b"\0do\0"))
}

/// Device and inode of a file.
fn file(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
