//! `pinfold run`.

use super::CommandError;
use crate::cli::Run;
use crate::config::Config;
use crate::daemon;
use crate::exit::Exit;
use crate::ui::Ui;
use tracing_subscriber::EnvFilter;

pub(super) fn run(arguments: &Run, ui: &mut Ui) -> Result<Exit, CommandError> {
    let config = Config::read(&arguments.config).map_err(|error| {
        CommandError::from_error(&error)
            .next("`deploy/pinfold.yaml` is a commented example; `--config` names another file")
    })?;
    let filter = EnvFilter::try_from_env("PINFOLD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // journald adds the time; a terminal shows it when it is asked for it.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ui.colour())
        .with_target(false)
        .init();
    daemon::run(&config, &arguments.backend, arguments.once).map_err(|error| CommandError::from_error(&error))
}
