//! Freezes by hand, and their end.

use super::journal::{Note, Reason};
use super::verb::Verb;
use host::{Moment, Store};
use jiff::SignedDuration;
use planner::freeze::{Frozen, freeze, over};
use planner::record::UpSince;
use planner::{ObjectKind, ObjectRef, Observed, Plan};

/// The longest freeze: what stays as it is for longer belongs into git.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What a verb did: about what, and a sentence.
pub(super) type Done = Result<(Option<ObjectRef>, String), String>;

/// Obeys a verb about freezes. `now` is its moment.
pub(super) fn obey(verb: &Verb, actor: &str, observed: &Observed, plan: &Plan, store: &Store, now: Moment) -> Done {
    match verb {
        Verb::Freeze { what, span, reason } => {
            if reason.trim().is_empty() {
                return Err("say why with --reason: whoever looks at it next wants to know".to_owned());
            }
            let span = SignedDuration::try_from(*span).ok().filter(|span| span.is_positive() && *span <= LONGEST);
            let span = span.ok_or("--for is more than 0 and at most 30d: what is to stay longer belongs into git")?;
            let (object, frozen) = find(what, plan)?;
            // Without an observation nobody knows which boot it is: then the wall clock counts.
            let boot_id = observed.xen.known().map(|xen| xen.hypervisor.boot_id);
            let up = boot_id.map(|boot_id| UpSince { boot_id, ms: now.up_ms });
            let freeze = freeze(object.clone(), span, now.at, up, (actor, reason));
            store.write_freeze(frozen, &freeze).map_err(|error| error.chain())?;
            let said = format!("{object} stays as it is until {:.0}; its guest goes on", freeze.until);
            Ok((Some(object), said))
        }
        Verb::Unfreeze { what } => {
            let (object, frozen) = find(what, plan).or_else(|error| recorded(what, observed).ok_or(error))?;
            if !observed.records.freezes.contains_key(&frozen.key()) {
                return Err(format!("{object} is not frozen itself; `pinfold status` says what is"));
            }
            store.forget_freeze(frozen).map_err(|error| error.chain())?;
            Ok((Some(object.clone()), format!("{object} is not frozen any more")))
        }
        _ => Err("this verb is not about freezes".to_owned()),
    }
}

/// Takes freezes away whose time is over, and says so.
pub(super) fn end(observed: &Observed, store: &Store) -> Vec<Note> {
    let ended = over(observed).into_iter().filter_map(|(key, freeze)| {
        if let Err(error) = store.forget_freeze(Frozen::parse(key)?) {
            tracing::warn!("cannot take a freeze away that is over: {}", error.chain());
            return None;
        }
        let message = format!("the freeze by {} is over: {}", freeze.actor, freeze.reason);
        Some(Note { object: Some(freeze.object.clone()), reason: Reason::Verb, message, actor: None })
    });
    ended.collect()
}

/// An object of the plan, by `kind/name`, or `host`.
pub(super) fn find(what: &str, plan: &Plan) -> Result<(ObjectRef, Frozen), String> {
    let (kind, name) = what.split_once('/').map_or((what, None), |(kind, name)| (kind, Some(name)));
    let is_it = |object: &&ObjectRef| {
        let is_host = kind == "host" && object.kind == ObjectKind::Host && name.is_none();
        is_host || (object.kind.short() == kind && name == Some(object.name.as_str()))
    };
    let Some(object) = plan.objects.iter().map(|status| &status.object).find(is_it) else {
        return Err(format!("there is no {what}; write `vm/NAME`, `cp/NAME` or `host`"));
    };
    let frozen = Frozen::of(object).ok_or_else(|| format!("{object} is not pinfold's: it is never changed"))?;
    Ok((object.clone(), frozen))
}

/// What was frozen under that name, and is not there any more.
fn recorded(what: &str, observed: &Observed) -> Option<(ObjectRef, Frozen)> {
    let freezes = observed.records.freezes.values().filter_map(|freeze| freeze.known());
    let object = freezes.map(|freeze| &freeze.object).find(|object| object.to_string() == what)?;
    Some((object.clone(), Frozen::of(object)?))
}
