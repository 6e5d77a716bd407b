//! Makes the API's documents from a snapshot and the time of reading. Pure.

use super::view::{
    ConditionView, EventList, Head, ObjectDetail, ObjectList, ObjectView, PlanDocument, Status, TrashList, TrashView,
};
use crate::reconcile::{Event, Snapshot, removed_at};
use crate::report::age::ago;
use jiff::{SignedDuration, Timestamp};
use planner::trash::Trashed;
use planner::{ConditionKind, Disposition, ObjectKind, ObjectRef, Truth};
use protocol::Reading;

/// An observation older than this many intervals says nothing about now.
const STALE_INTERVALS: u32 = 3;

/// Why nobody knows whether an object is ready, then.
pub(super) const OLD: &str = "ObservationOld";

/// Whether what the snapshot shows is too old to speak of now.
pub fn is_stale(snapshot: &Snapshot, now: Timestamp) -> bool {
    let limit = SignedDuration::try_from(snapshot.interval * STALE_INTERVALS).unwrap_or(SignedDuration::MAX);
    now.duration_since(snapshot.observed.now) > limit
}

/// `/v1/status`.
pub fn status(snapshot: &Snapshot, now: Timestamp) -> Status {
    let observed = &snapshot.observed;
    let objects = objects(snapshot, now);
    let (xen, unknown) = match &observed.xen {
        protocol::Reading::Known(xen) => (Some(xen.hypervisor.version.clone()), None),
        protocol::Reading::Unknown(cause) => (None, Some(cause.clone())),
    };
    Status {
        head: Head::of("Status"),
        host: observed.host.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: snapshot.started,
        observed_at: observed.now,
        now,
        ready: host_ready(&objects, snapshot, now),
        xen,
        unknown,
        commit: observed.accepted.clone(),
        source: snapshot.source.clone(),
        operations: observed.operations.clone(),
        held: snapshot.plan.items.iter().filter(|item| matches!(item.disposition, Disposition::Held { .. })).count(),
        due: snapshot.plan.due,
        objects,
    }
}

/// `/v1/objects`, of one kind or all.
pub fn list(snapshot: &Snapshot, kind: Option<ObjectKind>, now: Timestamp) -> ObjectList {
    let items =
        objects(snapshot, now).into_iter().filter(|view| kind.is_none_or(|kind| view.object.kind == kind)).collect();
    ObjectList { head: Head::of("ObjectList"), now, items }
}

/// `/v1/objects/{kind}/{name}`; `None` when nothing bears that name.
pub fn detail(
    snapshot: &Snapshot,
    journal: Vec<Event>,
    (kind, name): (ObjectKind, &str),
    now: Timestamp,
) -> Option<ObjectDetail> {
    let object =
        objects(snapshot, now).into_iter().find(|view| view.object.kind == kind && view.object.name == name)?;
    let it = object.object.clone();
    Some(ObjectDetail {
        head: Head::of("Object"),
        now,
        items: snapshot.plan.items.iter().filter(|item| is_same(&item.object, &it)).cloned().collect(),
        operations: snapshot
            .observed
            .operations
            .iter()
            .filter(|running| is_same(&running.object, &it))
            .cloned()
            .collect(),
        events: events_of(journal, Some(&it), 20),
        commit: snapshot.observed.accepted.clone(),
        source: snapshot.source.clone(),
        object,
    })
}

/// `/v1/plan`.
pub fn plan(snapshot: &Snapshot) -> PlanDocument {
    PlanDocument {
        head: Head::of("Plan"),
        host: snapshot.observed.host.to_string(),
        observed_at: snapshot.observed.now,
        plan: (*snapshot.plan).clone(),
    }
}

