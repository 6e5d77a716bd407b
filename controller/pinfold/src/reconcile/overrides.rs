//! Overrides of a VM's power, and their end.

use super::freeze::{Done, find};
use super::journal::{Note, Reason};
use super::verb::Verb;
use host::{Moment, Store};
use jiff::SignedDuration;
use planner::config::Power;
use planner::freeze::Frozen;
use planner::overrides::{OverrideKind, give, over};
use planner::record::UpSince;
use planner::{ConditionKind, ObjectRef, Observed, Plan};
use protocol::DomainState;
use uuid::Uuid;

/// The longest override: what is to be so for longer belongs into git.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Obeys a verb about a VM's power. `now` is its moment.
pub(super) fn obey(verb: &Verb, actor: &str, observed: &Observed, plan: &Plan, store: &Store, now: Moment) -> Done {
    match verb {
        Verb::Power { what, power, span, reason } => {
            if reason.trim().is_empty() {
                return Err("say why with --reason: whoever looks at it next wants to know".to_owned());
            }
            let span = SignedDuration::try_from(*span).ok().filter(|span| span.is_positive() && *span <= LONGEST);
            let span =
                span.ok_or("--for is more than 0 and at most 30d: what is to be so for longer belongs into git")?;
            let (object, uuid) = vm(what, plan)?;
            may_be_overridden(&object, plan)?;
            let kind = match power {
                Some(power) => OverrideKind::Power(*power),
                None => OverrideKind::Restart(incarnation(&object, uuid, observed)?),
            };
            let boot_id = observed.xen.known().map(|xen| xen.hypervisor.boot_id);
            let up = boot_id.map(|boot_id| UpSince { boot_id, ms: now.up_ms });
            let given = give(object.clone(), kind, span, now.at, up, (actor, reason));
            store.write_override(uuid, &given).map_err(|error| error.chain())?;
            let until = given.until;
            let said = match power {
                Some(Power::Running) => format!("{object} runs until {until:.0}, and then follows its manifest again"),
                Some(Power::Paused) => {
                    format!("{object} is paused until {until:.0}, and then follows its manifest again")
                }
                Some(_) => format!("{object} is stopped until {until:.0}, and then follows its manifest again"),
                None => format!("{object} is restarted; its guest is asked to power off"),
            };
            Ok((Some(object), said))
        }
        Verb::Follow { what } => {
            let (object, uuid) = vm(what, plan)?;
            if !observed.records.overrides.contains_key(&uuid) {
                return Err(format!("{object} follows its manifest: nobody overrides it"));
            }
            store.forget_override(uuid).map_err(|error| error.chain())?;
            Ok((Some(object.clone()), format!("{object} follows its manifest again")))
        }
        _ => Err("this verb is not about power".to_owned()),
    }
}

/// Takes overrides away whose time is over, or that are carried out, and says so.
pub(super) fn end(observed: &Observed, store: &Store) -> Vec<Note> {
    let ended = over(observed).into_iter().filter_map(|(uuid, given)| {
        if let Err(error) = store.forget_override(uuid) {
            tracing::warn!("cannot take an override away that is over: {}", error.chain());
            return None;
        }
        let message = format!("the override by {} is over: {}", given.actor, given.reason);
        Some(Note { object: Some(given.object.clone()), reason: Reason::Verb, message, actor: None })
    });
    ended.collect()
}

fn vm(what: &str, plan: &Plan) -> Result<(ObjectRef, Uuid), String> {
    match find(what, plan)? {
        (object, Frozen::Vm(uuid)) => Ok((object, uuid)),
        (object, _) => Err(format!("{object} is no VM: write `vm/NAME`")),
    }
}

fn may_be_overridden(object: &ObjectRef, plan: &Plan) -> Result<(), String> {
    let status = plan.objects.iter().find(|status| status.object == *object);
    let frozen = status.and_then(|status| status.conditions.iter().find(|one| one.kind == ConditionKind::Frozen));
    match frozen {
        Some(frozen) => Err(format!("{object} is {}", frozen.message)),
        None => Ok(()),
    }
}

/// The incarnation that runs.
fn incarnation(object: &ObjectRef, uuid: Uuid, observed: &Observed) -> Result<Uuid, String> {
    let domains = observed.xen.known().and_then(|xen| xen.domains.known());
    let domains = domains.ok_or("the host's domains are not known at present; try again")?;
    let is_alive = |state| matches!(state, DomainState::Running | DomainState::Paused);
    let mark = domains.iter().filter(|domain| domain.uuid == uuid && is_alive(domain.state)).find_map(|one| one.mark);
    mark.map(|mark| mark.incarnation)
        .ok_or_else(|| format!("{object} does not run; `pinfold start {object}` starts it"))
}
