//! Everything that must outlive a pass, except git: records, grants, approvals, orders, outcomes, the journal, and who this host is.
//!
//! ```text
//! <state>/identity.json               the host and the Pool that this directory belongs to
//! <state>/daemon.lock                 held by the one daemon of the host
//! <state>/partitions/<uuid>.json      partitions whose cpupool we made, or were about to make
//! <state>/grants.json                 what accepted commits may remove
//! <state>/approvals/<item>.json       approvals of held items
//! <state>/freezes/<object>.json       objects that stay as they are
//! <state>/overrides/<vm>.json         overrides of VMs' power
//! <state>/modes.json                  which modes were declared last
//! <state>/drift/<object>.json         what other hands changed, since when, and how often it was put right
//! <state>/operations/<id>.json        an operation under way, written before its worker starts
//! <state>/outcomes/<id>.json          written by the worker itself
//! <state>/locks/                      locks of objects, taken by workers
//! <state>/journal/                    for people
//! <storage>/identity.json             the storage that this host used first: another one in its place is not an empty host
//! <storage>/<uuid>/record.json        a VM; moves with the VM
//! <storage>/<uuid>/state/             images of its memory, written by workers (`protocol::ImageRef`)
//! <storage>/by-name/NAME              links for people
//! <storage>/trash/<date>--<name>--<uuid>/
//! ```
//!
//! Invariants: a file is replaced by a new one that was synchronised before it was renamed into place; what cannot be read is
//! [`Reading::Unknown`](protocol::Reading), names its file, and is never overwritten; nothing is written without the daemon's lock.

mod disk;
mod edit;
mod identity;
mod image;
mod journal;
mod memory;
mod orders;
mod records;
mod sum;
mod trash;
mod unwritable;

pub use disk::{Disk, Lock, RealDisk, Stamp};
pub(crate) use edit::Failed;
pub use identity::Identity;
pub use journal::{Entry, Event, JOURNAL_VERSION, Line};
pub use memory::{DiskFault, MemoryDisk};
pub use orders::OrderFile;

use schema::units::Name;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Folders in the state directory that hold something durable.
const FOLDERS: [&str; 8] =
    ["partitions", "approvals", "freezes", "overrides", "drift", "operations", "outcomes", "journal"];

/// Where a host keeps what, and which host it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host, as the daemon's `host:` setting names it.
    pub host: Name,
    /// The state directory, absolute.
    pub state: PathBuf,
    /// The folder of the VMs' folders, absolute.
    pub storage: PathBuf,
}

/// All durable state of a host, except git.
pub struct Store {
    place: Place,
    disk: Arc<dyn Disk>,
    daemon: Mutex<Option<Lock>>,
    cache: Mutex<records::Cache>,
    journal: Mutex<journal::End>,
    unwritable: Mutex<unwritable::Unwritable>,
}

/// Why something could not be written (or, where the answer has no place for it, read). What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {what} `{}`{}", path.display(), advice(source))]
    Disk {
        /// What was attempted, such as `write`.
        what: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there could not be read, so it is not overwritten.
    #[error("`{}` is not overwritten, because what is in it cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// Another daemon works on this host.
    #[error("another pinfold daemon{} works on `{}`; there is one per host: stop that one first", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), state.display())]
    Running {
        /// Its process, when it could be read.
        pid: Option<u32>,
        /// The state directory.
        state: PathBuf,
    },
    /// The lock was never taken.
    #[error("`{}` was opened to look, not to change: only the daemon writes there", state.display())]
    NotLocked {
        /// The state directory.
        state: PathBuf,
    },
    /// The directory belongs to another host or Pool.
    #[error("{0}")]
    Identity(String),
    /// It would go with what pinfold takes away, and is somebody else's.
    #[error("`{}` holds what pinfold did not put there ({what}): move it away first", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Names in it.
        what: String,
    },
    /// A VM's folder is there, and another one of it in the trash.
    #[error("`{}` is there already, so `{}` cannot come back: move one of them away first", path.display(), trashed.display())]
    Occupied {
        /// The folder in its place.
        path: PathBuf,
        /// The folder in the trash.
        trashed: PathBuf,
    },
    /// A name that must not become a file name.
    #[error("`{0}` is no id of a plan's item; copy it from `pinfold plan`")]
    ItemId(String),
}

impl StoreError {
    /// The error and everything behind it, in one sentence.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// What to do about the commonest refusals of a file system.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (free some space)",
        io::ErrorKind::ReadOnlyFilesystem => " (mount it for writing)",
        io::ErrorKind::PermissionDenied => " (it must belong to the user that the daemon runs as)",
        _ => "",
    }
}

impl Store {
    /// Looks at a host's state without touching it. [`Store::lock`] makes it writable.
    pub fn open(place: Place, disk: Arc<dyn Disk>) -> Self {
        Self {
            place,
            disk,
            daemon: Mutex::default(),
            cache: Mutex::default(),
            journal: Mutex::default(),
            unwritable: Mutex::default(),
        }
    }

