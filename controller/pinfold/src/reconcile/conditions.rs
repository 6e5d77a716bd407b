//! Since when each condition is as it is, and under which commit: kept in a small file, so that a restart of the daemon does not make everything new.
//!
//! For people only. The planner never reads it; losing it costs nothing but the times.

use super::journal::{Note, Reason};
use crate::api::view::{ConditionView, ObjectView};
use jiff::Timestamp;
use planner::{Condition, ConditionKind, ObjectRef, ObjectStatus, Truth};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The conditions of all objects.
#[derive(Debug)]
pub struct Conditions {
    file: PathBuf,
    known: BTreeMap<String, Known>,
}

/// The conditions of one object.
type Known = BTreeMap<ConditionKind, Entry>;

/// One condition and when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    status: Truth,
    reason: String,
    since: Timestamp,
    commit: Option<String>,
}

impl Conditions {
    /// Reads the file; a missing or torn one counts as empty.
    pub fn open(file: &Path) -> Self {
        let known = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file: file.to_owned(), known }
    }

    /// Compares with what was known, and keeps what is new. Answers the objects with times, and every transition.
    pub fn update(
        &mut self,
        statuses: &[ObjectStatus],
        commit: Option<&str>,
        now: Timestamp,
    ) -> (Vec<ObjectView>, Vec<Note>) {
        let mut next = BTreeMap::new();
        let (mut objects, mut notes) = (Vec::new(), Vec::new());
        let nothing = Known::new();
        for status in statuses {
            let key = key(&status.object);
            let before = self.known.get(&key).unwrap_or(&nothing);
            let after: Known = status
                .conditions
                .iter()
                .map(|condition| (condition.kind, since(before.get(&condition.kind), condition, commit, now)))
                .collect();
            notes.extend(transitions(status, before, &after));
            objects.push(view(status, &after));
            next.insert(key, after);
        }
        if next != self.known {
            self.known = next;
            if let Err(error) = self.write() {
                tracing::warn!(%error, file = %self.file.display(), "cannot keep since when conditions hold");
            }
        }
        (objects, notes)
    }

    /// Replaces the file as a whole. Not synced: after a power loss the times start afresh, nothing else.
    fn write(&self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&self.known).map_err(io::Error::other)?)?;
        std::fs::rename(&new, &self.file)
    }
}

/// An object keeps its times when it is renamed.
fn key(object: &ObjectRef) -> String {
    match object.uuid {
        Some(uuid) => format!("{}/{uuid}", object.kind.short()),
        None => object.to_string(),
    }
}

fn since(before: Option<&Entry>, condition: &Condition, commit: Option<&str>, now: Timestamp) -> Entry {
    let Condition { kind: _, status, reason, message: _ } = condition.clone();
    match before {
        Some(known) if known.status == status => Entry { reason, ..known.clone() },
        _ => Entry { status, reason, since: now, commit: commit.map(str::to_owned) },
    }
}

fn view(status: &ObjectStatus, known: &Known) -> ObjectView {
    let ObjectStatus { object, power, facts, conditions } = status.clone();
    let with_times = |condition: Condition| {
        let Condition { kind, status, reason, message } = condition;
        let Entry { since, commit, .. } = known[&kind].clone();
        ConditionView { kind, status, reason, message, since, commit }
    };
    ObjectView { object, power, facts, conditions: conditions.into_iter().map(with_times).collect() }
}

fn transitions(status: &ObjectStatus, before: &Known, after: &Known) -> Vec<Note> {
    let note = |reason, message: String| Note { object: Some(status.object.clone()), reason, message, actor: None };
    let mut notes = Vec::new();
    for condition in &status.conditions {
        let known = before.get(&condition.kind);
        let is_same = known.is_some_and(|known| known.status == condition.status && known.reason == condition.reason);
        if let (false, Some(reason)) = (is_same, reason(known, condition)) {
            notes.push(note(reason, format!("{}: {}", condition.reason, condition.message)));
        }
    }
    let is_over = |kind: &ConditionKind| !after.contains_key(kind) && !is_silent(*kind);
    for (kind, since) in before.iter().filter(|(kind, _)| is_over(kind)) {
        notes.push(note(Reason::Resolved, format!("no longer {}: {}", word(*kind), since.reason)));
    }
    notes
}

/// What a new condition is noted as; `None`: it is no news.
fn reason(known: Option<&Entry>, condition: &Condition) -> Option<Reason> {
    match (condition.kind, condition.status) {
        (ConditionKind::Ready, Truth::True) => {
            known.is_none_or(|known| known.status != Truth::True).then_some(Reason::Ready)
        }
        // Not being ready is news only for an object that was: for a new one it says nothing.
        (ConditionKind::Ready, Truth::False) => {
            known.is_some_and(|known| known.status != Truth::False).then_some(Reason::NotReady)
        }
        (ConditionKind::Ready, Truth::Unknown) => Some(Reason::Unknown),
        (ConditionKind::Stalled, _) => Some(Reason::Stalled),
        (ConditionKind::Held, _) => Some(Reason::Held),
        (ConditionKind::RestartPending, _) => Some(Reason::RestartPending),
        (ConditionKind::Drifted, _) => Some(Reason::Drifted),
        (
            ConditionKind::Reconciling | ConditionKind::Frozen | ConditionKind::NotEnforced | ConditionKind::Overridden,
            _,
        ) => None,
    }
}

