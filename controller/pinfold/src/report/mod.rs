//! What people read: status, tables, one object, why, events. Pure: documents in, text out.
//!
//! Laid out for 80 columns, and legible without colour: colour only repeats what a word says.

pub mod age;
pub mod console;
mod events;
mod object;
mod plan;
mod source;
mod status;
pub mod table;
#[cfg(test)]
mod tests;
pub mod top;
mod trash;
pub mod watch;

pub use events::{event, events};
pub use object::{describe, list, why, wide};
pub use plan::plan;
pub use source::{commit_line, source_lines};
pub use status::status;
pub use trash::trash;

use crate::api::view::{ConditionView, ObjectView};
use owo_colors::OwoColorize;
use planner::{ConditionKind, Truth};

/// The first characters of a commit's id.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// `1 item`, `2 items`.
pub(crate) fn count(number: usize, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// Whether an object is ready, in one word.
fn ready(view: &ObjectView) -> String {
    match view.condition(ConditionKind::Ready).map(|condition| condition.status) {
        Some(Truth::True) => "yes".green().to_string(),
        Some(Truth::False) => "no".red().to_string(),
        Some(Truth::Unknown) => "unknown".yellow().to_string(),
        None => "-".to_owned(),
    }
}

/// The condition that says most about an object that is not simply ready.
fn telling(view: &ObjectView) -> Option<&ConditionView> {
    let order = [
        ConditionKind::Stalled,
        ConditionKind::Held,
        ConditionKind::Drifted,
        ConditionKind::Reconciling,
        ConditionKind::RestartPending,
        ConditionKind::Frozen,
        ConditionKind::NotEnforced,
        ConditionKind::Overridden,
    ];
    let unknown = view.condition(ConditionKind::Ready).filter(|condition| condition.status == Truth::Unknown);
    unknown
        .or_else(|| order.into_iter().find_map(|kind| view.condition(kind)))
        .or_else(|| view.condition(ConditionKind::Ready).filter(|condition| condition.status == Truth::False))
}
