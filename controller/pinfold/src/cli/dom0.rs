//! What runs on the host itself, and about it.

use super::DocumentOutput;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `pinfold check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The daemon's configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DocumentOutput,
}

/// `pinfold guests`.
#[derive(Debug, Args)]
pub struct Guests {
    /// What to do.
    #[arg(value_enum)]
    pub verb: GuestsVerb,
    /// The daemon's configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// `xen`, or `sim:FILE`: a simulated host, described in YAML.
    #[arg(long, default_value = "xen")]
    pub backend: Backend,
}

/// What `pinfold guests` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuestsVerb {
    /// Asks every guest to power off, destroys those that do not within their timeouts, and returns when none is left. None is started
    /// until the next boot of the host, or `start`.
    Stop,
    /// Takes a `stop` back: guests are started again as the repository says.
    Start,
}

/// `pinfold run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The daemon's configuration.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Pass after pass until nothing is busy or due, then exit.
    #[arg(long)]
    pub once: bool,
    /// `xen`, or `sim:FILE`: a simulated host, described in YAML.
    #[arg(long, default_value = "xen")]
    pub backend: Backend,
}

/// The host that is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The Xen host that this runs on.
    Xen,
    /// A simulated host.
    Sim(PathBuf),
}

impl std::str::FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "xen" => Ok(Self::Xen),
            Some(("sim", file)) if !file.is_empty() => Ok(Self::Sim(PathBuf::from(file))),
            _ => Err("write `xen` or `sim:FILE`".to_owned()),
        }
    }
}
