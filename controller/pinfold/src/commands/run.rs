//! `pinfold run`.

use super::CommandError;
use crate::api::documents;
use crate::cli::Run;
use crate::config::Config;
use crate::daemon;
use crate::exit::Exit;
use crate::report;
use crate::ui::Ui;
use tracing_subscriber::EnvFilter;

pub(super) fn run(arguments: &Run, ui: &mut Ui) -> Result<Exit, CommandError> {
    let read = || Config::read(&arguments.config);
    let config = read().map_err(|error| {
        CommandError::from_error(&error)
            .next("`deploy/pinfold.yaml` is a commented example; `--config` names another file")
    })?;
    let filter = EnvFilter::try_from_env("PINFOLD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // journald adds the time itself, and shows no colours.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.with_ansi(false).without_time().init();
    } else {
        log.with_ansi(ui.colour()).init();
    }
    let ended = daemon::run(config, &read, &arguments.backend, arguments.once)
        .map_err(|error| CommandError::from_error(&error))?;
    if let (true, Some(snapshot)) = (arguments.once, &ended.snapshot) {
        let status = documents::status(snapshot, snapshot.observed.now);
        ui.data(&report::status(&status, status.now));
    }
    Ok(ended.exit)
}
