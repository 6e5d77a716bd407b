//! A new mirror in the place of the old one: because the old one is damaged, or because it has become many small packs.

use super::error::{Step, explain};
use super::fetch::{init, storage, update};
use super::local::copy_history;
use super::mirror::{accepted_oid, has_commit, target};
use super::{ACCEPTED, CANDIDATE};
use crate::source::layout::{FileError, Layout, remove, sync_folder};
use crate::source::message::{FetchError, FetchErrorKind, Fetched, Progress, Recloned};
use crate::source::settings::Settings;
use git2::{ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::io;
use std::path::{Path, PathBuf};

/// Each fetch that brings something adds a pack, and each pack makes every look-up slower.
const MAX_PACKS: usize = 50;

/// Whether everything is there that the mirror's own refs need: the history of both, and the files of both.
pub(super) fn is_sound(mirror: &Repository) -> bool {
    let check = |name| -> Result<bool, git2::Error> {
        let Ok(Some(oid)) = target(mirror, name) else { return Ok(true) };
        let mut walk = mirror.revwalk()?;
        walk.push(oid)?;
        walk.try_for_each(|commit| commit.map(drop))?;
        let odb = mirror.odb()?;
        let mut whole = true;
        mirror.find_commit(oid)?.tree()?.walk(TreeWalkMode::PreOrder, |_, entry| {
            whole &= entry.kind() == Some(ObjectType::Commit) || odb.read_header(entry.id()).is_ok();
            if whole { TreeWalkResult::Ok } else { TreeWalkResult::Abort }
        })?;
        Ok(whole)
    };
    [CANDIDATE, ACCEPTED].into_iter().all(|name| check(name).unwrap_or(false))
}

/// Fetches everything into a new mirror and puts it in the place of the old one.
///
/// The accepted commit comes along: from the repository if it is still there, else from the old mirror if that still has it. If neither
/// has it, the old mirror is kept beside the new one.
pub(super) fn clone_afresh(
    layout: &Layout,
    settings: &Settings,
    why: String,
    say: &mut dyn FnMut(Progress),
) -> Result<Fetched, FetchError> {
    let mut path = layout.state().join("mirror.git.new");
    remove_folder(&path)?;
    let fresh = init(&path)?;
    let updated = update(settings, &fresh, say)?;

    let _lock = layout.mirror_lock().map_err(|error| storage(&error))?;
    let old = Repository::open_bare(layout.mirror()).ok();
    // A damaged mirror may not even say where its ref points; the log does.
    let accepted = accepted_oid(layout, old.as_ref()).or_else(|_| accepted_oid(layout, None)).map_err(|error| {
        FetchError::new(FetchErrorKind::Storage, format!("cannot tell which commit is accepted: {error}"))
    })?;
    let saved = accepted.is_none_or(|oid| bring_along(old.as_ref(), oid, &fresh));
    drop((old, fresh));
    if !saved {
        let kept = unused_name(&layout.state().join("mirror.git.kept"));
        std::fs::rename(&path, &kept).map_err(|source| file("rename", &path, source))?;
        path = kept;
    }
    put_in_place(layout, &path)?;
    // From here on the old mirror is at `path`.
    if saved {
        remove_folder(&path)?;
    }
    remove(&layout.broken()).map_err(|error| storage(&error))?;
    let kept = (!saved && path.exists()).then_some(path);
    Ok(Fetched { head: updated.head.into(), watch: updated.watch, recloned: Some(Recloned { why, kept }) })
}

/// Makes one pack of many, if there are many. Nothing depends on it: when it fails, the next fetch tries again.
pub(super) fn compact_if_scattered(layout: &Layout, mirror: &Repository) {
    let packs = std::fs::read_dir(mirror.path().join("objects/pack")).into_iter().flatten().flatten();
    if packs.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count() > MAX_PACKS {
        compact(layout, mirror).ok();
    }
}

fn compact(layout: &Layout, mirror: &Repository) -> Result<(), FetchError> {
    let path = layout.state().join("mirror.git.new");
    remove_folder(&path)?;
    let fresh = init(&path)?;
    let refs = || -> Option<_> {
        let candidate = target(mirror, CANDIDATE).ok()?;
        let accepted = accepted_oid(layout, Some(mirror)).ok()?;
        Some([(CANDIDATE, candidate), (ACCEPTED, accepted)])
    };
    let Some(before) = refs() else { return Ok(()) };
    let refs_there: Vec<_> = before.iter().filter_map(|(name, oid)| Some((*name, (*oid)?))).collect();
    let tips: Vec<_> = refs_there.iter().map(|(_, oid)| *oid).collect();
    let copied = copy_history(mirror, &tips, &fresh).and_then(|()| {
        refs_there.iter().try_for_each(|(name, oid)| fresh.reference(name, *oid, true, "compact").map(drop))
    });
    copied.map_err(|error| explain(&error, Step::Mirror, &path.display().to_string()))?;
    if !is_sound(&fresh) {
        return Err(FetchError::new(FetchErrorKind::Corrupt, "the compacted mirror is not whole"));
    }
    sync_below(&path.join("objects/pack")).map_err(|source| file("write", &path, source))?;
    let _lock = layout.mirror_lock().map_err(|error| storage(&error))?;
    if refs() == Some(before) {
        put_in_place(layout, &path)?;
    }
    remove_folder(&path)
}

/// Gives the new mirror the accepted commit and its ref. `false`: it could not be found.
fn bring_along(old: Option<&Repository>, accepted: Oid, fresh: &Repository) -> bool {
    if !has_commit(fresh, accepted) {
        let copied = old.is_some_and(|old| copy_history(old, &[accepted], fresh).is_ok());
        if !copied || sync_below(&fresh.path().join("objects/pack")).is_err() {
            return false;
        }
    }
    fresh.reference(ACCEPTED, accepted, true, "the mirror was made afresh").is_ok()
}

/// Exchanges the mirror with the one at `path`, in one step where the file system can, so that there is one at every moment.
fn put_in_place(layout: &Layout, path: &Path) -> Result<(), FetchError> {
    let mirror = layout.mirror();
    let put = || -> io::Result<()> {
        if !mirror.exists() {
            std::fs::rename(path, &mirror)?;
        } else if renameat_with(CWD, path, CWD, &mirror, RenameFlags::EXCHANGE).is_err() {
            // Between these the mirror is away. The log of accepted commits says that there was one.
            let aside = unused_name(&layout.state().join("mirror.git.aside"));
            std::fs::rename(&mirror, &aside)?;
            std::fs::rename(path, &mirror)?;
            std::fs::rename(&aside, path)?;
        }
        sync_folder(layout.state())
    };
    put().map_err(|source| file("replace", &mirror, source))
}

/// The name with the time in it, in seconds since 1970, so that each kept mirror says when it was put aside.
fn unused_name(base: &Path) -> PathBuf {
    let now = jiff::Timestamp::now().as_second();
    let ending = base.extension().unwrap_or_default().display().to_string();
    base.with_extension(format!("{ending}-{now}"))
}

fn remove_folder(path: &Path) -> Result<(), FetchError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file("remove", path, source)),
        _ => Ok(()),
    }
}

fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        std::fs::File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(folder)
}

fn file(act: &'static str, path: &Path, source: io::Error) -> FetchError {
    storage(&FileError { act, path: path.to_owned(), source })
}
