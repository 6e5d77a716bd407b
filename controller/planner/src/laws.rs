//! Laws of every plan, as predicates: for property tests here and against the simulator, and for whoever wants to check a plan before it is carried out.
//!
//! What needs a host that moves (converges, the law of cores after every hypercall) is tested where the simulator is in reach.

mod release;

pub use release::release_before_claim;

use crate::record::Records;
use crate::{Disposition, Item, ObjectKind, Observed, Plan, RecordEdit, Work, plan};
use protocol::{Domain, DomainState, Observation, Reading, Request, Target};
use schema::desired::{Desired, Mode};
use std::collections::BTreeSet;
use std::fmt;
use uuid::Uuid;

/// A plan that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The law.
    pub law: &'static str,
    /// Where and how.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law broken: {}: {}", self.law, self.message)
    }
}

impl std::error::Error for Broken {}

fn broken(law: &'static str, message: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { law, message: message.into() })
}

/// Every law that one plan can be held to.
pub fn all(desired: Option<&Desired>, observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    deterministic(desired, observed, plan)?;
    well_formed(plan)?;
    approvals_are_used_up_last(plan)?;
    bounded(desired, observed, plan)?;
    one_at_a_time(observed, plan)?;
    foreign_untouched(observed, plan)?;
    no_harm_from_unknown(observed, plan)?;
    the_trash_is_kept(observed, plan)?;
    what_is_observed_is_left(desired, observed, plan)?;
    release_before_claim(observed, plan)?;
    pool0_keeps_its_own(observed, plan)
}

/// Before an approval is used up, what it allows is on the disk: whoever dies in between leaves one of the two.
///
/// # Errors
/// The item for which this is not so.
pub fn approvals_are_used_up_last(plan: &Plan) -> Result<(), Broken> {
    for (item, operation) in now(plan) {
        if matches!(operation.before.first(), Some(RecordEdit::UseApproval(_))) {
            return broken(
                "approvals are used up last",
                format!("{} uses one up before anything says so", item.object),
            );
        }
    }
    Ok(())
}

/// Only what is due, is whole, and is nobody's any more is purged; and nothing comes back over what is there.
///
/// # Errors
/// The folder for which this is not so.
pub fn the_trash_is_kept(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let records = &observed.records;
    for (item, operation) in now(plan) {
        let is_due = |trashed: &crate::trash::Trashed| {
            trashed.purge_after <= observed.now
                && trashed.others.is_empty()
                && trashed.record.known().is_some()
                && !records.vms.contains_key(&trashed.uuid)
        };
        let is_kept = match &operation.work {
            Work::Purge { folder } => records.trash.get(folder).is_some_and(is_due),
            Work::Restore { uuid, folder } => {
                !records.vms.contains_key(uuid)
                    && records.trash.get(folder).is_some_and(|trashed| trashed.uuid == *uuid)
            }
            _ => true,
        };
        if !is_kept {
            return broken("the trash is kept", format!("{}: {:?}", item.object, operation.work));
        }
    }
    Ok(())
}

/// In mode `observe` nothing is done to a VM, but to ask it to power off before its host goes down. Nor anything at all where its host is only observed.
///
/// # Errors
/// The item for which this is not so.
pub fn what_is_observed_is_left(desired: Option<&Desired>, observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let Some(desired) = desired else { return Ok(()) };
    let host = desired.hosts.get(&observed.host).and_then(|host| host.mode);
    let is_observed = |item: &Item| {
        let vm = desired.vms.values().find(|vm| vm.name.as_str() == item.object.name);
        let vm = vm.filter(|_| item.object.kind == ObjectKind::VirtualMachine).and_then(|vm| vm.mode);
        host == Some(Mode::Observe) || vm == Some(Mode::Observe)
    };
    let goes_down = observed.host_shutdown.is_some();
    match now(plan).find(|(item, operation)| is_observed(item) && operation.work != Work::Records && !goes_down) {
        None => Ok(()),
        Some((item, _)) => broken("what is observed is left", format!("{} {}", item.object, item.reason)),
    }
}

