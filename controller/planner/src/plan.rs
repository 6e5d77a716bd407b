//! A plan is data: what to do now, and what is held or waiting, each with its reason.

use crate::drift::{DriftRecord, Sighting};
use crate::mode::LastModes;
use crate::record::{Approval, Approved, Backoff, Grants, PartitionRecord, VmRecord};
use jiff::Timestamp;
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What should happen on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit it follows.
    pub commit: Option<String>,
    /// Items in the order in which they matter: releases before claims.
    pub items: Vec<Item>,
    /// The state of every object, declared or found.
    pub objects: Vec<ObjectStatus>,
    /// When something in this plan comes due by time alone (a deadline, the end of a back-off).
    pub due: Option<Timestamp>,
    /// Drift that is seen for the first time, seen no more, or fought over: written down before anything of this plan begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<RecordEdit>,
}

/// One thing that should happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Digest of object, action and changes, among them every disk that is taken away: the same offline and live. A removal takes none, and has one
    /// id in all its phases.
    pub id: String,
    /// The commit behind it.
    pub commit: Option<String>,
    /// What it happens to.
    pub object: ObjectRef,
    /// What happens, in one word.
    pub action: Action,
    /// What it means for the guest.
    pub effect: Effect,
    /// When it happens.
    pub disposition: Disposition,
    /// What brought it about.
    pub cause: Cause,
    /// Field by field.
    pub changes: Vec<Change>,
    /// A sentence.
    pub reason: String,
    /// Since when other hands' changes are seen, and who may have made them; only of drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Sighting>,
    /// Who is behind it.
    #[serde(default)]
    pub trail: Trail,
    /// What to do, when `disposition` is now.
    pub operation: Option<Operation>,
}

/// Who is behind an item: with its commit and its reason, what an auditor asks first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// Who wrote the commit: `Name <mail>`.
    pub author: Option<String>,
    /// Who allowed it, when it was held.
    pub approved: Option<Approved>,
}

/// An object of the language, or something foreign on the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// Its identity, when it has one.
    pub uuid: Option<Uuid>,
}

/// Kinds of objects that plans and status speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// The host itself.
    Host,
    /// A core partition.
    CorePartition,
    /// A VM.
    VirtualMachine,
    /// A domain that is not ours.
    ForeignDomain,
    /// A cpupool that is not ours.
    ForeignCpupool,
}

impl ObjectKind {
    /// The short name that the command line uses.
    pub fn short(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::CorePartition => "cp",
            Self::VirtualMachine => "vm",
            Self::ForeignDomain => "domain",
            Self::ForeignCpupool => "cpupool",
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.kind.short(), self.name))
    }
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It comes into being.
    Create,
    /// Its domain is created.
    Start,
    /// Its guest is asked to power off, and destroyed after the timeout.
    Stop,
    /// Its memory is written to disk, and its domain goes.
    Suspend,
    /// Its guest goes on from its memory on disk.
    Resume,
    /// Its memory on disk is taken away.
    Discard,
    /// A domain that was never ready is destroyed.
    CleanUp,
    /// It is taken away; a VM's folder goes to the trash.
    Delete,
    /// Some of its fields change.
    Change,
    /// Something on the host that nobody asked for is put right.
    Repair,
    /// It gets another name.
    Rename,
    /// Its domain ended by itself: record that and clear the domain away.
    Settle,
    /// Its folder comes back from the trash.
    Restore,
    /// Its folder in the trash is taken away for good.
    Purge,
    /// A domain that another toolstack made becomes its domain.
    Claim,
}

/// What an item means for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It comes into being.
    Create,
    /// The guest keeps running.
    Live,
    /// The guest stands still; nothing of it is lost.
    Pause,
    /// The guest is stopped and started.
    Restart,
    /// The guest is stopped.
    Stop,
    /// The object is deleted and made anew.
    Recreate,
    /// The object is taken away.
    Delete,
    /// The field is read only when the object is made; changing it does nothing.
    CreateOnly,
}

