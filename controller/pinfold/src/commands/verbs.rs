//! What people allow, freeze and override.

use super::CommandError;
use crate::api::client;
use crate::api::view::{FreezeCall, OverrideCall, OverrideKind, UnfreezeCall};
use crate::cli::{Freeze, PowerVerb, Unfreeze};
use crate::exit::Exit;
use crate::ui::Ui;
use schema::units::{Span, SpanError};

pub(super) fn run(arguments: &Freeze, ui: &mut Ui) -> Result<Exit, CommandError> {
    let Freeze { object, span, reason, socket } = arguments;
    let seconds = seconds(span)?;
    let call = FreezeCall { what: object.clone(), seconds, reason: reason.clone() };
    ui.talk(&client::post(&socket.socket, "/v1/freeze", &call)?);
    Ok(Exit::Ok)
}

pub(super) fn end(arguments: &Unfreeze, ui: &mut Ui) -> Result<Exit, CommandError> {
    let call = UnfreezeCall { what: arguments.object.clone() };
    ui.talk(&client::post(&arguments.socket.socket, "/v1/unfreeze", &call)?);
    Ok(Exit::Ok)
}

pub(super) fn power(kind: OverrideKind, arguments: &PowerVerb, ui: &mut Ui) -> Result<Exit, CommandError> {
    let PowerVerb { object, span, reason, socket } = arguments;
    let call = OverrideCall { what: object.clone(), kind, seconds: seconds(span)?, reason: reason.clone() };
    ui.talk(&client::post(&socket.socket, "/v1/override", &call)?);
    Ok(Exit::Ok)
}

pub(super) fn follow(arguments: &Unfreeze, ui: &mut Ui) -> Result<Exit, CommandError> {
    let call = UnfreezeCall { what: arguments.object.clone() };
    ui.talk(&client::post(&arguments.socket.socket, "/v1/follow", &call)?);
    Ok(Exit::Ok)
}

fn seconds(span: &str) -> Result<u64, CommandError> {
    let wrong = |error: SpanError| {
        CommandError::new(format!("`--for {span}` is no duration")).because(&error).exits(Exit::Usage)
    };
    Ok(span.parse::<Span>().map_err(wrong)?.as_secs())
}
