//! Whether state and storage can be written to: noticed when a write fails, and tried again until one succeeds.

use super::{Store, StoreError, fresh_path, held};
use std::path::{Path, PathBuf};

/// Folders that could not be written to, each with the last failure.
pub(super) type Unwritable = std::collections::BTreeMap<PathBuf, String>;

impl Store {
    /// Why something could not be written the last time; `None` when everything can. What failed is tried again first: at rest nobody else would.
    pub(crate) fn unwritable(&self) -> Option<String> {
        let failing: Vec<PathBuf> = held(&self.unwritable).keys().cloned().collect();
        for folder in failing {
            self.try_to_write(&folder);
        }
        held(&self.unwritable).values().next().cloned()
    }

    /// Passes the result of a write on, and remembers what it says about the file system.
    pub(super) fn noticed<T>(&self, path: &Path, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(error @ StoreError::Disk { .. }) => {
                held(&self.unwritable).insert(self.root_of(path), error.chain());
            }
            Err(_) => {}
            Ok(_) => {
                let mut failing = held(&self.unwritable);
                if !failing.is_empty() {
                    failing.remove(&self.root_of(path));
                }
            }
        }
        result
    }

    /// State and storage may be two file systems.
    fn root_of(&self, path: &Path) -> PathBuf {
        let place = self.place();
        if path.starts_with(&place.storage) { place.storage.clone() } else { place.state.clone() }
    }

    fn try_to_write(&self, folder: &Path) {
        let probe = fresh_path(&folder.join("probe"));
        // As large as a record: a few bytes may fit where nothing else does.
        let written = self.disk.write(&probe, &[b' '; 4096]);
        let removed = self.disk.remove(&probe);
        if written.and(removed).is_ok() {
            held(&self.unwritable).remove(folder);
        }
    }
}