/// Why nothing bears that name, and where to look.
pub fn missing(snapshot: &Snapshot, kind: ObjectKind, name: &str) -> String {
    let is_it = |trashed: &&Trashed| kind == ObjectKind::VirtualMachine && trashed.name.as_str() == name;
    let kind = kind.short();
    match snapshot.observed.records.trash.values().filter(is_it).max_by_key(|trashed| trashed.purge_after) {
        Some(trashed) => format!(
            "there is no {kind}/{name}: it was removed, and lies in the trash until {:.0}; see `pinfold trash list`",
            trashed.purge_after
        ),
        None => format!("there is no {kind}/{name}; see `pinfold get {kind}`"),
    }
}

/// `/v1/trash`.
pub fn trash(snapshot: &Snapshot, now: Timestamp) -> TrashList {
    let view = |(folder, trashed): (&String, &Trashed)| {
        let removal = trashed.removal.as_ref().and_then(Reading::known);
        let unknown = match (&trashed.record, &trashed.removal) {
            (Reading::Unknown(cause), _) | (_, Some(Reading::Unknown(cause))) => Some(cause.clone()),
            _ => None,
        };
        TrashView {
            folder: folder.clone(),
            name: trashed.name.to_string(),
            uuid: trashed.uuid,
            removed: removed_at(trashed),
            purge_after: trashed.purge_after,
            size: trashed.size,
            commit: removal.and_then(|removal| removal.commit.clone()),
            author: removal.and_then(|removal| removal.author.clone()),
            approved: removal.and_then(|removal| removal.approved.clone()),
            disks: removal.map(|removal| removal.disks.clone()).unwrap_or_default(),
            others: trashed.others.clone(),
            unknown,
        }
    };
    let mut items: Vec<TrashView> = snapshot.observed.records.trash.iter().map(view).collect();
    items.sort_by(|a, b| (a.purge_after, &a.folder).cmp(&(b.purge_after, &b.folder)));
    TrashList { head: Head::of("TrashList"), now, items }
}

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Only those of one object.
    pub object: Option<(ObjectKind, &'a str)>,
    /// Only those after this number.
    pub after: Option<u64>,
    /// Only those from this moment on.
    pub since: Option<Timestamp>,
    /// The newest so many.
    pub limit: usize,
}

/// `/v1/events`.
pub fn events(mut journal: Vec<Event>, wanted: &Wanted, now: Timestamp) -> EventList {
    let Wanted { object, after, since, limit } = *wanted;
    // Whoever goes on from a number has seen what was before it, lines without a number among them.
    let last = journal.last().map_or(0, |event| event.seq);
    journal.retain(|event| after.is_none_or(|after| event.seq > after));
    journal.retain(|event| since.is_none_or(|since| event.at >= since));
    let object = object.map(|(kind, name)| ObjectRef { kind, name: name.to_owned(), uuid: None });
    EventList { head: Head::of("EventList"), now, last, items: events_of(journal, object.as_ref(), limit) }
}

fn events_of(journal: Vec<Event>, object: Option<&ObjectRef>, limit: usize) -> Vec<Event> {
    let is_wanted =
        |event: &Event| object.is_none_or(|object| event.object.as_ref().is_some_and(|its| is_same(its, object)));
    let mut wanted: Vec<Event> = journal.into_iter().filter(is_wanted).collect();
    wanted.split_off(wanted.len().saturating_sub(limit))
}

/// The same object: by identity where both have one, by name otherwise.
fn is_same(a: &ObjectRef, b: &ObjectRef) -> bool {
    a.kind == b.kind
        && match (a.uuid, b.uuid) {
            (Some(a), Some(b)) => a == b,
            _ => a.name == b.name,
        }
}

/// The objects as they may be spoken of now: from an old observation, nobody knows whether they are ready.
fn objects(snapshot: &Snapshot, now: Timestamp) -> Vec<ObjectView> {
    let mut objects = (*snapshot.objects).clone();
    if is_stale(snapshot, now) {
        for condition in objects.iter_mut().flat_map(|view| &mut view.conditions) {
            if condition.kind == ConditionKind::Ready && condition.status != Truth::Unknown {
                *condition = ConditionView {
                    since: snapshot.observed.now,
                    commit: condition.commit.take(),
                    ..stale(snapshot, now)
                };
            }
        }
    }
    objects
}

