//! Fetching from a repository in this machine's file system.
//!
//! Not through libgit2's local transport: that packs every ref of the source, whatever was asked for, again on each fetch, and one broken
//! branch of somebody else's makes it fail as a whole.

use super::error::{Step, explain};
use crate::source::message::{FetchError, FetchErrorKind, Progress, Stage};
use git2::{Error, ErrorCode, Indexer, Oid, Repository, Sort};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the branch of a local repository has given.
pub(super) struct Copied {
    pub(super) head: Oid,
    /// Where its refs are.
    pub(super) watch: Vec<PathBuf>,
}

/// Copies everything that the branch reaches and `mirror` does not have, checked to be complete.
pub(super) fn copy(
    path: &Path,
    branch: &str,
    mirror: &Repository,
    have: &[Oid],
    say: &mut dyn FnMut(Progress),
) -> Result<Copied, FetchError> {
    let place = path.display().to_string();
    let source = open(path)?;
    let reference = source.find_branch(branch, git2::BranchType::Local).map_err(|error| match error.code() {
        ErrorCode::NotFound => no_branch(&place, branch, &branches(&source)),
        _ => explain(&error, Step::Connect, &place),
    })?;
    let head = reference.get().peel_to_commit().map_err(|error| explain(&error, Step::Receive, &place))?.id();
    if !have.contains(&head) {
        copy_objects(&source, head, mirror, have, say).map_err(|error| explain(&error, Step::Receive, &place))?;
    }
    let mut watch = vec![source.path().to_owned()];
    if source.commondir() != source.path() {
        watch.push(source.commondir().to_owned());
    }
    Ok(Copied { head, watch })
}

/// Copies the history of `tips` into an empty repository: how a mirror becomes one pack again.
pub(super) fn copy_history(from: &Repository, tips: &[Oid], to: &Repository) -> Result<(), Error> {
    tips.iter().try_for_each(|tip| copy_objects(from, *tip, to, &[], &mut |_| {}))
}

/// The failure of a repository that has other branches than the one asked for.
pub(super) fn no_branch(place: &str, branch: &str, others: &[String]) -> FetchError {
    let has = match others {
        [] => "it has no branch at all: nothing was pushed to it yet".to_owned(),
        [..] if others.len() <= 5 => format!("it has {}", others.join(", ")),
        [..] => format!("it has {} and {} more", others[..5].join(", "), others.len() - 5),
    };
    let message = format!("{place} has no branch `{branch}`; {has}; push the branch, or change `repository.branch`");
    FetchError::new(FetchErrorKind::NoBranch, message)
}

fn open(path: &Path) -> Result<Repository, FetchError> {
    let place = path.display();
    Repository::open(path).map_err(|error| match std::fs::metadata(path) {
        Ok(_) if error.code() == ErrorCode::NotFound => {
            let message = format!("{place} is no git repository; check `repository.url`");
            FetchError::new(FetchErrorKind::NoRepository, message)
        }
        Ok(_) => explain(&error, Step::Connect, &place.to_string()),
        Err(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
            let message = format!("{place} may not be read by this user: {io}; give the daemon's user the right to");
            FetchError::new(FetchErrorKind::Auth, message)
        }
        Err(io) => {
            let message = format!(
                "there is no repository at {place}: {io}; check `repository.url`, and that its file system is mounted"
            );
            FetchError::new(FetchErrorKind::NoRepository, message)
        }
    })
}

fn branches(source: &Repository) -> Vec<String> {
    let branches = source.branches(Some(git2::BranchType::Local)).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        branches.filter_map(|(branch, _)| branch.name().ok().flatten().map(str::to_owned)).collect();
    names.sort();
    names
}

fn copy_objects(
    source: &Repository,
    head: Oid,
    mirror: &Repository,
    have: &[Oid],
    say: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    let mut walk = source.revwalk()?;
    walk.set_sorting(Sort::TIME)?;
    walk.push(head)?;
    for oid in have.iter().filter(|oid| source.find_commit(**oid).is_ok()) {
        walk.hide(*oid)?;
    }
    let mut pack = source.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let total = pack.object_count();
    let odb = mirror.odb()?;
    // `verify`: every object that the new ones name must be among them or in the mirror already.
    let mut indexer = Indexer::new(Some(&odb), &mirror.path().join("objects/pack"), 0o444, true)?;
    let mut bytes = 0;
    let mut failed = None;
    pack.foreach(|chunk| {
        bytes += chunk.len();
        match indexer.write_all(chunk) {
            Ok(()) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    })
    .map_err(|error| failed.take().map_or(error, |io| Error::from_str(&io.to_string())))?;
    indexer.commit()?;
    say(Progress { stage: Stage::Receiving, received: total, total, bytes });
    Ok(())
}
