//! `pinfold get --watch`: the table, and then a line for each change.

use super::{CommandError, output};
use crate::api::client::ClientError;
use crate::api::stream::{Lines, StreamError, lines};
use crate::api::view::ObjectView;
use crate::api::watch::{Change, changes, identity};
use crate::cli::ListOutput;
use crate::exit::Exit;
use crate::report::watch::Watched;
use crate::ui::Ui;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Between two tries to reach a daemon that is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Until ^C, or until the reader of our output goes away.
pub(super) fn run(socket: &Path, path: &str, how: ListOutput, ui: &mut Ui) -> Result<Exit, CommandError> {
    if matches!(how, ListOutput::Wide | ListOutput::Yaml) {
        let what = "`--watch` goes with `-o human`, `-o json` and `-o name`";
        return Err(CommandError::new(what).exits(Exit::Usage));
    }
    let system = |error: std::io::Error| CommandError::new("the system refused a runtime or a signal").because(&error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut teller = Teller { how, table: None, known: None };
        tokio::select! {
            ended = teller.go(socket, path, ui) => match ended {
                Ok(()) => Ok(Exit::Ok),
                Err(error) => Err(error.into()),
            },
            _ = interrupt.recv() => Ok(Exit::Ok),
            _ = terminate.recv() => Ok(Exit::Ok),
        }
    })
}

struct Teller {
    how: ListOutput,
    table: Option<Watched>,
    /// `None` before the first list.
    known: Option<Vec<ObjectView>>,
}

impl Teller {
    async fn go(&mut self, socket: &Path, path: &str, ui: &mut Ui) -> Result<(), ClientError> {
        let mut stream = lines(socket, path).await.map_err(StreamError::into_client)?;
        loop {
            self.hear(&mut stream, ui).await?;
            if ui.is_unread() {
                return Ok(());
            }
            ui.talk("the daemon went away; waiting for it");
            stream = loop {
                tokio::time::sleep(AGAIN).await;
                match lines(socket, path).await {
                    Ok(stream) => break stream,
                    Err(StreamError::NotNow(_)) => {}
                    Err(StreamError::No(error)) => return Err(error),
                }
            };
            ui.talk("the daemon is back");
        }
    }

    /// One connection to its end, or until nobody reads.
    async fn hear(&mut self, stream: &mut Lines, ui: &mut Ui) -> Result<(), ClientError> {
        while let Some(line) = stream.next().await {
            let change: Change = serde_json::from_slice(&line).map_err(ClientError::Unreadable)?;
            // A list that is not the first one says what changed meanwhile.
            let news = match (change, &self.known) {
                (Change::List { now, items }, Some(before)) => {
                    let news = changes(before, &items, now);
                    self.known = Some(items);
                    news
                }
                (change, _) => {
                    self.take(&change);
                    vec![change]
                }
            };
            for change in &news {
                self.tell(change, ui);
            }
            if ui.is_unread() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, change: &Change) {
        let known = self.known.get_or_insert_default();
        match change {
            Change::List { items, .. } => known.clone_from(items),
            Change::Removed { object, .. } => known.retain(|view| identity(view) != identity(object)),
            Change::Added { object, .. } | Change::Changed { object, .. } => {
                known.retain(|view| identity(view) != identity(object));
                known.push(object.clone());
            }
        }
    }

    fn tell(&mut self, change: &Change, ui: &mut Ui) {
        match self.how {
            ListOutput::Json => {
                // What was read is written again: it cannot fail.
                let _ = output::json_line(ui, change);
            }
            ListOutput::Name => names(change).for_each(|name| ui.line(&name)),
            _ => {
                if matches!(change, Change::List { items, .. } if items.is_empty()) {
                    ui.talk("there is none yet");
                }
                ui.data(&self.rows(change));
            }
        }
    }

    fn rows(&mut self, change: &Change) -> String {
        let mut text = String::new();
        let table = self.table.get_or_insert_with(|| {
            let (table, heading) = Watched::begin();
            text.push_str(&heading);
            table
        });
        match change {
            Change::List { now, items } => items.iter().for_each(|view| text.push_str(&table.row(view, *now))),
            Change::Added { now, object } | Change::Changed { now, object } => text.push_str(&table.row(object, *now)),
            Change::Removed { object, .. } => text.push_str(&table.gone(object)),
        }
        text
    }
}

fn names(change: &Change) -> impl Iterator<Item = String> {
    let views = match change {
        Change::List { items, .. } => items.as_slice(),
        Change::Added { object, .. } | Change::Changed { object, .. } | Change::Removed { object, .. } => {
            std::slice::from_ref(object)
        }
    };
    views.iter().map(|view| view.object.to_string())
}
