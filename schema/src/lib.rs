//! The language of pinfold: kinds, units, findings, YAML reading, resolving, generated JSON Schemas.
//!
//! ```text
//!            tree            yaml           document, decode, kinds          resolve
//!   Tree ──────────► texts ────────► Nodes ──────────────────────► Manifests ────────► Desired
//!            └───────────────┴───────────────────┴─────────────────────┴─► Findings ─► render
//! ```
//!
//! [`read`] is the entry point. Pure: text in, [`desired::Desired`] or findings out. No I/O, no clock. Any bytes give findings, never a panic,
//! and every finding of every file is reported at once: one mistake hides no other, and causes no second finding elsewhere.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod against;
pub mod change;
pub mod desired;
pub mod effect;
pub mod finding;
pub mod init;
pub mod json_schema;
pub mod reference;
pub mod render;
pub mod tree;
pub mod units;
pub mod write;

mod decode;
mod document;
mod explain;
mod field;
mod kinds;
mod node;
mod resolve;
mod suggest;
mod text;
mod yaml;

pub use explain::explain;
pub use field::UnknownPath;
pub use finding::{Finding, Kind, Location, Severity, Sources};
pub use init::{Start, init};
pub use kinds::API_VERSION;
pub use tree::{Content, SourceFile, Tree};

/// What the small texts of the language have to be, for whoever makes manifests from something else. The error is a sentence for people.
pub mod check {
    pub use crate::kinds::scalars::{bridge_name, command_line, disk_target, host_path};
}

use desired::Desired;

/// What a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The configuration, resolved: `Some` exactly when no finding is an error.
    pub desired: Option<Desired>,
    /// Everything wrong with any file, by file and place.
    pub findings: Vec<Finding>,
    /// Where each object stands.
    pub sources: Sources,
}

/// Reads a whole configuration.
pub fn read(tree: &Tree) -> Reading {
    let mut findings = Vec::new();
    let texts = tree::manifests(tree, &mut findings);
    let has_unreadable = has_error(&findings);
    if texts.is_empty() && !has_unreadable {
        let message = "the configuration has no manifest: no file in it ends in `.yaml` or `.yml`";
        let help = "an empty configuration never means an empty host; check the path and the branch";
        findings.push(Finding::error("empty", message).help(help));
        return Reading { desired: None, findings, sources: Sources::default() };
    }
    let mut documents = document::read_all(&texts, &mut findings);
    documents.has_unreadable |= has_unreadable;
    let scene = resolve::Scene { texts: &texts, documents: &documents };
    let resolve::Resolved { desired, sources } = resolve::resolve(&scene, &mut findings);
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    Reading { desired: desired.filter(|_| !has_error(&findings)), findings, sources }
}

fn has_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
