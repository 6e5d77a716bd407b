//! `pinfold events`.

use super::age::ago;
use super::short;
use super::table::{WIDTH, table};
use crate::reconcile::{Event, Severity};
use jiff::Timestamp;
use owo_colors::OwoColorize;

/// Oldest first, as they happened.
pub fn events(events: &[Event], now: Timestamp) -> String {
    let row = |event: &Event| {
        let reason = match event.severity {
            Severity::Info => event.reason.clone(),
            Severity::Warning => event.reason.yellow().to_string(),
        };
        let object = event.object.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let commit = event.commit.as_deref().map_or("-", short).to_owned();
        vec![ago(event.at, now), object, commit, reason, said(event)]
    };
    table(&["WHEN", "OBJECT", "COMMIT", "WHAT", "HOW"], &events.iter().map(row).collect::<Vec<_>>(), WIDTH)
}

/// One event on a line of its own, with its moment: for whoever watches.
pub fn event(event: &Event) -> String {
    let object = event.object.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let reason = match event.severity {
        Severity::Info => event.reason.clone(),
        Severity::Warning => event.reason.yellow().to_string(),
    };
    let commit = event.commit.as_deref().map_or("-", short);
    let said = said(event).replace('\n', " | ");
    format!("{:.0}  {object}  {commit}  {reason}  {said}", event.at).trim_end().to_owned()
}

/// What happened, and who is behind it: the verb's actor; or of an operation the commit's author, the item, and who approved it.
fn said(event: &Event) -> String {
    let Event { message, author, item, actor, approval, .. } = event;
    let mut behind = Vec::new();
    if let Some(item) = item {
        behind.push(format!("item {item}"));
        behind.extend(author.as_ref().map(|author| format!("commit by {author}")));
        if let Some(actor) = actor {
            let why = approval.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            behind.push(format!("approved by {actor}{why}"));
        }
    } else {
        behind.extend(actor.clone());
    }
    match (message.is_empty(), behind.is_empty()) {
        (_, true) => message.clone(),
        (true, false) => format!("({})", behind.join("; ")),
        (false, false) => format!("{message} ({})", behind.join("; ")),
    }
}
