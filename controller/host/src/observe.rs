//! Putting an observation together, the same for every kind of host.

use crate::Interest;
use crate::store::Store;
use jiff::Timestamp;
use planner::Observed;
use planner::observed::{Dom0Facts, INVENTORY_VERSION, UnderWay, Uptime};
use planner::record::Records;
use protocol::{Cause, Failure, FailureKind, ImageRef, ImageState, Observation, Reading};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What was read from disk before the hypervisor was asked.
pub(crate) struct OnDisk {
    pub(crate) records: Records,
    pub(crate) operations: Vec<UnderWay>,
    pool_id: Option<Uuid>,
    /// Why nothing may be planned on this host, whatever the hypervisor says.
    unknown: Option<Cause>,
}

/// Reads the records. Directories that cannot be listed, orders that cannot be read and a state directory of another host leave
/// nothing that could be planned from: a VM without a visible record must not look like one that was never made.
pub(crate) fn on_disk(store: &Store, operations: Reading<Vec<UnderWay>>) -> OnDisk {
    let mut unknown = None;
    // The first reason is told: the others often follow from it.
    let mut known = |cause: Cause| {
        unknown.get_or_insert(cause);
    };
    let pool_id = match store.identity() {
        Some(Reading::Known(identity)) => identity.pool_id,
        Some(Reading::Unknown(cause)) => {
            known(cause);
            None
        }
        None => None,
    };
    let operations = match operations {
        Reading::Known(operations) => operations,
        Reading::Unknown(cause) => {
            known(cause);
            Vec::new()
        }
    };
    let records = match store.records() {
        Reading::Known(records) => records,
        Reading::Unknown(cause) => {
            known(cause);
            Records::default()
        }
    };
    OnDisk { records, operations, pool_id, unknown }
}

impl OnDisk {
    /// The images of memory that its records name, each looked at.
    pub(crate) fn images(&self, look: impl Fn(ImageRef) -> Reading<ImageState>) -> BTreeMap<Uuid, Reading<ImageState>> {
        let records = self.records.vms.values().filter_map(Reading::known);
        let named =
            records.filter_map(|record| Some(ImageRef { vm: record.uuid, image: record.saved.as_ref()?.image }));
        named.map(|image| (image.image, look(image))).collect()
    }

    /// Adds what the host says.
    pub(crate) fn with(
        self,
        store: &Store,
        (now, uptime): (Timestamp, Uptime),
        xen: Reading<Observation>,
        dom0: Dom0Facts,
        images: BTreeMap<Uuid, Reading<ImageState>>,
        interest: &Interest,
    ) -> Observed {
        Observed {
            version: INVENTORY_VERSION,
            host: store.place().host.clone(),
            pool_id: self.pool_id,
            now,
            uptime: Some(uptime),
            xen: self.unknown.map_or(xen, Reading::Unknown),
            dom0,
            records: self.records,
            unwritable: store.unwritable(),
            images,
            operations: self.operations,
            accepted: interest.accepted.clone(),
            host_shutdown: interest.host_shutdown.clone(),
        }
    }
}

/// What a failed observation leaves.
pub(crate) fn unknown(failure: &Failure) -> Reading<Observation> {
    Reading::unknown(word(failure.kind), failure.to_string())
}

/// The word of a condition for a kind of failure.
fn word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::XenstoreLost => "XenstoreLost",
        FailureKind::WorkerDied => "WorkerDied",
        FailureKind::Deadline => "WorkerSilent",
        FailureKind::Busy
        | FailureKind::Stale
        | FailureKind::Memory
        | FailureKind::GuestIgnored
        | FailureKind::ReadBack
        | FailureKind::Refused => "XenUnreadable",
    }
}
