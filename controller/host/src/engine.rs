//! One pass: observe, plan, start what is due. It waits for nothing, and holds nothing in memory from one pass to the next.

use crate::{Host, Interest, StartError};
use planner::drift::{DriftRecord, Seen};
use planner::observed::AcceptedCommit;
use planner::{Cause, Disposition, Item, ObjectRef, Observed, Plan, RecordEdit};
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
    let Starts { started, start_errors, sightings: _ } = start_due(host, &plan);
    PassReport { observed, plan, started, start_errors }
}

/// What came of the items of a plan that were due.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// Objects whose operation was started.
    pub started: Vec<ObjectRef>,
    /// Objects whose operation could not be started, and why: nothing was done to them.
    pub start_errors: Vec<(ObjectRef, StartError)>,
    /// What other hands changed and was not seen before: the object, the field, and what is known of it.
    pub sightings: Vec<(ObjectRef, String, Seen)>,
}

/// Starts what is due, in the order of the plan.
pub fn start_due(host: &mut dyn Host, plan: &Plan) -> Starts {
    let mut starts = Starts::default();
    let noted = note(host, plan, &mut starts.sightings);
    for item in plan.items.iter().filter(|item| is_due(item)) {
        // What is put right must be counted: somebody may fight over it.
        if let (Err(error), Cause::Drift) = (&noted, item.cause) {
            starts.start_errors.push((item.object.clone(), error.clone()));
            continue;
        }
        match host.start(item) {
            Ok(()) => starts.started.push(item.object.clone()),
            Err(error) => starts.start_errors.push((item.object.clone(), error)),
        }
    }
    starts
}

/// Writes down what is known of drift, with who may have made it where nobody has looked yet.
fn note(host: &dyn Host, plan: &Plan, sightings: &mut Vec<(ObjectRef, String, Seen)>) -> Result<(), StartError> {
    let mut suspects = None;
    let mut looked = |record: &mut DriftRecord| {
        for (field, known) in &mut record.fields {
            let Some(seen) = known.seen.as_mut().filter(|seen| seen.sighting.suspects.is_none()) else { continue };
            seen.sighting.suspects = Some(suspects.get_or_insert_with(|| host.suspects()).clone());
            sightings.push((record.object.clone(), field.clone(), seen.clone()));
        }
    };
    let mut notes = plan.notes.clone();
    for edit in &mut notes {
        if let RecordEdit::Drift(_, Some(record)) = edit {
            looked(record);
        }
    }
    host.store().apply(&notes, None).map_err(|error| StartError {
        what: "write down what was changed outside pinfold".to_owned(),
        message: error.chain(),
        unwritable: true,
    })
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
            let drives = vm.hvm.iter().flat_map(|hvm| &hvm.cdroms);
            paths.extend(drives.filter_map(|drive| drive.medium.clone()));
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
