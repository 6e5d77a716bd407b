//! `pinfold describe`.

use super::{CommandError, output};
use crate::api::{client, view::ObjectDetail};
use crate::cli::{DocumentOutput, Object};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;

pub(super) fn run(arguments: &Object, ui: &mut Ui) -> Result<Exit, CommandError> {
    let (kind, name) = output::object(&arguments.object)?;
    let path = format!("/v1/objects/{}/{}", kind.short(), output::path_part(&name));
    let detail: ObjectDetail = client::get(&arguments.socket.socket, &path)?;
    match arguments.output {
        DocumentOutput::Human => ui.data(&report::describe(&detail, detail.now)),
        DocumentOutput::Json => output::json(ui, &detail)?,
        DocumentOutput::Yaml => output::yaml(ui, &detail)?,
    }
    Ok(Exit::Ok)
}
