//! One object, or a list of one kind.

use super::age::{age, ago};
use super::table::{WIDTH, fit, paragraph, table};
use super::{ready, short, telling};
use crate::api::view::{ConditionView, ObjectDetail, ObjectView};
use crate::reconcile::word;
use jiff::Timestamp;
use owo_colors::OwoColorize;
use planner::{ConditionKind, Truth};
use std::fmt::Write as _;

/// `get KIND`.
pub fn list(objects: &[ObjectView], now: Timestamp) -> String {
    table(&HEADING, &objects.iter().map(|view| cells(view, now)).collect::<Vec<_>>(), WIDTH)
}

/// The columns of a list.
pub(super) const HEADING: [&str; 5] = ["NAME", "POWER", "READY", "SINCE", "WHY"];

/// An object's row.
pub(super) fn cells(view: &ObjectView, now: Timestamp) -> Vec<String> {
    let condition = telling(view).or_else(|| view.condition(ConditionKind::Ready));
    let since = condition.map(|condition| age(condition.since, now)).unwrap_or_default();
    let why = telling(view).map(|condition| format!("{}: {}", condition.reason, condition.message)).unwrap_or_default();
    vec![view.object.name.clone(), view.power.clone(), ready(view), since, why]
}

/// `get KIND -o wide`: a column for every fact that some object has.
pub fn wide(objects: &[ObjectView], now: Timestamp) -> String {
    let mut facts: Vec<&str> = Vec::new();
    for (name, _) in objects.iter().flat_map(|view| &view.facts) {
        if !facts.contains(&name.as_str()) {
            facts.push(name);
        }
    }
    let upper: Vec<String> = facts.iter().map(|name| name.to_uppercase()).collect();
    let mut heading = vec!["NAME", "POWER", "READY", "SINCE"];
    heading.extend(upper.iter().map(String::as_str));
    heading.push("WHY");
    let row = |view: &ObjectView| {
        let condition = telling(view).or_else(|| view.condition(ConditionKind::Ready));
        let since = condition.map(|condition| age(condition.since, now)).unwrap_or_default();
        let mut cells = vec![view.object.name.clone(), view.power.clone(), ready(view), since];
        for fact in &facts {
            let value = view.facts.iter().find(|(name, _)| name == fact).map(|(_, value)| value.as_str());
            cells.push(value.unwrap_or("-").to_owned());
        }
        cells.push(telling(view).map(|condition| condition.reason.clone()).unwrap_or_default());
        cells
    };
    table(&heading, &objects.iter().map(row).collect::<Vec<_>>(), usize::MAX)
}

/// `describe`: everything about one object.
pub fn describe(detail: &ObjectDetail, now: Timestamp) -> String {
    let view = &detail.object;
    let mut text = format!("{}  {}\n", view.object.to_string().bold(), view.power);
    let mut facts = view.facts.clone();
    facts.extend(view.object.uuid.map(|uuid| ("uuid".to_owned(), uuid.to_string())));
    let commit =
        detail.commit.iter().map(|commit| ("commit".to_owned(), format!("{}  {}", short(&commit.id), commit.subject)));
    facts.extend(commit);
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &facts {
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    text.push_str("\nConditions\n");
    for condition in &view.conditions {
        text.push_str(&condition_lines(condition, is_repeated(condition, view), now));
    }
    if !detail.items.is_empty() || !detail.operations.is_empty() {
        text.push_str("\nPlan\n");
        text.push_str(&plan_lines(detail, now));
    }
    if !detail.events.is_empty() {
        text.push_str("\nEvents\n");
        for event in &detail.events {
            let message = if event.message.is_empty() { String::new() } else { format!(": {}", event.message) };
            text.push_str(&paragraph(&format!("{}  {}{message}", ago(event.at, now), event.reason), 2, WIDTH));
        }
    }
    text
}

/// `why`: an answer in sentences, for "nothing happens" above all.
pub fn why(detail: &ObjectDetail, now: Timestamp) -> String {
    let view = &detail.object;
    let mut text = paragraph(&verdict(detail, now), 0, WIDTH);
    let others = |condition: &&ConditionView| condition.kind != ConditionKind::Ready && !is_said(condition, view);
    for condition in view.conditions.iter().filter(others) {
        text.push_str(&condition_lines(condition, false, now));
    }
    text.push_str(&plan_lines(detail, now));
    if let Some(refused) = &detail.source.refused {
        let line = format!(
            "The branch's tip {} is refused, so nothing in it counts: see `pinfold status`.",
            short(&refused.commit)
        );
        text.push_str(&paragraph(&line, 0, WIDTH));
    }
    if let Some(failing) = &detail.source.failing {
        let line = format!("The repository could not be read for {}: {}", age(failing.since, now), failing.message);
        text.push_str(&paragraph(&line, 0, WIDTH));
    }
    text
}

fn verdict(detail: &ObjectDetail, now: Timestamp) -> String {
    let view = &detail.object;
    let name = &view.object;
    let commit = detail.commit.as_ref().map_or("no commit", |commit| short(&commit.id));
    let power = if view.power.is_empty() { String::new() } else { format!(" It is {}.", view.power) };
    match view.condition(ConditionKind::Ready) {
        Some(ready) if ready.status == Truth::True => {
            // Ready for another reason than that all is as declared: it may be off, and rightly so.
            let is_plain = ready.reason == "AsDeclared" || is_repeated(ready, view);
            let why = if is_plain { String::new() } else { format!(" {}: {}", ready.reason, ready.message) };
            format!(
                "{name} is as commit {commit} says, since {}.{power} Nothing is to be done.{why}",
                ago(ready.since, now)
            )
        }
        Some(ready) if ready.status == Truth::False => {
            format!(
                "{name} is not as commit {commit} says, since {}.{power} {}: {}",
                ago(ready.since, now),
                ready.reason,
                ready.message
            )
        }
        Some(ready) => format!(
            "Nobody can say how {name} is, since {}. {}: {}",
            ago(ready.since, now),
            ready.reason,
            ready.message
        ),
        None => format!("{name} is not ours: pinfold reports it and never touches it.{power}"),
    }
}

/// Whether not being ready is said in the words of another condition, which follows.
fn is_repeated(condition: &ConditionView, view: &ObjectView) -> bool {
    let other = |other: &ConditionView| other.kind != ConditionKind::Ready && other.message == condition.message;
    condition.kind == ConditionKind::Ready && view.conditions.iter().any(other)
}

/// Whether the verdict said it already.
fn is_said(condition: &ConditionView, view: &ObjectView) -> bool {
    let said = view.condition(ConditionKind::Ready).filter(|ready| ready.status != Truth::True);
    said.is_some_and(|ready| ready.message == condition.message)
}

fn condition_lines(condition: &ConditionView, is_repeated: bool, now: Timestamp) -> String {
    let no = match condition.status {
        Truth::True => "",
        Truth::False => "not ",
        Truth::Unknown => "unknown whether ",
    };
    let mut text =
        format!("  {no}{}, since {}: {}\n", word(condition.kind), ago(condition.since, now), condition.reason);
    if !condition.message.is_empty() && !is_repeated {
        text.push_str(&paragraph(&condition.message, 4, WIDTH));
    }
    text
}

fn plan_lines(detail: &ObjectDetail, now: Timestamp) -> String {
    let mut text = String::new();
    for operation in &detail.operations {
        let _ = writeln!(text, "  now      {}, since {}", operation.what, ago(operation.since, now));
    }
    for item in &detail.items {
        text.push_str(&fit(&planner::render::item(item), WIDTH));
    }
    text
}