/// When an item happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "when")]
pub enum Disposition {
    /// In this pass.
    Now,
    /// When the VM starts next, whoever starts it.
    AtNextStart,
    /// When a person approves it, or a rule in `changes` allows it.
    Held {
        /// What would let it happen.
        until: String,
    },
    /// When something else is so.
    Waiting {
        /// What it waits for.
        on: String,
    },
}

/// What brought an item about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A commit.
    Commit,
    /// The host is not as the accepted commit says, and we did not do it.
    Drift,
    /// The guest ended by itself.
    Guest,
    /// The host booted.
    HostBoot,
    /// A person's verb.
    Verb,
    /// The host goes down.
    HostShutdown,
}

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The field as the manifest names it, such as `spec.cpu.weight`.
    pub field: String,
    /// What it is; `None`: nothing.
    pub old: Option<String>,
    /// What it should be; `None`: nothing.
    pub new: Option<String>,
}

/// What is done: records first, fsynced; then the work; then records, which are lost when we die before, and then found again by observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Written before the work.
    pub before: Vec<RecordEdit>,
    /// The work.
    pub work: Work,
    /// Written when it succeeded.
    pub on_success: Vec<RecordEdit>,
    /// Written when it failed: `failures` and `until` are filled in by the planner; the message by whoever sees the failure.
    pub on_failure: Vec<RecordEdit>,
}

/// The effect of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A worker's.
    Xen(Box<protocol::Request>),
    /// Rename the VM's folder into the trash, with a purge date.
    Trash {
        /// The VM.
        uuid: Uuid,
        /// Its name, for people.
        name: Name,
        /// Not to be purged before.
        purge_after: Timestamp,
    },
    /// Rename the VM's folder back from the trash.
    Restore {
        /// The VM.
        uuid: Uuid,
        /// The folder's name in the trash.
        folder: String,
    },
    /// Remove a folder in the trash, with what pinfold has put in it.
    Purge {
        /// Its name there.
        folder: String,
    },
    /// Nothing but records.
    Records,
}

/// A change to the records on disk. Each is one atomic write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordEdit {
    /// Write a VM's record.
    Vm(Box<VmRecord>),
    /// Write a partition's record.
    Partition(PartitionRecord),
    /// Remove a partition's record.
    ForgetPartition(Uuid),
    /// Write the grants.
    Grants(Grants),
    /// Remove an approval that was used.
    UseApproval(String),
    /// Keep an approval (a verb).
    Approve(String, Approval),
    /// Note a failure in a VM's record; its message comes from the failure itself.
    VmFailed(Uuid, Backoff),
    /// Write what is known of an object's drift, by its key; `None`: there is nothing to know any more.
    Drift(String, Option<DriftRecord>),
    /// Write which modes are in force.
    Modes(LastModes),
    /// Note a failure in a partition's record.
    PartitionFailed(Uuid, Backoff),
}

/// An object with its conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// The object.
    pub object: ObjectRef,
    /// What is seen of it on the host: `running`, `stopped`, `paused`, `stopping`, `ended: poweroff`, `absent`, `unknown`, …
    pub power: String,
    /// Facts for wide listings: domid, cpupool, masks, memory, …
    pub facts: Vec<(String, String)>,
    /// Ready, Reconciling, Stalled, Held, RestartPending, Drifted. All but Ready are listed only while they are true.
    pub conditions: Vec<Condition>,
}

/// One condition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Which.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: Truth,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence, with what to do next.
    pub message: String,
}

/// Conditions that objects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionKind {
    /// It is as the accepted commit says.
    Ready,
    /// It is being changed, or waits for its turn.
    Reconciling,
    /// It cannot get there without a person, or backs off after failures.
    Stalled,
    /// Something waits for an approval.
    Held,
    /// Something takes effect when the VM starts next.
    RestartPending,
    /// Somebody changed it outside git.
    Drifted,
    /// A person wants it to stay as it is.
    Frozen,
    /// `spec.mode` lets pinfold observe or plan only.
    NotEnforced,
    /// A person wants another power than its manifest says, for a while.
    Overridden,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say.
    Unknown,
}
