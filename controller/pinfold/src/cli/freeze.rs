//! `pinfold freeze` and `pinfold unfreeze`: what was typed.

use super::Socket;
use clap::Args;

/// `pinfold freeze`.
#[derive(Debug, Args)]
pub struct Freeze {
    /// What: `vm/NAME`, `cp/NAME` (a partition and the VMs in it) or `host`.
    pub object: String,
    /// For how long, such as `2h`; at most 30 days.
    #[arg(long = "for", value_name = "TIME")]
    pub span: String,
    /// Why; shown wherever the object is, and kept in the journal.
    #[arg(long)]
    pub reason: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// `pinfold unfreeze`.
#[derive(Debug, Args)]
pub struct Unfreeze {
    /// What was frozen: `vm/NAME`, `cp/NAME` or `host`.
    pub object: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}
