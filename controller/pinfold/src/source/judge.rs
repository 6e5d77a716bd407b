//! The verdict on the head of the branch, from what is in the mirror alone.
//!
//! Acceptance depends on git alone: two hosts with the same two commits give the same verdict. What a host lacks is not looked at here.

use crate::source::git::{Accepted, CommitFacts, CommitId, Mirror, MirrorError, Relation};
use crate::source::ledger::Permit;
use crate::source::settings::SubPath;
use schema::desired::{Desired, Vm};
use schema::finding::{Finding, Severity};
use schema::units::Name;
use schema::{Reading, change};
use std::cell::RefCell;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What becomes of the head of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was ever fetched.
    Missing,
    /// It is the accepted commit.
    Unchanged {
        /// The commit.
        commit: CommitId,
    },
    /// It may be put into force.
    Accept(Box<Accept>),
    /// It has errors.
    Refuse {
        /// The commit.
        commit: CommitFacts,
        /// All of them, and the warnings.
        findings: Vec<Finding>,
    },
    /// It does not descend from the accepted commit: the branch was rewritten or put back.
    NotDescendant {
        /// The commit.
        commit: CommitFacts,
        /// The accepted commit.
        accepted: CommitId,
        /// The last commit that they share.
        merge_base: Option<CommitId>,
    },
    /// Whether it descends from the accepted commit cannot be told: that one is lost here, and the repository does not have it any more.
    AcceptedLost {
        /// The commit.
        commit: CommitFacts,
        /// The accepted commit.
        accepted: CommitId,
    },
}

/// A commit that may be put into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The commit.
    pub commit: CommitFacts,
    /// The commit in force until now.
    pub previous: Option<CommitId>,
    /// What it says.
    pub desired: Desired,
    /// Warnings.
    pub findings: Vec<Finding>,
    /// What it removes.
    pub removed: Vec<Removed>,
    /// How many objects it may remove without a person.
    pub budget: usize,
    /// The identity of everything in it: what is in it again is not removed.
    pub present: BTreeSet<Uuid>,
    /// What allows it although it does not descend from the commit in force.
    pub permit: Option<Permit>,
}

/// An object that a commit removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its name until now.
    pub name: Name,
    /// Its identity.
    pub uuid: Uuid,
}

impl Accept {
    /// Whether it removes more than it may: then each removal waits for a person.
    pub fn is_over_budget(&self) -> bool {
        self.removed.len() > self.budget
    }
}

/// What a commit says.
///
/// # Errors
/// The mirror does not have it, or cannot be read.
pub fn desired_at(mirror: &Mirror, commit: &CommitId, path: &SubPath) -> Result<Reading, MirrorError> {
    let at = mirror.tree_at(commit, path)?;
    let mut reading = match at.digest {
        Some(_) => schema::read(&at.tree),
        // What an empty tree would be told as well says nothing new.
        None => Reading { desired: None, findings: Vec::new(), sources: schema::Sources::default() },
    };
    if at.findings.iter().any(is_error) {
        reading.desired = None;
    }
    reading.findings.extend(at.findings);
    Ok(reading)
}

