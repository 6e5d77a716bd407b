//! `pinfold guests`.

use super::CommandError;
use crate::cli::{Guests, GuestsVerb};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::guests::{self, Left};
use crate::ui::Ui;

pub(super) fn run(arguments: &Guests, ui: &mut Ui) -> Result<Exit, CommandError> {
    let config = match Config::read(&arguments.config) {
        // A host that was never set up has no guests of ours, and its shutdown must not fail for it.
        Err(ConfigError::Read { path, source }) if source.kind() == std::io::ErrorKind::NotFound => {
            ui.talk(&format!("there is no {}: pinfold is not set up here", path.display()));
            return Ok(Exit::Ok);
        }
        read => read.map_err(|error| CommandError::from_error(&error))?,
    };
    match arguments.verb {
        GuestsVerb::Start => {
            guests::start(&config).map_err(|error| CommandError::from_error(&error))?;
            Ok(Exit::Ok)
        }
        GuestsVerb::Stop => stop(arguments, &config, ui),
    }
}

fn stop(arguments: &Guests, config: &Config, ui: &mut Ui) -> Result<Exit, CommandError> {
    // What happens meanwhile goes to standard error and so, below systemd, to the journal.
    let filter = tracing_subscriber::EnvFilter::new("error");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let left = guests::stop(config, &arguments.backend, &mut |text| ui.talk(text)).map_err(|error| {
        CommandError::from_error(&error)
            .next("stop guests with `xl shutdown --all --wait`; they start again with the next boot")
    })?;
    let left = match left {
        Left::Nothing => {
            ui.talk("no guest of pinfold's runs any more");
            return Ok(Exit::Ok);
        }
        Left::These(left) => left.domains.into_iter().chain(left.operations).collect::<Vec<_>>().join(", "),
        Left::Unknown => "nobody can say what".to_owned(),
    };
    Err(CommandError::new(format!("time is over, and this is left: {left}"))
        .next("`pinfold events` and `xl list` say more")
        .exits(Exit::Negative))
}
