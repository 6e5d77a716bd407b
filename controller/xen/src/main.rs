//! `pinfold-xen`: the only program that links libxenlight. One build serves one Xen minor release.
//!
//! ```text
//! pinfold-xen hello   says which Xen it was built for and which one runs
//! pinfold-xen serve   answers observations and says when domains come and go, until its standard input closes; changes nothing, never forks
//! pinfold-xen do      carries out one order and ends; nothing but SIGKILL stops it half-way
//! ```
//!
//! The messages are those of the crate `protocol`. libxl may end this process at any call; whoever started it treats that as a failure
//! of the operation and observes again, so nothing is written as done before it is.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod device_model;
mod dump;
mod hello;
mod image;
mod libxl;
mod lock;
mod monitor;
mod observe;
mod order;
mod serve;
mod xen;

use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next();
    let done = match (mode.as_deref().and_then(|mode| mode.to_str()), arguments.next()) {
        (Some("hello"), None) => say(&hello::hello()),
        (Some("serve"), None) => serve::run(),
        (Some("do"), None) => order::run(),
        (Some("--version"), None) => {
            writeln!(io::stdout(), "pinfold-xen {} for Xen {}", env!("CARGO_PKG_VERSION"), libxl_sys::XEN_MINOR)
        }
        _ => {
            complain("usage: pinfold-xen hello | serve | do");
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// `EX_SOFTWARE` of sysexits.h.
const COULD_NOT_RUN: u8 = 70;

/// Writes one message as one line, in one write.
fn say<T: Serialize>(message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// A word to whoever started this, for his log. That nobody reads it is no failure.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "pinfold-xen: {what}");
}