/// Judges the head of the branch. `uuid_of` gives the identity of a VM that has a record on this host, by its name there.
///
/// # Errors
/// The mirror cannot be read.
pub fn judge(
    mirror: &Mirror,
    path: &SubPath,
    permit: Option<&Permit>,
    uuid_of: &dyn Fn(&Name) -> Option<Uuid>,
) -> Result<Verdict, MirrorError> {
    let Some(candidate) = mirror.candidate()? else { return Ok(Verdict::Missing) };
    let permit = permit.filter(|permit| permit.commit == candidate);
    let commit = || mirror.facts(&candidate);
    let previous = match mirror.accepted()? {
        Accepted::Never => None,
        Accepted::At(accepted) => match mirror.relation(&accepted, &candidate)? {
            Relation::Same => return Ok(Verdict::Unchanged { commit: candidate }),
            Relation::Apart { merge_base } if permit.is_none() => {
                return Ok(Verdict::NotDescendant { commit: commit()?, accepted, merge_base });
            }
            Relation::Descends | Relation::Apart { .. } => Some((accepted, true)),
        },
        Accepted::Lost(accepted) if permit.is_none() => {
            return Ok(Verdict::AcceptedLost { commit: commit()?, accepted });
        }
        Accepted::Lost(accepted) => Some((accepted, false)),
    };

    let Reading { desired, mut findings, sources } = desired_at(mirror, &candidate, path)?;
    let Some(desired) = desired else { return Ok(Verdict::Refuse { commit: commit()?, findings }) };
    let before = match &previous {
        Some((accepted, true)) => desired_at(mirror, accepted, path)?.desired.map(|before| (accepted, before)),
        Some((_, false)) | None => None,
    };
    let (mut removed, mut budget) = (Vec::new(), 0);
    // Without a readable accepted commit nothing is known to be removed: no object gets a grant, so that what has no file is held.
    if let Some((accepted, before)) = before {
        let history =
            History { mirror, path, accepted, candidate: &candidate, before: &before, failed: RefCell::default() };
        let report = change::check(&before, &desired, &sources, &|name| history.shows_unprotected(name));
        if let Some(error) = history.failed.into_inner() {
            return Err(error);
        }
        findings.extend(report.findings);
        if findings.iter().any(is_error) {
            return Ok(Verdict::Refuse { commit: commit()?, findings });
        }
        budget = report.deletions.budget;
        removed = removals(&before, &report.deletions, uuid_of);
    }
    Ok(Verdict::Accept(Box::new(Accept {
        commit: commit()?,
        previous: previous.map(|(accepted, _)| accepted),
        present: present(&desired, uuid_of),
        desired,
        findings,
        removed,
        budget,
        permit: permit.cloned(),
    })))
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

fn removals(before: &Desired, deletions: &change::Deletions, uuid_of: &dyn Fn(&Name) -> Option<Uuid>) -> Vec<Removed> {
    let pool = before.pool.id;
    let vms = deletions.vms.iter().filter_map(|name| before.vms.get(name));
    let vms = vms.map(|vm| Removed { name: vm.name.clone(), uuid: uuid_of(&vm.name).unwrap_or_else(|| vm.uuid(pool)) });
    let partitions = deletions.partitions.iter().filter_map(|name| before.partitions.get(name));
    vms.chain(partitions.map(|partition| Removed { name: partition.name.clone(), uuid: partition.uuid(pool) }))
        .collect()
}

/// Every identity that an object of the commit may have: of its record, under its name or a former one, and by its manifest.
fn present(desired: &Desired, uuid_of: &dyn Fn(&Name) -> Option<Uuid>) -> BTreeSet<Uuid> {
    let pool = desired.pool.id;
    let of_vm = |vm: &Vm| {
        let recorded = std::iter::once(&vm.name).chain(&vm.formerly).filter_map(uuid_of);
        recorded.chain([vm.uuid(pool)]).collect::<Vec<_>>()
    };
    desired
        .vms
        .values()
        .flat_map(of_vm)
        .chain(desired.partitions.values().map(|partition| partition.uuid(pool)))
        .collect()
}

/// The way from the accepted commit to the head, looked at only when a protected VM is removed.
struct History<'h> {
    mirror: &'h Mirror,
    path: &'h SubPath,
    accepted: &'h CommitId,
    candidate: &'h CommitId,
    before: &'h Desired,
    failed: RefCell<Option<MirrorError>>,
}

impl History<'_> {
    /// Whether some commit on the first-parent way shows this VM, whole and without `protect`.
    fn shows_unprotected(&self, name: &Name) -> bool {
        self.look(name).unwrap_or_else(|error| {
            self.failed.replace(Some(error));
            false
        })
    }

    fn look(&self, name: &Name) -> Result<bool, MirrorError> {
        let pool = self.before.pool.id;
        let Some(identity) = self.before.vms.get(name).map(|vm| vm.uuid(pool)) else { return Ok(false) };
        let mut last = None;
        for commit in self.mirror.between(self.accepted, self.candidate)? {
            let digest = self.mirror.digest_at(&commit, self.path)?;
            // Commits to other folders, and a commit and its revert's neighbour, hold the same files.
            if digest.is_none() || digest == last {
                continue;
            }
            last = digest;
            let desired = desired_at(self.mirror, &commit, self.path)?.desired;
            let shown = desired.iter().flat_map(|desired| desired.vms.values()).find(|vm| vm.uuid(pool) == identity);
            if shown.is_some_and(|vm| !vm.protect) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
