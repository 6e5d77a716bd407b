//! `pinfold plan`: live, live with other manifests, or offline with an inventory.

use super::{CommandError, inventory, output};
use crate::api::client;
use crate::api::view::{Head, PlanDocument};
use crate::cli::{DocumentOutput, Plan};
use crate::exit::Exit;
use crate::folder;
use crate::report;
use crate::ui::Ui;
use ::schema::desired::Desired;
use ::schema::render::{self, Colour};
use planner::{Disposition, Observed};
use std::path::Path;

pub(super) fn run(arguments: &Plan, ui: &mut Ui) -> Result<Exit, CommandError> {
    let socket = &arguments.socket.socket;
    // An error of planning is 1, so that 2 and 3 are left for what was planned.
    let failed = |error: CommandError| error.exits(Exit::Negative);
    let waiting = ui.progress("planning");
    let document = match (&arguments.path, &arguments.inventory) {
        (None, _) => client::get(socket, "/v1/plan").map_err(|error| failed(error.into()))?,
        (Some(path), None) => {
            let observed = client::get(socket, "/v1/inventory").map_err(|error| failed(error.into()))?;
            preview(&desired(path, ui).map_err(failed)?, observed)
        }
        (Some(path), Some(file)) => {
            let observed = inventory::read(file).map_err(failed)?;
            preview(&desired(path, ui).map_err(failed)?, observed)
        }
    };
    drop(waiting);
    match arguments.output {
        DocumentOutput::Human => ui.data(&report::plan(&document)),
        DocumentOutput::Json => output::json(ui, &document)?,
        DocumentOutput::Yaml => output::yaml(ui, &document)?,
    }
    Ok(if arguments.detailed_exitcode { detailed(&document.plan) } else { Exit::Ok })
}

/// The configuration, without errors.
fn desired(path: &Path, ui: &mut Ui) -> Result<Desired, CommandError> {
    let tree = folder::read(path).map_err(|error| CommandError::from_error(&error))?;
    let reading = ::schema::read(&tree);
    if let Some(desired) = reading.desired {
        return Ok(desired);
    }
    let colour = if ui.colour() { Colour::Always } else { Colour::Never };
    ui.talk(&render::human_with(&reading.findings, &tree, colour));
    let what = format!("{} is not a valid configuration: {}", path.display(), render::summary(&reading.findings));
    Err(CommandError::new(what).next("correct it; a commit like this would be refused, and nothing would change"))
}

/// What would be planned if these manifests were accepted, on the host as it was observed.
fn preview(desired: &Desired, observed: Observed) -> PlanDocument {
    let observed = crate::preview::accepting(desired, observed);
    let plan = planner::plan(Some(desired), &observed);
    PlanDocument { head: Head::of("Plan"), host: observed.host.to_string(), observed_at: observed.now, plan }
}

fn detailed(plan: &planner::Plan) -> Exit {
    let is_held = |item: &planner::Item| matches!(item.disposition, Disposition::Held { .. });
    match plan.items.as_slice() {
        [] => Exit::Ok,
        items if items.iter().any(is_held) => Exit::Held,
        _ => Exit::Changes,
    }
}
