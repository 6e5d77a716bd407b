//! `pinfold top`: what was typed.

use super::Socket;
use clap::{Args, ValueEnum};

/// `pinfold top`.
#[derive(Debug, Args)]
#[command(after_help = TOP)]
pub struct Top {
    /// How many times to look; for ever on a terminal, once otherwise.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub number: Option<u64>,
    /// From one look to the next, at least `1s`.
    #[arg(short, long, default_value = "2s")]
    pub interval: String,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: TopOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

const TOP: &str = "\
CPU% is of one pCPU: a VM with two busy vCPUs has 200. Disk and network are of dom0's backends, in bytes a second, as the \
guest sees them. `-` is unknown: a device without counters (one that QEMU serves), or a domain that has just begun.";

/// How usage is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TopOutput {
    /// A table.
    #[default]
    Human,
    /// One versioned JSON document a line for each look.
    Json,
}
