//! What must outlive a pass: the records that are fsynced before the effect they guard, and read back as part of the observation.

pub use crate::asked::AskedBy;
use crate::config::{Defaults, Power, VmConfig};
use crate::drift::DriftRecord;
use crate::freeze::Freeze;
use crate::mode::LastModes;
use crate::overrides::Override;
use crate::trash::Trashed;
use jiff::Timestamp;
use protocol::ShutdownReason;
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Version of every record format. A record of a newer version makes its object unknown.
pub const RECORD_VERSION: u32 = 1;

/// All records of a host as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// VMs by UUID; [`protocol::Reading::Unknown`] when the file is torn, unreadable or of a newer version.
    pub vms: BTreeMap<Uuid, protocol::Reading<VmRecord>>,
    /// Partitions by UUID.
    pub partitions: BTreeMap<Uuid, protocol::Reading<PartitionRecord>>,
    /// What commits may remove; `None` before the first commit is accepted.
    pub grants: Option<protocol::Reading<Grants>>,
    /// Approvals of held items, by item id.
    pub approvals: BTreeMap<String, Approval>,
    /// What lies in the trash, by the folder's name there.
    #[serde(default)]
    pub trash: BTreeMap<String, Trashed>,
    /// What is frozen, by [`crate::freeze::Frozen::key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub freezes: BTreeMap<String, protocol::Reading<Freeze>>,
    /// The modes that were last declared; `None`: everything was always enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<protocol::Reading<LastModes>>,
    /// What other hands changed, by [`crate::freeze::Frozen::key`] of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, DriftRecord>,
    /// Overrides of VMs' power.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<Uuid, protocol::Reading<Override>>,
}

/// A VM as this host knows it. Lies in the VM's folder and moves with it; [`VmRecord::here`] is what does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The Pool's id.
    pub pool_id: Uuid,
    /// Fixed at first creation.
    pub uuid: Uuid,
    /// Its current name.
    pub name: Name,
    /// Values of everything the manifest left out when the VM was first applied.
    pub defaults: Defaults,
    /// The configuration that was last wanted, whole: what brings the guest back when the manifests cannot be read.
    pub wanted: VmConfig,
    /// Digest of the manifest behind `wanted`: a VM that switched itself off stays off until it changes.
    pub manifest: String,
    /// The guest ended by itself and the decision was to leave it off.
    pub off_by_guest: Option<OffByGuest>,
    /// What its manifest said of its power, while an override counts in `wanted` instead: it counts again when the override is over, manifests or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_power: Option<Power>,
    /// Its memory on disk, as far as that has got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
    /// State of this host.
    pub here: Here,
}

/// The part of a VM's record that belongs to one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The host's name; on another host the rest is void.
    pub host: Name,
    /// How the current domain was (or is being) built.
    pub intent: Option<Intent>,
    /// A guest's end that was seen, and what was decided, before its domain is destroyed.
    pub ended: Option<Ended>,
    /// A graceful stop under way.
    pub stopping: Option<Stopping>,
    /// Failures in a row.
    pub backoff: Option<Backoff>,
    /// What the guest of the current domain was asked for since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Requests>,
    /// A domain of another toolstack that a person allowed to take over, until it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claiming: Option<Box<Claiming>>,
}

/// A claim under way. Not an [`Intent`] yet: a domain without a mark is ours by its intent, and would count as wreckage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claiming {
    /// The domain that was looked at.
    pub domid: u32,
    /// What its record says of it once it is ours; also in its mark.
    pub intent: Intent,
}

impl Here {
    /// A host that has done nothing with the VM yet.
    pub fn fresh(host: Name) -> Self {
        Self { host, intent: None, ended: None, stopping: None, backoff: None, asked: None, claiming: None }
    }
}

/// What a guest was asked for and may ignore, each the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Memory, in KiB.
    pub memory: Option<Asked>,
    /// vCPUs in use.
    pub vcpus: Option<Asked>,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For how much.
    pub value: u64,
    /// When.
    pub at: Timestamp,
}

/// How one incarnation was built: true of the domain that bears the same incarnation in its mark, and of no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Also in the domain's mark.
    pub incarnation: Uuid,
    /// The whole configuration.
    pub config: VmConfig,
    /// When.
    pub at: Timestamp,
    /// Which boot of the host.
    pub boot_id: Uuid,
    /// The commit it came from.
    pub commit: Option<String>,
    /// Another toolstack made the domain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
}

/// A guest's memory on disk. Moves with the VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The image in the VM's folder.
    pub image: Uuid,
    /// The incarnation whose memory it is.
    pub incarnation: Uuid,
    /// The whole configuration of that domain: what it was built with, and what its guest was asked to use. It is restored with this one.
    pub config: VmConfig,
    /// Release of the Xen that it is written by.
    pub xen: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// How far it has got.
    pub stage: SavedStage,
}

