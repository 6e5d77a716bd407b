//! `pinfold events`.

use super::{CommandError, output};
use crate::api::{client, view::EventList};
use crate::cli::{DocumentOutput, Events};
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;
use jiff::{SignedDuration, Timestamp};
use schema::units::Span;
use std::time::Duration;

/// How often the daemon is asked for what came next.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Events, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut filter = String::new();
    if let Some(object) = &arguments.object {
        let (kind, name) = output::object(object)?;
        filter = format!("&kind={}&name={}", kind.short(), output::path_part(&name));
    }
    let since = arguments.since.as_deref().map(moment).transpose()?;
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let ask = |query: &str| {
        client::get::<EventList>(&arguments.socket.socket, &format!("/v1/events?{query}{filter}"))
            .map_err(CommandError::from)
    };
    let list = ask(&format!("limit={}{since}", arguments.limit))?;
    if !arguments.follow {
        show(arguments.output, ui, &list)?;
        return Ok(Exit::Ok);
    }
    let mut list = list;
    loop {
        follow(arguments.output, ui, &list)?;
        std::thread::sleep(EVERY);
        // By number: the clock may be set at any time.
        list = ask(&format!("limit=10000&after={}", list.last))?;
        if ui.is_unread() {
            return Ok(Exit::Ok);
        }
    }
}

fn show(as_what: DocumentOutput, ui: &mut Ui, list: &EventList) -> Result<(), CommandError> {
    match as_what {
        DocumentOutput::Human => ui.data(&report::events(&list.items, list.now)),
        DocumentOutput::Json => output::json(ui, list)?,
        DocumentOutput::Yaml => output::yaml(ui, list)?,
    }
    Ok(())
}

/// One event a line, or a document each.
fn follow(as_what: DocumentOutput, ui: &mut Ui, list: &EventList) -> Result<(), CommandError> {
    for event in &list.items {
        match as_what {
            DocumentOutput::Human => ui.line(&report::event(event)),
            DocumentOutput::Json => ui.line(
                &serde_json::to_string(event)
                    .map_err(|error| CommandError::new("cannot write JSON").because(&error))?,
            ),
            DocumentOutput::Yaml => {
                ui.line("---");
                output::yaml(ui, event)?;
            }
        }
    }
    Ok(())
}

/// A moment as it may be typed.
fn moment(text: &str) -> Result<Timestamp, CommandError> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = text.parse::<Span>().ok().and_then(|span| i64::try_from(span.as_secs()).ok());
    ago.and_then(|seconds| Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).ok()).ok_or_else(|| {
        CommandError::new(format!("`--since {text}` is neither a moment nor a duration"))
            .next("write `2026-03-01T08:00:00Z`, or how long ago: `90s`, `12h`, `14d`")
            .exits(crate::exit::Exit::Usage)
    })
}
