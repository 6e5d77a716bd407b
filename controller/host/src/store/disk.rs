//! The few file operations that records are made of, and what each of them promises.
//!
//! [`RealDisk`] is a file system; [`crate::store::MemoryDisk`] is one in memory that forgets what was not synchronised when its power
//! is cut, and that fails or dies at any step.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file system. Every path is absolute.
pub trait Disk: Send + Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Names in a directory, in ascending order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// What changes whenever the content of a file does.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;

    /// Makes a directory; that it exists is no error.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Writes a file of this content and synchronises it. Its *name* is durable only after [`Disk::sync_dir`].
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Adds to a file, which need not exist, and synchronises it.
    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Gives a file or directory another name, atomically. Durable after [`Disk::sync_dir`] of both parents.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file or a link. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Durable after [`Disk::sync_dir`].
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a symbolic link.
    fn link(&self, target: &Path, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on a file, made when it does not exist; `None` when somebody else has it. It is held until the value is dropped.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;
}

/// A lock that is held while this lives.
pub struct Lock(#[allow(dead_code, reason = "held, not read")] Box<dyn Send + Sync>);

impl Lock {
    /// Wraps whatever releases the lock when it is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// Identity of a file's content: every write of ours makes a new inode, and an editor changes size or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds of the last change of content or inode, since the epoch.
    pub changed_ns: i128,
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let meta = fs::metadata(path)?;
        let changed_ns = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
        Ok(Stamp { inode: meta.ino(), size: meta.size(), changed_ns })
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            done => done,
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(content)?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = match OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path) {
            // A lock needs no writing, and a disk that became read-only is no reason to leave the guests without a daemon.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path)?,
            opened => opened?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}