/// How far an image has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavedStage {
    /// It was asked for. Whether it is whole is seen on disk.
    Writing,
    /// It was whole: from here on its domain never goes on by itself.
    Whole,
    /// This incarnation was built from it: it is removed, and never restored again.
    Used(Uuid),
}

/// A guest's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The incarnation that ended.
    pub incarnation: Option<Uuid>,
    /// Why it ended.
    pub reason: ShutdownReason,
    /// Whether it is started again.
    pub decision: Decision,
    /// When it was seen.
    pub at: Timestamp,
    /// What became of its core dump; `None` when there is none to be written, or it is not written yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<DumpEnd>,
}

/// What became of a core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DumpEnd {
    /// It is whole.
    Written,
    /// It was refused, or failed: the guest does not wait for it.
    Failed,
}

/// What follows on a guest's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Create again.
    StartAgain,
    /// Leave it off.
    StayOff,
}

/// The guest switched itself off, and stays off while the manifest is the one named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffByGuest {
    /// [`VmRecord::manifest`] at that time.
    pub manifest: String,
    /// Why it ended.
    pub reason: ShutdownReason,
    /// When it was seen.
    pub since: Timestamp,
}

/// A graceful stop under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The domain that was asked.
    pub domid: u32,
    /// When.
    pub since: Timestamp,
    /// When it is destroyed if it still runs.
    pub deadline: Timestamp,
    /// The guest was asked: until then the deadline means nothing, and nobody is destroyed for it. A worker may have died before it asked.
    pub asked: bool,
    /// What the stop is for, in a sentence.
    pub why: String,
    /// `since` by the clock that nobody sets: the guest has its time whatever becomes of the wall clock. `None` in records of an earlier pinfold.
    #[serde(default)]
    pub up: Option<UpSince>,
    /// Who allowed it, when it was held.
    #[serde(default)]
    pub approved: Option<Approved>,
    /// How its guest is asked.
    #[serde(default, skip_serializing_if = "AskedBy::is_request")]
    pub by: AskedBy,
}

/// A moment on the clock that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpSince {
    /// Which boot of the host.
    pub boot_id: Uuid,
    /// Milliseconds that the host had run then ([`crate::observed::Uptime::ms`]).
    pub ms: u64,
}

/// Failures in a row of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How many.
    pub failures: u32,
    /// When the last one was.
    pub since: Timestamp,
    /// No try before this.
    pub until: Timestamp,
    /// One CamelCase word, such as `CreateFailed` or `CrashLoop`.
    pub reason: String,
    /// The failure in a sentence, with libxl's own words.
    pub message: String,
    /// What is counted: a change of it starts afresh.
    pub input: String,
}

impl Backoff {
    /// Whether the next try has to wait. A pause that would begin in the future was measured by a clock that was set back since, and could
    /// last for years: a try too early does less harm.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

/// A partition whose cpupool we made, or were about to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The Pool's id.
    pub pool_id: Uuid,
    /// Identity of its cpupool.
    pub uuid: Uuid,
    /// Its current name.
    pub name: Name,
    /// The cores it was last given (`socket.core`), whole: what brings it back when the manifests cannot be read.
    pub cores: BTreeSet<String>,
    /// In which boot of the host its cpupool last had exactly these cores; `None` until it had. cpupools do not survive a boot.
    #[serde(default)]
    pub boot_id: Option<Uuid>,
    /// Failures in a row.
    pub backoff: Option<Backoff>,
}

/// What accepted commits may remove without a person: written before the accepted ref moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// By UUID of the removed object.
    pub removed: BTreeMap<Uuid, Grant>,
    /// Commits that removed more than the budget: everything destructive in them is held.
    pub over_budget: Option<OverBudget>,
}

/// The permission to remove one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name when it was removed.
    pub name: Name,
    /// The commit that removed it.
    pub commit: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who wrote the commit: `Name <mail>`; `None` in grants of an earlier pinfold.
    #[serde(default)]
    pub author: Option<String>,
    /// Who allowed it, when the commit alone did not.
    #[serde(default)]
    pub approved: Option<Approved>,
}

/// A commit whose removals are more than the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverBudget {
    /// The commit.
    pub commit: String,
    /// How many objects it removes.
    pub removals: u32,
    /// How many it may.
    pub budget: u32,
}

/// A person's approval of one held item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// It is void after this.
    pub expires: Timestamp,
}

impl Approval {
    /// Whether it is good at this moment. One from the future was given by a clock that was set back since: nobody knows how old it is.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.expires
    }

    /// Who gave it, and why.
    pub fn given(&self) -> Approved {
        Approved { actor: self.actor.clone(), reason: self.reason.clone(), at: self.at }
    }
}

/// Who allowed something that was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}