fn now(plan: &Plan) -> impl Iterator<Item = (&Item, &crate::Operation)> {
    plan.items.iter().filter_map(|item| Some((item, item.operation.as_ref()?)))
}

fn requests(plan: &Plan) -> impl Iterator<Item = (&Item, &Request)> {
    now(plan).filter_map(|(item, operation)| match &operation.work {
        Work::Xen(request) => Some((item, &**request)),
        Work::Trash { .. } | Work::Restore { .. } | Work::Purge { .. } | Work::Records => None,
    })
}

/// Nothing is left to do: no items at all. What a plan must be once the host is as the commit says.
pub fn settled(plan: &Plan) -> Result<(), Broken> {
    match plan.items.first() {
        None => Ok(()),
        Some(item) => broken("settled", format!("{} still has an item: {}", item.object, item.reason)),
    }
}

/// The same input gives the same plan.
pub fn deterministic(desired: Option<&Desired>, observed: &Observed, first: &Plan) -> Result<(), Broken> {
    if plan(desired, observed) == *first {
        Ok(())
    } else {
        broken("deterministic", "a second plan of the same input differs")
    }
}

/// Items go now exactly when they say what to do; ids are unique; whoever waits or is held says on what.
pub fn well_formed(plan: &Plan) -> Result<(), Broken> {
    let mut ids = BTreeSet::new();
    for item in &plan.items {
        let says = match &item.disposition {
            Disposition::Now => item.operation.is_some(),
            Disposition::AtNextStart => item.operation.is_none(),
            Disposition::Held { until: text } | Disposition::Waiting { on: text } => {
                !text.is_empty() && item.operation.is_none()
            }
        };
        if !says {
            return broken("well formed", format!("{} {:?}: {:?}", item.object, item.action, item.disposition));
        }
        if !ids.insert(&item.id) {
            return broken("well formed", format!("{}: two items have the id {}", item.object, item.id));
        }
        if item.reason.is_empty() {
            return broken("well formed", format!("{} {:?} has no reason", item.object, item.action));
        }
    }
    Ok(())
}

/// A plan is no longer than the world is large.
pub fn bounded(desired: Option<&Desired>, observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let declared = desired.map_or(0, |desired| desired.vms.len() + desired.partitions.len());
    let recorded = observed.records.vms.len() + observed.records.partitions.len() + observed.records.trash.len();
    let limit = 8 * (declared + recorded + 1);
    if plan.items.len() > limit {
        return broken(
            "bounded",
            format!("{} items for {declared} declared and {recorded} recorded objects", plan.items.len()),
        );
    }
    Ok(())
}

/// At most one operation per object, and no two that need the same lock, together with those under way.
pub fn one_at_a_time(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let mut locks: BTreeSet<_> =
        observed.operations.iter().filter_map(|busy| busy.request.as_ref()).flat_map(Request::locks).collect();
    let mut objects: BTreeSet<_> = observed.operations.iter().map(|busy| busy.object.clone()).collect();
    for (item, operation) in now(plan) {
        if !objects.insert(item.object.clone()) {
            return broken("one at a time", format!("{} has two operations", item.object));
        }
        if let Work::Xen(request) = &operation.work {
            for lock in request.locks() {
                if !locks.insert(lock.clone()) {
                    return broken("one at a time", format!("{} needs {lock:?}, which is taken", item.object));
                }
            }
        }
    }
    Ok(())
}

/// The domains and cpupools that a request changes.
fn touched(request: &Request) -> (Vec<Uuid>, Vec<Uuid>) {
    match request {
        Request::ShapeCpupool(shape) => (shape.masks.iter().map(|masks| masks.target.uuid).collect(), vec![shape.uuid]),
        Request::RenameCpupool { uuid, .. } | Request::DestroyCpupool { uuid } => (Vec::new(), vec![*uuid]),
        Request::FeedPool0 { .. } | Request::DiscardImage { .. } => (Vec::new(), Vec::new()),
        Request::CreateDomain(config) | Request::RestoreDomain { config, .. } => (vec![config.mark.uuid], Vec::new()),
        Request::ShutdownDomain { target }
        | Request::PressPowerButton { target }
        | Request::SetMedium { target, .. }
        | Request::DestroyDomain { target }
        | Request::DumpDomain { target, .. }
        | Request::PauseDomain { target }
        | Request::SaveDomain { target, .. }
        | Request::ResumeDomain { target, .. }
        | Request::UnpauseDomain { target, .. }
        | Request::MoveDomain { target, .. }
        | Request::SetAffinity { target, .. }
        | Request::SetSched { target, .. }
        | Request::SetMemory { target, .. }
        | Request::SetVcpus { target, .. }
        | Request::AttachDisk { target, .. }
        | Request::DetachDisk { target, .. }
        | Request::AttachNic { target, .. }
        | Request::DetachNic { target, .. }
        | Request::RenameDomain { target, .. }
        | Request::ClaimDomain { target, .. } => (vec![target.uuid], Vec::new()),
    }
}

