//! What an accepted commit may remove: counted once, at acceptance, and on disk before the accepted ref moves.
//!
//! Pure and idempotent: a daemon that dies between writing the grants and moving the ref computes the same ones again. Until then
//! they harm nothing, because the commit in force still has the objects.

use crate::source::judge::Accept;
use jiff::Timestamp;
use planner::record::{Grant, Grants, OverBudget, RECORD_VERSION};

/// The grants that hold once this commit is in force.
///
/// `before` are those that hold now; `None` when there are none or they cannot be read, which revokes them all: what has neither a file nor
/// a grant waits for a person.
pub fn prepare(accept: &Accept, before: Option<&Grants>, now: Timestamp) -> Grants {
    let commit = accept.commit.id.as_str();
    let kept = before.into_iter().flat_map(|grants| &grants.removed).map(|(uuid, grant)| (*uuid, grant.clone()));
    let mut removed: std::collections::BTreeMap<_, _> =
        kept.filter(|(uuid, _)| !accept.present.contains(uuid)).collect();
    let mut over_budget = None;
    let going = accept.removed.iter().filter(|object| !accept.present.contains(&object.uuid));
    if accept.is_over_budget() {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (removals, budget) = (count(accept.removed.len()), count(accept.budget));
        over_budget = Some(OverBudget { commit: commit.to_owned(), removals, budget });
        // A daemon with another budget in an earlier life may have granted them for this very commit.
        going.for_each(|object| drop(removed.remove(&object.uuid)));
    } else {
        for object in going {
            let grant = Grant {
                name: object.name.clone(),
                commit: commit.to_owned(),
                at: now,
                author: Some(accept.commit.author.clone()),
                approved: None,
            };
            // The same commit again, after a crash: the grant is as old as its first writing.
            if removed.get(&object.uuid).is_none_or(|old| old.commit != commit) {
                removed.insert(object.uuid, grant);
            }
        }
    }
    Grants { version: RECORD_VERSION, removed, over_budget }
}
