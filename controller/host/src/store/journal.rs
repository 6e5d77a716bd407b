//! The journal: what was intended, what came of it, and which verbs people used. For people; planning never reads it.
//!
//! One JSON object per line in `journal/current.ndjson`, each synchronised before what it announces begins. A full file gets the number of
//! the next line as its name, in one rename, and beyond [`KEPT`] the oldest is let go: wherever that is cut off, no line is lost. A line
//! that the power or a full disk cut off stays where it is, and the next one stands alone; whoever reads is told of it.
//!
//! Order is the line's number. The time beside it is the wall clock's, which people set.

use super::{Store, StoreError, disk_error, held};
use jiff::Timestamp;
use planner::record::Approved;
use planner::{Action, ObjectRef};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// Version of a line's format. Lines without one are of version 1, which had no number, no author and no approval.
pub const JOURNAL_VERSION: u32 = 2;

/// A file is full at this size, in bytes.
const FULL: u64 = 4 << 20;
/// Full files that are kept.
const KEPT: usize = 7;
/// Digits of a full file's name. An earlier pinfold named them `1` (the newest) to `7`.
const DIGITS: usize = 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`JOURNAL_VERSION`].
    #[serde(default = "first_version")]
    pub version: u32,
    /// Its number: greater than that of every line before it. 0 in lines of version 1.
    #[serde(default)]
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What it is about; `None`: the host as a whole.
    pub object: Option<ObjectRef>,
    /// The commit behind it.
    pub commit: Option<String>,
    /// Who wrote that commit: `Name <mail>`.
    #[serde(default)]
    pub author: Option<String>,
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
        /// Who allowed it, when it was held.
        #[serde(default)]
        approved: Option<Approved>,
        /// Exactly what is done.
        work: Box<planner::Work>,
    },
    /// An operation ended.
    Ended {
        /// Its id.
        operation: Uuid,
        /// The item of the plan; unknown in lines of version 1.
        #[serde(default)]
        item: Option<String>,
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

/// A line as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What it says.
    Entry(Box<Entry>),
    /// It cannot be understood; what comes after it can.
    Unreadable {
        /// Its file.
        file: PathBuf,
        /// Which line of the file, from 1.
        number: usize,
        /// Why.
        why: String,
    },
}

/// Where the next line goes.
pub(super) struct End {
    /// A file is full at this size, in bytes.
    full: u64,
    /// The number of the next line; 0 before the journal was looked at.
    next: u64,
    /// The last line was cut off.
    torn: bool,
}

impl Default for End {
    fn default() -> Self {
        Self { full: FULL, next: 0, torn: false }
    }
}

impl Entry {
    /// A line about the host; its number is given when it is written.
    pub fn new(at: Timestamp, event: Event) -> Self {
        Self { version: JOURNAL_VERSION, seq: 0, at, object: None, commit: None, author: None, event }
    }
}

impl Store {
    /// The same with smaller files of the journal.
    #[must_use]
    pub fn with_journal_files_of(self, bytes: u64) -> Self {
        held(&self.journal).full = bytes;
        self
    }

    /// Adds a line, durably, under the next number.
    pub fn journal(&self, entry: &Entry) -> Result<(), StoreError> {
        self.journal_together(std::slice::from_ref(entry))
    }

    /// Adds lines in their order, synchronised once. Of some that fail each may be there or not, and one in part.
    pub fn journal_together(&self, entries: &[Entry]) -> Result<(), StoreError> {
        self.must_be_locked()?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut end = held(&self.journal);
        let path = self.journal_path("current");
        let size = self.disk.stamp(&path).ok().map(|stamp| stamp.size);
        if size.is_some_and(|size| size >= end.full) {
            self.rotate(end.next)?;
        }
        let fresh = self.disk.stamp(&path).is_err();
        // What was cut off stays alone on its line.
        let mut text = if end.torn && !fresh { vec![b'\n'] } else { Vec::new() };
        let mut next = end.next;
        for entry in entries {
            let entry = Entry { version: JOURNAL_VERSION, seq: next, ..entry.clone() };
            serde_json::to_writer(&mut text, &entry)
                .map_err(|error| disk_error("write", &path, io::Error::other(error)))?;
            text.push(b'\n');
            next += 1;
        }
        let written = self.disk.append(&path, &text);
        // A line that failed may be there all the same, whole or in part: no other one gets its number.
        end.next = next;
        end.torn = written.is_err();
        let written = written.map_err(|source| disk_error("write", &path, source));
        self.noticed(&path, written.and_then(|()| if fresh { self.sync_parent(&path) } else { Ok(()) }))
    }

