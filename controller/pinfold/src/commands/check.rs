//! `pinfold check`.

use super::{CommandError, output};
use crate::api::view::Head;
use crate::check::{self, Facts, Finding};
use crate::cli::{Check, DocumentOutput};
use crate::exit::Exit;
use crate::ui::Ui;
use serde::Serialize;

/// What `-o json` prints.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    head: Head,
    findings: Vec<Finding>,
}

pub(super) fn run(arguments: &Check, ui: &mut Ui) -> Result<Exit, CommandError> {
    let facts = {
        let _waiting = ui.progress("looking at this host");
        Facts::read(&arguments.config)
    };
    let findings = check::findings(&facts);
    let exit = if findings.is_empty() { Exit::Ok } else { Exit::Negative };
    let document = Document { head: Head::of("Check"), findings };
    match arguments.output {
        DocumentOutput::Human => {
            ui.data(&check::human(&document.findings));
            ui.talk(&match document.findings.len() {
                0 => "nothing found".to_owned(),
                1 => "1 finding".to_owned(),
                count => format!("{count} findings"),
            });
        }
        DocumentOutput::Json => output::json(ui, &document)?,
        DocumentOutput::Yaml => output::yaml(ui, &document)?,
    }
    Ok(exit)
}
