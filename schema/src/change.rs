//! The rules about change: what a commit may do to the one accepted before it (design §4, §5).
//!
//! Objects are the same when their identity is, whatever their name: a rename with `formerly` removes nothing. The verdict depends on the two commits alone, so it
//! is the same on every host and in CI.

use crate::desired::{CorePartition, Desired, MaxDeletions, Vm};
use crate::finding::{Finding, Kind, Sources};
use crate::units::Name;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a commit changes, as far as rules speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeReport {
    /// What breaks a rule; an error refuses the commit.
    pub findings: Vec<Finding>,
    /// What the commit removes.
    pub deletions: Deletions,
}

/// What a commit removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Removed VMs, by the name that they have in the accepted commit.
    pub vms: Vec<Name>,
    /// Removed partitions, by the name that they have in the accepted commit.
    pub partitions: Vec<Name>,
    /// How many objects a commit may remove without a person, by the rule of the accepted commit: raising it takes effect with the next one.
    pub budget: usize,
}

impl Deletions {
    /// How many objects are removed.
    pub fn count(&self) -> usize {
        self.vms.len() + self.partitions.len()
    }

    /// More than the budget. That refuses nothing: no object gets a grant, and every removal waits for approval.
    pub fn is_over_budget(&self) -> bool {
        self.count() > self.budget
    }
}

/// Compares a commit with the one accepted before.
///
/// `unprotected` says whether some commit between the two shows that VM, by its name in `accepted`, without `protect: true`.
pub fn check(
    accepted: &Desired,
    candidate: &Desired,
    sources: &Sources,
    unprotected: &dyn Fn(&Name) -> bool,
) -> ChangeReport {
    let mut findings = Vec::new();
    if accepted.pool.id != candidate.pool.id {
        findings.push(pool_id(accepted, candidate, sources));
        // Every identity comes from it: nothing further can be compared.
        return ChangeReport { findings, deletions: Deletions { budget: budget(accepted), ..Deletions::default() } };
    }
    let vms = compare(&accepted.vms, &candidate.vms, |vm| vm.uuid(accepted.pool.id));
    let partitions = compare(&accepted.partitions, &candidate.partitions, |partition| partition.uuid(accepted.pool.id));
    for pair in &vms.kept {
        findings.extend(host_changed(
            Kind::VirtualMachine,
            (pair.0.0, &pair.0.1.host),
            (pair.1.0, &pair.1.1.host),
            sources,
        ));
    }
    for pair in &partitions.kept {
        findings.extend(host_changed(
            Kind::CorePartition,
            (pair.0.0, &pair.0.1.host),
            (pair.1.0, &pair.1.1.host),
            sources,
        ));
    }
    let lost = |kind| move |name: &Name| identity_changed(kind, name, sources);
    findings.extend(vms.other_identity.iter().map(|name| lost(Kind::VirtualMachine)(name)));
    findings.extend(partitions.other_identity.iter().map(|name| lost(Kind::CorePartition)(name)));
    findings.extend(
        vms.removed.iter().filter(|(name, vm)| vm.protect && !unprotected(name)).map(|(name, _)| protected(name)),
    );
    findings.extend(renamed(Kind::VirtualMachine, &vms, same_vm, sources));
    findings.extend(renamed(Kind::CorePartition, &partitions, same_partition, sources));
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    let deletions =
        Deletions { vms: names(&vms.removed), partitions: names(&partitions.removed), budget: budget(accepted) };
    ChangeReport { findings, deletions }
}

/// How many objects one commit may remove from this one without a person.
pub fn budget(accepted: &Desired) -> usize {
    match accepted.pool.changes.max_deletions {
        MaxDeletions::Count(count) => count as usize,
        MaxDeletions::Percent(percent) => (accepted.countable() * usize::from(percent) / 100).max(1),
    }
}

type Named<'d, T> = (&'d Name, &'d T);

/// The objects of one kind in two commits.
struct Comparison<'d, T> {
    /// In both, as they were and as they are.
    kept: Vec<(Named<'d, T>, Named<'d, T>)>,
    removed: Vec<Named<'d, T>>,
    added: Vec<Named<'d, T>>,
    /// Names that stand for another identity now.
    other_identity: Vec<&'d Name>,
}

