//! `pinfold events`.

use super::{CommandError, output};
use crate::api::{client, view::EventList};
use crate::cli::{DocumentOutput, Events};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;

pub(super) fn run(arguments: &Events, ui: &mut Ui) -> Result<Exit, CommandError> {
    let of = match &arguments.object {
        Some(object) => {
            let (kind, name) = output::object(object)?;
            format!("&kind={}&name={}", kind.short(), output::path_part(&name))
        }
        None => String::new(),
    };
    let path = format!("/v1/events?limit={}{of}", arguments.limit);
    let list: EventList = client::get(&arguments.socket.socket, &path)?;
    match arguments.output {
        DocumentOutput::Human => ui.data(&report::events(&list.items, list.now)),
        DocumentOutput::Json => output::json(ui, &list)?,
        DocumentOutput::Yaml => output::yaml(ui, &list)?,
    }
    Ok(Exit::Ok)
}
