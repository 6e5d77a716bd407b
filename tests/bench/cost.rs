//! What a process costs: as the kernel counts it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::fs;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Seconds that a process took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Of a clock on the wall.
    pub(crate) wall: f64,
    /// Of processors: all threads, user and system.
    pub(crate) cpu: f64,
}

/// Runs a program to its end, which must be with `code`.
pub(crate) fn run(command: &mut Command, code: i32) -> Result<Cost> {
    let mut said = tempfile::tempfile()?;
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    // It has ended and is still there to be asked: what it used is gone with it.
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu(&format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    let status = child.wait()?;
    if status.code() != Some(code) {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        bail!("{command:?} ended with {status}, not with {code}:\n{text}");
    }
    Ok(Cost { wall, cpu })
}

/// Seconds of processors that a process (`/proc/PID/stat`) or a thread (`/proc/PID/task/TID/stat`) has used (proc_pid_stat(5), utime and stime).
pub(crate) fn cpu(stat: &str) -> Result<f64> {
    let text = fs::read_to_string(stat).with_context(|| format!("cannot read {stat}"))?;
    // The name before may hold anything, brackets too.
    let (_, fields) = text.rsplit_once(')').with_context(|| format!("{stat} is no stat: {text}"))?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    #[allow(clippy::cast_precision_loss, reason = "a hundred, almost everywhere")]
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// A line of `/proc/PID/status` in bytes, such as `VmRSS`.
pub(crate) fn memory(pid: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("{path} has no {name}"))?;
    Ok(kib.parse::<f64>()? * 1024.0)
}
