//! What people allow and override: `pinfold approve`, `freeze`, `start`, `stop`, `pause`, `restart`, and their ends: what was typed.

use super::Socket;
use clap::Args;

/// `pinfold approve`.
#[derive(Debug, Args)]
pub struct Approve {
    /// The item's id, as `pinfold plan` shows it.
    pub id: String,
    /// Why; kept in the journal.
    #[arg(long)]
    pub reason: String,
    /// How long the approval is good for.
    #[arg(long, default_value = "1d")]
    pub expires: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

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

/// `pinfold start`, `stop`, `pause` and `restart`.
#[derive(Debug, Args)]
pub struct PowerVerb {
    /// The VM: `vm/NAME`.
    pub object: String,
    /// For how long, such as `2h`; at most 30 days. A restart that is not done by then is given up.
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub span: String,
    /// Why; shown wherever the VM is, and kept in the journal.
    #[arg(long)]
    pub reason: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// `pinfold unfreeze` and `pinfold follow`.
#[derive(Debug, Args)]
pub struct Unfreeze {
    /// What: as it was named then, such as `vm/NAME`.
    pub object: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}
