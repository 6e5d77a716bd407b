//! What the driver publishes after each pass, for readers that never wait for it.

use super::tally::Tally;
use crate::api::view::{ObjectView, SourceView};
use jiff::Timestamp;
use planner::{Observed, Plan};
use prometheus_client::metrics::histogram::Histogram;
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
#[derive(Clone, Debug)]
pub struct Counts {
    /// How long passes take, in seconds. Shared: a snapshot's own pass counts in it as soon as it is over.
    pub pass_seconds: Histogram,
    /// Operations started.
    pub operations_started: u64,
    /// Operations that could not be started.
    pub operations_refused: u64,
    /// Starts and ends of VMs.
    pub tally: Tally,
}

/// From a pass on an idle host to one that waits out the deadline of a host that gives no answer, in seconds.
const PASS_BUCKETS: [f64; 9] = [0.002, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];

impl Default for Counts {
    fn default() -> Self {
        Self {
            pass_seconds: Histogram::new(PASS_BUCKETS),
            operations_started: 0,
            operations_refused: 0,
            tally: Tally::default(),
        }
    }
}
