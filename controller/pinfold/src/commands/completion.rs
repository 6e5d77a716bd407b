//! `pinfold completion`.

use super::CommandError;
use crate::cli::{Cli, Completion};
use crate::exit::Exit;
use crate::ui::Ui;
use clap::CommandFactory;

#[allow(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(arguments: &Completion, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "pinfold", &mut script);
    ui.data(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}
