//! `pinfold validate`.

use super::{CommandError, inventory, output};
use crate::api::view::Head;
use crate::cli::{FindingsOutput, Validate};
use crate::exit::Exit;
use crate::folder;
use crate::host_facts::host_facts;
use crate::ui::Ui;
use ::schema::against;
use ::schema::render::{self, Colour};
use ::schema::{Finding, Severity, Tree};
use planner::Observed;
use serde::Serialize;
use std::path::Path;

/// One configuration, read.
struct Checked {
    root: String,
    tree: Tree,
    findings: Vec<Finding>,
}

/// `-o json`.
#[derive(Serialize)]
struct Findings<'c> {
    #[serde(flatten)]
    head: Head,
    items: Vec<Configuration<'c>>,
}

#[derive(Serialize)]
struct Configuration<'c> {
    path: &'c str,
    findings: &'c [Finding],
}

pub(super) fn run(arguments: &Validate, ui: &mut Ui) -> Result<Exit, CommandError> {
    let inventory = arguments.inventory.as_deref().map(inventory::read).transpose()?;
    let checked = {
        let _reading = ui.progress("reading manifests");
        let check = |path| check(path, inventory.as_ref());
        arguments.paths.iter().map(|path| check(path)).collect::<Result<Vec<_>, _>>()?
    };
    match arguments.output {
        FindingsOutput::Human => human(&checked, ui),
        FindingsOutput::Json => {
            let items = checked.iter().map(|one| Configuration { path: &one.root, findings: &one.findings }).collect();
            output::json(ui, &Findings { head: Head::of("FindingList"), items })?;
        }
        FindingsOutput::Github => {
            for one in &checked {
                ui.data(&render::github(&one.findings, prefix(&one.root)));
            }
        }
        FindingsOutput::Gitlab => gitlab(&checked, ui)?,
    }
    let has_errors = checked.iter().flat_map(|one| &one.findings).any(|finding| finding.severity == Severity::Error);
    Ok(if has_errors { Exit::Negative } else { Exit::Ok })
}

fn check(path: &Path, inventory: Option<&Observed>) -> Result<Checked, CommandError> {
    let tree = folder::read(path).map_err(|error| CommandError::from_error(&error))?;
    let reading = ::schema::read(&tree);
    let mut findings = reading.findings;
    if let (Some(desired), Some(observed)) = (&reading.desired, inventory) {
        findings.extend(against::check(desired, &reading.sources, &host_facts(observed, desired)));
    }
    // A single file's findings name the file; what is above it is the root.
    let root = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    Ok(Checked { root: root.display().to_string(), tree, findings })
}

fn human(checked: &[Checked], ui: &mut Ui) {
    let colour = if ui.colour() { Colour::Always } else { Colour::Never };
    for one in checked {
        ui.data(&render::human_with(&one.findings, &one.tree, colour));
        let place = if checked.len() > 1 { format!("{}: ", one.root) } else { String::new() };
        ui.talk(&format!("{place}{}", render::summary(&one.findings)));
    }
}

/// GitLab reads one array, however many configurations there are.
fn gitlab(checked: &[Checked], ui: &mut Ui) -> Result<(), CommandError> {
    let mut issues: Vec<serde_json::Value> = Vec::new();
    for one in checked {
        let text = render::gitlab(&one.findings, prefix(&one.root));
        let these: Vec<serde_json::Value> = serde_json::from_str(&text)
            .map_err(|error| CommandError::new("cannot write the report").because(&error))?;
        issues.extend(these);
    }
    output::json(ui, &issues)
}

/// The configuration's path within the repository, as CI systems want it: relative, nothing for the repository itself.
fn prefix(root: &str) -> &str {
    let root = root.trim_end_matches('/').trim_start_matches("./");
    if root == "." { "" } else { root }
}
