//! `pinfold adopt`.

use super::manifests::{self, Batch};
use super::{CommandError, inventory};
use crate::api::client;
use crate::cli::Adopt;
use crate::exit::Exit;
use crate::ui::Ui;
use ::schema::Tree;
use planner::Observed;
use protocol::{Domain, DomainState, Observation, Reading};

pub(super) fn run(arguments: &Adopt, ui: &mut Ui) -> Result<Exit, CommandError> {
    let observed: Observed = match &arguments.destination.inventory {
        Some(path) => inventory::read(path)?,
        None => client::get(&arguments.socket.socket, "/v1/inventory")?,
    };
    let unknown = |message: &str| CommandError::new("the host's domains are not known").next(message.to_owned());
    let observation = match &observed.xen {
        Reading::Known(observation) => observation,
        Reading::Unknown(cause) => return Err(unknown(&cause.message)),
    };
    let which = chosen(&arguments.domains, &observed, observation)?;
    if which.is_empty() {
        ui.talk("every domain of this host is pinfold's already");
        return Ok(Exit::Ok);
    }
    let around = manifests::around(&arguments.destination, Some(&observed))?;
    let imported = import::domains(&which, observation, &around.site);
    let vms: Vec<_> = imported.vms.into_iter().map(|(_, vm)| vm).collect();
    let is_any = !vms.is_empty();
    let batch = Batch { networks: imported.networks, vms, findings: imported.findings, sources: Tree::default() };
    let exit = manifests::deliver(around, &batch, &arguments.destination, ui)?;
    if is_any {
        ui.talk("commit them; `pinfold plan` then shows what each claim would change, and `pinfold approve` takes the domain over");
    }
    Ok(exit)
}

/// The domains that are named, or all that are foreign.
fn chosen<'o>(
    names: &[String],
    observed: &Observed,
    observation: &'o Observation,
) -> Result<Vec<&'o Domain>, CommandError> {
    let Reading::Known(domains) = &observation.domains else {
        return Err(CommandError::new("the host's domains are not known").next("see `pinfold status`"));
    };
    let lives = || domains.iter().filter(|domain| domain.state != DomainState::Dying);
    let is_foreign = |domain: &Domain| domain.mark.is_none() && !observed.records.vms.contains_key(&domain.uuid);
    if names.is_empty() {
        return Ok(lives().filter(|domain| is_foreign(domain)).collect());
    }
    names
        .iter()
        .map(|name| {
            let is_named = |domain: &&Domain| domain.name.as_ref() == Some(name) || domain.domid.to_string() == *name;
            let Some(domain) = lives().find(is_named) else {
                let failed = CommandError::new(format!("there is no domain `{name}`"));
                return Err(failed
                    .next("`pinfold get domain` lists those that are not pinfold's")
                    .exits(Exit::Negative));
            };
            if is_foreign(domain) {
                return Ok(domain);
            }
            Err(CommandError::new(format!("domain `{name}` is a VM of a Pool of pinfold already"))
                .exits(Exit::Negative))
        })
        .collect()
}
