//! What happened, for people. The host's store keeps the journal; here it gets words.
//!
//! Only transitions are written, so that a host on which nothing happens writes nothing. The planner never reads it.

use host::store;
use jiff::Timestamp;
use planner::ObjectRef;
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it was noticed.
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
    /// Who did it, for verbs: `uid 0`.
    pub actor: Option<String>,
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
    /// One of those is over.
    Resolved,
    /// An operation could not be started.
    NotStarted,
    /// A person used a verb.
    Verb,
}

impl Reason {
    /// Every sort, to find one by its word.
    const ALL: [Self; 18] = [
        Self::DaemonStarted,
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
        Self::Resolved,
        Self::NotStarted,
        Self::Verb,
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
            | Self::Verb => Severity::Info,
            Self::ConfigRefused
            | Self::CommitRefused
            | Self::CommitUnreadable
            | Self::SourceFailing
            | Self::NotReady
            | Self::Unknown
            | Self::Stalled
            | Self::Held
            | Self::Drifted
            | Self::NotStarted => Severity::Warning,
        }
    }
}

/// Writes a note to the journal and to the log. A full disk loses the line in the journal, not in the log.
pub fn note(store: &store::Store, at: Timestamp, commit: Option<&str>, note: Note) {
    let Note { object, reason, message, actor } = note;
    let about = object.as_ref().map(ToString::to_string);
    match reason.severity() {
        Severity::Info => tracing::info!(object = about, ?reason, commit, actor, "{message}"),
        Severity::Warning => tracing::warn!(object = about, ?reason, commit, actor, "{message}"),
    }
    let event = store::Event::Noted { reason: format!("{reason:?}"), message, actor };
    if let Err(error) = store.journal(&store::Entry { at, object, commit: commit.map(str::to_owned), event }) {
        tracing::error!(error = error.chain(), "cannot write the journal");
    }
}

impl From<store::Entry> for Event {
    fn from(entry: store::Entry) -> Self {
        let store::Entry { at, object, commit, event } = entry;
        let took = match event {
            store::Event::Ended { took, .. } => took,
            _ => None,
        };
        let took = took.map(|protocol::Took { total_ms, libxl_ms }| Took { total_ms, libxl_ms });
        let (severity, reason, message, actor) = match event {
            store::Event::Started { action, reason, .. } => {
                (Severity::Info, format!("{action:?}Started"), reason, None)
            }
            store::Event::Ended { action, failure: None, .. } => {
                (Severity::Info, format!("{action:?}Done"), took.map(duration).unwrap_or_default(), None)
            }
            store::Event::Ended { action, failure: Some(failure), log, .. } => {
                let last = log.last().map(|line| format!("\n{line}")).unwrap_or_default();
                (Severity::Warning, format!("{action:?}Failed"), format!("{failure}{last}"), None)
            }
            store::Event::Noted { reason, message, actor } => (severity_of(&reason), reason, message, actor),
        };
        Self { at, severity, object, reason, message, commit, actor, took }
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
