//! Which files under the state directory belong to the source, and how they are written and locked.
//!
//! `<state>/mirror.git` holds the mirror; everything else is in `<state>/source/`. Two locks: `fetch.lock` for the life of a fetch, so
//! that one at a time writes objects; `mirror.lock` for the moments in which `refs/pinfold/accepted` moves or a new mirror takes
//! the old one's place. Whoever holds both took them in this order.

use rustix::fs::{FlockOperation, flock};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The state directory, as the source uses it.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    state: PathBuf,
}

/// A file of the state directory that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}; check that the state directory belongs to the daemon's user, is writable and has space left", path.display())]
pub struct FileError {
    /// What was tried.
    pub act: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it did not work.
    #[source]
    pub source: io::Error,
}

/// A lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as its file is open")] File);

impl Layout {
    pub(super) fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    pub(super) fn mirror(&self) -> PathBuf {
        self.state.join("mirror.git")
    }

    /// The folder of everything but the mirror.
    pub(super) fn own(&self) -> PathBuf {
        self.state.join("source")
    }

    /// Every move of the accepted ref, one JSON object a line.
    pub(super) fn accepted_log(&self) -> PathBuf {
        self.own().join("accepted.jsonl")
    }

    /// The refused head of the branch.
    pub(super) fn refused(&self) -> PathBuf {
        self.own().join("refused.json")
    }

    /// The permission to accept a commit that does not descend from the accepted one.
    pub(super) fn permit(&self) -> PathBuf {
        self.own().join("accept-history.json")
    }

    /// How the last fetches went.
    pub(super) fn fetches(&self) -> PathBuf {
        self.own().join("fetches.json")
    }

    /// There: the mirror was found broken, and the next fetch makes it afresh. Holds the reason.
    pub(super) fn broken(&self) -> PathBuf {
        self.own().join("mirror-is-broken")
    }

    /// What the fetch child sees as its home: nobody's own configuration, and none of the daemon's user.
    pub(super) fn home(&self) -> PathBuf {
        self.own().join("home")
    }

    /// Makes the folders.
    pub(super) fn create(&self) -> Result<(), FileError> {
        let own = self.own();
        std::fs::create_dir_all(&own).map_err(|source| FileError { act: "create", path: own, source })
    }

    /// Waits until no other fetch is under way; calls `waiting` first if there is one.
    pub(super) fn fetch_lock(&self, waiting: impl FnOnce()) -> Result<Lock, FileError> {
        lock(self.own().join("fetch.lock"), waiting)
    }

    /// Held for moments only.
    pub(super) fn mirror_lock(&self) -> Result<Lock, FileError> {
        lock(self.own().join("mirror.lock"), || {})
    }
}

fn lock(path: PathBuf, waiting: impl FnOnce()) -> Result<Lock, FileError> {
    let open = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive)?;
        }
        Ok(file)
    };
    open().map(Lock).map_err(|source| FileError { act: "lock", path, source })
}

/// Puts a file in place whole and on disk, or leaves the old one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(|source| FileError { act: "write", path: path.to_owned(), source })
}

/// As [`replace`], for JSON.
pub(super) fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(io::Error::from);
    let bytes = bytes.map_err(|source| FileError { act: "write", path: path.to_owned(), source })?;
    replace(path, &bytes)
}

/// A JSON file; `None` when it is not there. One that cannot be read is an error, not nothing.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError { act: "read", path: path.to_owned(), source }),
    };
    let value = serde_json::from_slice(&bytes).map_err(io::Error::from);
    value.map(Some).map_err(|source| FileError { act: "read", path: path.to_owned(), source })
}

/// Takes a file away, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError { act: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Appends one line and waits until it is on disk.
pub(super) fn append(path: &Path, line: &str) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(|source| FileError { act: "append to", path: path.to_owned(), source })
}

/// Makes renames and new names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
