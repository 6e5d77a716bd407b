//! What a person wants of a VM's power, against its manifest or beyond it, for a while.
//!
//! An override is a declaration of another hand: while it stands, the VM is planned as if its manifest said so. It ends by itself, and then the manifest
//! counts again. One that cannot be read neither starts nor stops anything.

use crate::classify::power_text;
use crate::config::Power;
use crate::draft::{Draft, later, moment};
use crate::patience;
use crate::record::{RECORD_VERSION, UpSince, VmRecord};
use crate::status::Report;
use crate::world::World;
use crate::{Action, Cause, Effect, ObjectRef, Observed};
use jiff::{SignedDuration, Timestamp};
use protocol::{Domain, Reading};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A person's override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The VM.
    pub object: ObjectRef,
    /// What.
    pub kind: OverrideKind,
    /// Since when.
    pub since: Timestamp,
    /// Until when, should nobody set the clock.
    pub until: Timestamp,
    /// When it began, by the clock that nobody sets.
    pub up: Option<UpSince>,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverrideKind {
    /// This counts instead of `spec.power`.
    Power(Power),
    /// This incarnation ends, and the next one is started, with what waits for a start.
    Restart(Uuid),
}

/// An override while it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// `None`: nobody knows what is wanted.
    kind: Option<OverrideKind>,
    since: Timestamp,
    due: Option<Timestamp>,
    /// What, until when, by whom and why, and what ends it.
    message: String,
}

/// An override from now on.
pub fn give(
    object: ObjectRef,
    kind: OverrideKind,
    span: SignedDuration,
    now: Timestamp,
    up: Option<UpSince>,
    by: (&str, &str),
) -> Override {
    let (actor, reason) = (by.0.to_owned(), by.1.to_owned());
    Override { version: RECORD_VERSION, object, kind, since: now, until: later(now, span), up, actor, reason }
}

/// Overrides whose time is over, or that are carried out.
pub fn over(observed: &Observed) -> Vec<(Uuid, &Override)> {
    let boot_id = observed.xen.known().map(|xen| xen.hypervisor.boot_id);
    let up = boot_id.zip(observed.uptime).map(|(boot_id, uptime)| UpSince { boot_id, ms: uptime.ms });
    let is_over = |uuid: Uuid, given: &Override| {
        let is_done = match given.kind {
            OverrideKind::Power(_) => false,
            OverrideKind::Restart(incarnation) => {
                let record = observed.records.vms.get(&uuid).and_then(Reading::known);
                let intent = record.and_then(|record| record.here.intent.as_ref());
                intent.is_some_and(|intent| intent.incarnation != incarnation)
            }
        };
        is_done || patience::lasts(observed.now, up, given.up, given.since, given.until).is_none()
    };
    let overrides = observed.records.overrides.iter().filter_map(|(uuid, given)| Some((*uuid, given.known()?)));
    overrides.filter(|(uuid, given)| is_over(*uuid, given)).collect()
}

/// The override that stands for a VM.
pub(crate) fn of(world: &World, uuid: Uuid) -> Option<Standing> {
    let given = match world.observed.records.overrides.get(&uuid)? {
        Reading::Known(given) => given,
        Reading::Unknown(cause) => {
            let message = format!(
                "its power is overridden, and nobody can say how: {}; until `pinfold follow` it is neither started nor stopped",
                cause.message
            );
            return Some(Standing { kind: None, since: world.observed.now, due: None, message });
        }
    };
    let up = patience::up(world);
    let until = patience::lasts(world.observed.now, up, given.up, given.since, given.until)?;
    let Override { object, kind, actor, reason, .. } = given;
    let end = moment(until);
    let message = match kind {
        OverrideKind::Power(power) => {
            format!("{} until {end} by {actor}: {reason}; `pinfold follow {object}` ends it", power_text(*power))
        }
        OverrideKind::Restart(_) => {
            format!("restart ordered by {actor}: {reason}; given up at {end}, or by `pinfold follow {object}`")
        }
    };
    Some(Standing { kind: Some(*kind), since: given.since, due: Some(until), message })
}

impl Standing {
    /// The power that counts instead of the manifest's.
    pub(crate) fn power(&self, declared: Power, record: Option<&VmRecord>) -> Power {
        match self.kind {
            Some(OverrideKind::Power(power)) => power,
            Some(OverrideKind::Restart(_)) => declared,
            None => record.map_or(Power::Stopped, |record| record.wanted.power),
        }
    }

    /// Whether somebody wants it to run after its guest had switched itself off.
    pub(crate) fn starts_after(&self, off_since: Timestamp) -> bool {
        let runs = matches!(self.kind, Some(OverrideKind::Power(Power::Running | Power::Paused)));
        runs && self.since >= off_since
    }

    /// Whether this very domain is to be restarted.
    pub(crate) fn restarts(&self, domain: &Domain) -> bool {
        match (self.kind, domain.mark) {
            (Some(OverrideKind::Restart(incarnation)), Some(mark)) => mark.incarnation == incarnation,
            _ => false,
        }
    }

    /// Says so, and signs what follows from it.
    pub(crate) fn sign(&self, drafts: &mut [Draft], report: &mut Report) {
        report.overridden(self.message.clone());
        report.ready("Overridden", self.message.clone());
        if let Some(due) = self.due {
            report.due(due);
        }
        for draft in drafts.iter_mut().filter(|draft| is_about_power(draft)) {
            draft.item.cause = Cause::Verb;
            draft.item.reason = format!("{} ({})", draft.item.reason, self.message);
        }
    }
}

/// Whether the override, and not the commit, is behind an item.
fn is_about_power(draft: &Draft) -> bool {
    let item = &draft.item;
    let is_power = matches!(item.action, Action::Start | Action::Stop | Action::Suspend | Action::Resume)
        || item.effect == Effect::Restart
        || item.changes.iter().any(|change| change.field == "spec.power");
    item.cause == Cause::Commit && is_power
}
