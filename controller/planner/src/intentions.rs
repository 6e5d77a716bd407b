//! What is really to be brought about for a VM: its configuration, less what the rules in `changes` hold back.

use crate::classify::{Group, of_group, with_group};
use crate::config::{Power, VmConfig};
use crate::consent::{Fate, over_budget_text};
use crate::draft::{Draft, Rank};
use crate::record::Approved;
use crate::subjects::Subject;
use crate::world::World;
use crate::{Action, Effect, RecordEdit};
use schema::desired::Restarts;

/// The outcome.
pub(crate) struct Intentions {
    /// What to bring about; what is held back is as it was last wanted.
    pub(crate) config: VmConfig,
    /// What a change that needs a restart does.
    pub(crate) restarts: Restarts,
    /// A person approved what was held.
    pub(crate) approved: bool,
    /// Who did; of several, the last one.
    pub(crate) given: Option<Approved>,
    /// Written with the first step of what was approved.
    pub(crate) consent: Vec<RecordEdit>,
}

/// Decides, and adds items for what is held.
pub(crate) fn intentions(world: &World, subject: &Subject, drafts: &mut Vec<Draft>) -> Intentions {
    let restarts = world.desired.map_or(Restarts::AtNextStart, |desired| desired.pool.changes.restarts);
    let mut intentions =
        Intentions { config: subject.config.clone(), restarts, approved: false, given: None, consent: Vec::new() };
    let Some(record) = subject.record.filter(|_| subject.fate == Fate::Declared) else { return intentions };
    let last = &record.wanted;
    let over = world.over_budget().is_some();
    // Of a VM that is off, nothing has to be held: no guest is disturbed.
    if last.power == Power::Stopped || record.off_by_guest.is_some() {
        return intentions;
    }
    let mut hold = |groups: &[Group], action: Action, effect: Effect, rule: &str| {
        let changes = groups.iter().flat_map(|group| of_group(last, &subject.config, *group)).collect();
        let draft = Draft::new(world, &subject.object, Rank::Stop, action, effect).changes(changes);
        let id = draft.item.id.clone();
        if let Some(approval) = world.approval(&id) {
            intentions.approved = true;
            intentions.given = Some(approval.given());
            intentions.consent.push(RecordEdit::UseApproval(id));
        } else {
            for group in groups {
                intentions.config = with_group(&intentions.config, last, *group);
            }
            drafts.push(draft.reason(rule).held(format!("`pinfold approve {id}` does it now; a revert takes it back")));
        }
    };
    let rule = if over { over_budget_text(world) } else { "`spec.changes.restarts` is hold".to_owned() };
    if (over || restarts == Restarts::Hold) && !of_group(last, &subject.config, Group::Built).is_empty() {
        // Targets beyond the old maximum come with the new one.
        let mut groups = vec![Group::Built];
        if subject.config.vcpus_online > last.vcpus_max {
            groups.push(Group::Vcpus);
        }
        if subject.config.memory_kib > last.memory_max_kib {
            groups.push(Group::Memory);
        }
        hold(&groups, Action::Change, Effect::Restart, &rule);
    }
    // What a person orders needs no other person.
    if over && subject.config.power == Power::Stopped && subject.overridden.is_none() {
        hold(&[Group::Power], Action::Stop, Effect::Stop, &rule);
    }
    intentions
}
