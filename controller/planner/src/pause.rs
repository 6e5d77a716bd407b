//! A guest that stands still: paused because it should be, or let run because it should.
//!
//! Pauses count in Xen and cannot be counted from outside. So nothing is paused that is paused already, and *verify-and-unpause* takes away
//! as many pauses as there are.

use crate::classify::{Group, power_text};
use crate::config::Power;
use crate::draft::Draft;
use crate::live;
use crate::place::{Spot, spot};
use crate::vms::{Planning, target};
use crate::{Change, Effect, Operation};
use protocol::{Domain, DomainState, Placement, Reading, Request};

/// Pauses a domain that should be paused and runs.
pub(crate) fn hold_still(planning: &mut Planning, domain: &Domain) {
    if planning.intentions.config.power != Power::Paused || domain.state != DomainState::Running {
        return;
    }
    let mut draft = live::step(
        planning,
        Group::Power,
        vec![change(Power::Running, Power::Paused)],
        "it was unpaused outside pinfold",
    );
    draft.item.effect = Effect::Pause;
    planning.attempt_power(draft, Operation::xen(Request::PauseDomain { target: target(domain) }), "PauseFailed");
}

/// Lets a domain run that should and is paused: by a commit, by somebody, or by a worker of ours that died before it let it run.
pub(crate) fn let_run(planning: &mut Planning, domain: &Domain) {
    if planning.intentions.config.power != Power::Running || domain.state != DomainState::Paused {
        return;
    }
    let Some(operation) = unpause(planning, domain) else { return };
    let draft = live::step(planning, Group::Power, vec![change(Power::Paused, Power::Running)], paused_by(domain));
    planning.attempt_power(draft, operation, "UnpauseFailed");
}

/// Who may have paused a domain that should run. A domain that has used no time at all has never run.
fn paused_by(domain: &Domain) -> &'static str {
    if domain.cpu_time_ns == 0 {
        return "it is paused and has never run: its start was cut off";
    }
    "it was paused outside pinfold (the first thing that an `xl destroy` does, too)"
}

fn change(old: Power, new: Power) -> Change {
    let text = |power| Some(power_text(power).to_owned());
    Change { field: "spec.power".to_owned(), old: text(old), new: text(new) }
}

impl Planning<'_, '_> {
    fn attempt_power(&mut self, draft: Draft, operation: Operation, reason: &str) {
        let wanted = self.subject.record.map(|record| record.wanted.power);
        let news = wanted != Some(self.intentions.config.power);
        let operation = operation.on_success(news.then(|| self.recorded(&[Group::Power])));
        let draft = self.attempt(draft, operation, reason);
        self.drafts.push(draft);
    }
}

/// What lets a paused domain run, when it is where it belongs.
pub(crate) fn unpause(planning: &Planning, domain: &Domain) -> Option<Operation> {
    let placement = placement_of(planning, domain)?;
    Some(Operation::xen(Request::UnpauseDomain { target: target(domain), placement }))
}

/// Where a domain is, when that is where it belongs.
pub(crate) fn placement_of(planning: &Planning, domain: &Domain) -> Option<Placement> {
    let Reading::Known(vcpus) = &domain.vcpus else { return None };
    let Ok(Spot { cpupool, poolid, mask, soft: _ }) = spot(planning.cx, &planning.intentions.config) else {
        return None;
    };
    let right =
        domain.poolid == Some(poolid) && vcpus.iter().all(|vcpu| planning.world.topology.same_mask(&vcpu.hard, &mask));
    // A weight that is wrong keeps no guest from running, nor from being asked to stop: it is put right by a step of its own.
    let sched = domain.sched.known().copied().unwrap_or(planning.intentions.config.sched);
    right.then(|| Placement { cpupool, hard: vec![mask; vcpus.len()], soft: None, sched })
}
