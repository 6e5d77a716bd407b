//! `pinfold status`: the host at a glance.

use super::age::{age, ago, until};
use super::table::{WIDTH, paragraph, table};
use super::{commit_line, count, ready, source_lines, telling};
use crate::api::view::{ConditionView, ObjectView, Status};
use jiff::Timestamp;
use owo_colors::OwoColorize;
use planner::{ConditionKind, ObjectKind, Truth};
use std::fmt::Write as _;

/// The host, the commit, the repository, what runs now, and every object.
pub fn status(status: &Status, now: Timestamp) -> String {
    let mut text = host(status, now);
    text.push_str(&commit_line(status.commit.as_ref(), now));
    text.push_str(&source_lines(&status.source, now));
    for operation in &status.operations {
        let _ = writeln!(text, "doing    {}  {}, for {}", operation.object, operation.what, age(operation.since, now));
    }
    if let Some(due) = status.due {
        let _ = writeln!(text, "next     due {}", until(due, now));
    }
    text.push('\n');
    text.push_str(&counts(&status.objects));
    if !status.objects.is_empty() {
        text.push('\n');
        text.push_str(&objects(&status.objects, now));
    }
    if status.held > 0 {
        let line = format!(
            "{} for a person: `pinfold plan` shows what, `pinfold approve ID --reason …` lets it happen",
            waits(status.held)
        );
        text.push('\n');
        text.push_str(&paragraph(&line, 0, WIDTH));
    }
    text
}

fn waits(held: usize) -> String {
    format!("{} {}", count(held, "item"), if held == 1 { "waits" } else { "wait" })
}

fn host(status: &Status, now: Timestamp) -> String {
    let xen = status.xen.as_ref().map(|version| format!("Xen {version}, ")).unwrap_or_default();
    let word = match status.ready.status {
        Truth::True => "ready".green().to_string(),
        Truth::False => "not ready".yellow().to_string(),
        Truth::Unknown => "unknown".red().to_string(),
    };
    let mut text =
        format!("host     {}  {word}  ({xen}observed {})\n", status.host.bold(), ago(status.observed_at, now));
    if status.ready.status == Truth::Unknown {
        text.push_str(&paragraph(&format!("{}: {}", status.ready.reason, status.ready.message), 9, WIDTH));
    }
    text
}

fn counts(objects: &[ObjectView]) -> String {
    let ours = |view: &&ObjectView| !matches!(view.object.kind, ObjectKind::ForeignDomain | ObjectKind::ForeignCpupool);
    let all = objects.iter().filter(ours).count();
    let mut parts = Vec::new();
    let ready = |truth| {
        let is = |view: &&ObjectView| {
            view.condition(ConditionKind::Ready).is_some_and(|condition| condition.status == truth)
        };
        objects.iter().filter(ours).filter(is).count()
    };
    let mut push = |number: usize, word: &str| {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    };
    push(ready(Truth::True), "ready");
    push(ready(Truth::False), "not ready");
    push(ready(Truth::Unknown), "unknown");
    for (kind, word) in [
        (ConditionKind::Reconciling, "reconciling"),
        (ConditionKind::Stalled, "stalled"),
        (ConditionKind::Held, "held"),
        (ConditionKind::Drifted, "drifted"),
        (ConditionKind::Frozen, "frozen"),
        (ConditionKind::NotEnforced, "not enforced"),
        (ConditionKind::Overridden, "overridden"),
        (ConditionKind::RestartPending, "waiting for a restart"),
    ] {
        push(objects.iter().filter(ours).filter(|view| view.is(kind)).count(), word);
    }
    let foreign = objects.len() - all;
    let foreign = if foreign == 0 { String::new() } else { format!("; {foreign} foreign, never touched") };
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{}{parts}{foreign}\n", count(all, "object"))
}

fn objects(objects: &[ObjectView], now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = objects.iter().map(|view| row(view, now)).collect();
    table(&["OBJECT", "POWER", "READY", "SINCE", "WHY"], &rows, WIDTH)
}

fn row(view: &ObjectView, now: Timestamp) -> Vec<String> {
    let condition = telling(view).or_else(|| view.condition(ConditionKind::Ready));
    let since = condition.map(|condition| age(condition.since, now)).unwrap_or_default();
    let why = telling(view).map(why).unwrap_or_default();
    let power = if view.power.is_empty() { "-".to_owned() } else { view.power.clone() };
    vec![view.object.to_string(), power, ready(view), since, why]
}

/// What needs a person's eye is said in full; the rest is a word, and `pinfold why` has the rest.
fn why(condition: &ConditionView) -> String {
    match (condition.kind, condition.status) {
        (ConditionKind::Stalled, _) | (_, Truth::Unknown) => format!("{}: {}", condition.reason, condition.message),
        _ => condition.reason.clone(),
    }
}
