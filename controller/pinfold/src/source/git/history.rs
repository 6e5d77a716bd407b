//! How two commits stand to each other.

use super::mirror::find_commit;
use super::{CommitId, Mirror, MirrorError};
use git2::{ErrorCode, Oid};
use std::collections::HashSet;

/// The most commits that are looked at between the accepted one and the head for the line that lifts a VM's protection. A host that
/// was away for longer refuses the commit; pushing one that shows the line lifted, and a later one that removes the VM, helps it.
pub(in crate::source) const MAX_WALK: usize = 10_000;

/// How a commit stands to an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Same,
    /// It descends from the older one.
    Descends,
    /// It does not.
    Apart {
        /// The last commit that they share.
        merge_base: Option<CommitId>,
    },
}

impl Mirror {
    /// How `candidate` stands to `accepted`.
    ///
    /// # Errors
    /// A commit on the way is missing or damaged.
    pub fn relation(&self, accepted: &CommitId, candidate: &CommitId) -> Result<Relation, MirrorError> {
        if accepted == candidate {
            return Ok(Relation::Same);
        }
        let repository = self.existing()?;
        find_commit(&repository, accepted)?;
        find_commit(&repository, candidate)?;
        let failed = || MirrorError::read("walk the history of", &repository);
        if repository.graph_descendant_of(candidate.oid(), accepted.oid()).map_err(failed())? {
            return Ok(Relation::Descends);
        }
        match repository.merge_base(accepted.oid(), candidate.oid()) {
            Ok(base) => Ok(Relation::Apart { merge_base: Some(base.into()) }),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(Relation::Apart { merge_base: None }),
            Err(error) => Err(failed()(error)),
        }
    }

    /// The commits on the first-parent way from `candidate` back to the first one that `accepted` already contains, newest first, without
    /// both ends; at most [`MAX_WALK`].
    ///
    /// # Errors
    /// A commit on the way is missing or damaged.
    pub(in crate::source) fn between(
        &self,
        accepted: &CommitId,
        candidate: &CommitId,
    ) -> Result<Vec<CommitId>, MirrorError> {
        let repository = self.existing()?;
        let failed = || MirrorError::read("walk the history of", &repository);
        let mut walk = repository.revwalk().map_err(failed())?;
        walk.push(candidate.oid()).and_then(|()| walk.hide(accepted.oid())).map_err(failed())?;
        let new: HashSet<Oid> = walk.collect::<Result<_, _>>().map_err(failed())?;
        let mut way = Vec::new();
        let mut at = candidate.oid();
        while way.len() < MAX_WALK {
            let parent = find_commit(&repository, &at.into())?.parent_ids().next();
            let Some(parent) = parent.filter(|parent| new.contains(parent)) else { break };
            way.push(parent.into());
            at = parent;
        }
        Ok(way)
    }
}
