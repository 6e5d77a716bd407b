//! What happened, for people. The host's store keeps the journal; here it gets words.
//!
//! Only transitions are written, so that a host on which nothing happens writes nothing. The planner never reads it.

use host::store;
use jiff::Timestamp;
use planner::ObjectRef;
use planner::observed::AcceptedCommit;
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number in the journal: greater than that of every event before it, whatever the clock did. 0 in what an earlier pinfold wrote.
    #[serde(default)]
    pub seq: u64,
    /// When it was noticed, by the wall clock. A line of the journal that cannot be read has number and time of the one before it.
    pub at: Timestamp,
    /// Whether somebody should look.
    pub severity: Severity,
    /// The object; `None`: the host or its repository.
    pub object: Option<ObjectRef>,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The commit behind it.
    pub commit: Option<String>,
    /// Who wrote that commit: `Name <mail>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The plan's item, for operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Who did it, for verbs; who allowed it, for an operation that was held: `uid 0`.
    pub actor: Option<String>,
    /// Why it was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// How long it took, for the end of an operation on Xen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Took>,
}

/// How long an operation took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Took {
    /// Milliseconds of its worker.
    pub total_ms: u64,
    /// Milliseconds of these within calls of libxl.
    pub libxl_ms: u64,
}

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warning,
}

/// Something worth knowing that is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about; `None`: the host or its repository.
    pub object: Option<ObjectRef>,
    /// What sort of thing.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
    /// The person behind it.
    pub actor: Option<String>,
}

impl Note {
    /// About the host or its repository, by nobody in particular.
    pub fn host(reason: Reason, message: String) -> Self {
        Self { object: None, reason, message, actor: None }
    }
}

/// Sorts of things that are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The daemon started.
    DaemonStarted,
    /// The wall clock was set.
    ClockSet,
    /// The daemon's own configuration was read again.
    Configured,
    /// It was, and cannot be used.
    ConfigRefused,
    /// A commit is in force now.
    CommitAccepted,
    /// A commit is not followed.
    CommitRefused,
    /// The accepted commit cannot be read by this binary.
    CommitUnreadable,
    /// The repository cannot be asked.
    SourceFailing,
    /// It can again.
    SourceBack,
    /// An object became as the commit says.
    Ready,
    /// An object stopped being so.
    NotReady,
    /// Nobody can say any more how an object is.
    Unknown,
    /// An object cannot get there.
    Stalled,
    /// Something waits for a person.
    Held,
    /// A change takes effect at the next start.
    RestartPending,
    /// Somebody changed something outside git.
    Drifted,
    /// Which field it is, and who may have done it.
    DriftSeen,
    /// One of those is over.
    Resolved,
    /// An operation could not be started.
    NotStarted,
    /// A person used a verb.
    Verb,
    /// Somebody is at a guest's console.
    ConsoleOpened,
    /// And is gone.
    ConsoleClosed,
    /// The host goes down, and a guest had to be ended by force for it.
    HostShutdown,
}

impl Reason {
    /// Every sort, to find one by its word.
    const ALL: [Self; 23] = [
        Self::DaemonStarted,
        Self::ClockSet,
        Self::Configured,
        Self::ConfigRefused,
        Self::CommitAccepted,
        Self::CommitRefused,
        Self::CommitUnreadable,
        Self::SourceFailing,
        Self::SourceBack,
        Self::Ready,
        Self::NotReady,
        Self::Unknown,
        Self::Stalled,
        Self::Held,
        Self::RestartPending,
        Self::Drifted,
        Self::DriftSeen,
        Self::Resolved,
        Self::NotStarted,
        Self::Verb,
        Self::ConsoleOpened,
        Self::ConsoleClosed,
        Self::HostShutdown,
    ];

    /// Whether somebody should look.
    pub fn severity(self) -> Severity {
        match self {
            Self::DaemonStarted
            | Self::Configured
            | Self::CommitAccepted
            | Self::SourceBack
            | Self::Ready
            | Self::RestartPending
            | Self::Resolved
            | Self::Verb
            | Self::ConsoleOpened
            | Self::ConsoleClosed => Severity::Info,
            Self::ClockSet
            | Self::ConfigRefused
            | Self::CommitRefused
            | Self::CommitUnreadable
            | Self::SourceFailing
            | Self::NotReady
            | Self::Unknown
            | Self::Stalled
            | Self::Held
            | Self::Drifted
            | Self::DriftSeen
            | Self::NotStarted
            | Self::HostShutdown => Severity::Warning,
        }
    }
}

