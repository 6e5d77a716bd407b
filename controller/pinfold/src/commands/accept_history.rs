//! `pinfold accept-history`.

use super::CommandError;
use crate::api::{client, view::AcceptHistoryCall};
use crate::cli::AcceptHistory;
use crate::exit::Exit;
use crate::ui::Ui;

pub(super) fn run(arguments: &AcceptHistory, ui: &mut Ui) -> Result<Exit, CommandError> {
    let call = AcceptHistoryCall { commit: arguments.commit.clone(), reason: arguments.reason.clone() };
    ui.talk(&client::post(&arguments.socket.socket, "/v1/accept-history", &call)?);
    Ok(Exit::Ok)
}