fn stale(snapshot: &Snapshot, now: Timestamp) -> ConditionView {
    ConditionView {
        kind: ConditionKind::Ready,
        status: Truth::Unknown,
        reason: OLD.to_owned(),
        message: format!("the host was last looked at {}; see the daemon's log", ago(snapshot.observed.now, now)),
        since: snapshot.observed.now,
        commit: None,
    }
}

/// Whether the host as a whole is as the accepted commit says.
fn host_ready(objects: &[ObjectView], snapshot: &Snapshot, now: Timestamp) -> ConditionView {
    if is_stale(snapshot, now) {
        return stale(snapshot, now);
    }
    let ready = |status, reason: &str, message: String, since| ConditionView {
        kind: ConditionKind::Ready,
        status,
        reason: reason.to_owned(),
        message,
        since,
        commit: snapshot.plan.commit.clone(),
    };
    if let protocol::Reading::Unknown(cause) = &snapshot.observed.xen {
        return ready(Truth::Unknown, &cause.reason, cause.message.clone(), snapshot.observed.now);
    }
    let conditions: Vec<&ConditionView> =
        objects.iter().filter_map(|view| view.condition(ConditionKind::Ready)).collect();
    let newest = conditions.iter().map(|condition| condition.since).max().unwrap_or(snapshot.started);
    let count = |status| conditions.iter().filter(|condition| condition.status == status).count();
    match (count(Truth::Unknown), count(Truth::False)) {
        (0, 0) if snapshot.observed.accepted.is_none() => {
            ready(Truth::Unknown, "NoCommit", "no commit is accepted yet".to_owned(), snapshot.started)
        }
        (0, 0) => ready(Truth::True, "AllReady", "every object is as the accepted commit says".to_owned(), newest),
        (0, not) => {
            ready(Truth::False, "NotReady", format!("{not} of {} objects are not ready", conditions.len()), newest)
        }
        (unknown, _) => {
            ready(Truth::Unknown, "Unknown", format!("{unknown} of {} objects are unknown", conditions.len()), newest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::SourceView;
    use crate::reconcile::Counts;
    use planner::{Observed, Plan};
    use std::sync::Arc;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn snapshot() -> Snapshot {
        let ready = ConditionView {
            kind: ConditionKind::Ready,
            status: Truth::True,
            reason: "AsDeclared".to_owned(),
            message: String::new(),
            since: at(40),
            commit: None,
        };
        let object = ObjectRef { kind: ObjectKind::VirtualMachine, name: "web".to_owned(), uuid: None };
        let web = ObjectView { object, power: "running".to_owned(), facts: Vec::new(), conditions: vec![ready] };
        let observed = Observed {
            images: std::collections::BTreeMap::new(),
            version: planner::observed::INVENTORY_VERSION,
            host: "xen1".parse().unwrap(),
            pool_id: None,
            now: at(100),
            uptime: None,
            unwritable: None,
            xen: protocol::Reading::unknown("XenstoreLost", "xenstored does not answer"),
            dom0: planner::observed::Dom0Facts::default(),
            records: planner::record::Records::default(),
            operations: Vec::new(),
            accepted: None,
            host_shutdown: None,
        };
        Snapshot {
            started: at(0),
            interval: Duration::from_secs(1),
            observed: Arc::new(observed),
            plan: Arc::new(Plan::default()),
            objects: Arc::new(vec![web]),
            source: SourceView::default(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn from_an_old_observation_nobody_knows_what_is_ready() {
        let ready = |now| {
            let status = status(&snapshot(), at(now));
            let object = status.objects[0].conditions[0].clone();
            format!("{:?} {}, host {:?} {}", object.status, object.reason, status.ready.status, status.ready.reason)
        };
        assert_eq!(ready(103), "True AsDeclared, host Unknown XenstoreLost");
        assert_eq!(ready(104), "Unknown ObservationOld, host Unknown ObservationOld");
    }
}
