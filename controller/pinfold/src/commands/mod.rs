//! The commands, one file each: they read arguments and files, call the pure parts, and say what came out.

mod accept_history;
mod adopt;
mod approve;
mod check;
mod completion;
mod console;
mod describe;
mod error;
mod events;
mod explain;
mod fetch;
mod get;
mod guests;
mod import;
mod init;
mod inventory;
mod manifests;
mod output;
mod plan;
mod run;
mod schema;
mod sim_event;
mod status;
mod sync;
mod top;
mod trash;
mod validate;
mod verbs;
mod watch;
mod why;

pub use error::CommandError;

use crate::api::view::OverrideKind;
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::ui::Ui;
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;

/// Runs what the arguments say, and tells how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let mut ui = Ui::terminal();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli.command, &mut ui) {
        Ok(exit) => exit,
        Err(error) => {
            ui.talk(error.text().trim_end());
            error.exit()
        }
    }
}

/// Help and version are data; everything else is wrong usage.
fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
        _ => Exit::Usage,
    }
}

fn run(command: Command, ui: &mut Ui) -> Result<Exit, CommandError> {
    match command {
        Command::Init(arguments) => init::run(&arguments, ui),
        Command::Adopt(arguments) => adopt::run(&arguments, ui),
        Command::Import(arguments) => import::run(&arguments.from, ui),
        Command::Validate(arguments) => validate::run(&arguments, ui),
        Command::Plan(arguments) => plan::run(&arguments, ui),
        Command::Inventory(arguments) => inventory::run(&arguments, ui),
        Command::Run(arguments) => run::run(&arguments, ui),
        Command::Check(arguments) => check::run(&arguments, ui),
        Command::Guests(arguments) => guests::run(&arguments, ui),
        Command::Status(arguments) => status::run(&arguments, ui),
        Command::Get(arguments) => get::run(&arguments, ui),
        Command::Describe(arguments) => describe::run(&arguments, ui),
        Command::Why(arguments) => why::run(&arguments, ui),
        Command::Events(arguments) => events::run(&arguments, ui),
        Command::Top(arguments) => top::run(&arguments, ui),
        Command::Console(arguments) => console::run(&arguments),
        Command::Approve(arguments) => approve::run(&arguments, ui),
        Command::Freeze(arguments) => verbs::run(&arguments, ui),
        Command::Unfreeze(arguments) => verbs::end(&arguments, ui),
        Command::Start(arguments) => verbs::power(OverrideKind::Start, &arguments, ui),
        Command::Stop(arguments) => verbs::power(OverrideKind::Stop, &arguments, ui),
        Command::Pause(arguments) => verbs::power(OverrideKind::Pause, &arguments, ui),
        Command::Restart(arguments) => verbs::power(OverrideKind::Restart, &arguments, ui),
        Command::Follow(arguments) => verbs::follow(&arguments, ui),
        Command::Trash(arguments) => trash::run(&arguments, ui),
        Command::AcceptHistory(arguments) => accept_history::run(&arguments, ui),
        Command::Sync(arguments) => sync::run(&arguments, ui),
        Command::Schema(arguments) => schema::run(&arguments, ui),
        Command::Explain(arguments) => explain::run(&arguments, ui),
        Command::Completion(arguments) => completion::run(&arguments, ui),
        Command::Fetch => fetch::run(),
        Command::SimEvent(arguments) => sim_event::run(&arguments),
    }
}
