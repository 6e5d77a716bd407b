//! What accepting a configuration would write down before its plan is made: the grants for what it removes.
//!
//! A preview must show what the daemon would do. The daemon compares two commits over the whole Pool; a preview has one configuration and one
//! host's inventory, so it counts what that host has a record of, and says the same whenever one host is the whole Pool.

use planner::Observed;
use planner::record::{Grant, Grants, OverBudget, RECORD_VERSION};
use protocol::Reading;
use schema::desired::{Desired, MaxDeletions};
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The name of a commit that does not exist yet.
const PREVIEW: &str = "preview";

/// The observation as it would be after these manifests were accepted.
pub fn accepting(desired: &Desired, mut observed: Observed) -> Observed {
    // Unreadable grants stay unreadable: then nothing is removed.
    let mut grants = match observed.records.grants.take() {
        Some(Reading::Known(grants)) => grants,
        None => Grants { version: RECORD_VERSION, ..Grants::default() },
        unknown => {
            observed.records.grants = unknown;
            return observed;
        }
    };
    let removed = removed(desired, &observed);
    grants.removed.retain(|uuid, _| removed.contains_key(uuid));
    let new: Vec<(Uuid, Name)> = removed.into_iter().filter(|(uuid, _)| !grants.removed.contains_key(uuid)).collect();
    let known = observed.records.vms.len() + observed.records.partitions.len();
    let budget = budget(desired.pool.changes.max_deletions, known);
    let removals = u32::try_from(new.len()).unwrap_or(u32::MAX);
    if grants.over_budget.is_some() {
        // What the commit in force removes is held, and one host's inventory does not tell that from what these manifests remove.
    } else if removals > budget {
        grants.over_budget = Some(OverBudget { commit: PREVIEW.to_owned(), removals, budget });
    } else {
        let at = observed.now;
        grants.removed.extend(
            new.into_iter().map(|(uuid, name)| {
                (uuid, Grant { name, commit: PREVIEW.to_owned(), at, author: None, approved: None })
            }),
        );
    }
    observed.records.grants = Some(Reading::Known(grants));
    observed
}

/// Ours, and in no manifest.
fn removed(desired: &Desired, observed: &Observed) -> BTreeMap<Uuid, Name> {
    let pool = desired.pool.id;
    let vms = observed.records.vms.values().filter_map(Reading::known).map(|record| (record.uuid, record.name.clone()));
    let partitions = observed.records.partitions.values().filter_map(Reading::known);
    let partitions = partitions.map(|record| (record.uuid, record.name.clone()));
    // The record wins over what would be derived: a VM is declared under any name it ever had.
    let names =
        desired.vms.values().flat_map(|vm| std::iter::once(&vm.name).chain(&vm.formerly)).collect::<BTreeSet<_>>();
    let vm_ids: BTreeSet<Uuid> = desired.vms.values().map(|vm| vm.uuid(pool)).collect();
    let partition_ids: BTreeSet<Uuid> = desired.partitions.values().map(|partition| partition.uuid(pool)).collect();
    let vms = vms.filter(|(uuid, name)| !vm_ids.contains(uuid) && !names.contains(name));
    vms.chain(partitions.filter(|(uuid, _)| !partition_ids.contains(uuid))).collect()
}

fn budget(rule: MaxDeletions, known: usize) -> u32 {
    match rule {
        MaxDeletions::Count(count) => count,
        MaxDeletions::Percent(percent) => {
            let share = known.saturating_mul(usize::from(percent)) / 100;
            u32::try_from(share).unwrap_or(u32::MAX).max(1)
        }
    }
}
