//! What others wrote is read without a panic, without unbounded memory, and without a plan that breaks a law: targets for libFuzzer.
//!
//! Entry: [`TARGETS`]. A target takes any bytes; its seeds come from what the tests keep anyway. `make fuzz` runs them for long, guided by
//! coverage; `make test` runs each for a while. An input that once crashed a target lies in `tests/fuzz/crashes/TARGET/` and is run first,
//! for ever. Deliberately absent: what libxl and libgit2 read, which are not ours.
#![allow(clippy::unwrap_used, reason = "a fuzzing target that cannot begin has to say so loudly")]

mod edits;
mod inventories;
mod inventory;
mod manifests;
mod messages;
mod socket;
mod state;
mod xl;

use std::path::PathBuf;

/// Something that reads what others wrote.
pub struct Target {
    /// Its name, and that of its folder of crashes.
    pub name: &'static str,
    /// Reads these bytes. Panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Runs in `make test`: about ten seconds' worth each.
    pub runs: u32,
    /// The longest input, in bytes.
    pub longest: usize,
}

/// All of them. To add one: a module with `run` and `seeds`, and a row here.
pub const TARGETS: &[Target] = &[
    Target { name: "manifests", run: manifests::run, seeds: manifests::seeds, runs: 4_000, longest: 4096 },
    Target { name: "xl", run: xl::run, seeds: xl::seeds, runs: 6_000, longest: 4096 },
    Target { name: "messages", run: messages::run, seeds: messages::seeds, runs: 60_000, longest: 16_384 },
    Target { name: "state", run: state::run_state, seeds: state::seeds_state, runs: 4_000, longest: 8192 },
    Target { name: "journal", run: state::run_journal, seeds: state::seeds_journal, runs: 10_000, longest: 8192 },
    Target { name: "inventory", run: inventory::run, seeds: inventory::seeds, runs: 4_000, longest: 256 },
    Target { name: "socket", run: socket::run, seeds: socket::seeds, runs: 4_000, longest: 4096 },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The root of the workspace.
///
/// # Panics
///
/// When the sources are no longer where they were built.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the sources are where they were built")
}
