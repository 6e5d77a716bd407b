//! `pinfold console`: what was typed.

use super::Socket;
use crate::console::Escape;
use clap::{Args, ValueEnum};

/// `pinfold console`.
#[derive(Debug, Args)]
#[command(after_help = CONSOLE)]
pub struct Console {
    /// `vm/name`, such as `vm/web`.
    pub object: String,
    /// The key that ends it, such as `^]` or `^T`.
    #[arg(short, long, default_value_t)]
    pub escape: Escape,
    /// End with the domain, also when another one follows.
    #[arg(long, conflicts_with = "stay")]
    pub once: bool,
    /// Stay when the VM is off and nothing will start it.
    #[arg(long)]
    pub stay: bool,
    /// Take the console over from whoever has it.
    #[arg(long)]
    pub force: bool,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ConsoleOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

const CONSOLE: &str = "\
A VM that is off, or not made yet, is waited for. When its domain ends, this says when and why, and attaches to \
the next one; it ends when the VM is off and nothing will start it. A console is power over the guest: it takes \
the daemon's `adminGroup`. What the guest prints goes to standard output, everything else to standard error. \
Standard input that is no terminal goes to the guest whole, once it is attached.";

/// How a console is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConsoleOutput {
    /// The guest's bytes as they are.
    #[default]
    Human,
    /// One JSON object a line: events, and what the guest prints.
    Json,
}
