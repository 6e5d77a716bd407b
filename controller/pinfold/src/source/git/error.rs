//! What can go wrong with the mirror, and what libgit2's errors mean for a fetch.

use super::CommitId;
use crate::source::layout::FileError;
use crate::source::message::{FetchError, FetchErrorKind};
use git2::{ErrorClass, ErrorCode, Repository};
use std::path::PathBuf;

/// Why the mirror gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// libgit2 cannot read it.
    #[error("cannot {act} the mirror {}", path.display())]
    Read {
        /// What was tried.
        act: &'static str,
        /// The mirror.
        path: PathBuf,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
    /// A file beside it cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not there.
    #[error("there is no mirror at {}; the next fetch makes one", .0.display())]
    Gone(PathBuf),
    /// It has no such commit.
    #[error("the mirror has no commit {0}; has the branch that holds it been fetched?")]
    NoCommit(CommitId),
    /// The accepted commit is another one than the verdict was made for.
    #[error("the accepted commit is {}, not {} as when the commit was judged; judge it again", said(found.as_ref()), said(expected.as_ref()))]
    Moved {
        /// What it was.
        expected: Option<CommitId>,
        /// What it is.
        found: Option<CommitId>,
    },
}

impl MirrorError {
    pub(super) fn read(act: &'static str, repository: &Repository) -> impl FnOnce(git2::Error) -> Self + use<> {
        let path = repository.path().to_owned();
        move |source| Self::Read { act, path, source }
    }

    /// Whether objects are missing or damaged, so that a fresh mirror may help.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Read { source, .. } => is_damage(source),
            Self::NoCommit(_) | Self::Gone(_) => true,
            Self::File(_) | Self::Moved { .. } => false,
        }
    }
}

fn said(id: Option<&CommitId>) -> &str {
    id.map_or("none", CommitId::as_str)
}

/// What a fetch was doing when libgit2 failed: the same words mean something else at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Reaching the repository and listing its branches.
    Connect,
    /// Receiving objects.
    Receive,
    /// Reading or writing the mirror.
    Mirror,
}

/// Says what a failure means and what to do. `place` is the repository or the mirror.
pub(super) fn explain(error: &git2::Error, step: Step, place: &str) -> FetchError {
    let said = error.message();
    let failed = |kind, what: &str, next: &str| FetchError::new(kind, format!("{what}: {said}; {next}"));
    if step == Step::Mirror {
        if is_damage(error) {
            return failed(FetchErrorKind::Corrupt, &format!("the mirror {place} is damaged"), "it is made afresh");
        }
        let next = "check owner, permissions and free space";
        return failed(FetchErrorKind::Storage, &format!("cannot use the mirror {place}"), next);
    }
    let status = |codes: &[&str]| error.class() == ErrorClass::Http && codes.iter().any(|code| said.contains(code));
    let ssh_login = error.class() == ErrorClass::Ssh && said.contains("authenticat");
    if said.contains("No space left") || said.contains("Read-only file system") || said.contains("Disk quota") {
        return failed(FetchErrorKind::Storage, "cannot write what was fetched", "make space for the state directory");
    }
    if error.code() == ErrorCode::Auth || ssh_login || status(&["401", "403"]) {
        let next = "check that the key or token is the right one, has not expired and may read this repository";
        return failed(FetchErrorKind::Auth, &format!("{place} does not let us in"), next);
    }
    // With a callback that passes the question through, libgit2 keeps the words and loses the code (httpclient.c, check_certificate).
    if error.code() == ErrorCode::Certificate || said.contains("certificate is invalid") {
        let next = "if an authority of your own signed it, name its certificate in `https.caFile`";
        return failed(FetchErrorKind::Certificate, &format!("the certificate of {place} is not trusted"), next);
    }
    if status(&["404", "410"]) || error.code() == ErrorCode::Owner || closed_without_answer(error, step) {
        let next = "check the url, and that the key or token may read it: servers hide what one may not see";
        return failed(FetchErrorKind::NoRepository, &format!("there is no repository at {place}"), next);
    }
    if is_damage(error) {
        let next = "run `git fsck` in the repository, and look for a push that was cut short";
        return failed(FetchErrorKind::Corrupt, &format!("objects of {place} are missing or damaged"), next);
    }
    match error.class() {
        ErrorClass::Net | ErrorClass::Os | ErrorClass::Ssl | ErrorClass::Ssh | ErrorClass::Http => failed(
            FetchErrorKind::Unreachable,
            &format!("cannot reach {place}"),
            "check network, name and server; it is tried again",
        ),
        _ => failed(FetchErrorKind::Other, &format!("cannot fetch from {place}"), "it is tried again"),
    }
}

/// An SSH server that lets us in and then hangs up has no such repository for us.
fn closed_without_answer(error: &git2::Error, step: Step) -> bool {
    step == Step::Connect && (error.code() == ErrorCode::Eof || error.message().contains("early EOF"))
}

/// Whether libgit2 means objects that are missing or damaged.
fn is_damage(error: &git2::Error) -> bool {
    let class = error.class();
    let object = matches!(
        class,
        ErrorClass::Odb | ErrorClass::Zlib | ErrorClass::Object | ErrorClass::Indexer | ErrorClass::Tree
    );
    object || error.code() == ErrorCode::HashsumMismatch
}