    /// The last lines that can be understood, oldest first.
    pub fn journal_tail(&self, count: usize) -> Result<Vec<Entry>, StoreError> {
        let lines = self.journal_lines(count)?;
        Ok(lines
            .into_iter()
            .filter_map(|line| if let Line::Entry(entry) = line { Some(*entry) } else { None })
            .collect())
    }

    /// The last lines, oldest first.
    pub fn journal_lines(&self, count: usize) -> Result<Vec<Line>, StoreError> {
        let mut lines: Vec<Line> = Vec::new();
        for name in self.journal_names()?.into_iter().chain(["current".to_owned()]).rev() {
            let path = self.journal_path(&name);
            let text = {
                // The last line is not half written while it is read.
                let _end = held(&self.journal);
                self.disk.read(&path)
            };
            match text {
                Ok(text) => lines.splice(0..0, understand(&path, &text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(disk_error("read", &path, source)),
            };
            if lines.len() >= count {
                break;
            }
        }
        Ok(lines.split_off(lines.len().saturating_sub(count)))
    }

    /// Finds out where the next line goes, before the first one is written.
    pub(super) fn find_journal_end(&self) -> Result<(), StoreError> {
        let path = self.journal_path("current");
        let torn = match self.disk.read(&path) {
            Ok(text) => text.last().is_some_and(|last| *last != b'\n'),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(disk_error("read", &path, source)),
        };
        // A full file's name is greater than every number in it: enough, should none of its lines be readable.
        let named =
            self.journal_names()?.iter().filter(|name| name.len() == DIGITS).filter_map(|name| name.parse().ok()).max();
        let seen = self.journal_tail(1000)?.iter().map(|entry| entry.seq + 1).max();
        let mut end = held(&self.journal);
        *end = End { next: seen.max(named).unwrap_or(1), torn, ..*end };
        Ok(())
    }

    /// Begins a new file. Cut off after the rename, there is one full file too many, until the next one is full.
    fn rotate(&self, next: u64) -> Result<(), StoreError> {
        let path = self.journal_path("current");
        let taken = self.journal_names()?;
        let mut name = next;
        while taken.contains(&full_name(name)) {
            name += 1;
        }
        let full = self.journal_path(&full_name(name));
        self.disk.rename(&path, &full).map_err(|source| disk_error("rotate", &path, source))?;
        self.sync_parent(&path)?;
        let names = self.journal_names()?;
        for name in &names[..names.len().saturating_sub(KEPT)] {
            self.forget(&self.journal_path(name))?;
        }
        Ok(())
    }

    /// The names of full files, oldest first.
    fn journal_names(&self) -> Result<Vec<String>, StoreError> {
        let names = self.names(&self.place.state.join("journal"))?;
        let age = |name: &String| {
            let number: u64 = name.parse().ok()?;
            Some(if name.len() == DIGITS { (1, number) } else { (0, u64::MAX - number) })
        };
        let names = names.iter().filter_map(|name| Some(name.strip_suffix(".ndjson")?.to_owned()));
        let mut full: Vec<_> = names.filter_map(|name| Some((age(&name)?, name))).collect();
        full.sort();
        Ok(full.into_iter().map(|(_, name)| name).collect())
    }

    fn journal_path(&self, name: &str) -> PathBuf {
        self.place.state.join("journal").join(format!("{name}.ndjson"))
    }
}

fn first_version() -> u32 {
    1
}

fn full_name(number: u64) -> String {
    format!("{number:0DIGITS$}")
}

/// The lines of a file. Empty ones end a line that was cut off.
fn understand(path: &std::path::Path, text: &[u8]) -> Vec<Line> {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(default)]
        version: u32,
    }
    let line = |(index, line): (usize, &[u8])| {
        let unreadable = |why: String| Line::Unreadable { file: path.to_owned(), number: index + 1, why };
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) => Line::Entry(Box::new(entry)),
            Err(error) => match serde_json::from_slice::<Versioned>(line) {
                Ok(Versioned { version }) if version > JOURNAL_VERSION => unreadable(format!(
                    "it was written by a newer pinfold (version {version}, this one reads {JOURNAL_VERSION})"
                )),
                _ if error.is_eof() => unreadable("it was cut off: the power went, or the disk was full".to_owned()),
                _ => unreadable(format!("it is damaged ({error})")),
            },
        }
    };
    text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()).map(line).collect()
}