/// No request names a domain that bears neither our mark nor a record, a mark of another Pool, or a mark of ours that another tool gave it, but for a claim that a person approved; nor a cpupool that is neither recorded nor about to be.
pub fn foreign_untouched(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let Some(xen) = observed.xen.known() else { return Ok(()) };
    let records = &observed.records;
    let foreign = |domain: &&Domain| match domain.mark {
        Some(mark) => {
            let ran = matches!(domain.state, DomainState::Running | DomainState::Shutdown(_));
            let is_anothers_work = !domain.ready && (ran || domain.toolstack.is_some());
            is_anothers_work || observed.pool_id.is_some_and(|id| id != mark.pool_id) || mark.uuid != domain.uuid
        }
        None => !records.vms.contains_key(&domain.uuid),
    };
    let domains: BTreeSet<Uuid> =
        xen.domains.known().into_iter().flatten().filter(foreign).map(|domain| domain.uuid).collect();
    for (item, request) in requests(plan) {
        if let Request::ClaimDomain { target, .. } = request {
            claimed(observed, item, *target)?;
            continue;
        }
        let (touched_domains, touched_pools) = touched(request);
        if let Some(uuid) = touched_domains.iter().find(|uuid| domains.contains(*uuid)) {
            return broken("foreign untouched", format!("{} touches foreign domain {uuid}", item.object));
        }
        let own = |uuid: &Uuid| item.object.kind == ObjectKind::CorePartition && item.object.uuid == Some(*uuid);
        if let Some(uuid) = touched_pools.iter().find(|uuid| !own(uuid)) {
            return broken("foreign untouched", format!("{} touches cpupool {uuid}", item.object));
        }
    }
    Ok(())
}

/// A claim follows on an approval of this very item, or goes on where one that was approved for this domain died. What another Pool marked stays its own,
/// and what bears our own mark and was verified needs no claim.
fn claimed(observed: &Observed, item: &Item, target: Target) -> Result<(), Broken> {
    let edits = item.operation.iter().flat_map(|operation| &operation.before);
    let approved = edits.into_iter().any(|edit| *edit == RecordEdit::UseApproval(item.id.clone()))
        && observed.records.approvals.contains_key(&item.id);
    let record = observed.records.vms.get(&target.uuid).and_then(Reading::known);
    let goes_on =
        record.and_then(|record| record.here.claiming.as_ref()).is_some_and(|claim| claim.domid == target.domid);
    let domains = observed.xen.known().and_then(|xen| xen.domains.known()).into_iter().flatten();
    let is_anothers = |domain: &Domain| {
        domain
            .mark
            .is_some_and(|mark| Some(mark.pool_id) != observed.pool_id || mark.uuid != domain.uuid || domain.ready)
    };
    let marked = domains.filter(|domain| domain.domid == target.domid).any(is_anothers);
    if (approved || goes_on) && !marked {
        return Ok(());
    }
    broken("foreign untouched", format!("{} claims domain {} although nobody approved it", item.object, target.domid))
}

/// Nothing destructive, and nothing that might come into being twice, follows from what is unknown.
pub fn no_harm_from_unknown(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let law = "no harm from the unknown";
    let Some(xen) = observed.xen.known() else {
        return if plan.items.is_empty() { Ok(()) } else { broken(law, "items although Xen could not be read") };
    };
    for (item, operation) in now(plan) {
        if let Some(what) = unknown_behind(&observed.records, xen, item, &operation.work) {
            return broken(law, format!("{} goes now although {what}", item.object));
        }
    }
    Ok(())
}

