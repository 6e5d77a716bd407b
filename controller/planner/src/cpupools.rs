//! The cpupools of partitions: made, changed, renamed, taken away.

use crate::consent::{Fate, signed};
use crate::cores;
use crate::draft::{Draft, Rank, moment, next_backoff};
use crate::partitions::{Layout, Partition, Place};
use crate::record::{PartitionRecord, RECORD_VERSION};
use crate::release::Homes;
use crate::shape::{Shape, shapes};
use crate::status::{Report, STATE_UNWRITABLE, unwritten};
use crate::world::World;
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit, digest};
use protocol::{CpuSet, Domain, Request};
use std::collections::BTreeSet;

/// Items and reports of all partitions, and where VMs can run when they are as they should be.
pub(crate) fn plan_partitions(
    world: &World,
    partitions: &[Partition],
    homes: &Homes,
) -> (Vec<Draft>, Vec<Report>, Layout) {
    let kept = || partitions.iter().filter(|partition| partition.fate != Fate::Removed);
    let mut layout =
        Layout { partitioned: kept().flat_map(|partition| partition.wanted.iter()).collect(), ..Layout::default() };
    let shapes = shapes(world, partitions, homes, &mut layout.remask);
    let mut drafts = Vec::new();
    let mut reports = Vec::new();
    for (partition, shape) in partitions.iter().zip(shapes) {
        let mut report = partition.report(world);
        let place = match &partition.fate {
            Fate::Removed => {
                drafts.push(partition.remove(world, shape));
                Err("it is being removed".to_owned())
            }
            _ => partition.keep(world, shape, &mut drafts, &mut report),
        };
        if let Fate::Orphaned { until } = &partition.fate {
            drafts.push(
                partition
                    .draft(world, Rank::Dissolve, Action::Delete, Effect::Delete)
                    .reason("nothing declares it")
                    .held(until),
            );
        }
        let place = Place {
            object: partition.object.clone(),
            uuid: partition.uuid,
            cpus: partition.wanted.clone(),
            poolid: place,
        };
        if let Some(record) = partition.record {
            layout.places.entry(record.name.clone()).or_insert_with(|| place.clone());
        }
        layout.places.insert(partition.name.clone(), place);
        reports.push(report);
    }
    drafts.extend(feed_pool0(world, partitions, &layout));
    (drafts, reports, layout)
}

/// pCPUs that are free and that nobody wants belong to Pool-0, on a host that is managed.
fn feed_pool0(world: &World, partitions: &[Partition], layout: &Layout) -> Option<Draft> {
    let pools = world.cpupools?;
    world.desired?.hosts.get(&world.observed.host)?;
    let claimed: CpuSet = pools.iter().flat_map(|pool| pool.cpus.iter()).collect();
    let cpus = world.topology.online.difference(&claimed).difference(&layout.partitioned);
    if cpus.is_empty() || partitions.iter().any(|partition| partition.unknown.is_some()) {
        return None;
    }
    let change = Change { field: "Pool-0".to_owned(), old: None, new: Some(format!("pCPUs {cpus}")) };
    Some(
        Draft::new(world, &world.host(), Rank::Record, Action::Repair, Effect::Live)
            .cause(Cause::Drift)
            .changes(vec![change])
            .reason("these pCPUs are in no cpupool, so that nothing can run on them")
            .now(Operation::xen(Request::FeedPool0 { cpus })),
    )
}

