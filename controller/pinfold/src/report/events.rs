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
        let actor = event.actor.as_ref().map(|actor| format!(" ({actor})")).unwrap_or_default();
        vec![ago(event.at, now), object, commit, reason, format!("{}{actor}", event.message)]
    };
    table(&["WHEN", "OBJECT", "COMMIT", "WHAT", "HOW"], &events.iter().map(row).collect::<Vec<_>>(), WIDTH)
}
