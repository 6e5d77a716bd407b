//! The documents of the API. They are what `-o json` prints; fields are added, never changed, within one `apiVersion`.

use crate::reconcile::Event;
use jiff::Timestamp;
use planner::{
    ConditionKind, Item, ObjectRef, Plan, Truth,
    observed::{AcceptedCommit, UnderWay},
};
use protocol::Cause;
use serde::{Deserialize, Serialize};

/// The version of every document.
pub const API_VERSION: &str = "pinfold.dev/v1alpha1";

/// What stands at the head of every document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The document's kind.
    pub kind: String,
}

impl Head {
    /// The head of a document of this kind.
    pub fn of(kind: &str) -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: kind.to_owned() }
    }
}

/// `/v1/status`: the host at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// The host.
    pub host: String,
    /// The daemon's version.
    pub version: String,
    /// When the daemon started.
    pub started: Timestamp,
    /// When the observation began that everything here is from.
    pub observed_at: Timestamp,
    /// When this was said.
    pub now: Timestamp,
    /// Whether all objects are ready, and this is fresh.
    pub ready: ConditionView,
    /// The version of the running Xen.
    pub xen: Option<String>,
    /// Why the host is unknown.
    pub unknown: Option<Cause>,
    /// The commit in force.
    pub commit: Option<AcceptedCommit>,
    /// The repository.
    pub source: SourceView,
    /// Operations under way.
    pub operations: Vec<UnderWay>,
    /// How many items a person has to decide on.
    pub held: usize,
    /// When something comes due by time alone.
    pub due: Option<Timestamp>,
    /// Every object.
    pub objects: Vec<ObjectView>,
}

/// `/v1/objects`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectList {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// When this was said.
    pub now: Timestamp,
    /// The objects.
    pub items: Vec<ObjectView>,
}

/// `/v1/objects/{kind}/{name}`: everything about one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDetail {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// When this was said.
    pub now: Timestamp,
    /// The object.
    pub object: ObjectView,
    /// What the plan has for it.
    pub items: Vec<Item>,
    /// What is being done to it.
    pub operations: Vec<UnderWay>,
    /// What happened to it, newest last.
    pub events: Vec<Event>,
    /// The commit in force.
    pub commit: Option<AcceptedCommit>,
    /// A commit that would change it may be refused: the repository's state.
    pub source: SourceView,
}

/// An object with its conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// The object.
    pub object: ObjectRef,
    /// What is seen of it on the host.
    pub power: String,
    /// Facts for wide listings.
    pub facts: Vec<(String, String)>,
    /// Its conditions; all but Ready only while they are true.
    pub conditions: Vec<ConditionView>,
}

impl ObjectView {
    /// One of its conditions.
    pub fn condition(&self, kind: ConditionKind) -> Option<&ConditionView> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether a condition is there and true.
    pub fn is(&self, kind: ConditionKind) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == Truth::True)
    }
}

/// One condition, with when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionView {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Truth,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when it has this status.
    pub since: Timestamp,
    /// The commit that was in force then.
    pub commit: Option<String>,
}

/// The repository as the daemon sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Path or URL, without secrets.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// When it was last asked with success.
    pub fetched: Option<Timestamp>,
    /// Why it cannot be asked.
    pub failing: Option<Trouble>,
    /// The branch's tip, when it is not in force.
    pub refused: Option<Refused>,
    /// The branch's tip could not be taken over, for a reason of this host.
    pub blocked: Option<Trouble>,
    /// The accepted commit cannot be read by this binary: only what is recorded is kept running.
    pub unreadable: Option<Trouble>,
}

/// Something that is wrong, since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence, with what to do next.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// A commit that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Its id.
    pub commit: String,
    /// First line of its message.
    pub subject: String,
    /// `Name <mail>`.
    pub author: String,
    /// Since when it is refused.
    pub since: Timestamp,
    /// One CamelCase word: `Errors`, `History`, …
    pub reason: String,
    /// Everything that is wrong with it.
    pub findings: Vec<FindingView>,
}

