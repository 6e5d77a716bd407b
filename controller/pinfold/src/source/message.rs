//! What the daemon and its `pinfold fetch` child say to each other: one request on stdin, JSON lines on stdout.

use crate::source::git::CommitId;
use crate::source::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of these messages. Both ends are the same binary; an upgrade under a running daemon is noticed by it.
pub(super) const VERSION: u32 = 1;

/// What the child is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The daemon's state directory.
    pub state: PathBuf,
    /// The daemon's process: the child ends with it.
    pub parent: u32,
    /// From where, and how to log in. The secrets themselves stay in their files.
    pub settings: Settings,
}

/// One line of the child's output. The last one is [`Message::Fetched`] or [`Message::Failed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Message {
    /// It goes on.
    Progress(Progress),
    /// The mirror has the branch.
    Fetched(Fetched),
    /// The mirror is as it was before.
    Failed(FetchError),
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Objects that have come.
    pub received: usize,
    /// Objects that will come; 0 while that is not known.
    pub total: usize,
    /// Bytes that have come.
    pub bytes: usize,
}

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Waiting for another fetch into the same mirror.
    Waiting,
    /// Opening the repository, logging in, listing branches.
    Connecting,
    /// Objects are coming.
    Receiving,
    /// The mirror was broken and is being made afresh.
    Cloning,
}

/// A fetch that worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The branch's head, now in the mirror.
    pub head: CommitId,
    /// Directories that change when the branch moves; empty for a remote repository.
    pub watch: Vec<PathBuf>,
    /// The mirror was broken and has been made afresh; where the old one is if something in it may be missing from the new one.
    pub recloned: Option<Recloned>,
}

/// A mirror that was made afresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recloned {
    /// What was wrong with the old one.
    pub why: String,
    /// The old one, kept because the accepted commit could not be found anywhere else.
    pub kept: Option<PathBuf>,
}

/// A fetch that did not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// What sort of failure.
    pub kind: FetchErrorKind,
    /// What failed, why, and what to do next.
    pub message: String,
}

/// What sort of failure a fetch ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchErrorKind {
    /// No answer: network, name, server, or the deadline.
    Unreachable,
    /// The server does not let us in, or a file with a secret cannot be read.
    Auth,
    /// The SSH server's key is not the one that is known.
    HostKey,
    /// The HTTPS server's certificate is not trusted.
    Certificate,
    /// The repository has no such branch.
    NoBranch,
    /// There is no such repository, or we may not know of it.
    NoRepository,
    /// Objects are missing or damaged, here or there.
    Corrupt,
    /// The mirror cannot be written.
    Storage,
    /// Something else.
    Other,
}

impl FetchError {
    pub(super) fn new(kind: FetchErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
