//! The mirror as the daemon sees it: what is accepted, what was fetched, what a commit holds.

use super::{ACCEPTED, CANDIDATE, CommitId, MirrorError};
use crate::source::layout::{self, FileError, Layout};
use git2::{ErrorCode, Oid, Repository};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The mirror under one state directory. Holds no open file.
#[derive(Clone, Debug)]
pub struct Mirror {
    pub(in crate::source) layout: Layout,
}

/// The commit in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// None was ever accepted here.
    Never,
    /// This one, and the mirror has it.
    At(CommitId),
    /// This one, but the mirror was lost or damaged and does not have it: what it said is unknown.
    Lost(CommitId),
}

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFacts {
    /// Its id.
    pub id: CommitId,
    /// First line of its message.
    pub subject: String,
    /// Who wrote it, `Name <address>`. Anyone can write anything here.
    pub author: String,
    /// When it was committed, by its own account.
    pub at: Timestamp,
}

/// One line of the log of accepted commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLine {
    /// The commit that was in force before.
    pub old: Option<CommitId>,
    /// The commit in force from now on.
    pub new: CommitId,
    /// When.
    pub at: Timestamp,
    /// Why: it descends from the old one, or who allowed it for what reason.
    pub why: String,
}

impl Accepted {
    /// The commit, whether the mirror has it or not.
    pub fn commit(&self) -> Option<&CommitId> {
        match self {
            Self::Never => None,
            Self::At(id) | Self::Lost(id) => Some(id),
        }
    }
}

impl Mirror {
    /// The mirror under this state directory, which need not hold one yet.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn open(state: &Path) -> Result<Self, MirrorError> {
        let layout = Layout::new(state);
        layout.create()?;
        Ok(Self { layout })
    }

    /// The commit in force.
    ///
    /// # Errors
    /// The mirror is there but cannot be read, so that the answer is unknown.
    pub fn accepted(&self) -> Result<Accepted, MirrorError> {
        let repository = self.repository()?;
        match accepted_oid(&self.layout, repository.as_ref())? {
            Some(oid) if repository.is_some_and(|repository| has_commit(&repository, oid)) => {
                Ok(Accepted::At(oid.into()))
            }
            Some(oid) => Ok(Accepted::Lost(oid.into())),
            None => Ok(Accepted::Never),
        }
    }

    /// The head of the branch as it was fetched last; `None` before the first fetch.
    ///
    /// # Errors
    /// The mirror is there but cannot be read.
    pub fn candidate(&self) -> Result<Option<CommitId>, MirrorError> {
        let Some(repository) = self.repository()? else { return Ok(None) };
        Ok(target(&repository, CANDIDATE)?.map(CommitId::from))
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// The mirror does not have it, or cannot be read.
    pub fn facts(&self, id: &CommitId) -> Result<CommitFacts, MirrorError> {
        let repository = self.existing()?;
        let commit = find_commit(&repository, id)?;
        let author = commit.author();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        Ok(CommitFacts {
            id: id.clone(),
            subject: message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned(),
            author: format!("{} <{}>", text(author.name_bytes()), text(author.email_bytes())),
            at: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// Every move of the accepted ref, oldest first. A torn last line, from a power cut, is left out.
    ///
    /// # Errors
    /// The log cannot be read, or is damaged before its end.
    pub fn accepted_log(&self) -> Result<Vec<AcceptedLine>, MirrorError> {
        read_accepted_log(&self.layout)
    }

    /// Moves the accepted ref, if it is where it was when the verdict was made.
    pub(in crate::source) fn move_accepted(&self, line: &AcceptedLine) -> Result<(), MirrorError> {
        let _lock = self.layout.mirror_lock()?;
        let repository = self.existing()?;
        // Left by a daemon that was killed here; nobody else moves this ref, and the lock is ours.
        layout::remove(&repository.path().join(format!("{ACCEPTED}.lock")))?;
        find_commit(&repository, &line.new)?;
        let found = self.accepted()?.commit().cloned();
        if target(&repository, ACCEPTED)? == Some(line.new.oid()) {
            return Ok(());
        }
        if found != line.old {
            return Err(MirrorError::Moved { expected: line.old.clone(), found });
        }
        // The log first: should the mirror be lost now, the worst is that this commit must be fetched again before anything else is accepted.
        let text = serde_json::to_string(line).expect("a line of the log has only strings");
        layout::append(&self.layout.accepted_log(), &text)?;
        let set = repository.reference(ACCEPTED, line.new.oid(), true, &line.why);
        set.map(drop).map_err(MirrorError::read("move the accepted ref of", &repository))
    }

    /// Says that objects are missing from the mirror or damaged: the next fetch makes it afresh.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn report_broken(&self, why: &str) -> Result<(), MirrorError> {
        Ok(layout::replace(&self.layout.broken(), why.as_bytes())?)
    }

    /// The repository, if there is one.
    pub(super) fn repository(&self) -> Result<Option<Repository>, MirrorError> {
        let path = self.layout.mirror();
        match Repository::open_bare(&path) {
            Ok(repository) => Ok(Some(repository)),
            Err(_) if !path.exists() => Ok(None),
            Err(source) => Err(MirrorError::Read { act: "open", path, source }),
        }
    }

    /// The repository, which must be there because it was asked for one of its commits.
    pub(super) fn existing(&self) -> Result<Repository, MirrorError> {
        self.repository()?.ok_or_else(|| MirrorError::Gone(self.layout.mirror()))
    }
}

fn read_accepted_log(layout: &Layout) -> Result<Vec<AcceptedLine>, MirrorError> {
    let path = layout.accepted_log();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError { act: "read", path, source }.into()),
    };
    let mut lines = Vec::new();
    let mut rest = text.lines().peekable();
    while let Some(line) = rest.next() {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) if rest.peek().is_none() => {}
            // A line that was torn by a power cut and then written after.
            Err(_) if !line.ends_with('}') => {}
            Err(error) => return Err(FileError { act: "read", path, source: error.into() }.into()),
        }
    }
    Ok(lines)
}

/// The commit in force, whether the mirror has it or not: where the ref points, or else what the log says last.
pub(super) fn accepted_oid(layout: &Layout, mirror: Option<&Repository>) -> Result<Option<Oid>, MirrorError> {
    if let Some(oid) = mirror.map(|mirror| target(mirror, ACCEPTED)).transpose()?.flatten() {
        return Ok(Some(oid));
    }
    Ok(read_accepted_log(layout)?.last().map(|line| line.new.oid()))
}

/// Where a ref points; `None` when there is no such ref.
pub(super) fn target(repository: &Repository, name: &str) -> Result<Option<Oid>, MirrorError> {
    match repository.refname_to_id(name) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(source) => Err(MirrorError::read("read a ref of", repository)(source)),
    }
}

/// Whether the mirror has a commit and the root of its files.
pub(super) fn has_commit(repository: &Repository, oid: Oid) -> bool {
    repository.find_commit(oid).and_then(|commit| commit.tree()).is_ok()
}

pub(super) fn find_commit<'r>(repository: &'r Repository, id: &CommitId) -> Result<git2::Commit<'r>, MirrorError> {
    repository.find_commit(id.oid()).map_err(|source| match source.code() {
        ErrorCode::NotFound => MirrorError::NoCommit(id.clone()),
        _ => MirrorError::read("read a commit of", repository)(source),
    })
}
