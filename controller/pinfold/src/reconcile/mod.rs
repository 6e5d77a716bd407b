//! The loop: one thread owns the host and all state, and passes from nothing held in memory.
//!
//! ```text
//!  wake-ups (commit, host, operation's end, verb) ─┐                       ┌─► Snapshot ─► API, metrics, `run --once`
//!  time (plan.due, observe.interval) ──────────────┴─► Driver: one pass ───┴─► journal, conditions
//! ```
//!
//! Triggers carry no payload and coalesce. Nothing here waits for a slow step: operations, fetches and requests run elsewhere.

mod conditions;
mod driver;
mod freeze;
mod host_shutdown;
mod in_force;
mod journal;
mod overrides;
mod snapshot;
mod tally;
mod trash;
mod verb;
mod wake;

pub use conditions::{Conditions, word};
pub use driver::{Driver, Parts};
pub use host_shutdown::forced;
pub use in_force::InForce;
pub(crate) use in_force::chain;
pub use journal::{Event, Note, Reason, Severity, events, note};
pub use snapshot::{Counts, Snapshot};
pub use tally::{Tally, VmTally};
pub(crate) use trash::removed_at;
pub use verb::{Verb, VerbCall};
pub use wake::{Wake, Woken, wake};
