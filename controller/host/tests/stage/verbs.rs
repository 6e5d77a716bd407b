//! What a person asks of the daemon: approvals, freezes, overrides.

use super::Stage;
use host::{Host, PassReport, Store, StoreError};
use jiff::SignedDuration;
use planner::config::Power;
use planner::freeze::{self, Frozen};
use planner::overrides::{self, OverrideKind};
use planner::record::{Approval, UpSince};
use planner::{ConditionKind, Disposition, ObjectRef, Plan};

/// What a person does to a VM's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Start,
    Stop,
    Pause,
    Restart,
}

/// How long an approval is good for, a freeze lasts, and an override that nobody gives another time.
pub const SPAN: SignedDuration = SignedDuration::from_hours(1);

impl Stage {
    /// Keeps a person's approval of the item that is held for an object.
    pub fn approve(&mut self, object: &str) {
        let report = self.observe_and_plan();
        let held = report
            .plan
            .items
            .iter()
            .find(|item| item.object.to_string() == object && matches!(item.disposition, Disposition::Held { .. }));
        let item = held.unwrap_or_else(|| panic!("nothing is held for {object}")).id.clone();
        let now = self.wall();
        let expires = now.checked_add(SPAN).unwrap();
        let approval = Approval { actor: "ada".to_owned(), reason: "test".to_owned(), at: now, expires };
        self.verb(|store| store.write_approval(&item, &approval));
    }

    /// Freezes an object.
    pub fn freeze(&mut self, object: &str) {
        let report = self.observe_and_plan();
        let (object, frozen) = freezable(&report.plan, object);
        let order = freeze::freeze(object, SPAN, self.wall(), up(&report), ("ada", "test"));
        self.verb(|store| store.write_freeze(frozen, &order));
    }

    /// Ends that.
    pub fn unfreeze(&mut self, object: &str) {
        let (_, frozen) = freezable(&self.observe_and_plan().plan, object);
        self.verb(|store| store.forget_freeze(frozen));
    }

    /// Overrides a VM's power for a while. The daemon refuses it of one that is frozen, and a restart of one that does not run.
    pub fn order(&mut self, object: &str, order: Order, span: SignedDuration) {
        let report = self.observe_and_plan();
        let (object, frozen) = freezable(&report.plan, object);
        if is_frozen(&report.plan, &object) {
            return;
        }
        let Frozen::Vm(uuid) = frozen else { panic!("{object} is no VM") };
        let kind = match order {
            Order::Start => OverrideKind::Power(Power::Running),
            Order::Stop => OverrideKind::Power(Power::Stopped),
            Order::Pause => OverrideKind::Power(Power::Paused),
            Order::Restart => {
                let domains = report.observed.xen.known().and_then(|xen| xen.domains.known());
                let mut of_it = domains.into_iter().flatten().filter(|domain| domain.uuid == uuid);
                let Some(mark) = of_it.find_map(|domain| domain.mark) else { return };
                OverrideKind::Restart(mark.incarnation)
            }
        };
        let given = overrides::give(object, kind, span, self.wall(), up(&report), ("ada", "test"));
        self.verb(|store| store.write_override(uuid, &given));
    }

    /// Ends that.
    pub fn follow(&mut self, object: &str) {
        let (object, frozen) = freezable(&self.observe_and_plan().plan, object);
        let Frozen::Vm(uuid) = frozen else { panic!("{object} is no VM") };
        self.verb(|store| store.forget_override(uuid));
    }

    /// Takes away what is over, as the daemon does in each pass. What cannot be taken away is in nobody's way.
    pub(super) fn end_what_is_over(&mut self, report: &PassReport) {
        let store = std::sync::Arc::clone(self.daemon().store());
        for (key, _) in freeze::over(&report.observed) {
            let _ = store.forget_freeze(Frozen::parse(key).unwrap());
        }
        for (uuid, _) in overrides::over(&report.observed) {
            let _ = store.forget_override(uuid);
        }
    }

    /// What a person asks for is asked again when the daemon dies of it.
    fn verb(&mut self, act: impl Fn(&Store) -> Result<(), StoreError>) {
        loop {
            let done = act(self.daemon().store());
            if !self.bury_if_dead() {
                done.unwrap();
                break;
            }
        }
    }
}

fn is_frozen(plan: &Plan, object: &ObjectRef) -> bool {
    let status = plan.objects.iter().find(|status| status.object == *object);
    status.is_some_and(|status| status.conditions.iter().any(|one| one.kind == ConditionKind::Frozen))
}

fn up(report: &PassReport) -> Option<UpSince> {
    let boot_id = report.observed.xen.known()?.hypervisor.boot_id;
    report.observed.uptime.map(|uptime| UpSince { boot_id, ms: uptime.ms })
}

fn freezable(plan: &Plan, name: &str) -> (ObjectRef, Frozen) {
    let objects = plan.objects.iter().map(|status| &status.object);
    let object = objects.clone().find(|object| object.to_string() == name).unwrap_or_else(|| panic!("no {name}"));
    (object.clone(), Frozen::of(object).unwrap())
}
