//! Core dumps of guests that crashed.
//!
//! ```text
//! <storage>/<vm>/crashes/<incarnation>.core.part   while it is written; worth nothing
//! <storage>/<vm>/crashes/<incarnation>.core        whole: renamed into place after it was synchronised. ELF, as `xl dump-core` writes it
//! ```

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;

/// One dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// The VM whose folder it lies in.
    pub vm: Uuid,
    /// The incarnation that crashed.
    pub incarnation: Uuid,
    /// Its size in KiB; while it is to be written, what it may take at most.
    pub kib: u64,
}

impl Dump {
    /// The file of a whole dump.
    pub fn file(&self, storage: impl Into<PathBuf>) -> PathBuf {
        Self::folder(storage, self.vm).join(format!("{}.core", self.incarnation))
    }

    /// The file that it is written to.
    pub fn unfinished(&self, storage: impl Into<PathBuf>) -> PathBuf {
        Self::folder(storage, self.vm).join(format!("{}.core.part", self.incarnation))
    }

    /// The folder of all dumps of a VM.
    pub fn folder(storage: impl Into<PathBuf>, vm: Uuid) -> PathBuf {
        storage.into().join(vm.to_string()).join("crashes")
    }

    /// The incarnation that a file in such a folder is the whole dump of.
    pub fn incarnation_of(file: &str) -> Option<Uuid> {
        file.strip_suffix(".core")?.parse().ok()
    }
}
