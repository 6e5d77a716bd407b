//! `pinfold trash`.

use super::{CommandError, output};
use crate::api::client;
use crate::api::view::{TrashList, TrashPurgeCall, TrashRestoreCall};
use crate::cli::{DocumentOutput, Trash, TrashCommand};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) fn run(arguments: &Trash, ui: &mut Ui) -> Result<Exit, CommandError> {
    let socket = &arguments.socket.socket;
    match &arguments.command {
        TrashCommand::List { output } => {
            let list: TrashList = client::get(socket, "/v1/trash")?;
            match output {
                DocumentOutput::Human => ui.data(&report::trash(&list.items, list.now)),
                DocumentOutput::Json => output::json(ui, &list)?,
                DocumentOutput::Yaml => output::yaml(ui, &list)?,
            }
        }
        TrashCommand::Restore { what, reason, any_disks } => {
            let call = TrashRestoreCall { what: what.clone(), reason: reason.clone(), any_disks: *any_disks };
            ui.talk(&client::post(socket, "/v1/trash/restore", &call)?);
        }
        TrashCommand::Purge { what, older_than, reason } => {
            let older_than = older_than.as_deref().map(moment).transpose()?;
            let call = TrashPurgeCall { what: what.clone(), older_than, reason: reason.clone() };
            ui.talk(&client::post(socket, "/v1/trash/purge", &call)?);
        }
    }
    Ok(Exit::Ok)
}

/// A day, from its beginning in UTC, or a moment.
fn moment(text: &str) -> Result<Timestamp, CommandError> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    text.parse().ok().or_else(day).ok_or_else(|| {
        CommandError::new(format!("`--older-than {text}` is no date")).next("write `2026-03-01`").exits(Exit::Usage)
    })
}
