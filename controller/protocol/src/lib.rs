//! The messages between `pinfold` and `pinfold-xen`, and the words they share for what a host is and what can be done to it.
//!
//! Types only, no I/O. Everything travels as JSON lines on stdio:
//!
//! ```text
//! pinfold-xen serve      → Hello, then for each Call one Answer; Event lines in between
//! pinfold-xen do         → Hello; ← one Order; → one Outcome, which it has written to `Order::outcome` before
//! ```

pub mod bounds;
mod cpuset;
mod dump;
mod hvm;
mod image;
mod memory;
mod observation;
mod request;
mod stored;

pub use cpuset::{CpuSet, CpuSetError};
pub use dump::Dump;
pub use hvm::{BootDevice, Cdrom, DomainHvm, Firmware, HvmConfig, HvmParts, VNC_FOLDER, vnc_socket};
pub use image::*;
pub use memory::MemoryNeed;
pub use observation::*;
pub use request::*;
use serde::{Deserialize, Serialize};
pub use stored::{Stored, Toolstack};
use uuid::Uuid;

/// Version of these messages. Both sides must have the same.
pub const PROTOCOL: u32 = 1;

/// The first line of every worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the worker.
    pub protocol: u32,
    /// Version of the worker.
    pub worker: String,
    /// The Xen minor release that the worker was built for, such as `4.17`.
    pub built_for: String,
    /// The Xen minor release that runs; `None` when no Xen runs or it cannot be asked.
    pub running: Option<String>,
}

/// A question to `serve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the caller, echoed in the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What `serve` can be asked. None of it changes anything, none of it forks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// A full [`Observation`].
    Observe,
}

/// What `serve` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// The answer to a call.
    Answer {
        /// The call's id.
        id: u64,
        /// What was read, or why it could not be.
        answer: Result<Box<Observation>, Failure>,
    },
    /// A domain came or went: look again. Carries nothing on purpose.
    Woken,
}

/// What `do` is told, in one line on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// [`PROTOCOL`] of the daemon.
    pub protocol: u32,
    /// Names this operation in the journal and in the outcome.
    pub operation: Uuid,
    /// Folder of the lock files; made by the daemon, outlives both.
    pub locks: String,
    /// File that the worker writes its [`Outcome`] to (a new file, fsynced, then renamed), also when nobody reads its output any more.
    pub outcome: String,
    /// Folder of the VMs' folders, where images of memory lie.
    #[serde(default)]
    pub storage: String,
    /// What to do.
    pub request: Request,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order's `operation`.
    pub operation: Uuid,
    /// The order's `request`.
    pub request: Request,
    /// Done, or what failed. An operation that failed has cleaned up what it could; the next observation says what is there.
    pub result: Result<Done, Failure>,
    /// What libxl logged meanwhile, oldest first, bounded.
    pub log: Vec<String>,
    /// How long it took; `None` in an outcome that an older worker left behind.
    #[serde(default)]
    pub took: Option<Took>,
}

/// How long an operation took, and how much of it is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Milliseconds of the worker, its waiting for locks included.
    pub total_ms: u64,
    /// Milliseconds of these within calls of libxl.
    pub libxl_ms: u64,
}

/// What an operation reports when it succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The domain that was made.
    pub domid: Option<u32>,
}

/// What failed, in the words of the one who failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// The call that failed, such as `libxl_domain_create_new`.
    pub call: String,
    /// libxl's return code, such as `-3`.
    pub rc: Option<i32>,
    /// The kernel's or Xen's error number.
    pub errno: Option<i32>,
    /// A sentence for people, with what to do next.
    pub message: String,
}

/// Kinds of failure that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Somebody holds a lock that is needed: the object is busy.
    Busy,
    /// The world is not as the request assumes (another UUID behind the domid, a pool that is gone, a domain that already lives): look again.
    Stale,
    /// Not enough free memory.
    Memory,
    /// The guest did not answer a request.
    GuestIgnored,
    /// xenstored cannot be reached.
    XenstoreLost,
    /// What was set is not what was read back.
    ReadBack,
    /// The worker died, was killed, or said something that is no message.
    WorkerDied,
    /// It passed its deadline.
    Deadline,
    /// Anything else that libxl, Xen or the kernel refused.
    Refused,
}

impl Failure {
    /// A failure that has no return code behind it.
    pub fn new(kind: FailureKind, call: &str, message: impl Into<String>) -> Self {
        Self { kind, call: call.to_owned(), rc: None, errno: None, message: message.into() }
    }
}
