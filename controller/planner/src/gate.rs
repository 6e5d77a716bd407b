//! What keeps an object as it is: a person's freeze, or a mode that does not enforce.

use crate::draft::Draft;
use crate::record::Approval;
use crate::status::Report;
use crate::world::World;
use crate::{Action, Cause, Disposition, Item, RecordEdit, Work};
use jiff::Timestamp;

/// Why it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A person froze it. No approval lets anything through: what takes several steps would stop half-way.
    Frozen,
    /// `spec.mode: observe`.
    Observe,
    /// `spec.mode: plan`.
    Plan,
}

/// One such reason.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) rule: Rule,
    /// Why, and what ends it.
    pub(crate) message: String,
    /// When it ends by itself.
    pub(crate) due: Option<Timestamp>,
}

impl Gate {
    /// Says so.
    pub(crate) fn report(&self, report: &mut Report) {
        match self.rule {
            Rule::Frozen => report.frozen(self.message.clone()),
            Rule::Observe => report.not_enforced("Observe", self.message.clone()),
            Rule::Plan => report.not_enforced("Plan", self.message.clone()),
        }
        if let Some(due) = self.due {
            report.due(due);
        }
    }

    /// What would go waits, for the end of it or, in mode `plan`, for a person.
    pub(crate) fn hold(&self, world: &World, draft: Draft) -> Draft {
        let waits = matches!(draft.item.disposition, Disposition::Now | Disposition::Waiting { .. });
        if !waits || (self.rule == Rule::Observe && only_writes_down(&draft.item)) {
            return draft;
        }
        if self.rule != Rule::Plan {
            return draft.held(self.message.clone());
        }
        let id = draft.item.id.clone();
        match world.approval(&id) {
            Some(approval) => let_through(draft, approval),
            None => draft.held(format!("{}; `pinfold approve {id}` does it", self.message)),
        }
    }

    /// What follows from the records alone goes on, but for the repair of what other hands changed, and for the end of what looks half-made: it
    /// may be another tool's work, which is what a freeze is for. Where pinfold only observes, nothing does.
    pub(crate) fn as_it_stays(&self, world: &World, draft: Draft) -> Draft {
        match self.rule {
            Rule::Frozen if draft.item.action == Action::CleanUp => self.hold(world, draft),
            Rule::Frozen | Rule::Plan if draft.item.cause != Cause::Drift => draft,
            Rule::Frozen | Rule::Plan | Rule::Observe => self.hold(world, draft),
        }
    }
}

/// An item that a person allowed. The approval is used up when it is done: until then it is tried again.
pub(crate) fn let_through(mut draft: Draft, approval: &Approval) -> Draft {
    let id = draft.item.id.clone();
    if let Some(operation) = &mut draft.item.operation {
        operation.on_success.push(RecordEdit::UseApproval(id));
    }
    draft.approved(Some(approval.given()))
}

/// Nothing on the host differs: pinfold notes what it has read.
fn only_writes_down(item: &Item) -> bool {
    let is_records = item.operation.as_ref().is_some_and(|operation| operation.work == Work::Records);
    is_records && item.action == Action::Settle && item.cause == Cause::Commit
}

/// What a commit, a foreign hand or a verb wants that the records do not.
pub(crate) fn news(wanted: Vec<Draft>, own: &[Draft]) -> impl Iterator<Item = Draft> + use<> {
    let known: Vec<(Action, String)> = own.iter().map(|draft| (draft.item.action, draft.item.id.clone())).collect();
    let is_known = move |item: &Item| known.iter().any(|(action, id)| *action == item.action && *id == item.id);
    let is_asked_for = |item: &Item| matches!(item.cause, Cause::Commit | Cause::Drift | Cause::Verb);
    wanted.into_iter().filter(move |draft| is_asked_for(&draft.item) && !is_known(&draft.item))
}