fn unknown_behind(records: &Records, xen: &Observation, item: &Item, work: &Work) -> Option<&'static str> {
    let record_unknown = item.object.uuid.is_some_and(|uuid| {
        matches!(records.vms.get(&uuid), Some(Reading::Unknown(_)))
            || matches!(records.partitions.get(&uuid), Some(Reading::Unknown(_)))
    });
    // A guest may be asked to power off before the host takes it along.
    let is_asked = item.cause == crate::Cause::HostShutdown
        && matches!(
            work,
            Work::Xen(request)
                if matches!(**request, Request::ShutdownDomain { .. } | Request::PressPowerButton { .. })
        );
    if record_unknown && !is_asked {
        return Some("its record is unknown");
    }
    let Work::Xen(request) = work else {
        let domains_matter = matches!(work, Work::Trash { .. });
        return (domains_matter && xen.domains.known().is_none()).then_some("domains are unknown");
    };
    if xen.domains.known().is_none() && !matches!(**request, Request::RenameCpupool { .. } | Request::FeedPool0 { .. })
    {
        return Some("domains are unknown");
    }
    let placed = match &**request {
        Request::ShapeCpupool(_)
        | Request::RenameCpupool { .. }
        | Request::DestroyCpupool { .. }
        | Request::FeedPool0 { .. }
        | Request::MoveDomain { .. }
        | Request::SetAffinity { .. }
        | Request::ResumeDomain { .. }
        | Request::UnpauseDomain { .. } => true,
        Request::CreateDomain(config) | Request::RestoreDomain { config, .. } => config.placement.cpupool.is_some(),
        _ => false,
    };
    (placed && xen.cpupools.known().is_none()).then_some("cpupools are unknown")
}

/// pCPU 0 and the last pCPU stay in Pool-0, and no domain there is left without one.
pub fn pool0_keeps_its_own(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let law = "Pool-0 keeps its own";
    let Some(xen) = observed.xen.known() else { return Ok(()) };
    let Some(pool0) = xen.cpupools.known().into_iter().flatten().find(|pool| pool.poolid == 0) else { return Ok(()) };
    for (item, request) in requests(plan) {
        let Request::ShapeCpupool(shape) = request else { continue };
        let left = pool0.cpus.difference(&shape.take);
        if shape.take.contains(0) || left.is_empty() {
            return broken(law, format!("{} takes {} of {}", item.object, shape.take, pool0.cpus));
        }
        let stranded =
            xen.domains.known().into_iter().flatten().filter(|domain| domain.poolid == Some(0)).find(|domain| {
                domain.vcpus.known().is_none_or(|vcpus| vcpus.iter().any(|vcpu| vcpu.hard.is_disjoint(&left)))
            });
        if let (Some(domain), false) = (stranded, shape.take.is_empty()) {
            return broken(law, format!("{} leaves domain {} without a pCPU", item.object, domain.domid));
        }
    }
    Ok(())
}

/// The UUIDs of VMs whose records an operation writes: those of its own object, and no other.
pub fn edits_stay_at_home(plan: &Plan) -> Result<(), Broken> {
    for (item, operation) in now(plan) {
        let edits = operation.before.iter().chain(&operation.on_success).chain(&operation.on_failure);
        for edit in edits {
            let of = match edit {
                RecordEdit::Vm(record) => Some(record.uuid),
                RecordEdit::Partition(record) => Some(record.uuid),
                RecordEdit::ForgetPartition(uuid)
                | RecordEdit::VmFailed(uuid, _)
                | RecordEdit::PartitionFailed(uuid, _) => Some(*uuid),
                RecordEdit::Grants(_)
                | RecordEdit::UseApproval(_)
                | RecordEdit::Approve(..)
                | RecordEdit::Modes(_)
                | RecordEdit::Drift(..) => None,
            };
            if of.is_some_and(|of| item.object.uuid != Some(of)) {
                return broken("edits stay at home", format!("{} writes the record of another object", item.object));
            }
        }
    }
    Ok(())
}
