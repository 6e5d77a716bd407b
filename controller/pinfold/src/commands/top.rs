//! `pinfold top`.

use super::{CommandError, output};
use crate::api::client;
use crate::api::usage::UsageDocument;
use crate::api::view::Head;
use crate::cli::{Top, TopOutput};
use crate::exit::Exit;
use crate::report::top::{Rates, rates, top};
use crate::ui::Ui;
use jiff::Timestamp;
use schema::units::{Span, SpanError};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How often a daemon is asked again whose next pass is late.
const LATE: u32 = 20;
const A_MOMENT: Duration = Duration::from_millis(200);

/// The beginning of a screen, and nothing below it.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What `-o json` prints, one line for each look.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopDocument<'d> {
    #[serde(flatten)]
    head: Head,
    host: &'d str,
    observed_at: Timestamp,
    unknown: Option<&'d protocol::Cause>,
    items: &'d [Rates],
}

pub(super) fn run(arguments: &Top, ui: &mut Ui) -> Result<Exit, CommandError> {
    let wrong = |error: SpanError| {
        let what = format!("`--interval {}` is no duration", arguments.interval);
        CommandError::new(what).because(&error).exits(Exit::Usage)
    };
    let interval = Duration::from_secs(arguments.interval.parse::<Span>().map_err(wrong)?.as_secs().max(1));
    let looks = arguments.number.unwrap_or(if ui.is_screen() { u64::MAX } else { 1 });
    let socket = &arguments.socket.socket;
    let mut before: UsageDocument = client::get(socket, "/v1/usage")?;
    for look in 1..=looks {
        std::thread::sleep(interval);
        let after = next(socket, &before)?;
        let rates = rates(&before, &after);
        match arguments.output {
            TopOutput::Human => {
                if ui.is_screen() && looks > 1 {
                    ui.data(CLEAR);
                } else if look > 1 {
                    ui.line("");
                }
                if let Some(cause) = &after.unknown {
                    ui.talk(&format!("the host is unknown: {}", cause.message));
                }
                ui.data(&top(&rates, &after));
            }
            TopOutput::Json => output::json_line(
                ui,
                &TopDocument {
                    head: Head::of("Top"),
                    host: &after.host,
                    observed_at: after.observed_at,
                    unknown: after.unknown.as_ref(),
                    items: &rates,
                },
            )?,
        }
        if ui.is_unread() {
            break;
        }
        before = after;
    }
    Ok(Exit::Ok)
}

/// The next reading. CPU time moves only with the passes: the one before it is waited for, within reason.
fn next(socket: &Path, before: &UsageDocument) -> Result<UsageDocument, CommandError> {
    let mut after: UsageDocument = client::get(socket, "/v1/usage")?;
    for _ in 0..LATE {
        if after.observed_at > before.observed_at {
            break;
        }
        std::thread::sleep(A_MOMENT);
        after = client::get(socket, "/v1/usage")?;
    }
    Ok(after)
}
