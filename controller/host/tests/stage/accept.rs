//! Acceptance, as far as it concerns the store: the Pool is pinned and the grants are written before the commit counts.

use host::{Store, StoreError};
use jiff::Timestamp;
use planner::record::{Grant, Grants, OverBudget, RECORD_VERSION};
use schema::desired::Desired;
use schema::units::Name;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Who writes all commits.
pub const AUTHOR: &str = "Ada <ada@example.org>";

pub fn accept(
    store: &Store,
    old: Option<&Desired>,
    new: &Desired,
    commit: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    store.pin_pool(new.pool.id)?;
    let before = store.records().known().and_then(|records| records.grants.as_ref()?.known().cloned());
    let mut grants = before.unwrap_or_else(|| Grants { version: RECORD_VERSION, ..Grants::default() });
    let uuids = objects(new);
    grants.removed.retain(|uuid, _| !uuids.contains_key(uuid));
    if let Some(old) = old {
        let change = schema::change::check(old, new, &schema::Sources::default(), &|_| true);
        let refused = change.findings.iter().find(|finding| finding.severity == schema::Severity::Error);
        assert_eq!(refused, None, "a commit that is refused is no commit");
        let deletions = change.deletions;
        if deletions.is_over_budget() {
            let (removals, budget) = (deletions.count().try_into().unwrap(), deletions.budget.try_into().unwrap());
            grants.over_budget = Some(OverBudget { commit: commit.to_owned(), removals, budget });
        } else {
            if deletions.count() > 0 {
                grants.over_budget = None;
            }
            for (uuid, name) in objects(old).into_iter().filter(|(uuid, _)| !uuids.contains_key(uuid)) {
                grants.removed.insert(
                    uuid,
                    Grant { name, commit: commit.to_owned(), at: now, author: Some(AUTHOR.to_owned()), approved: None },
                );
            }
        }
    }
    store.write_grants(&grants)
}

fn objects(desired: &Desired) -> BTreeMap<Uuid, Name> {
    let id = desired.pool.id;
    let vms = desired.vms.values().map(|vm| (vm.uuid(id), vm.name.clone()));
    let partitions = desired.partitions.values().map(|partition| (partition.uuid(id), partition.name.clone()));
    vms.chain(partitions).collect()
}
