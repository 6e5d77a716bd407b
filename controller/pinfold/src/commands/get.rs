//! `pinfold get`.

use super::{CommandError, output};
use crate::api::client;
use crate::api::view::{Head, ObjectDetail, ObjectList};
use crate::cli::{Get, ListOutput};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;

pub(super) fn run(arguments: &Get, ui: &mut Ui) -> Result<Exit, CommandError> {
    let (kind, name) = match (&arguments.name, arguments.kind.split_once('/')) {
        (None, Some(_)) => output::object(&arguments.kind).map(|(kind, name)| (kind, Some(name)))?,
        (name, _) => (output::kind(&arguments.kind)?, name.clone()),
    };
    let socket = &arguments.socket.socket;
    if arguments.watch {
        let name = name.map(|name| format!("&name={}", output::path_part(&name))).unwrap_or_default();
        let path = format!("/v1/objects?watch=true&kind={}{name}", kind.short());
        return super::watch::run(socket, &path, arguments.output, ui);
    }
    let list = match name {
        None => client::get::<ObjectList>(socket, &format!("/v1/objects?kind={}", kind.short()))?,
        Some(name) => {
            let path = format!("/v1/objects/{}/{}", kind.short(), output::path_part(&name));
            let detail: ObjectDetail = client::get(socket, &path)?;
            ObjectList { head: Head::of("ObjectList"), now: detail.now, items: vec![detail.object] }
        }
    };
    match arguments.output {
        ListOutput::Human if list.items.is_empty() => ui.talk(&format!("there is no {}", kind.short())),
        ListOutput::Human => ui.data(&report::list(&list.items, list.now)),
        ListOutput::Wide => ui.data(&report::wide(&list.items, list.now)),
        ListOutput::Json => output::json(ui, &list)?,
        ListOutput::Yaml => output::yaml(ui, &list)?,
        ListOutput::Name => list.items.iter().for_each(|view| ui.line(&view.object.to_string())),
    }
    Ok(Exit::Ok)
}