/// Writes notes to the journal and to the log. A full disk loses the lines in the journal, not in the log.
pub fn note(
    store: &store::Store,
    at: Timestamp,
    commit: Option<&AcceptedCommit>,
    notes: impl IntoIterator<Item = Note>,
) {
    let lines: Vec<store::Entry> = notes.into_iter().map(|note| line_of(at, commit, note)).collect();
    if let Err(error) = store.journal_together(&lines) {
        tracing::error!(error = error.chain(), "cannot write the journal");
    }
}

/// The same for what must be in the journal before it is done.
pub(super) fn intend(
    store: &store::Store,
    at: Timestamp,
    commit: Option<&AcceptedCommit>,
    note: Note,
) -> Result<(), store::StoreError> {
    store.journal(&line_of(at, commit, note))
}

/// A note as a line of the journal, after it was told to the log.
fn line_of(at: Timestamp, commit: Option<&AcceptedCommit>, note: Note) -> store::Entry {
    let Note { object, reason, message, actor } = note;
    let (commit, author) = commit.map(|commit| (commit.id.clone(), commit.author.clone())).unzip();
    let about = object.as_ref().map(ToString::to_string);
    match reason.severity() {
        Severity::Info => tracing::info!(object = about, ?reason, commit, actor, "{message}"),
        Severity::Warning => tracing::warn!(object = about, ?reason, commit, actor, "{message}"),
    }
    let event = store::Event::Noted { reason: format!("{reason:?}"), message, actor };
    let author = author.filter(|author| !author.is_empty());
    store::Entry { object, commit, author, ..store::Entry::new(at, event) }
}

/// The events that lines of the journal tell, in their order.
pub fn events(lines: Vec<store::Line>) -> Vec<Event> {
    let (mut seq, mut at) = (0, Timestamp::UNIX_EPOCH);
    let event = |line| {
        let event = match line {
            store::Line::Entry(entry) => Event::from(*entry),
            store::Line::Unreadable { file, number, why } => Event {
                seq,
                message: format!("line {number} of `{}` cannot be read: {why}; the lines after it can", file.display()),
                ..Event::blank(at, Severity::Warning, "JournalUnreadable")
            },
        };
        (seq, at) = (event.seq, event.at);
        event
    };
    lines.into_iter().map(event).collect()
}

impl From<store::Entry> for Event {
    fn from(entry: store::Entry) -> Self {
        let store::Entry { version: _, seq, at, object, commit, author, event } = entry;
        let about = match event {
            store::Event::Started { action, reason, item, approved, .. } => Self {
                message: reason,
                item: Some(item),
                actor: approved.as_ref().map(|approved| approved.actor.clone()),
                approval: approved.map(|approved| approved.reason),
                ..Self::blank(at, Severity::Info, &format!("{action:?}Started"))
            },
            store::Event::Ended { action, failure: None, item, took, .. } => {
                let took = took.map(|protocol::Took { total_ms, libxl_ms }| Took { total_ms, libxl_ms });
                let message = took.map(duration).unwrap_or_default();
                Self { message, item, took, ..Self::blank(at, Severity::Info, &format!("{action:?}Done")) }
            }
            store::Event::Ended { action, failure: Some(failure), log, item, took, .. } => {
                let took = took.map(|protocol::Took { total_ms, libxl_ms }| Took { total_ms, libxl_ms });
                let last = log.last().map(|line| format!("\n{line}")).unwrap_or_default();
                let message = format!("{failure}{last}");
                Self { message, item, took, ..Self::blank(at, Severity::Warning, &format!("{action:?}Failed")) }
            }
            store::Event::Noted { reason, message, actor } => {
                Self { message, actor, ..Self::blank(at, severity_of(&reason), &reason) }
            }
        };
        Self { seq, object, commit, author, ..about }
    }
}

impl Event {
    fn blank(at: Timestamp, severity: Severity, reason: &str) -> Self {
        Self {
            seq: 0,
            at,
            severity,
            object: None,
            reason: reason.to_owned(),
            message: String::new(),
            commit: None,
            author: None,
            item: None,
            actor: None,
            approval: None,
            took: None,
        }
    }
}

/// How long an operation took, as part of a sentence.
fn duration(took: Took) -> String {
    format!("it took {} ms, {} ms of them in libxl", took.total_ms, took.libxl_ms)
}

/// The severity of a note by its word; one of a newer version is worth a look.
fn severity_of(word: &str) -> Severity {
    Reason::ALL.into_iter().find(|reason| format!("{reason:?}") == word).map_or(Severity::Warning, Reason::severity)
}
