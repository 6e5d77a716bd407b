//! `pinfold sim-event`.

use super::CommandError;
use crate::cli::SimEvent;
use crate::exit::Exit;
use crate::sim_control;

pub(super) fn run(arguments: &SimEvent) -> Result<Exit, CommandError> {
    let failed = |error| {
        CommandError::from_error(&error)
            .next("a daemon must run with `--backend sim:FILE`, and FILE is what `--host` names")
    };
    sim_control::send(&arguments.host, &arguments.event).map_err(failed)?;
    Ok(Exit::Ok)
}
