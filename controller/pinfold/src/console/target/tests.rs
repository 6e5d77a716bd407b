//! Every state that a VM can be in, and what a console makes of it.

use super::*;
use crate::api::view::{ConditionView, ObjectView, SourceView};
use crate::reconcile::Counts;
use jiff::Timestamp;
use planner::{Cause, Change, ObjectKind, Observed, Plan};
use protocol::{Dom0, DomainMemory, Hypervisor, Mark, Observation, Sched, ShutdownReason};
use std::sync::Arc;
use std::time::Duration;

const VM: Uuid = Uuid::from_u128(7);

fn web() -> ObjectRef {
    ObjectRef { kind: ObjectKind::VirtualMachine, name: "web".to_owned(), uuid: Some(VM) }
}

fn domain(domid: u32, state: DomainState, console: Option<&str>, ready: bool) -> Domain {
    Domain {
        domid,
        uuid: VM,
        name: Some("web".to_owned()),
        kind: None,
        state,
        poolid: Some(0),
        vcpus: Reading::Known(Vec::new()),
        vcpus_asked: None,
        memory: DomainMemory { current_kib: 0, target_kib: None, static_max_kib: None },
        sched: Reading::Known(Sched { weight: 256, cap: 0 }),
        mark: Some(Mark { pool_id: Uuid::nil(), uuid: VM, incarnation: Uuid::from_u128(domid.into()) }),
        ready,
        disks: Vec::new(),
        nics: Vec::new(),
        cpu_time_ns: 0,
        console: console.map(str::to_owned),
    }
}

fn item(action: Action, effect: Effect, disposition: Disposition) -> Item {
    Item {
        id: String::new(),
        commit: None,
        object: web(),
        action,
        effect,
        disposition,
        cause: Cause::Guest,
        changes: Vec::<Change>::new(),
        reason: "its guest ended".to_owned(),
        operation: None,
    }
}

fn snapshot(xen: Reading<Vec<Domain>>, items: Vec<Item>, message: &str) -> Snapshot {
    let at = Timestamp::from_second(100).unwrap();
    let ready = ConditionView {
        kind: ConditionKind::Ready,
        status: Truth::True,
        reason: if message.is_empty() { "AsDeclared" } else { "OffByGuest" }.to_owned(),
        message: message.to_owned(),
        since: at,
        commit: None,
    };
    let view = ObjectView { object: web(), power: "stopped".to_owned(), facts: Vec::new(), conditions: vec![ready] };
    let hypervisor = Hypervisor {
        version: "4.17.5".to_owned(),
        pcpus: Vec::new(),
        memory_total_kib: 0,
        memory_free_kib: 0,
        pv: true,
        hvm: true,
        boot_id: Uuid::nil(),
        dom0: Dom0 { memory_kib: 0, memory_max_kib: None, vcpus: 1, cpu_time_ns: None },
    };
    let observed = Observed {
        version: planner::observed::INVENTORY_VERSION,
        host: "xen1".parse().unwrap(),
        pool_id: None,
        now: at,
        xen: Reading::Known(Observation { hypervisor, cpupools: Reading::Known(Vec::new()), domains: xen }),
        dom0: planner::observed::Dom0Facts::default(),
        records: planner::record::Records::default(),
        operations: Vec::new(),
        accepted: None,
    };
    Snapshot {
        started: at,
        interval: Duration::from_secs(1),
        observed: Arc::new(observed),
        plan: Arc::new(Plan { items, ..Plan::default() }),
        objects: Arc::new(vec![view]),
        source: SourceView::default(),
        counts: Counts::default(),
    }
}

#[test]
fn a_vm_is_where_its_newest_domain_is() {
    let at = |domains: Vec<Domain>| look(&snapshot(Reading::Known(domains), Vec::new(), ""), &web());
    let tty = Some("/dev/pts/3");
    let place = |domid, ended| {
        let incarnation = Some(Uuid::from_u128(u128::from(domid)));
        Target::At(Place { domid, incarnation, tty: "/dev/pts/3".to_owned(), ended })
    };
    assert_eq!(at(vec![domain(7, DomainState::Paused, None, false)]), Target::Building { domid: 7 });
    assert_eq!(at(vec![domain(7, DomainState::Paused, tty, false)]), place(7, None));
    assert_eq!(at(vec![domain(7, DomainState::Running, None, true)]), Target::Bare { domid: 7 });
    let rebooting = DomainState::Shutdown(ShutdownReason::Reboot);
    assert_eq!(at(vec![domain(7, rebooting, tty, true)]), place(7, Some(End::Reboot)));
    let both = vec![domain(8, DomainState::Running, tty, true), domain(7, DomainState::Dying, tty, true)];
    assert_eq!(at(both), place(8, None));
    let foreign = Domain { mark: None, ..domain(9, DomainState::Running, tty, true) };
    assert!(matches!(at(vec![foreign]), Target::Off { .. }), "the same UUID without our mark");
}

#[test]
fn without_a_domain_the_plan_says_what_is_to_be_expected() {
    let outlook = |items: Vec<Item>| match look(&snapshot(Reading::Known(Vec::new()), items, ""), &web()) {
        Target::Off { outlook, .. } => outlook,
        other => panic!("{other:?}"),
    };
    let waiting = || Disposition::Waiting { on: "the back-off".to_owned() };
    let held = || Disposition::Held { until: "a person approves it".to_owned() };
    assert_eq!(outlook(Vec::new()), Outlook::Stays);
    assert_eq!(outlook(vec![item(Action::Start, Effect::Create, waiting())]), Outlook::Comes);
    assert_eq!(outlook(vec![item(Action::Create, Effect::Create, held())]), Outlook::Comes);
    assert_eq!(outlook(vec![item(Action::Settle, Effect::Stop, Disposition::Now)]), Outlook::Busy);
    assert_eq!(outlook(vec![item(Action::Change, Effect::Restart, Disposition::AtNextStart)]), Outlook::Stays);
}

#[test]
fn what_hinders_a_start_is_said() {
    let why = |message| match look(&snapshot(Reading::Known(Vec::new()), Vec::new(), message), &web()) {
        Target::Off { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(""), "stopped");
    assert_eq!(why("its guest switched itself off"), "stopped: its guest switched itself off");
}

#[test]
fn unknown_is_not_off() {
    let unknown = snapshot(Reading::unknown("XenstoreLost", "xenstored does not answer"), Vec::new(), "");
    assert_eq!(look(&unknown, &web()), Target::Unknown("xenstored does not answer".to_owned()));
    let nobody = ObjectRef { name: "nobody".to_owned(), uuid: None, ..web() };
    assert_eq!(look(&unknown, &nobody), Target::Missing);
}
