//! `pinfold explain`.

use super::CommandError;
use crate::cli::Explain;
use crate::exit::Exit;
use crate::ui::Ui;
use ::schema::Kind;

pub(super) fn run(arguments: &Explain, ui: &mut Ui) -> Result<Exit, CommandError> {
    let Some(field) = &arguments.field else {
        for kind in Kind::ALL {
            ui.line(&format!("{:<5} {kind}", kind.short()));
        }
        ui.talk("`pinfold explain vm` explains a kind, `pinfold explain vm.spec.restart` a field");
        return Ok(Exit::Ok);
    };
    let text = ::schema::explain(field).map_err(|error| CommandError::from_error(&error).exits(Exit::Negative))?;
    ui.data(&text);
    Ok(Exit::Ok)
}

/// A kind of the language by its word or its short name.
pub(super) fn kind(text: &str) -> Result<Kind, CommandError> {
    let is_it = |kind: &Kind| text.eq_ignore_ascii_case(kind.as_str()) || text == kind.short();
    Kind::ALL.into_iter().find(is_it).ok_or_else(|| {
        let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.short()).collect();
        CommandError::new(format!("`{text}` is no kind"))
            .next(format!("use one of {}", all.join(", ")))
            .exits(Exit::Usage)
    })
}
