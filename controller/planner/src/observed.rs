//! Everything that planning may look at. Printed by `pinfold inventory`, and readable back: a laptop and a CI job plan from it.

use crate::record::Records;
use crate::toolstacks::OtherToolstack;
use crate::trash::DiskMark;
use jiff::Timestamp;
use protocol::{ImageState, Observation, Reading};
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Version of the inventory format. Minor additions keep it; a reader refuses a newer one.
pub const INVENTORY_VERSION: u32 = 1;

/// One host at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// [`INVENTORY_VERSION`].
    pub version: u32,
    /// The host, as its daemon's `host:` setting names it.
    pub host: Name,
    /// The Pool this state directory is pinned to; `None` before the first commit is accepted.
    pub pool_id: Option<Uuid>,
    /// When the observation began, by the wall clock.
    pub now: Timestamp,
    /// The same by the clock that nobody sets; `None` in inventories of an earlier pinfold.
    #[serde(default)]
    pub uptime: Option<Uptime>,
    /// Xen: topology, cpupools, domains.
    pub xen: Reading<Observation>,
    /// dom0's file system and network, as far as manifests may name them.
    pub dom0: Dom0Facts,
    /// Records on disk.
    pub records: Records,
    /// Why nothing can be written to the state directory or the storage; `None` when the last write succeeded.
    #[serde(default)]
    pub unwritable: Option<String>,
    /// Images of memory that records name, by their names; one that is not listed is unknown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<Uuid, Reading<ImageState>>,
    /// Operations that run now, whoever started them.
    pub operations: Vec<UnderWay>,
    /// The commit in force.
    pub accepted: Option<AcceptedCommit>,
    /// Somebody said that the host goes down.
    #[serde(default)]
    pub host_shutdown: Option<HostShutdown>,
}

/// The note that all guests are to stop and none is to start, because the host goes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostShutdown {
    /// When it was written. Guests' timeouts count from here.
    pub since: Timestamp,
    /// The same by the clock that nobody sets ([`Uptime::ms`]); `None` when it is not known.
    #[serde(default)]
    pub up_ms: Option<u64>,
    /// The boot of the host that it speaks of; in any other it is void.
    pub boot_id: Uuid,
    /// After this it is void: a host that is up then has not gone down. `None`: until it is taken back, or the host boots.
    pub until: Option<Timestamp>,
    /// Who or what wants it, in a few words.
    pub why: String,
}

/// The clock that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Milliseconds that the host has run since an unnamed moment of its boot (`CLOCK_MONOTONIC`, clock_gettime(2)). Compared only within one boot.
    pub ms: u64,
    /// For how many of these the wall clock has gone beside it without a jump, as far as this daemon has seen.
    pub steady_ms: u64,
}

/// What manifests may name in dom0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dom0Facts {
    /// Bridges (`/sys/class/net/*/bridge`).
    pub bridges: BTreeSet<String>,
    /// Folders that manifests may name files and devices in (the host's `allowPaths`).
    pub allow_paths: Vec<String>,
    /// Files and devices by absolute path: those below `allow_paths` that were listed, and every path that the accepted commit names.
    pub files: BTreeMap<String, FileFact>,
    /// Whether `files` lists everything below `allow_paths`; when not, a path that is missing here is unknown, not absent.
    pub files_complete: bool,
    /// What the disks are that a VM in the trash had and the accepted commit names again.
    #[serde(default)]
    pub marks: BTreeMap<String, Reading<DiskMark>>,
    /// Host memory that is never given to guests, in KiB.
    #[serde(deserialize_with = "protocol::bounds::kib")]
    pub memory_reserve_kib: u64,
    /// Room for the core dumps of all VMs together, in KiB. 0: none are written; an older pinfold wrote none.
    #[serde(deserialize_with = "protocol::bounds::kib", default)]
    pub core_dump_quota_kib: u64,
    /// Other toolstacks that would act by themselves. Empty: none would, or an older pinfold looked, which did not ask.
    #[serde(default)]
    pub toolstacks: Vec<OtherToolstack>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFact {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
    },
    /// A block device.
    Block {
        /// Bytes.
        size: u64,
        /// dom0 has it, or a part of it, mounted.
        mounted: bool,
    },
    /// Nothing stands there.
    Missing,
    /// A directory, a socket, a link out of `allow_paths`, or something unreadable; the text says which.
    Unusable(String),
}

/// An operation that runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its id.
    pub id: Uuid,
    /// The object it works on.
    pub object: crate::ObjectRef,
    /// What it does, in a few words.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// The request, when it is known (an operation of an earlier daemon may only be known by its lock).
    pub request: Option<protocol::Request>,
    /// It has ended, and what came of it cannot be written down: why. It is tried again with every observation.
    #[serde(default)]
    pub unwritten: Option<String>,
}

/// The commit in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedCommit {
    /// Full hexadecimal id.
    pub id: String,
    /// First line of its message.
    pub subject: String,
    /// `Name <mail>`.
    pub author: String,
    /// When this host accepted it.
    pub at: Timestamp,
}
