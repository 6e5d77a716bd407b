//! `pinfold approve`.

use super::CommandError;
use crate::api::{client, view::ApproveCall};
use crate::cli::Approve;
use crate::exit::Exit;
use crate::ui::Ui;
use schema::units::{Span, SpanError};

pub(super) fn run(arguments: &Approve, ui: &mut Ui) -> Result<Exit, CommandError> {
    let Approve { id, reason, expires, socket } = arguments;
    let wrong = |error: SpanError| {
        CommandError::new(format!("`--expires {expires}` is no duration")).because(&error).exits(Exit::Usage)
    };
    let expires_seconds = expires.parse::<Span>().map_err(wrong)?.as_secs();
    let call = ApproveCall { id: id.clone(), reason: reason.clone(), expires_seconds };
    ui.talk(&client::post(&socket.socket, "/v1/approve", &call)?);
    Ok(Exit::Ok)
}
