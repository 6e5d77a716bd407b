//! Other toolstacks of dom0 that would stop, save or start domains of ours by themselves. While one would, pinfold changes nothing: what it did
//! would be undone behind its back, and a VM that is saved and restored by other hands is out of its partition.

use crate::status::Report;
use crate::world::World;
use crate::{Disposition, Item};
use protocol::Reading;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What would act, as far as dom0's files say. A toolstack that is not installed, or that would leave our domains alone, is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherToolstack {
    /// Its unit or script, such as `xendomains`.
    pub name: String,
    /// What it would do and when, as the rest of a sentence that begins with the name; or why nobody can tell.
    pub acts: Reading<String>,
    /// Whom it would touch.
    pub reach: Reach,
    /// The command that keeps it from acting, and does nothing else.
    pub fix: String,
}

/// Which domains a toolstack would touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Every domain of the host.
    AllDomains,
    /// Only those that it knows itself, by UUID.
    Domains(BTreeSet<Uuid>),
}

/// Those that would touch a domain or a VM of ours.
pub(crate) fn in_the_way<'a>(world: &World<'a>) -> Vec<&'a OtherToolstack> {
    let is_ours = |uuid: &Uuid| {
        world.vm_record(*uuid).is_some()
            || world.desired.is_some_and(|desired| desired.vms.values().any(|vm| vm.uuid(world.pool_id) == *uuid))
    };
    let touches = |other: &&OtherToolstack| match &other.reach {
        Reach::AllDomains => true,
        Reach::Domains(known) => known.iter().any(is_ours),
    };
    world.observed.dom0.toolstacks.iter().filter(touches).collect()
}

/// One sentence about one of them, without what to do.
pub fn sentence(other: &OtherToolstack) -> String {
    match &other.acts {
        Reading::Known(acts) => format!("{} {acts}", other.name),
        Reading::Unknown(cause) => {
            format!("nobody can say whether {} would act on guests: {}", other.name, cause.message)
        }
    }
}

/// The condition of the host.
pub(crate) fn report(others: &[&OtherToolstack], report: &mut Report) {
    for other in others {
        let message =
            format!("{}; until that is settled, nothing is changed on this host: run `{}`", sentence(other), other.fix);
        report.stalled("OtherToolstack", message);
    }
}

/// What would go now waits.
pub(crate) fn hold(others: &[&OtherToolstack], items: &mut [Item]) {
    let Some(first) = others.first() else { return };
    for item in items.iter_mut().filter(|item| item.disposition == Disposition::Now) {
        let on = format!("{} does not act on this host's guests any more: run `{}`", first.name, first.fix);
        item.disposition = Disposition::Waiting { on };
        item.operation = None;
    }
}
