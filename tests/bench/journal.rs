//! What pinfold's own journal says of a lab's dom0: when a step was done, and how long its worker and libxl took. Times are dom0's.

use anyhow::{Context, Result};
use jiff::Timestamp;
use rig::Rig;
use serde_json::Value;

/// The events of a daemon.
pub(crate) struct Journal(Vec<Value>);

/// One step that was done.
pub(crate) struct Done {
    /// Seconds since the epoch.
    pub(crate) at: f64,
    /// Seconds within libxl.
    pub(crate) libxl: f64,
    /// Seconds of the worker, from its start to its outcome.
    pub(crate) worker: f64,
}

impl Journal {
    /// Asks the daemon.
    pub(crate) fn read(rig: &Rig) -> Result<Self> {
        Self::parse(&rig.pinfold("events --limit 10000 -o json")?.ok()?)
    }

    fn parse(events: &str) -> Result<Self> {
        let mut events: Value = serde_json::from_str(events)?;
        match events["items"].take() {
            Value::Array(items) => Ok(Self(items)),
            other => anyhow::bail!("the events are no list: {other}"),
        }
    }

    /// When a commit was accepted.
    pub(crate) fn accepted(&self, commit: &str) -> Result<f64> {
        let of_it = |event: &&Value| event["commit"] == commit && event["reason"] == "CommitAccepted";
        seconds(self.0.iter().find(of_it).with_context(|| format!("{commit} was not accepted"))?)
    }

    /// What happened to a VM, for an error.
    pub(crate) fn story(&self, vm: &str) -> String {
        let of_it = |event: &&Value| event["object"]["name"] == vm;
        let lines: Vec<String> = self.0.iter().filter(of_it).map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// Steps of a VM that were done, in their order. Those that only wrote records took no worker, and are left out.
    pub(crate) fn done(&self, vm: &str, reason: &str) -> Result<Vec<Done>> {
        let of_it = |event: &&Value| {
            event["object"]["name"] == vm && event["reason"] == reason && event["took"]["totalMs"].is_number()
        };
        let mut done = Vec::new();
        for event in self.0.iter().filter(of_it) {
            let took = |of: &str| event["took"][of].as_f64().map(|ms| ms / 1000.0).context("a step takes time");
            done.push(Done { at: seconds(event)?, libxl: took("libxlMs")?, worker: took("totalMs")? });
        }
        done.sort_by(|one, other| one.at.total_cmp(&other.at));
        Ok(done)
    }
}

/// An event's time.
fn seconds(event: &Value) -> Result<f64> {
    let at: Timestamp = event["at"].as_str().context("an event has a time")?.parse()?;
    Ok(at.as_duration().as_secs_f64())
}
