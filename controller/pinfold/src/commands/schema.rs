//! `pinfold schema`.

use super::{CommandError, explain};
use crate::cli::Schema;
use crate::exit::Exit;
use crate::ui::Ui;
use ::schema::json_schema;
use std::path::Path;

/// The schema of every kind in one.
const ALL_KINDS: &str = "pinfold.schema.json";

pub(super) fn run(arguments: &Schema, ui: &mut Ui) -> Result<Exit, CommandError> {
    if let Some(folder) = &arguments.write {
        write(folder, ui)?;
        return Ok(Exit::Ok);
    }
    let name = match &arguments.kind {
        Some(kind) => json_schema::file_name(explain::kind(kind)?),
        None => ALL_KINDS.to_owned(),
    };
    let files = json_schema::files();
    let text = files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.as_str());
    ui.data(text.unwrap_or_default());
    Ok(Exit::Ok)
}

/// Writes one file for each kind, and one for all of them.
fn write(folder: &Path, ui: &mut Ui) -> Result<(), CommandError> {
    let failed =
        |error: std::io::Error| CommandError::new(format!("cannot write to {}", folder.display())).because(&error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (name, text) in json_schema::files() {
        std::fs::write(folder.join(&name), text).map_err(failed)?;
        ui.talk(&format!("wrote {}", folder.join(&name).display()));
    }
    Ok(())
}
