//! `pinfold import`.

use super::CommandError;
use super::manifests::{self, Batch};
use crate::cli::{ImportFrom, ImportXl};
use crate::exit::Exit;
use crate::ui::Ui;
use ::schema::{Content, SourceFile, Tree};

pub(super) fn run(from: &ImportFrom, ui: &mut Ui) -> Result<Exit, CommandError> {
    match from {
        ImportFrom::Xl(arguments) => xl(arguments, ui),
    }
}

fn xl(arguments: &ImportXl, ui: &mut Ui) -> Result<Exit, CommandError> {
    let around = manifests::around(&arguments.destination, None)?;
    let read = |path: &std::path::PathBuf| Ok((path.display().to_string(), manifests::text(path)?));
    let files: Vec<(String, String)> = arguments.files.iter().map(read).collect::<Result<_, CommandError>>()?;
    let imported = import::xl(&files, &around.site);
    let source = |(path, text): (String, String)| SourceFile { path, content: Content::Text(text.into_bytes()) };
    let sources = Tree { files: files.into_iter().map(source).collect(), ignore: None };
    let vms = imported.vms.into_iter().map(|(_, vm)| vm).collect();
    let batch = Batch { networks: imported.networks, vms, findings: imported.findings, sources };
    manifests::deliver(around, &batch, &arguments.destination, ui)
}
