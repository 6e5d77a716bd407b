//! A Xen host, real or simulated, as the reconcile loop sees it: observe, start operations, be woken.
//!
//! ```text
//!                 observe ──► Observed ──► plan ──► items ──► start
//!                    ▲                                          │
//!   orders that ended are taken in first       before-edits, order file, worker
//! ```
//!
//! Entry points: [`pass`], one round of it; [`XenHost`], which speaks to `pinfold-xen`; [`SimHost`], which simulates one; [`Store`], all durable state except git. Deliberately absent:
//! policy. What is done, and whether, is in the plan; here it is only written down, carried out, and written down again.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
mod dom0;
mod engine;
mod observe;
mod operations;
mod sim;
pub mod store;
mod usage;
mod xen;

pub use clock::{Clock, Moment, system_clock};
pub use dom0::{Dom0Health, HarmfulLine, Mount, UnitHealth};
pub use engine::{PassReport, Starts, pass, start_due};
pub use sim::{Machine, Shared, SimError, SimHost, SimSettings, Watch};
pub use store::{Place, Store, StoreError};
pub use usage::{DiskUsage, Meter, NicUsage, Usage};
pub use xen::{Deadlines, Settings, XenHost};

use planner::observed::{AcceptedCommit, HostShutdown};
use planner::trash::DiskMark;
use planner::{Item, Observed};
use protocol::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the reconcile loop knows and an observation needs: the commit in force, and what it names in dom0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Files and devices, by absolute path. Paths in the records are looked at as well.
    pub paths: BTreeSet<String>,
    /// The commit in force.
    pub accepted: Option<AcceptedCommit>,
    /// The note that the host goes down.
    pub host_shutdown: Option<HostShutdown>,
}

/// Called, from any thread, when there is a reason to look again. Carries nothing on purpose, and must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Why an operation was not started. Nothing was done to the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {message}")]
pub struct StartError {
    /// What was attempted, such as `write record`.
    pub what: String,
    /// What went wrong and what to do next.
    pub message: String,
    /// Its records could not be written, so it must not begin.
    pub unwritable: bool,
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

    /// Reads what domains have used of dom0's devices, beside whatever this host is doing.
    fn meter(&self) -> Arc<dyn Meter>;

    /// Who could change domains and cpupools beside pinfold, at this moment: other programs that speak to Xen, and people who are logged in.
    fn suspects(&self) -> Vec<String>;

    /// What tells disks from others in their place, by path: for whoever brings a VM back from the trash by hand.
    fn marks(&self, paths: &BTreeSet<String>) -> BTreeMap<String, Reading<DiskMark>>;

    /// The host's durable state: for grants, approvals, and the journal.
    fn store(&self) -> &Arc<Store>;
}
