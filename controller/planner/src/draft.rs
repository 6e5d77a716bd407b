//! Items while they are being written: what is wanted now may still have to wait for a claim ([`crate::claims`]).

use crate::record::{Approved, Backoff};
use crate::world::World;
use crate::{Action, Cause, Change, Disposition, Effect, Item, ObjectRef, Operation, RecordEdit, Work, digest};
use jiff::{SignedDuration, Timestamp};

/// Order of items: what releases something comes before what claims something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Clears away a domain that does not run any more.
    Clear,
    /// Ends a domain.
    Stop,
    /// Changes that free a core, or keep one from being lost.
    Remask,
    /// Takes away a partition.
    Dissolve,
    /// Partitions that only give cores back.
    Shrink,
    /// Partitions that take cores.
    Grow,
    /// Live changes.
    Change,
    /// Makes a domain.
    Start,
    /// Everything that touches no domain.
    Record,
}

/// An item with its rank.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) rank: Rank,
    pub(crate) item: Item,
}

impl Draft {
    /// Starts an item; it waits until it is told otherwise.
    pub(crate) fn new(world: &World, object: &ObjectRef, rank: Rank, action: Action, effect: Effect) -> Self {
        let item = Item {
            id: digest::item_id(object, action, &[]),
            commit: world.commit(),
            object: object.clone(),
            action,
            effect,
            disposition: Disposition::Waiting { on: String::new() },
            cause: Cause::Commit,
            changes: Vec::new(),
            reason: String::new(),
            drift: None,
            trail: world.trail(),
            operation: None,
        };
        Self { rank, item }
    }

    pub(crate) fn cause(mut self, cause: Cause) -> Self {
        self.item.cause = cause;
        self
    }

    pub(crate) fn changes(mut self, changes: Vec<Change>) -> Self {
        self.item.id = digest::item_id(&self.item.object, self.item.action, &changes);
        self.item.changes = changes;
        self
    }

    pub(crate) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.item.reason = reason.into();
        self
    }

    /// Who allowed what was held, when somebody did.
    pub(crate) fn approved(mut self, approved: Option<Approved>) -> Self {
        self.item.trail.approved = approved.or(self.item.trail.approved);
        self
    }

    pub(crate) fn now(mut self, operation: Operation) -> Self {
        self.item.disposition = Disposition::Now;
        self.item.operation = Some(operation);
        self
    }

    pub(crate) fn waiting(mut self, on: impl Into<String>) -> Self {
        self.item.disposition = Disposition::Waiting { on: on.into() };
        self.item.operation = None;
        self
    }

    pub(crate) fn held(mut self, until: impl Into<String>) -> Self {
        self.item.disposition = Disposition::Held { until: until.into() };
        self.item.operation = None;
        self
    }

    pub(crate) fn at_next_start(mut self) -> Self {
        self.item.disposition = Disposition::AtNextStart;
        self.item.operation = None;
        self
    }
}

impl Operation {
    /// Work of a worker.
    pub(crate) fn xen(request: protocol::Request) -> Self {
        Self { before: Vec::new(), work: Work::Xen(Box::new(request)), on_success: Vec::new(), on_failure: Vec::new() }
    }

    /// Nothing but records.
    pub(crate) fn records(edits: Vec<RecordEdit>) -> Self {
        Self { before: edits, work: Work::Records, on_success: Vec::new(), on_failure: Vec::new() }
    }

    pub(crate) fn before(mut self, edits: impl IntoIterator<Item = RecordEdit>) -> Self {
        self.before.extend(edits);
        self
    }

    pub(crate) fn on_success(mut self, edits: impl IntoIterator<Item = RecordEdit>) -> Self {
        self.on_success.extend(edits);
        self
    }

    pub(crate) fn on_failure(mut self, edit: RecordEdit) -> Self {
        self.on_failure.push(edit);
        self
    }
}

/// First pause after a failure.
const BACKOFF_FIRST_S: i64 = 10;
/// Longest pause.
const BACKOFF_MAX_S: i64 = 300;

/// The pause after `failures` in a row: none, 10 s, 20 s … 5 min.
pub(crate) fn pause(failures: u32) -> SignedDuration {
    let doublings = failures.saturating_sub(1).min(10);
    let seconds = if failures == 0 { 0 } else { (BACKOFF_FIRST_S << doublings).min(BACKOFF_MAX_S) };
    SignedDuration::from_secs(seconds)
}

/// What is noted when what is about to be tried fails.
pub(crate) fn next_backoff(now: Timestamp, last: Option<&Backoff>, reason: &str, input: &str) -> Backoff {
    let failures = last.filter(|last| last.input == input).map_or(0, |last| last.failures).saturating_add(1);
    Backoff {
        failures,
        since: now,
        until: later(now, pause(failures)),
        reason: reason.to_owned(),
        message: String::new(),
        input: input.to_owned(),
    }
}

/// A moment after another; the end of time when there is no such moment.
pub(crate) fn later(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// A moment for people, to the second, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}
