//! The mirror: a bare repository under the state directory with the watched branch, whole, and nothing else.
//!
//! Two refs: `refs/pinfold/candidate`, moved by the fetch child alone, and `refs/pinfold/accepted`, moved by the daemon alone. Reading
//! needs no network. Every call opens the mirror again, because a fetch may have put a new one in its place.
//! Only this folder knows git2.

mod error;
mod fetch;
mod history;
mod local;
mod mirror;
mod remote;
mod renew;
mod tree;

pub use error::MirrorError;
pub use fetch::fetch_child;
pub use history::Relation;
pub use mirror::{Accepted, AcceptedLine, CommitFacts, Mirror};
pub use tree::TreeAt;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The head of the branch as it was fetched last.
const CANDIDATE: &str = "refs/pinfold/candidate";
/// The commit in force.
const ACCEPTED: &str = "refs/pinfold/accepted";

/// A commit's full name: 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A text that names no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no full commit id: 40 hexadecimal digits, as `git rev-parse` prints them")]
pub struct CommitIdError(String);

impl CommitId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    fn oid(&self) -> git2::Oid {
        git2::Oid::from_str(&self.0).expect("a CommitId is 40 hexadecimal digits")
    }
}

impl From<git2::Oid> for CommitId {
    fn from(oid: git2::Oid) -> Self {
        Self(oid.to_string())
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(CommitIdError(text.to_owned()))
    }
}

impl TryFrom<String> for CommitId {
    type Error = CommitIdError;

    fn try_from(text: String) -> Result<Self, CommitIdError> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether git allows this name for a branch.
pub(super) fn is_branch_name(name: &str) -> bool {
    git2::Branch::name_is_valid(name).unwrap_or(false)
}
