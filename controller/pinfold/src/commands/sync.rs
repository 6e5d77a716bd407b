//! `pinfold sync`.

use super::CommandError;
use crate::api::client;
use crate::cli::Verb;
use crate::exit::Exit;
use crate::ui::Ui;

pub(super) fn run(arguments: &Verb, ui: &mut Ui) -> Result<Exit, CommandError> {
    ui.talk(&client::post(&arguments.socket.socket, "/v1/sync", &serde_json::json!({}))?);
    Ok(Exit::Ok)
}