    /// Becomes the one daemon of the host: takes the lock, makes the directories, and pins the host's name where it is not pinned yet.
    ///
    /// # Errors
    /// [`StoreError::Running`] when another daemon has the lock; [`StoreError::Disk`] when the directories cannot be made. That the state
    /// belongs to *another host* is no error here: it makes everything unknown, and says so in every observation.
    pub fn lock(&self) -> Result<(), StoreError> {
        let state = &self.place.state;
        self.make_dirs(state)?;
        let path = state.join("daemon.lock");
        let locked = self.disk.lock(&path).map_err(|source| disk_error("lock", &path, source))?;
        let Some(lock) = locked else {
            let text = self.disk.read(&path).unwrap_or_default();
            let pid = String::from_utf8_lossy(&text).trim().parse().ok();
            return Err(StoreError::Running { pid, state: state.clone() });
        };
        let pid = format!("{}\n", std::process::id());
        // For people only: a full disk is no reason to leave the guests without a daemon.
        if let Err(error) = self.disk.write(&path, pid.as_bytes()) {
            tracing::warn!("cannot write the pid to `{}`: {error}", path.display());
        }
        *held(&self.daemon) = Some(lock);
        for name in FOLDERS.into_iter().chain(["locks"]) {
            self.make_dirs(&state.join(name))?;
        }
        self.pin_host()?;
        for mended in [self.make_names_durable(), self.find_journal_end(), self.mend_links(), self.end_purges()] {
            if let Err(error) = mended {
                tracing::warn!("{}", error.chain());
            }
        }
        Ok(())
    }

    /// Whether this is the daemon's own view.
    pub fn is_locked(&self) -> bool {
        held(&self.daemon).is_some()
    }

    /// Where everything lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Synchronises every directory of ours. A daemon that died between a rename and its synchronisation left a name that everybody can see and
    /// that a power cut takes away again: nothing may be planned from it before it is durable.
    fn make_names_durable(&self) -> Result<(), StoreError> {
        let Place { state, storage, .. } = &self.place;
        let below = FOLDERS.map(|name| state.join(name));
        let folders = self.names(storage)?.into_iter().filter(|name| name.parse::<uuid::Uuid>().is_ok());
        let folders: Vec<PathBuf> = folders.map(|name| storage.join(name)).collect();
        // There is none before something was removed.
        let trash = Some(storage.join("trash")).filter(|trash| self.disk.list(trash).is_ok());
        let dirs = [storage.clone(), state.clone()].into_iter().chain(trash).chain(below).chain(folders);
        dirs.into_iter().try_for_each(|dir| self.sync_parent(&dir.join("any")))
    }

    /// Makes a directory with its parents, durably.
    fn make_dirs(&self, dir: &Path) -> Result<(), StoreError> {
        if self.disk.list(dir).is_ok() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            self.make_dirs(parent)?;
        }
        self.disk.make_dir(dir).map_err(|source| disk_error("make", dir, source))?;
        self.sync_parent(dir)
    }

    /// Replaces a file: a new file beside it, synchronised, renamed into place, and the directory synchronised.
    fn replace<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), StoreError> {
        self.must_be_locked()?;
        self.noticed(path, self.put_in_place(path, content))
    }

    fn put_in_place<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), StoreError> {
        let fresh = fresh_path(path);
        self.write_fresh(&fresh, content)?;
        if let Err(source) = self.disk.rename(&fresh, path) {
            let _ = self.disk.remove(&fresh);
            return Err(disk_error("replace", path, source));
        }
        self.sync_parent(path)
    }

    fn write_fresh<T: Serialize>(&self, fresh: &Path, content: &T) -> Result<(), StoreError> {
        let text = serde_json::to_string_pretty(content)
            .map_err(|error| disk_error("write", fresh, io::Error::other(error)))?;
        self.disk.write(fresh, sum::sealed(text).as_bytes()).map_err(|source| {
            // A full disk must not stay full because of us.
            let _ = self.disk.remove(fresh);
            disk_error("write", fresh, source)
        })
    }

    /// Removes a file durably; that it is gone already is no error.
    fn forget(&self, path: &Path) -> Result<(), StoreError> {
        self.must_be_locked()?;
        match self.disk.remove(path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                let removed = removed.map_err(|source| disk_error("remove", path, source));
                self.noticed(path, removed.and_then(|()| self.sync_parent(path)))
            }
        }
    }

    fn sync_parent(&self, path: &Path) -> Result<(), StoreError> {
        let Some(dir) = path.parent() else { return Ok(()) };
        self.disk.sync_dir(dir).map_err(|source| disk_error("synchronise", dir, source))
    }

    fn must_be_locked(&self) -> Result<(), StoreError> {
        if self.is_locked() { Ok(()) } else { Err(StoreError::NotLocked { state: self.place.state.clone() }) }
    }
}

/// The name under which a file is written before it is renamed into place. Leading dot: no listing of ours takes it for a record.
fn fresh_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn disk_error(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Disk { what, path: path.to_owned(), source }
}

/// A mutex of ours guards plain values: a panic elsewhere leaves them whole.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
