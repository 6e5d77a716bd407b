//! One pass: observe, plan, start what is due. It waits for nothing, and holds nothing in memory from one pass to the next.

use crate::{Host, Interest, StartError};
use planner::observed::AcceptedCommit;
use planner::{Disposition, Item, ObjectRef, Observed, Plan};
use schema::desired::{Boot, Desired};
use std::collections::BTreeSet;

/// What one pass saw and did.
#[derive(Clone, Debug)]
pub struct PassReport {
    /// The observation it began with.
    pub observed: Observed,
    /// What follows from it.
    pub plan: Plan,
    /// Objects whose operation was started.
    pub started: Vec<ObjectRef>,
    /// Objects whose operation could not be started, and why: nothing was done to them.
    pub start_errors: Vec<(ObjectRef, StartError)>,
}

/// Makes one pass. `desired` is `None` when no commit is accepted, or the accepted one cannot be read.
pub fn pass(host: &mut dyn Host, desired: Option<&Desired>, interest: &Interest) -> PassReport {
    let observed = host.observe(interest);
    let plan = planner::plan(desired, &observed);
    let Starts { started, start_errors } = start_due(host, &plan);
    PassReport { observed, plan, started, start_errors }
}

/// What came of the items of a plan that were due.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// Objects whose operation was started.
    pub started: Vec<ObjectRef>,
    /// Objects whose operation could not be started, and why: nothing was done to them.
    pub start_errors: Vec<(ObjectRef, StartError)>,
}

/// Starts what is due, in the order of the plan.
pub fn start_due(host: &mut dyn Host, plan: &Plan) -> Starts {
    let mut starts = Starts::default();
    for item in plan.items.iter().filter(|item| is_due(item)) {
        match host.start(item) {
            Ok(()) => starts.started.push(item.object.clone()),
            Err(error) => starts.start_errors.push((item.object.clone(), error)),
        }
    }
    starts
}

impl PassReport {
    /// Nothing runs, nothing was due: as long as nobody changes anything and no time passes, the next pass is the same.
    pub fn is_quiet(&self) -> bool {
        self.observed.operations.is_empty() && self.started.is_empty() && self.start_errors.is_empty()
    }
}

impl Interest {
    /// What a commit names in dom0.
    pub fn of(desired: Option<&Desired>, accepted: Option<AcceptedCommit>) -> Self {
        let mut paths = BTreeSet::new();
        for vm in desired.into_iter().flat_map(|desired| desired.vms.values()) {
            paths.extend(vm.disks.iter().map(|disk| disk.path.clone()));
            if let Boot::Kernel { kernel, ramdisk, cmdline: _ } = &vm.boot {
                paths.insert(kernel.clone());
                paths.extend(ramdisk.clone());
            }
        }
        Self { paths, accepted, host_shutdown: None }
    }
}

fn is_due(item: &Item) -> bool {
    item.disposition == Disposition::Now && item.operation.is_some()
}
