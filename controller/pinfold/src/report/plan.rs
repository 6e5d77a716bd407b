//! `pinfold plan`: the planner's own text under a line that says for which host and from when it is.

use super::short;
use super::table::{WIDTH, fit};
use crate::api::view::PlanDocument;
use owo_colors::OwoColorize;

/// The plan.
pub fn plan(document: &PlanDocument) -> String {
    let PlanDocument { host, observed_at, plan, .. } = document;
    let commit =
        plan.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {} in force", short(commit)));
    let at = observed_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("host {}{commit}, observed {at}\n\n{}", host.bold(), fit(&planner::render::plan(plan), WIDTH))
}
