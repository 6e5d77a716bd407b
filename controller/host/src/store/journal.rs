//! The journal: what was intended, what came of it, and which verbs people used. For people; planning never reads it.
//!
//! One JSON object per line in `journal/current.ndjson`, each synchronised before what it announces begins. When a file is full it becomes
//! `journal/1.ndjson`, and the oldest is let go.

use super::{Store, StoreError, disk_error};
use jiff::Timestamp;
use planner::{Action, ObjectRef};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// A file is full at this size, in bytes.
const FULL: u64 = 4 << 20;
/// Full files that are kept.
const KEPT: u32 = 7;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What it is about; `None`: the host as a whole.
    pub object: Option<ObjectRef>,
    /// The commit behind it.
    pub commit: Option<String>,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// An operation is about to begin.
    Started {
        /// Its id.
        operation: Uuid,
        /// The item of the plan.
        item: String,
        /// What it does.
        action: Action,
        /// Why.
        reason: String,
        /// Exactly what is done.
        work: Box<planner::Work>,
    },
    /// An operation ended.
    Ended {
        /// Its id.
        operation: Uuid,
        /// What it did.
        action: Action,
        /// The failure; `None`: it succeeded.
        failure: Option<protocol::Failure>,
        /// What libxl logged meanwhile, bounded.
        log: Vec<String>,
        /// How long its worker took; `None` when it did not live to say so, or there was none.
        #[serde(default)]
        took: Option<protocol::Took>,
    },
    /// Something worth knowing that is no operation: a commit accepted or refused, a verb, the daemon's start.
    Noted {
        /// One CamelCase word, such as `CommitAccepted`.
        reason: String,
        /// A sentence.
        message: String,
        /// The person behind it, when there is one.
        actor: Option<String>,
    },
}

impl Store {
    /// Adds a line, durably.
    pub fn journal(&self, entry: &Entry) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let path = self.journal_path("current");
        if self.disk.stamp(&path).is_ok_and(|stamp| stamp.size >= FULL) {
            self.rotate()?;
        }
        let fresh = self.disk.stamp(&path).is_err();
        let mut line =
            serde_json::to_vec(entry).map_err(|error| disk_error("write", &path, io::Error::other(error)))?;
        line.push(b'\n');
        self.disk.append(&path, &line).map_err(|source| disk_error("write", &path, source))?;
        if fresh { self.sync_parent(&path) } else { Ok(()) }
    }

    /// The last lines, oldest first. A torn line (the power went while it was written) is left out.
    pub fn journal_tail(&self, count: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries: Vec<Entry> = Vec::new();
        for name in std::iter::once("current".to_owned()).chain((1..=KEPT).map(|n| n.to_string())) {
            let path = self.journal_path(&name);
            let text = match self.disk.read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(source) => return Err(disk_error("read", &path, source)),
            };
            let older = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
            entries.splice(0..0, older);
            if entries.len() >= count {
                break;
            }
        }
        Ok(entries.split_off(entries.len().saturating_sub(count)))
    }

    /// Ends a line that the power cut off, so that the next one stands alone.
    pub(super) fn mend_journal(&self) -> Result<(), StoreError> {
        let path = self.journal_path("current");
        match self.disk.read(&path) {
            Ok(text) if text.last().is_some_and(|last| *last != b'\n') => {
                self.disk.append(&path, b"\n").map_err(|source| disk_error("write", &path, source))
            }
            _ => Ok(()),
        }
    }

    fn rotate(&self) -> Result<(), StoreError> {
        let path = |n: u32| if n == 0 { self.journal_path("current") } else { self.journal_path(&n.to_string()) };
        for n in (0..KEPT).rev() {
            match self.disk.rename(&path(n), &path(n + 1)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(disk_error("rotate", &path(n), source));
                }
                _ => {}
            }
        }
        self.sync_parent(&path(0))
    }

    fn journal_path(&self, name: &str) -> PathBuf {
        self.place.state.join("journal").join(format!("{name}.ndjson"))
    }
}
