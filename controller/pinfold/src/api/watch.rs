//! `/v1/objects?watch=true`: the list, and then a line for each change of it, for as long as somebody listens.
//!
//! Made from the passes: what changes and changes back between two of them is not seen, and nothing is kept for those who were away. Whoever
//! comes back gets the whole list again, and compares.

use super::documents;
use super::view::{ConditionView, ObjectView};
use crate::reconcile::Snapshot;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use planner::{ConditionKind, ObjectKind, ObjectRef, Truth};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Without a pass for so long, it is looked whether what is known has become old.
const QUIET: Duration = Duration::from_secs(2);

/// Which objects.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this kind.
    pub kind: Option<ObjectKind>,
    /// Of this name.
    pub name: Option<String>,
}

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Change {
    /// Everything, at the beginning.
    List {
        /// When this was said.
        now: Timestamp,
        /// The objects.
        items: Vec<ObjectView>,
    },
    /// There is a new object.
    Added {
        /// When this was said.
        now: Timestamp,
        /// It.
        object: ObjectView,
    },
    /// An object is no longer as it was.
    Changed {
        /// When this was said.
        now: Timestamp,
        /// As it is.
        object: ObjectView,
    },
    /// An object is gone.
    Removed {
        /// When this was said.
        now: Timestamp,
        /// As it was last.
        object: ObjectView,
    },
}

/// What makes one list another. Pure.
pub fn changes(before: &[ObjectView], after: &[ObjectView], now: Timestamp) -> Vec<Change> {
    let (was, is) = (by_identity(before), by_identity(after));
    let removed = before.iter().filter(|view| !is.contains_key(&identity(view)));
    let removed = removed.map(|view| Change::Removed { now, object: view.clone() });
    let rest = after.iter().filter_map(|view| match was.get(&identity(view)) {
        None => Some(Change::Added { now, object: view.clone() }),
        Some(was) if is_news(was, view) => Some(Change::Changed { now, object: view.clone() }),
        Some(_) => None,
    });
    removed.chain(rest).collect()
}

/// What an object is known by, where it has an identity: a rename is a change.
pub fn identity(view: &ObjectView) -> (ObjectKind, String) {
    let ObjectRef { kind, name, uuid } = &view.object;
    (*kind, uuid.map_or_else(|| name.clone(), |uuid| uuid.to_string()))
}

fn by_identity(views: &[ObjectView]) -> BTreeMap<(ObjectKind, String), &ObjectView> {
    views.iter().map(|view| (identity(view), view)).collect()
}

/// That an old observation grows older is none, and that another commit says the same of an object is none.
fn is_news(was: &ObjectView, is: &ObjectView) -> bool {
    let timeless = |view: &ObjectView| {
        let mut view = view.clone();
        let is_same_in_other_words = |condition: &&mut ConditionView| {
            condition.reason == documents::OLD
                || (condition.kind == ConditionKind::Ready && condition.status == Truth::True)
        };
        for condition in view.conditions.iter_mut().filter(is_same_in_other_words) {
            condition.message.clear();
        }
        view
    };
    timeless(was) != timeless(is)
}

/// The answer that goes on. It ends with the daemon, or when its passes do.
pub(super) fn answer(snapshot: watch::Receiver<Option<Arc<Snapshot>>>, wanted: Wanted) -> Response {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(tell(snapshot, wanted, sender));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(receiver))).into_response()
}

async fn tell(mut snapshot: watch::Receiver<Option<Arc<Snapshot>>>, wanted: Wanted, sender: mpsc::Sender<Bytes>) {
    let mut known: Option<Vec<ObjectView>> = None;
    loop {
        let seen = snapshot.borrow_and_update().clone();
        if let Some(seen) = seen {
            let now = Timestamp::now();
            let items = list(&seen, &wanted, now);
            let news = match known {
                Some(before) => changes(&before, &items, now),
                None => vec![Change::List { now, items: items.clone() }],
            };
            known = Some(items);
            for change in news {
                let Ok(mut line) = serde_json::to_vec(&change) else { return };
                line.push(b'\n');
                if sender.send(Bytes::from(line)).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            changed = snapshot.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(QUIET) => {}
            () = sender.closed() => return,
        }
    }
}

fn list(snapshot: &Snapshot, wanted: &Wanted, now: Timestamp) -> Vec<ObjectView> {
    let mut items = documents::list(snapshot, wanted.kind, now).items;
    items.retain(|view| wanted.name.as_ref().is_none_or(|name| view.object.name == *name));
    items
}

/// Lines as a body.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn view(name: &str, id: u128, power: &str, reason: &str, message: &str) -> ObjectView {
        let uuid = Some(Uuid::from_u128(id));
        let ready = ConditionView {
            kind: ConditionKind::Ready,
            status: Truth::Unknown,
            reason: reason.to_owned(),
            message: message.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            commit: None,
        };
        let object = ObjectRef { kind: ObjectKind::VirtualMachine, name: name.to_owned(), uuid };
        ObjectView { object, power: power.to_owned(), facts: Vec::new(), conditions: vec![ready] }
    }

    #[test]
    fn only_news_is_told() {
        let before = [
            view("same", 1, "running", "AsDeclared", ""),
            view("off", 2, "running", "AsDeclared", ""),
            view("gone", 3, "running", "AsDeclared", ""),
            view("old-name", 4, "running", "AsDeclared", ""),
            view("stale", 5, "running", "ObservationOld", "4 s ago"),
        ];
        let after = [
            view("same", 1, "running", "AsDeclared", ""),
            view("off", 2, "stopped", "AsDeclared", ""),
            view("new-name", 4, "running", "AsDeclared", ""),
            view("stale", 5, "running", "ObservationOld", "6 s ago"),
            view("new", 6, "absent", "AsDeclared", ""),
        ];
        let said = |change: &Change| match change {
            Change::List { .. } => "list".to_owned(),
            Change::Added { object, .. } => format!("added {}", object.object.name),
            Change::Changed { object, .. } => format!("changed {}", object.object.name),
            Change::Removed { object, .. } => format!("removed {}", object.object.name),
        };
        let told: Vec<String> = changes(&before, &after, Timestamp::UNIX_EPOCH).iter().map(said).collect();
        assert_eq!(told, ["removed gone", "changed off", "changed new-name", "added new"]);
        assert!(changes(&after, &after, Timestamp::UNIX_EPOCH).is_empty());
    }
}
