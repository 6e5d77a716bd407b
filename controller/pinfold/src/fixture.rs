//! Passes for tests, without a daemon.

use crate::api::view::{ConditionView, ObjectView, SourceView};
use crate::reconcile::{Counts, Snapshot};
use jiff::Timestamp;
use planner::{
    Action, Cause, Change, ConditionKind, Disposition, Effect, Item, ObjectKind, ObjectRef, Observed, Plan, Trail,
    Truth,
};
use protocol::{Dom0, Domain, DomainMemory, DomainState, Hypervisor, Mark, Observation, Reading, Sched};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The VM that all of them speak of.
pub(crate) const VM: Uuid = Uuid::from_u128(7);

/// `vm/web`.
pub(crate) fn web() -> ObjectRef {
    ObjectRef { kind: ObjectKind::VirtualMachine, name: "web".to_owned(), uuid: Some(VM) }
}

/// A domain of it.
pub(crate) fn domain(domid: u32, state: DomainState, console: Option<&str>, ready: bool) -> Domain {
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
        hvm: None,
        cpu_time_ns: 0,
        console: console.map(str::to_owned),
        stored: None,
        toolstack: None,
    }
}

/// An item of the plan for it.
pub(crate) fn item(action: Action, effect: Effect, disposition: Disposition) -> Item {
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
        drift: None,
        trail: Trail::default(),
        operation: None,
    }
}

/// A pass that saw these domains.
pub(crate) fn snapshot(xen: Reading<Vec<Domain>>, items: Vec<Item>, message: &str) -> Snapshot {
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
        hvm_parts: None,
        boot_id: Uuid::nil(),
        dom0: Dom0 { memory_kib: 0, memory_max_kib: None, vcpus: 1, cpu_time_ns: None },
    };
    let observed = Observed {
        images: std::collections::BTreeMap::new(),
        version: planner::observed::INVENTORY_VERSION,
        host: "xen1".parse().unwrap(),
        pool_id: None,
        now: at,
        uptime: None,
        xen: Reading::Known(Observation { hypervisor, cpupools: Reading::Known(Vec::new()), domains: xen }),
        dom0: planner::observed::Dom0Facts::default(),
        records: planner::record::Records::default(),
        unwritable: None,
        host_shutdown: None,
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