fn compare<'d, T>(
    accepted: &'d BTreeMap<Name, T>,
    candidate: &'d BTreeMap<Name, T>,
    identity: impl Fn(&T) -> Uuid,
) -> Comparison<'d, T> {
    let before: BTreeMap<Uuid, Named<'d, T>> = accepted.iter().map(|object| (identity(object.1), object)).collect();
    let after: BTreeMap<Uuid, Named<'d, T>> = candidate.iter().map(|object| (identity(object.1), object)).collect();
    let mut comparison =
        Comparison { kept: Vec::new(), removed: Vec::new(), added: Vec::new(), other_identity: Vec::new() };
    for (id, old) in &before {
        match after.get(id) {
            Some(new) => comparison.kept.push((*old, *new)),
            // The name is still there, and nobody says that it is a new object: its identity was changed in place.
            None if candidate.contains_key(old.0) => comparison.other_identity.push(old.0),
            None => comparison.removed.push(*old),
        }
    }
    let is_new = |(id, new): &(&Uuid, &Named<'d, T>)| !before.contains_key(*id) && !accepted.contains_key(new.0);
    comparison.added = after.iter().filter(is_new).map(|(_, new)| *new).collect();
    comparison.removed.sort_by_key(|(name, _)| *name);
    comparison.added.sort_by_key(|(name, _)| *name);
    comparison.other_identity.sort();
    comparison
}

fn names<T>(objects: &[Named<'_, T>]) -> Vec<Name> {
    objects.iter().map(|(name, _)| (*name).clone()).collect()
}

fn pool_id(accepted: &Desired, candidate: &Desired, sources: &Sources) -> Finding {
    let message = format!("the pool's id changes from {} to {}", accepted.pool.id, candidate.pool.id);
    let mut finding =
        Finding::error("pool-id-changed", message).help("restore the id: every VM's identity is made from it");
    finding.location = sources.get(Kind::Pool, &candidate.pool.name).cloned();
    finding
}

fn host_changed(
    kind: Kind,
    (_, old): (&Name, &Name),
    (name, new): (&Name, &Name),
    sources: &Sources,
) -> Option<Finding> {
    if old == new {
        return None;
    }
    let noun = kind.noun();
    let mut finding = Finding::error("host-changed", format!("{noun} `{name}` moves from host `{old}` to `{new}`")).help(match kind {
        Kind::CorePartition => "remove the partition in one commit, and declare it on the other host in a later one".to_owned(),
        _ => format!(
            "hosts do not hand VMs over to each other yet: set `power: stopped`, wait until `{old}` reports it stopped, remove the manifest in a further commit, \
             move its disks, then declare it on `{new}`"
        ),
    });
    finding.location = sources.field(kind, name, "spec.host").cloned();
    finding.label = Some(format!("was `{old}`"));
    Some(finding)
}

fn identity_changed(kind: Kind, name: &Name, sources: &Sources) -> Finding {
    let noun = kind.noun();
    let message = format!("{noun} `{name}` would become another {noun} under the same name");
    let mut finding = Finding::error("identity-changed", message).help(match kind {
        Kind::VirtualMachine => "restore `spec.formerly` and `spec.uuid`: the first name, or the UUID, is its identity for life; a new VM takes a new name",
        _ => "restore `spec.formerly`: the first name is its identity for life; a new partition takes a new name",
    });
    finding.location = sources.get(kind, name).cloned();
    finding
}

fn protected(name: &Name) -> Finding {
    Finding::error("protected", format!("VM `{name}` is protected, and this commit removes it")).help(
        "restore its manifest; to remove it, first commit it without `protect: true`, then remove it in a later commit",
    )
}

/// One object removed and another added that differ in their name alone: a rename that would delete.
fn renamed<T: Clone>(
    kind: Kind,
    comparison: &Comparison<'_, T>,
    is_same: fn(&T, &T) -> bool,
    sources: &Sources,
) -> Vec<Finding> {
    /// Comparing every pair of a mass change would help nobody.
    const MOST: usize = 100;
    let mut findings = Vec::new();
    for (old_name, old) in comparison.removed.iter().take(MOST) {
        let Some((name, _)) = comparison.added.iter().take(MOST).find(|(_, new)| is_same(old, new)) else { continue };
        let noun = kind.noun();
        let message = format!(
            "{noun} `{name}` looks like `{old_name}` under a new name; as it stands, `{old_name}` is removed and `{name}` made anew"
        );
        let mut finding = Finding::warning("looks-renamed", message)
            .help(format!("to rename it, add `formerly: [{old_name}]` to its `spec`"));
        finding.location = sources.get(kind, name).cloned();
        findings.push(finding);
    }
    findings
}

fn same_vm(old: &Vm, new: &Vm) -> bool {
    new.formerly.is_empty() && *old == Vm { name: old.name.clone(), formerly: old.formerly.clone(), ..new.clone() }
}

fn same_partition(old: &CorePartition, new: &CorePartition) -> bool {
    new.formerly.is_empty() && old.host == new.host && old.cores == new.cores
}

#[cfg(test)]
mod tests;
