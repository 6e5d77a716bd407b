//! What may be taken away: by a grant that acceptance stored, or by a person's approval of the held item.

use crate::draft::Draft;
use crate::record::{Approval, Grant};
use crate::world::World;
use crate::{Action, ObjectRef, RecordEdit, digest};
use schema::units::Name;
use uuid::Uuid;

/// What becomes of an object of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The commit declares it.
    Declared,
    /// The commit cannot be read: it stays as it was last wanted.
    Recorded,
    /// The commit does not declare it, and nobody allowed to remove it: it stays as it was last wanted.
    Orphaned {
        /// What would let it be removed.
        until: String,
    },
    /// It is to be removed.
    Removed,
}

/// The fate of an object that has a record and is not declared, and what to write with the first step of its removal.
pub(crate) fn fate(world: &World, object: &ObjectRef, uuid: Uuid, name: &Name) -> (Fate, Vec<RecordEdit>) {
    if world.desired.is_none() {
        return (Fate::Recorded, Vec::new());
    }
    let id = removal_id(object);
    let approved = world.approval(&id).map(Approval::given);
    if world.grant(uuid).is_some_and(|grant| grant.approved.is_some() || approved.is_none()) {
        return (Fate::Removed, Vec::new());
    }
    match world.grants() {
        Some(mut grants) if approved.is_some() => {
            // The approval becomes a grant, so that it lasts as long as the removal takes.
            let commit = world.commit().unwrap_or_default();
            let (at, author) = (world.observed.now, world.trail().author);
            grants.removed.insert(uuid, Grant { name: name.clone(), commit, at, author, approved });
            (Fate::Removed, vec![RecordEdit::Grants(grants), RecordEdit::UseApproval(id)])
        }
        Some(_) => (Fate::Orphaned { until: orphan_until(world, &id) }, Vec::new()),
        None => (
            Fate::Orphaned { until: format!("the record of grants cannot be read: {}", grants_unknown(world)) },
            Vec::new(),
        ),
    }
}

fn grants_unknown<'a>(world: &World<'a>) -> &'a str {
    match &world.observed.records.grants {
        Some(protocol::Reading::Unknown(cause)) => &cause.message,
        _ => "",
    }
}

/// The same item, signed by whoever is behind the removal: the commit that was granted it, or the person who approved it.
pub(crate) fn signed(world: &World, mut draft: Draft) -> Draft {
    let object = &draft.item.object;
    if let Some(grant) = object.uuid.and_then(|uuid| world.grant(uuid)) {
        draft.item.trail.author.clone_from(&grant.author);
        draft.item.commit = Some(grant.commit.clone()).filter(|commit| !commit.is_empty());
        draft.approved(grant.approved.clone())
    } else {
        let approved = world.approval(&removal_id(object)).map(Approval::given);
        draft.approved(approved)
    }
}

/// The id of the item that removes an object, in each of its phases.
pub(crate) fn removal_id(object: &ObjectRef) -> String {
    digest::item_id(object, Action::Delete, &[])
}

fn orphan_until(world: &World, id: &str) -> String {
    match world.over_budget() {
        Some(_) => format!("{}; `pinfold approve {id}` removes it", over_budget_text(world)),
        None => format!(
            "it has no manifest and no commit was allowed to remove it (orphaned); `pinfold approve {id}` removes it, restoring its file keeps it"
        ),
    }
}

/// Why a destructive item of the accepted commit is held; empty when it is within budget.
pub(crate) fn over_budget_text(world: &World) -> String {
    world.over_budget().map_or_else(String::new, |over| {
        let commit: String = over.commit.chars().take(12).collect();
        format!(
            "commit {commit} removes {} objects and its budget is {} (`spec.changes.maxDeletions`)",
            over.removals, over.budget
        )
    })
}
