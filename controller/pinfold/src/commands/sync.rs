//! `pinfold sync`.

use super::CommandError;
use crate::api::client;
use crate::cli::Verb;
use crate::config::admin_socket;
use crate::exit::Exit;
use crate::ui::Ui;

pub(super) fn run(arguments: &Verb, ui: &mut Ui) -> Result<Exit, CommandError> {
    ui.talk(&client::post(&admin_socket(&arguments.socket.socket), "/v1/sync", &serde_json::json!({}))?);
    Ok(Exit::Ok)
}
