//! Operations under way, as a dead daemon leaves them to the next one: the order, and the outcome that the worker wrote.

use super::{Store, StoreError};
use jiff::Timestamp;
use planner::{Action, ObjectRef, Operation, Trail, Work};
use protocol::{Outcome, Reading};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;

/// What `<state>/operations/<id>.json` holds, written before the worker starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFile {
    /// [`planner::record::RECORD_VERSION`].
    pub version: u32,
    /// Names the operation.
    pub id: Uuid,
    /// The plan's item behind it.
    pub item: String,
    /// The commit behind it.
    pub commit: Option<String>,
    /// What it works on.
    pub object: ObjectRef,
    /// What happens to it.
    pub action: Action,
    /// Why, in a sentence.
    pub reason: String,
    /// When it was started.
    pub since: Timestamp,
    /// The same in milliseconds that the host had run; `None` in orders of an earlier pinfold. A worker that lives was started in this boot.
    #[serde(default)]
    pub up_ms: Option<u64>,
    /// Who is behind it.
    #[serde(default)]
    pub trail: Trail,
    /// The edits and the work.
    pub operation: Operation,
}

impl OrderFile {
    /// The request, when the work is a worker's.
    pub fn request(&self) -> Option<&protocol::Request> {
        match &self.operation.work {
            Work::Xen(request) => Some(request),
            Work::Trash { .. } | Work::Restore { .. } | Work::Purge { .. } | Work::Records => None,
        }
    }
}

impl Store {
    /// Orders without an end, oldest first. One that cannot be read hides which object is busy, so it hides everything.
    pub fn orders(&self) -> Reading<Vec<OrderFile>> {
        let dir = self.place.state.join("operations");
        let names = match self.names(&dir) {
            Ok(names) => names,
            Err(error) => return Reading::unknown("OrdersUnreadable", error.chain()),
        };
        let mut orders = Vec::new();
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json")).filter(|id| !id.starts_with('.'));
        for name in ids.map(|id| format!("{id}.json")) {
            match self.read_file::<OrderFile>(&dir.join(name)) {
                Some(Reading::Known(order)) => orders.push(order),
                Some(Reading::Unknown(cause)) => return Reading::Unknown(cause),
                None => {}
            }
        }
        orders.sort_by(|a, b| (a.since, &a.object, a.id).cmp(&(b.since, &b.object, b.id)));
        Reading::Known(orders)
    }

    pub(crate) fn write_order(&self, order: &OrderFile) -> Result<(), StoreError> {
        self.replace(&self.order_path(order.id), order)
    }

    /// The end of an order whose edits are all applied. The order goes first: what is left over of it means nothing without it.
    pub(crate) fn close_order(&self, id: Uuid) -> Result<(), StoreError> {
        self.forget(&self.order_path(id))?;
        self.forget(&self.outcome_path(id))?;
        self.forget(&self.talk_path(id))
    }

    /// What the worker of an operation wrote when it ended; `None` when it wrote nothing.
    pub(crate) fn outcome(&self, id: Uuid) -> Option<Reading<Outcome>> {
        self.read_file(&self.outcome_path(id))
    }

    pub(crate) fn outcome_path(&self, id: Uuid) -> PathBuf {
        self.place.state.join("outcomes").join(format!("{id}.json"))
    }

    /// The worker's standard error, which is also the lock that tells a living worker from a dead one.
    pub(crate) fn talk_path(&self, id: Uuid) -> PathBuf {
        self.place.state.join("operations").join(format!("{id}.log"))
    }

    /// Folder of the lock files of objects.
    pub(crate) fn locks_path(&self) -> PathBuf {
        self.place.state.join("locks")
    }

    fn order_path(&self, id: Uuid) -> PathBuf {
        self.place.state.join("operations").join(format!("{id}.json"))
    }
}
