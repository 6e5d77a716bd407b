//! `pinfold status`.

use super::{CommandError, output};
use crate::api::{client, view::Status};
use crate::cli::{DocumentOutput, Read};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;

pub(super) fn run(arguments: &Read, ui: &mut Ui) -> Result<Exit, CommandError> {
    let status: Status = {
        let _waiting = ui.progress("waiting for the daemon");
        client::get(&arguments.socket.socket, "/v1/status")?
    };
    match arguments.output {
        DocumentOutput::Human => ui.data(&report::status(&status, status.now)),
        DocumentOutput::Json => output::json(ui, &status)?,
        DocumentOutput::Yaml => output::yaml(ui, &status)?,
    }
    Ok(Exit::Ok)
}