/// Operations are noted one by one, and the verbs and commits behind the others.
fn is_silent(kind: ConditionKind) -> bool {
    matches!(
        kind,
        ConditionKind::Reconciling | ConditionKind::Frozen | ConditionKind::NotEnforced | ConditionKind::Overridden
    )
}

/// A condition as part of a sentence.
pub fn word(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::Ready => "ready",
        ConditionKind::Reconciling => "reconciling",
        ConditionKind::Stalled => "stalled",
        ConditionKind::Held => "held",
        ConditionKind::RestartPending => "waiting for a restart",
        ConditionKind::Drifted => "drifted",
        ConditionKind::Frozen => "frozen",
        ConditionKind::NotEnforced => "not enforced",
        ConditionKind::Overridden => "overridden",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::ObjectKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(conditions: &[(ConditionKind, Truth, &str)]) -> ObjectStatus {
        let object = ObjectRef { kind: ObjectKind::VirtualMachine, name: "web".to_owned(), uuid: None };
        let condition = |(kind, status, reason): &(ConditionKind, Truth, &str)| Condition {
            kind: *kind,
            status: *status,
            reason: (*reason).to_owned(),
            message: "so it is".to_owned(),
        };
        let conditions = conditions.iter().map(condition).collect();
        ObjectStatus { object, power: "running".to_owned(), facts: Vec::new(), conditions }
    }

    /// Updates with one status after the other, a second apart; answers the notes and the last times.
    fn story(statuses: &[&[(ConditionKind, Truth, &str)]]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conditions.json");
        let mut lines = Vec::new();
        for (second, conditions) in (0..).zip(statuses) {
            // Opened afresh each time: a restart changes nothing.
            let (objects, notes) = Conditions::open(&file).update(&[status(conditions)], Some("c0ffee"), at(second));
            lines.extend(notes.iter().map(|note| format!("{second}: {:?}: {}", note.reason, note.message)));
            let times = objects[0]
                .conditions
                .iter()
                .map(|condition| format!("{:?} since {}", condition.kind, condition.since.as_second()));
            lines.push(format!("{second}: [{}]", times.collect::<Vec<_>>().join(", ")));
        }
        lines.join("\n")
    }

    #[test]
    fn only_transitions_are_noted_and_times_outlive_a_restart() {
        use ConditionKind::{Drifted, Ready, Reconciling, Stalled};
        let told = story(&[
            &[(Ready, Truth::False, "Progressing"), (Reconciling, Truth::True, "Progressing")],
            &[(Ready, Truth::True, "AsDeclared")],
            &[(Ready, Truth::True, "AsDeclared")],
            &[(Ready, Truth::False, "Progressing"), (Drifted, Truth::True, "ChangedOutside")],
            &[(Ready, Truth::False, "CreateFailed"), (Stalled, Truth::True, "CreateFailed")],
            &[(Ready, Truth::False, "FileMissing"), (Stalled, Truth::True, "FileMissing")],
            &[(Ready, Truth::Unknown, "XenstoreLost")],
            &[(Ready, Truth::True, "AsDeclared")],
        ]);
        insta::assert_snapshot!(told, @"
        0: [Ready since 0, Reconciling since 0]
        1: Ready: AsDeclared: so it is
        1: [Ready since 1]
        2: [Ready since 1]
        3: NotReady: Progressing: so it is
        3: Drifted: ChangedOutside: so it is
        3: [Ready since 3, Drifted since 3]
        4: Stalled: CreateFailed: so it is
        4: Resolved: no longer drifted: ChangedOutside
        4: [Ready since 3, Stalled since 4]
        5: Stalled: FileMissing: so it is
        5: [Ready since 3, Stalled since 4]
        6: Unknown: XenstoreLost: so it is
        6: Resolved: no longer stalled: FileMissing
        6: [Ready since 6]
        7: Ready: AsDeclared: so it is
        7: [Ready since 7]
        ");
    }

    #[test]
    fn a_torn_file_costs_the_times_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conditions.json");
        std::fs::write(&file, b"{\"vm/web\": {\"Rea").unwrap();
        let ready = status(&[(ConditionKind::Ready, Truth::True, "AsDeclared")]);
        let (objects, _) = Conditions::open(&file).update(&[ready], None, at(5));
        assert_eq!(objects[0].conditions[0].since, at(5));
    }
}
