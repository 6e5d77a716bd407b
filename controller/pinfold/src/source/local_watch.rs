//! Noticing that a local repository's refs change, through the kernel.

use crate::source::watch::Mark;
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

/// A watch on the refs of one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct LocalWatch {
    #[expect(dead_code, reason = "the watch lives as long as this does")]
    watcher: RecommendedWatcher,
    roots: Vec<(PathBuf, Option<Identity>)>,
}

/// Device and inode: a repository that was deleted and made again has another one, and the kernel's watch is on the old.
type Identity = (u64, u64);

impl LocalWatch {
    /// Watches these git directories; each change of a branch is a mark.
    pub(super) fn start(folders: &[PathBuf], marks: SyncSender<Mark>) -> notify::Result<Self> {
        let roots: Vec<_> = folders.iter().map(|folder| (folder.clone(), identity(folder))).collect();
        let of = folders.to_vec();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error, of a queue that ran over above all, may hide a change.
            if event.map_or(true, |event| is_of_interest(&event, &of)) {
                marks.try_send(Mark::Changed).ok();
            }
        })?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            let heads = folder.join("refs/heads");
            if heads.is_dir() {
                watcher.watch(&heads, RecursiveMode::Recursive)?;
            }
        }
        Ok(Self { watcher, roots })
    }

    /// Whether it still watches what is at these paths.
    pub(super) fn is_of(&self, folders: &[PathBuf]) -> bool {
        let now = folders.iter().map(|folder| (folder.clone(), identity(folder)));
        self.roots.iter().cloned().eq(now)
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    // `refs/heads` is what must not be another one; a linked worktree's own folder has none.
    let metadata = std::fs::metadata(folder.join("refs/heads")).or_else(|_| std::fs::metadata(folder)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a branch may have moved. Reading is no change: our own fetches read.
fn is_of_interest(event: &Event, roots: &[PathBuf]) -> bool {
    if event.need_rescan() {
        return true;
    }
    let changes = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any => true,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        EventKind::Access(_) | EventKind::Other => false,
    };
    changes && event.paths.iter().any(|path| is_ref(path, roots))
}

/// A branch, the file of packed branches, or the repository itself; no lock, and nothing of the index or working tree.
fn is_ref(path: &Path, roots: &[PathBuf]) -> bool {
    if path.extension().is_some_and(|ending| ending == "lock") {
        return false;
    }
    roots.iter().any(|root| match path.strip_prefix(root) {
        Ok(rest) => rest.as_os_str().is_empty() || rest == Path::new("packed-refs") || rest.starts_with("refs"),
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, CreateKind, Flag, MetadataKind, RemoveKind, RenameMode};

    #[test]
    fn only_moved_branches_are_of_interest() {
        let changes = |kind, path: &str| is_of_interest(&Event::new(kind).add_path(path.into()), &["/r".into()]);
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(changes(moved, "/r/refs/heads/main"));
        assert!(changes(moved, "/r/packed-refs"));
        assert!(changes(EventKind::Create(CreateKind::Folder), "/r/refs/heads/team"));
        assert!(changes(EventKind::Remove(RemoveKind::Folder), "/r"));
        assert!(is_of_interest(&Event::new(EventKind::Other).set_flag(Flag::Rescan), &[]));
        // Each fetch of ours opens and reads these: were that a change, it would fetch for ever.
        assert!(!changes(EventKind::Access(AccessKind::Any), "/r/refs/heads/main"));
        assert!(!changes(EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/r/refs/heads/main"));
        assert!(!changes(EventKind::Create(CreateKind::File), "/r/refs/heads/main.lock"));
        assert!(!changes(EventKind::Create(CreateKind::File), "/r/index"));
    }
}