/// One thing that is wrong with a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingView {
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// `file:line:column`.
    pub place: Option<String>,
    /// What to do next.
    pub help: Vec<String>,
}

/// `/v1/plan`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanDocument {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// The host.
    pub host: String,
    /// When the observation began.
    pub observed_at: Timestamp,
    /// The plan.
    pub plan: Plan,
}

/// `/v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// When this was said.
    pub now: Timestamp,
    /// The number of the last event in the journal, wanted or not: what comes next is asked for by `after`.
    #[serde(default)]
    pub last: u64,
    /// Oldest first.
    pub items: Vec<Event>,
}

/// `/v1/trash`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrashList {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// When this was said.
    pub now: Timestamp,
    /// The longest kept last.
    pub items: Vec<TrashView>,
}

/// A VM in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrashView {
    /// The folder's name in the trash.
    pub folder: String,
    /// The VM's name when it was removed.
    pub name: String,
    /// The VM.
    pub uuid: uuid::Uuid,
    /// When it was removed; `None` when an earlier pinfold did it, or the note of it cannot be read.
    pub removed: Option<Timestamp>,
    /// It is not purged before.
    pub purge_after: Timestamp,
    /// Bytes of everything in its folder.
    pub size: u64,
    /// The commit that removed it.
    pub commit: Option<String>,
    /// Who wrote that commit.
    pub author: Option<String>,
    /// Who allowed it, when it was held.
    pub approved: Option<planner::record::Approved>,
    /// Its disks, which stay where they are, and what they were.
    pub disks: Vec<planner::trash::TrashedDisk>,
    /// What lies in its folder that pinfold did not put there.
    pub others: Vec<String>,
    /// Why its record, or the note of its removal, cannot be read.
    pub unknown: Option<Cause>,
}

/// The body of `POST /v1/trash/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrashRestoreCall {
    /// Name, UUID, or folder.
    pub what: String,
    /// Why.
    pub reason: String,
    /// With the disks as they are.
    #[serde(default)]
    pub any_disks: bool,
}

/// The body of `POST /v1/trash/purge`: one of `what` and `olderThan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrashPurgeCall {
    /// Name, UUID, or folder.
    #[serde(default)]
    pub what: Option<String>,
    /// Removed before this.
    #[serde(default)]
    pub older_than: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// The answer to a verb, and to anything that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Version and kind: `Done` or `Error`.
    #[serde(flatten)]
    pub head: Head,
    /// A sentence.
    pub message: String,
}

/// The body of `POST /v1/approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveCall {
    /// The item's id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// How long it is good for, in seconds.
    pub expires_seconds: u64,
}

/// The body of `POST /v1/freeze`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeCall {
    /// `vm/NAME`, `cp/NAME` or `host`.
    pub what: String,
    /// For how long, in seconds: more than 0, at most 30 days.
    pub seconds: u64,
    /// Why.
    pub reason: String,
}

/// The body of `POST /v1/override`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideCall {
    /// `vm/NAME`.
    pub what: String,
    /// What.
    pub kind: OverrideKind,
    /// For how long, in seconds: more than 0, at most 30 days.
    pub seconds: u64,
    /// Why.
    pub reason: String,
}

/// What can be asked of a VM's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverrideKind {
    /// It runs.
    Start,
    /// It is stopped.
    Stop,
    /// It is paused.
    Pause,
    /// It is stopped and started once.
    Restart,
}

/// The body of `POST /v1/unfreeze` and `POST /v1/follow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnfreezeCall {
    /// `vm/NAME`, `cp/NAME` or `host`.
    pub what: String,
}

/// The body of `POST /v1/accept-history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptHistoryCall {
    /// The commit at the branch's tip.
    pub commit: String,
    /// Why.
    pub reason: String,
}
