//! A plan as text for people: what `pinfold plan` prints. Legible without colour; the same plan gives the same text.

use crate::{Action, Cause, Change, Disposition, Effect, Item, Plan};
use std::fmt::Write;

/// Most changes of an item that a one-line text names.
const INLINE_CHANGES: usize = 3;

/// The whole plan, one item per paragraph, and a summary line at the end.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    for item in &plan.items {
        text.push_str(&self::item(item));
    }
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// One item: symbol, object, what, effect, disposition; below it why, and what changes.
pub fn item(item: &Item) -> String {
    let mut text = String::new();
    let object = item.object.to_string();
    let disposition = match &item.disposition {
        Disposition::Now => "now".to_owned(),
        Disposition::AtNextStart => "at next start".to_owned(),
        Disposition::Held { .. } => format!("held  [{}]", item.id),
        Disposition::Waiting { .. } => "waiting".to_owned(),
    };
    let (symbol, action, effect, cause) =
        (symbol(item.action), doing(item.action), effect(item.effect), cause(item.cause));
    let _ = writeln!(text, "{symbol} {object:<24} {action:<9} {effect:<11} {cause:<9} {disposition}");
    if !item.reason.is_empty() {
        let _ = writeln!(text, "    because {}", item.reason);
    }
    if let Some(sighting) = &item.drift {
        let _ = writeln!(text, "    seen {}", sighting.text());
    }
    match &item.disposition {
        Disposition::Held { until } => {
            let _ = writeln!(text, "    held: {until}");
        }
        Disposition::Waiting { on } => {
            let _ = writeln!(text, "    waits: {on}");
        }
        Disposition::Now | Disposition::AtNextStart => {}
    }
    let width = item.changes.iter().map(|change| change.field.len()).max().unwrap_or(0);
    for Change { field, old, new } in &item.changes {
        let _ = match (old, new) {
            (None, Some(new)) => writeln!(text, "    + {field:<width$}  {new}"),
            (Some(old), None) => writeln!(text, "    - {field:<width$}  {old}"),
            (old, new) => writeln!(
                text,
                "    ~ {field:<width$}  {} -> {}",
                old.as_deref().unwrap_or(""),
                new.as_deref().unwrap_or("")
            ),
        };
    }
    text
}

/// How many items there are, by what becomes of them.
pub fn summary(plan: &Plan) -> String {
    if plan.items.is_empty() {
        return "Nothing to do.".to_owned();
    }
    let count = |filter: fn(&Item) -> bool| plan.items.iter().filter(|item| filter(item)).count();
    format!(
        "{} to create, {} to change, {} to remove or stop. {} now, {} waiting, {} held, {} at next start.",
        count(|item| symbol(item.action) == "+"),
        count(|item| symbol(item.action) == "~"),
        count(|item| symbol(item.action) == "-"),
        count(|item| item.disposition == Disposition::Now),
        count(|item| matches!(item.disposition, Disposition::Waiting { .. })),
        count(|item| matches!(item.disposition, Disposition::Held { .. })),
        count(|item| item.disposition == Disposition::AtNextStart),
    )
}

fn symbol(action: Action) -> &'static str {
    match action {
        Action::Create | Action::Start | Action::Resume => "+",
        Action::Stop | Action::Suspend | Action::Discard | Action::CleanUp | Action::Delete | Action::Purge => "-",
        Action::Change | Action::Repair | Action::Rename | Action::Settle | Action::Restore | Action::Claim => "~",
    }
}

/// An action as a verb.
pub fn doing(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Start => "start",
        Action::Stop => "stop",
        Action::Suspend => "suspend",
        Action::Resume => "resume",
        Action::Discard => "discard",
        Action::CleanUp => "clean up",
        Action::Delete => "delete",
        Action::Change => "change",
        Action::Repair => "repair",
        Action::Rename => "rename",
        Action::Settle => "settle",
        Action::Restore => "restore",
        Action::Purge => "purge",
        Action::Claim => "claim",
    }
}

/// An effect in one word.
pub fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Create => "create",
        Effect::Live => "live",
        Effect::Pause => "pause",
        Effect::Restart => "restart",
        Effect::Stop => "stop",
        Effect::Recreate => "recreate",
        Effect::Delete => "delete",
        Effect::CreateOnly => "create-only",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Commit => "commit",
        Cause::Drift => "drift",
        Cause::Guest => "guest",
        Cause::HostBoot => "host boot",
        Cause::Verb => "approval",
        Cause::HostShutdown => "host shutdown",
    }
}

/// Changes in one line, the first few of them.
pub fn changes_inline(changes: &[Change]) -> String {
    let mut parts: Vec<String> = changes
        .iter()
        .take(INLINE_CHANGES)
        .map(|Change { field, old, new }| match (old, new) {
            (None, Some(new)) => format!("{field} {new}"),
            (Some(old), None) => format!("{field} (was {old})"),
            (old, new) => format!("{field} {} -> {}", old.as_deref().unwrap_or(""), new.as_deref().unwrap_or("")),
        })
        .collect();
    if changes.len() > INLINE_CHANGES {
        parts.push(format!("{} more", changes.len() - INLINE_CHANGES));
    }
    parts.join(", ")
}
