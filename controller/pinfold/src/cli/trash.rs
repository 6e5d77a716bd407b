//! `pinfold trash`: what was typed.

use super::{DocumentOutput, Socket};
use clap::{Args, Subcommand};

/// `pinfold trash`.
#[derive(Debug, Args)]
pub struct Trash {
    /// What to do there.
    #[command(subcommand)]
    pub command: TrashCommand,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// What can be done with the trash.
#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// Lists the VMs in it: removed when and by whom, purged when, and what their disks were.
    List {
        /// How to say it.
        #[arg(short, long, value_enum, default_value_t)]
        output: DocumentOutput,
    },
    /// Brings a VM back, as it was, with the disks that it had. Restoring its file in git does the same.
    Restore {
        /// Its name, its UUID, or its folder in the trash.
        what: String,
        /// Why; kept in the journal.
        #[arg(long)]
        reason: String,
        /// With the disks as they are now, whatever they were.
        #[arg(long)]
        any_disks: bool,
    },
    /// Takes VMs away for good, before their date. Disks are never touched.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Purge {
        /// Its name, its UUID, or its folder in the trash.
        #[arg(group = "which")]
        what: Option<String>,
        /// All that were removed before this day (UTC), such as `2026-03-01`.
        #[arg(long, value_name = "DATE", group = "which")]
        older_than: Option<String>,
        /// Why; kept in the journal.
        #[arg(long)]
        reason: String,
    },
}
