//! What the driver publishes after each pass, for readers that never wait for it.

use crate::api::view::{ObjectView, SourceView};
use jiff::Timestamp;
use planner::{Observed, Plan};
use std::sync::Arc;
use std::time::Duration;

/// One pass, whole. Readers hold an `Arc` of it; the next pass replaces it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the daemon started.
    pub started: Timestamp,
    /// From one look at the host to the next, the time that a pass takes included: older than three times this is old.
    pub interval: Duration,
    /// What was seen.
    pub observed: Arc<Observed>,
    /// What follows.
    pub plan: Arc<Plan>,
    /// The objects, with times.
    pub objects: Arc<Vec<ObjectView>>,
    /// The repository.
    pub source: SourceView,
    /// Counted since the daemon started.
    pub counts: Counts,
}

/// What is counted since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Passes.
    pub passes: u64,
    /// Time spent in passes.
    pub pass_seconds: f64,
    /// Operations started.
    pub operations_started: u64,
    /// Operations that could not be started.
    pub operations_refused: u64,
}
