//! `pinfold inventory`.

use super::CommandError;
use crate::api::client;
use crate::cli::Inventory;
use crate::exit::Exit;
use crate::ui::Ui;
use planner::Observed;
use planner::observed::INVENTORY_VERSION;
use std::path::Path;

pub(super) fn run(arguments: &Inventory, ui: &mut Ui) -> Result<Exit, CommandError> {
    let observed: Observed = client::get(&arguments.socket.socket, "/v1/inventory")?;
    super::output::json(ui, &observed)?;
    Ok(Exit::Ok)
}

/// Reads what `pinfold inventory` wrote.
pub(super) fn read(path: &Path) -> Result<Observed, CommandError> {
    let failed = |error: &dyn std::error::Error| {
        CommandError::new(format!("cannot read the inventory {}", path.display()))
            .because(error)
            .next("write it with `pinfold inventory` on the host")
    };
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    // The version first: a newer inventory may not be readable at all.
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    if version > INVENTORY_VERSION {
        let what =
            format!("the inventory {} has version {version}; this pinfold reads {INVENTORY_VERSION}", path.display());
        return Err(CommandError::new(what).next("use a pinfold at least as new as the host's"));
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}
