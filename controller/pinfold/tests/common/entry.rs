//! One file of a git tree that a test writes.

use git2::{IndexEntry, IndexTime, Oid};

/// A file with this mode, such as `0o100_644`, and nothing that only a working tree would know.
pub(crate) fn entry(path: &[u8], mode: u32, id: Oid) -> IndexEntry {
    let zero = IndexTime::new(0, 0);
    IndexEntry {
        ctime: zero,
        mtime: zero,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.to_vec(),
    }
}
