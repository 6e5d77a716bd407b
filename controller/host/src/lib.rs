//! A Xen host, real or simulated, as the reconcile loop sees it: observe, start operations, be woken.

use planner::{Item, Observed};
use std::collections::BTreeSet;

/// What the accepted commit names in dom0, so that the observation can look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Files and devices, by absolute path.
    pub paths: BTreeSet<String>,
}

/// Why an operation was not started. Nothing was done to the host.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {message}")]
pub struct StartError {
    /// What was attempted, such as `write record`.
    pub what: String,
    /// What went wrong and what to do next.
    pub message: String,
}

/// A Xen host.
///
/// Synchronous on purpose: one driver thread owns it, a scenario can drive it step by step, and nothing here waits longer than a deadline.
/// Whoever makes a host gives it a waker, which is called (from any thread) when there is a reason to look again.
pub trait Host {
    /// Looks at everything planning may look at. Outcomes of operations that ended meanwhile are taken into the records first.
    /// Never fails: what could not be read is unknown in the answer.
    fn observe(&mut self, interest: &Interest) -> Observed;

    /// Starts the operation of an item whose disposition is now: records before, then the work, which goes on after this returns.
    fn start(&mut self, item: &Item) -> Result<(), StartError>;
}