impl Partition<'_> {
    fn draft(&self, world: &World, rank: Rank, action: Action, effect: Effect) -> Draft {
        Draft::new(world, &self.object, rank, action, effect)
    }

    /// Its record while its cpupool is on the way: with the name that the cpupool still has, and unshaped while its cores are others.
    fn before_record(&self, world: &World) -> PartitionRecord {
        let same = self.record.filter(|record| record.cores == self.cores);
        PartitionRecord {
            version: RECORD_VERSION,
            pool_id: world.pool_id,
            uuid: self.uuid,
            name: self.record.map_or_else(|| self.name.clone(), |record| record.name.clone()),
            cores: self.cores.clone(),
            boot_id: same.and_then(|record| record.boot_id),
            backoff: self.record.and_then(|record| record.backoff.clone()),
        }
    }

    /// Its record once its cpupool is as it should be.
    fn shaped_record(&self, world: &World) -> PartitionRecord {
        PartitionRecord { boot_id: Some(world.hypervisor.boot_id), backoff: None, ..self.before_record(world) }
    }

    /// The declared cores as they change; when they do not, the pCPUs of the cpupool.
    fn changes(&self) -> Vec<Change> {
        let core_list = |cores: &BTreeSet<String>| (!cores.is_empty()).then(|| cores::list(cores));
        let old = self.record.and_then(|record| core_list(&record.cores));
        let new = core_list(&self.cores);
        if old != new {
            return vec![Change { field: "spec.cores".to_owned(), old, new }];
        }
        let old = self.pool.map(|pool| pool.cpus.to_string());
        vec![Change { field: "cpupool.cpus".to_owned(), old, new: Some(self.wanted.to_string()) }]
    }

    /// Keeps it as it should be; answers its cpupool when it is.
    fn keep(&self, world: &World, shape: Shape, drafts: &mut Vec<Draft>, report: &mut Report) -> Result<u32, String> {
        if let Some(operation) = world.under_way(&self.object) {
            if let Some(why) = &operation.unwritten {
                report.stalled(STATE_UNWRITABLE, unwritten(&operation.what, why));
            }
            let what = format!("{} is under way", operation.what);
            let draft = self.draft(world, Rank::Grow, Action::Change, Effect::Live).reason("it is being changed");
            drafts.push(draft.waiting(&what));
            return Err(what);
        }
        if let Some(why) = &self.unknown {
            report.unknown("RecordUnknown", format!("its record cannot be read: {why}"));
            return Err("its record cannot be read".to_owned());
        }
        let place = match shape {
            Shape::Unknown(why) => {
                report.unknown("CpupoolsUnknown", why.clone());
                return Err(why);
            }
            Shape::Stalled(reason, message) => {
                report.stalled(reason, message.clone());
                return Err(message);
            }
            Shape::Fits(poolid) => Ok(poolid),
            Shape::Step(step) => {
                let message = self.shape_draft(world, &step, drafts, report);
                Err(message)
            }
            Shape::Waiting(on) => {
                let draft = self.change_draft(world, Rank::Grow);
                drafts.push(draft.waiting(&on));
                Err(on)
            }
            Shape::Held(until) => {
                let draft = self.change_draft(world, Rank::Grow);
                drafts.push(draft.held(&until));
                Err(until)
            }
        };
        self.rename(world, drafts, report);
        self.note(world, place.is_ok(), drafts);
        place
    }

    fn change_draft(&self, world: &World, rank: Rank) -> Draft {
        let (action, effect) = match self.pool {
            None => (Action::Create, Effect::Create),
            Some(_) if self.cause(world) == Cause::Drift => (Action::Repair, Effect::Live),
            Some(_) => (Action::Change, Effect::Live),
        };
        let reason = match self.cause(world) {
            Cause::HostBoot => "the host booted, and cpupools do not survive that",
            Cause::Drift if self.pool.is_none() => "its cpupool is gone, and pinfold did not take it away",
            Cause::Drift => "its cpupool was changed outside pinfold",
            _ if self.pool.is_none() => "it has no cpupool yet",
            _ => "its cores are not as declared",
        };
        self.draft(world, rank, action, effect).cause(self.cause(world)).changes(self.changes()).reason(reason)
    }

    /// What differs although it was so in this boot was changed by somebody else.
    fn cause(&self, world: &World) -> Cause {
        match self.record.filter(|record| record.cores == self.cores).and_then(|record| record.boot_id) {
            Some(boot_id) if boot_id == world.hypervisor.boot_id => Cause::Drift,
            Some(_) => Cause::HostBoot,
            None => Cause::Commit,
        }
    }

    fn shape_draft(
        &self,
        world: &World,
        step: &protocol::ShapeCpupool,
        drafts: &mut Vec<Draft>,
        report: &mut Report,
    ) -> String {
        let rank = if step.add.is_empty() { Rank::Shrink } else { Rank::Grow };
        let draft = self.change_draft(world, rank);
        let taken = world
            .cpupools
            .unwrap_or_default()
            .iter()
            .find(|pool| self.pool.is_none() && pool.name.as_deref() == Some(self.name.as_str()));
        if let Some(pool) = taken {
            let message = format!(
                "cpupool {} (number {}) is not pinfold's and has its name; rename it with `xl cpupool-rename`",
                self.name, pool.poolid
            );
            report.stalled("NameTaken", message.clone());
            drafts.push(draft.waiting(&message));
            return message;
        }
        let input = digest::sha256(&format!("{} {}", self.name, cores::list(&self.cores)))[..12].to_owned();
        let backoff = self.record.and_then(|record| record.backoff.as_ref());
        if let Some(backoff) = backoff.filter(|backoff| backoff.input == input && backoff.waits(world.observed.now)) {
            report.stalled(&backoff.reason, backoff.message.clone());
            report.due(backoff.until);
            let message = format!("the next try at {}, after {} failures", moment(backoff.until), backoff.failures);
            drafts.push(draft.waiting(&message));
            return message;
        }
        let failed = next_backoff(world.observed.now, backoff, "CpupoolFailed", &input);
        let mut operation = Operation::xen(Request::ShapeCpupool(step.clone()))
            .before([RecordEdit::Partition(self.before_record(world))])
            .on_failure(RecordEdit::PartitionFailed(self.uuid, failed));
        let current = self.pool.map(|pool| pool.cpus.clone()).unwrap_or_default();
        if current.union(&step.add).difference(&step.remove) == self.wanted {
            operation = operation.on_success([RecordEdit::Partition(self.shaped_record(world))]);
        }
        drafts.push(draft.now(operation));
        "its cpupool is being shaped".to_owned()
    }

    fn rename(&self, world: &World, drafts: &mut Vec<Draft>, report: &mut Report) {
        let Some(pool) = self.pool.filter(|pool| pool.name.as_deref() != Some(self.name.as_str())) else { return };
        let change =
            Change { field: "metadata.name".to_owned(), old: pool.name.clone(), new: Some(self.name.to_string()) };
        let renamed = self.record.is_some_and(|record| record.name != self.name);
        let draft = self
            .draft(world, Rank::Change, Action::Rename, Effect::Live)
            .cause(if renamed { Cause::Commit } else { Cause::Drift })
            .changes(vec![change])
            .reason(if renamed { "it has a new name" } else { "its cpupool was renamed outside pinfold" });
        let taken = world
            .cpupools
            .unwrap_or_default()
            .iter()
            .find(|other| other.poolid != pool.poolid && other.name.as_deref() == Some(self.name.as_str()));
        drafts.push(if let Some(other) = taken {
            let message = format!("cpupool number {} has the name {}", other.poolid, self.name);
            report.stalled("NameTaken", message.clone());
            draft.waiting(message)
        } else {
            // The record keeps the old name until the pool has the new one: only so a rename of ours is told from drift after a crash.
            let record = PartitionRecord { name: self.name.clone(), ..self.before_record(world) };
            let request = Request::RenameCpupool { uuid: self.uuid, name: self.name.to_string() };
            draft.now(Operation::xen(request).on_success([RecordEdit::Partition(record)]))
        });
    }

    /// Writes down what is already so.
    fn note(&self, world: &World, shaped: bool, drafts: &mut Vec<Draft>) {
        let named = self.pool.is_some_and(|pool| pool.name.as_deref() == Some(self.name.as_str()));
        if !shaped || !named {
            return;
        }
        let next = PartitionRecord { name: self.name.clone(), ..self.shaped_record(world) };
        if self.record != Some(&next) {
            drafts.push(
                self.draft(world, Rank::Record, Action::Settle, Effect::Live)
                    .reason("its cpupool is as it should be; that is recorded")
                    .now(Operation::records(vec![RecordEdit::Partition(next)])),
            );
        }
    }

    fn remove(&self, world: &World, shape: Shape) -> Draft {
        let draft = self
            .draft(world, Rank::Dissolve, Action::Delete, Effect::Delete)
            .cause(if self.consent.is_empty() { Cause::Commit } else { Cause::Verb })
            .reason("nothing declares it any more");
        let draft = signed(world, draft);
        let pools = world.cpupools.is_some() && world.domains.is_some() && self.unknown.is_none();
        if !pools {
            return draft.waiting("the host's cpupools and domains are not known at present");
        }
        if let Some(operation) = world.under_way(&self.object) {
            return draft.waiting(format!("{} is under way", operation.what));
        }
        let forget = RecordEdit::ForgetPartition(self.uuid);
        let Some(pool) = self.pool else {
            return draft.now(Operation::records(self.consent.iter().cloned().chain([forget]).collect()));
        };
        let inside: Vec<&Domain> = world.domains_in(pool.poolid).collect();
        if let Some(domain) = inside.iter().find(|domain| world.owner(domain).is_none()) {
            return draft.held(format!(
                "{} is in its cpupool and is not pinfold's; move it away with `xl cpupool-migrate {} Pool-0`",
                World::domain_name(domain),
                domain.domid
            ));
        }
        match shape {
            Shape::Held(until) => return draft.held(until),
            Shape::Waiting(on) if !inside.is_empty() => return draft.waiting(on),
            // Somebody is still in it, and somebody else waits for some of its cores.
            Shape::Step(step) => {
                let shape = Operation::xen(Request::ShapeCpupool(*step));
                return draft.now(shape.before(self.consent.iter().cloned()));
            }
            _ => {}
        }
        if let Some(domain) = inside.first() {
            return draft.waiting(format!("{} leaves its cpupool", World::domain_name(domain)));
        }
        if pool.domains > 0 {
            return draft.waiting("a domain in its cpupool is still being torn down");
        }
        let destroy = Operation::xen(Request::DestroyCpupool { uuid: self.uuid });
        draft.now(destroy.before(self.consent.iter().cloned()).on_success([forget]))
    }

    fn report(&self, world: &World) -> Report {
        let mut report = Report::new(self.object.clone());
        let power = match (world.cpupools, self.pool) {
            (None, _) => "unknown",
            (Some(_), None) => "absent",
            (Some(_), Some(pool)) if pool.cpus == self.wanted => "present",
            (Some(_), Some(_)) => "misshapen",
        };
        power.clone_into(&mut report.power);
        report.fact("cores", cores::list(&self.cores));
        report.fact("pCPUs wanted", self.wanted.to_string());
        if let Some(pool) = self.pool {
            report.fact("pCPUs", pool.cpus.to_string());
            report.fact("cpupool", pool.poolid.to_string());
            report.fact("domains", pool.domains.to_string());
            for domain in world.domains_in(pool.poolid).filter(|domain| world.owner(domain).is_none()) {
                report.stalled("ForeignInside", format!(
                    "{} is in its cpupool and is not pinfold's, so its cores are not exclusive; move it away with `xl cpupool-migrate {} Pool-0`",
                    World::domain_name(domain), domain.domid));
            }
        }
        report
    }
}
