//! `spec.mode` of hosts and VMs: what pinfold may do there.

use crate::desired;
use schemars::JsonSchema;
use serde::Deserialize;

/// What pinfold may do.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Nothing: it shows what differs and what it would do.
    Observe,
    /// What was done before goes on; everything new waits for a person, item by item.
    Plan,
    /// Everything that the commit asks for.
    Enforce,
}

impl From<Mode> for desired::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::Plan => Self::Plan,
            Mode::Enforce => Self::Enforce,
        }
    }
}
