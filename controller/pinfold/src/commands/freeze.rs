//! `pinfold freeze` and `pinfold unfreeze`.

use super::CommandError;
use crate::api::client;
use crate::api::view::{FreezeCall, UnfreezeCall};
use crate::cli::{Freeze, Unfreeze};
use crate::exit::Exit;
use crate::ui::Ui;
use schema::units::{Span, SpanError};

pub(super) fn run(arguments: &Freeze, ui: &mut Ui) -> Result<Exit, CommandError> {
    let Freeze { object, span, reason, socket } = arguments;
    let wrong = |error: SpanError| {
        CommandError::new(format!("`--for {span}` is no duration")).because(&error).exits(Exit::Usage)
    };
    let seconds = span.parse::<Span>().map_err(wrong)?.as_secs();
    let call = FreezeCall { what: object.clone(), seconds, reason: reason.clone() };
    ui.talk(&client::post(&socket.socket, "/v1/freeze", &call)?);
    Ok(Exit::Ok)
}

pub(super) fn end(arguments: &Unfreeze, ui: &mut Ui) -> Result<Exit, CommandError> {
    let call = UnfreezeCall { what: arguments.object.clone() };
    ui.talk(&client::post(&arguments.socket.socket, "/v1/unfreeze", &call)?);
    Ok(Exit::Ok)
}
