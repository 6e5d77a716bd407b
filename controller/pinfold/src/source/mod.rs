//! Where manifests come from: one branch of a git repository, mirrored, judged, accepted.
//!
//! ```text
//!  repository ──pinfold fetch──► mirror, candidate ──judge──► verdict ──prepare──► grants on disk ──commit──► accepted
//!              (child process)                       (pure)                                    (one ref moves)
//! ```
//!
//! [`Watcher`] runs the fetches, and tells the daemon when the branch has moved. [`consider`] judges what is in the mirror; it needs no
//! network, and the same two commits get the same verdict everywhere. Whether git is there or away, [`Mirror::accepted`] says which commit
//! is in force and [`desired_at`] what it wants. Only `git/` knows git2.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod child;
mod git;
mod grants;
mod judge;
mod known_hosts;
mod layout;
mod ledger;
mod local_watch;
mod location;
mod message;
mod schedule;
mod settings;
mod watch;

pub use child::Fetcher;
pub use git::{
    Accepted, AcceptedLine, CommitFacts, CommitId, CommitIdError, Mirror, MirrorError, Relation, TreeAt, fetch_child,
};
pub use grants::prepare;
pub use judge::{Accept, Removed, Verdict, desired_at, judge};
pub use layout::FileError;
pub use ledger::{
    Considered, Permit, PermitError, Refusal, RefusalReason, RefusedFinding, accept_history, commit, consider, permit,
    refusal,
};
pub(crate) use location::concealed;
pub use location::{Location, LocationError, Remote};
pub use message::{FetchError, FetchErrorKind, Fetched, Progress, Recloned, Stage};
pub use settings::{Https, Settings, SettingsError, Ssh, SubPath};
pub use watch::{Failing, Fetches, SourceEvent, Watcher, last_fetches};
