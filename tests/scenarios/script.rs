//! What a scenario's `script.yaml` can say. Included by both who play scenarios: on the simulator `controller/host/tests/scenarios`, on
//! real Xen `tests/on_xen`.

use schema::units::Span;
use serde::Deserialize;
use std::path::Path;

/// A scenario's script.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Script {
    /// Whether real Xen plays it, too. The simulator plays all of them.
    pub lab: Lab,
    /// What happens, one after the other.
    pub steps: Vec<Step>,
}

/// Whether a scenario is played on real Xen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lab {
    /// It is, and ends there as on the simulator.
    Plays,
    /// It is not, because it needs something that real Xen does not do on order.
    Not(String),
}

/// What happens next.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The files of this folder are laid over those of the commit before.
    Commit(String),
    /// A commit that removes these files.
    Remove(Vec<String>),
    /// The accepted commit can no longer be read.
    LoseManifests,
    /// Passes until nothing happens any more, for at most this long.
    Settle(Span),
    /// Time passes, and the daemon sleeps.
    Advance(Span),
    /// Something that no operation of ours does; see `sim::Event`.
    Event(sim::Event),
    /// The disk of state and storage is full, or cannot be written to.
    Disk(Disk),
    /// The daemon is killed and stays away.
    KillDaemon,
    /// The daemon is started again.
    StartDaemon,
    /// A person approves what is held for an object.
    Approve(String),
    /// A person freezes an object, for an hour.
    Freeze(String),
    /// A person ends that.
    Unfreeze(String),
    /// A person lets a VM run, for an hour.
    Start(String),
    /// A person stops a VM, for an hour.
    Stop(String),
    /// A person pauses a VM, for an hour.
    Pause(String),
    /// A person restarts a VM.
    Restart(String),
    /// A person ends what was ordered of a VM's power.
    Follow(String),
}

/// What the disk does with writes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Disk {
    /// It refuses them: no space left.
    Full,
    /// It refuses them: mounted read-only.
    ReadOnly,
    /// It takes them again.
    Fine,
}

/// Reads a YAML file of a scenario.
///
/// # Errors
/// The file and what is wrong with it.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
