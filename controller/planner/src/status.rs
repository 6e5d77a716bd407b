//! What is said about every object: its conditions, from what was found and from what is planned for it.

use crate::{Cause, Condition, ConditionKind, Disposition, Item, ObjectRef, ObjectStatus, Truth};
use jiff::Timestamp;

/// What came of an operation, or what is about to begin, cannot be written down.
pub(crate) const STATE_UNWRITABLE: &str = "StateUnwritable";

/// The sentence for an operation that has ended and cannot be forgotten.
pub(crate) fn unwritten(what: &str, why: &str) -> String {
    format!(
        "what came of an operation ({what}) cannot be written down, so nothing follows from it: {why}; it is tried again and again"
    )
}

/// What planning found out about one object.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) object: ObjectRef,
    pub(crate) power: String,
    facts: Vec<(String, String)>,
    stalled: Vec<(String, String)>,
    unknown: Option<(String, String)>,
    /// Until when it stays as it is, and by whose order.
    frozen: Option<String>,
    /// In which mode it is, and what that means.
    not_enforced: Option<(String, String)>,
    /// What a person wants of its power, and until when.
    overridden: Option<String>,
    /// Why it is ready, when that needs saying.
    ready: Option<(String, String)>,
    pub(crate) due: Option<Timestamp>,
}

impl Report {
    pub(crate) fn new(object: ObjectRef) -> Self {
        Self {
            object,
            power: "unknown".to_owned(),
            facts: Vec::new(),
            stalled: Vec::new(),
            unknown: None,
            frozen: None,
            not_enforced: None,
            overridden: None,
            ready: None,
            due: None,
        }
    }

    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push((name.to_owned(), value.into()));
    }

    pub(crate) fn stalled(&mut self, reason: &str, message: impl Into<String>) {
        self.stalled.push((reason.to_owned(), message.into()));
    }

    pub(crate) fn unknown(&mut self, reason: &str, message: impl Into<String>) {
        self.unknown.get_or_insert((reason.to_owned(), message.into()));
    }

    pub(crate) fn frozen(&mut self, message: String) {
        self.frozen = Some(message);
    }

    pub(crate) fn not_enforced(&mut self, reason: &str, message: String) {
        self.not_enforced = Some((reason.to_owned(), message));
    }

    pub(crate) fn overridden(&mut self, message: String) {
        self.overridden = Some(message);
    }

    pub(crate) fn ready(&mut self, reason: &str, message: impl Into<String>) {
        self.ready = Some((reason.to_owned(), message.into()));
    }

    pub(crate) fn due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The status of the object, given its items of the plan. Foreign objects have no conditions: nothing is promised about them.
    pub(crate) fn status(self, own: &[&Item], commit: Option<&str>) -> ObjectStatus {
        let foreign = matches!(self.object.kind, crate::ObjectKind::ForeignDomain | crate::ObjectKind::ForeignCpupool);
        let conditions = if foreign { Vec::new() } else { self.conditions(own, commit) };
        ObjectStatus { object: self.object, power: self.power, facts: self.facts, conditions }
    }

    fn conditions(&self, items: &[&Item], commit: Option<&str>) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let mut add = |kind, reason: &str, message: String| {
            conditions.push(Condition { kind, status: Truth::True, reason: reason.to_owned(), message });
        };
        let of = |filter: fn(&Item) -> bool| items.iter().copied().filter(move |item| filter(item)).collect::<Vec<_>>();
        let busy = of(|item| matches!(item.disposition, Disposition::Now | Disposition::Waiting { .. }));
        if !busy.is_empty() {
            add(ConditionKind::Reconciling, "Progressing", sentences(&busy));
        }
        if let Some((reason, _)) = self.stalled.first() {
            let messages: Vec<&str> = self.stalled.iter().map(|(_, message)| message.as_str()).collect();
            add(ConditionKind::Stalled, reason, messages.join("; "));
        }
        let held = of(|item| matches!(item.disposition, Disposition::Held { .. }));
        if !held.is_empty() {
            add(ConditionKind::Held, "NeedsPerson", sentences(&held));
        }
        let pending = of(|item| item.disposition == Disposition::AtNextStart);
        if !pending.is_empty() {
            add(ConditionKind::RestartPending, "AtNextStart", sentences(&pending));
        }
        let drifted = of(|item| item.cause == Cause::Drift);
        if !drifted.is_empty() {
            let seen = drifted.iter().filter_map(|item| item.drift.as_ref()).min_by_key(|sighting| sighting.since);
            let seen = seen.map(|sighting| format!("; seen {}", sighting.text())).unwrap_or_default();
            add(ConditionKind::Drifted, "ChangedOutside", sentences(&drifted) + &seen);
        }
        if let Some(message) = &self.frozen {
            add(ConditionKind::Frozen, "Frozen", message.clone());
        }
        if let Some((reason, message)) = &self.not_enforced {
            add(ConditionKind::NotEnforced, reason, message.clone());
        }
        if let Some(message) = &self.overridden {
            add(ConditionKind::Overridden, "Overridden", message.clone());
        }
        conditions.insert(0, self.readiness(&conditions, commit));
        conditions
    }

    fn readiness(&self, others: &[Condition], commit: Option<&str>) -> Condition {
        let ready = |status, reason: &str, message: String| Condition {
            kind: ConditionKind::Ready,
            status,
            reason: reason.to_owned(),
            message,
        };
        if let Some((reason, message)) = &self.unknown {
            return ready(Truth::Unknown, reason, message.clone());
        }
        let order = [
            ConditionKind::Stalled,
            ConditionKind::Held,
            ConditionKind::Reconciling,
            ConditionKind::RestartPending,
            ConditionKind::Drifted,
        ];
        if let Some(worst) = order.iter().find_map(|kind| others.iter().find(|other| other.kind == *kind)) {
            return ready(Truth::False, &worst.reason, worst.message.clone());
        }
        match &self.ready {
            Some((reason, message)) => ready(Truth::True, reason, message.clone()),
            None => ready(
                Truth::True,
                "AsDeclared",
                match commit {
                    Some(commit) => format!("as commit {} says", commit.chars().take(12).collect::<String>()),
                    None => "as last recorded".to_owned(),
                },
            ),
        }
    }
}

/// Items in one line: what and why, and what they wait for.
fn sentences(items: &[&Item]) -> String {
    let each = items.iter().map(|item| {
        // What comes into being is its manifest; to repeat that says nothing.
        let changes = if item.action == crate::Action::Create {
            String::new()
        } else {
            crate::render::changes_inline(&item.changes)
        };
        let what = crate::render::doing(item.action);
        let what = if changes.is_empty() { what.to_owned() } else { format!("{what} {changes}") };
        let why = if item.reason.is_empty() { String::new() } else { format!(" ({})", item.reason) };
        match &item.disposition {
            Disposition::Now => format!("{what}{why}"),
            Disposition::AtNextStart => format!("{what} when it starts next"),
            Disposition::Held { until } => format!("{what}: held: {until}"),
            Disposition::Waiting { on } => format!("{what}{why}: waits: {on}"),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}
