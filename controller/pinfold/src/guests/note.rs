//! The note that the host goes down: a file beside the daemon's socket, so in a folder that a boot of the host empties.
//!
//! It is not in the state directory: it must be writable when that is full, and means nothing after a boot.

use crate::config::Config;
use planner::observed::HostShutdown;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where it lies.
pub fn path(config: &Config) -> PathBuf {
    config.socket.with_file_name("host-shutdown.json")
}

/// What it says; `None` when there is none.
///
/// # Errors
/// When it is there and cannot be read: then nobody can say whether guests may run.
pub fn read(path: &Path) -> io::Result<Option<HostShutdown>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes it whole.
pub fn write(path: &Path, note: &HostShutdown) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(file.path(), serde_json::to_vec_pretty(note)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Takes it back; that there is none is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
