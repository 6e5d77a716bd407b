//! `pinfold events`: what was typed.

use super::{DocumentOutput, Socket};
use clap::Args;

/// `pinfold events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Only those of one object, such as `vm/web`.
    #[arg(long = "for", value_name = "OBJECT")]
    pub object: Option<String>,
    /// The most to show, newest kept.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Only those from this moment on: `2026-03-01T08:00:00Z`, or how long ago: `90s`, `12h`, `14d`.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Go on with what happens next, until interrupted; with `-o json` one event a line.
    #[arg(short = 'w', long)]
    pub follow: bool,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DocumentOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}
