//! What a person asks the driver to do.

use planner::config::Power;
use std::time::Duration;
use tokio::sync::oneshot;

/// One of the few things that are not commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Fetch now.
    Sync,
    /// Let a held item happen.
    Approve {
        /// The item.
        id: String,
        /// Why.
        reason: String,
        /// How long the approval is good for.
        expires: Duration,
    },
    /// Leave an object as it is for a while.
    Freeze {
        /// The object, such as `vm/web` or `host`.
        what: String,
        /// For how long.
        span: Duration,
        /// Why.
        reason: String,
    },
    /// Give a VM another power than its manifest says, for a while.
    Power {
        /// The VM.
        what: String,
        /// What; `None` is a restart.
        power: Option<Power>,
        /// For how long.
        span: Duration,
        /// Why.
        reason: String,
    },
    /// Let a VM follow its manifest again.
    Follow {
        /// The VM.
        what: String,
    },
    /// End a freeze.
    Unfreeze {
        /// The object.
        what: String,
    },
    /// Bring a VM back from the trash.
    TrashRestore {
        /// Its name, UUID, or folder.
        what: String,
        /// Why.
        reason: String,
        /// With the disks as they are, whatever they were.
        any_disks: bool,
    },
    /// Take VMs away from the trash for good: one, or all that were removed before a moment.
    TrashPurge {
        /// Its name, UUID, or folder.
        what: Option<String>,
        /// The moment.
        older_than: Option<jiff::Timestamp>,
        /// Why.
        reason: String,
    },
    /// Follow a branch whose history does not descend from the accepted commit.
    AcceptHistory {
        /// The commit at its tip.
        commit: String,
        /// Why.
        reason: String,
    },
}

/// A verb on its way to the driver.
#[derive(Debug)]
pub struct VerbCall {
    /// What to do.
    pub verb: Verb,
    /// Who asks.
    pub actor: String,
    /// Takes the answer: a sentence, or why not.
    pub reply: oneshot::Sender<Result<String, String>>,
}
