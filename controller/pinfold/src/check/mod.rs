//! `pinfold check`: whether this host is set up so that pinfold can hold what it promises. [`findings`] is pure; reading is in [`Facts::read`].

mod facts;
mod findings;

pub use facts::{ConfigFacts, Facts, HvmHealth, XenFacts};
pub use findings::findings;

use serde::Serialize;

/// Something about a host that should be otherwise, or that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is so.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What puts it right: a command, or a line to write where.
    pub fix: String,
}

/// Findings for people.
pub fn human(findings: &[Finding]) -> String {
    let each = findings
        .iter()
        .map(|Finding { reason, what, why, fix }| format!("{reason}: {what}\n  why: {why}\n  fix: {fix}\n"));
    each.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
