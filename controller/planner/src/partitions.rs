//! Core partitions of this host and their cpupools: made, changed, renamed, taken away.

use crate::consent::{Fate, fate};
use crate::cores;
use crate::draft::{Draft, Rank, moment, next_backoff};
use crate::record::{PartitionRecord, RECORD_VERSION};
use crate::shape::{Shape, shapes};
use crate::status::Report;
use crate::world::World;
use crate::{Action, Cause, Change, Effect, ObjectKind, ObjectRef, Operation, RecordEdit, digest};
use protocol::{CpuSet, Cpupool, Domain, Reading, Request};
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A partition with everything that planning it takes.
pub(crate) struct Partition<'a> {
    pub(crate) object: ObjectRef,
    pub(crate) uuid: Uuid,
    pub(crate) name: Name,
    pub(crate) fate: Fate,
    consent: Vec<RecordEdit>,
    pub(crate) cores: BTreeSet<String>,
    record: Option<&'a PartitionRecord>,
    /// Why its record cannot be relied on.
    unknown: Option<String>,
    pub(crate) pool: Option<&'a Cpupool>,
    /// The pCPUs it should have; those it has, while its record is unknown and nothing declares it.
    pub(crate) wanted: CpuSet,
}

/// Where VMs can run.
#[derive(Default)]
pub(crate) struct Layout {
    /// Partitions by current and by recorded name.
    places: BTreeMap<Name, Place>,
    /// pCPUs that belong to some partition, or will.
    pub(crate) partitioned: CpuSet,
    /// Domains of ours in Pool-0 that hold a pCPU which a partition is waiting for, and their new masks.
    pub(crate) remask: BTreeSet<u32>,
}

/// A partition as VMs see it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) object: ObjectRef,
    pub(crate) uuid: Uuid,
    /// The pCPUs it should have.
    pub(crate) cpus: CpuSet,
    /// Its cpupool when it has exactly these pCPUs; otherwise what it waits for.
    pub(crate) poolid: Result<u32, String>,
}

impl Layout {
    pub(crate) fn place(&self, name: &Name) -> Option<&Place> {
        self.places.get(name)
    }
}

/// All partitions of the host.
pub(crate) fn partitions<'a>(world: &World<'a>) -> Vec<Partition<'a>> {
    let mut partitions = Vec::new();
    let mut seen = BTreeSet::new();
    let declared = world.desired.into_iter().flat_map(|desired| desired.partitions.values());
    for declared in declared.filter(|partition| partition.host == world.observed.host) {
        let uuid = declared.uuid(world.pool_id);
        seen.insert(uuid);
        let cores = cores::names(&declared.cores);
        let object = cp_object(uuid, &declared.name);
        let reading = world.partition_record(uuid);
        partitions.push(Partition {
            wanted: world.topology.cpus(&cores),
            pool: world.cpupool(uuid),
            record: reading.and_then(Reading::known),
            unknown: unknown(reading),
            name: declared.name.clone(),
            fate: Fate::Declared,
            consent: Vec::new(),
            object,
            uuid,
            cores,
        });
    }
    let recorded = world.observed.records.partitions.iter().filter(|(uuid, _)| !seen.contains(*uuid));
    partitions.extend(recorded.filter_map(|(&uuid, reading)| recorded_partition(world, uuid, reading)));
    partitions.sort_by(|a, b| a.object.cmp(&b.object));
    partitions
}

fn cp_object(uuid: Uuid, name: &Name) -> ObjectRef {
    ObjectRef { kind: ObjectKind::CorePartition, name: name.to_string(), uuid: Some(uuid) }
}

fn unknown(reading: Option<&Reading<PartitionRecord>>) -> Option<String> {
    match reading {
        Some(Reading::Unknown(cause)) => Some(cause.message.clone()),
        _ => None,
    }
}

fn recorded_partition<'a>(
    world: &World<'a>,
    uuid: Uuid,
    reading: &'a Reading<PartitionRecord>,
) -> Option<Partition<'a>> {
    let pool = world.cpupool(uuid);
    let Some(record) = reading.known() else {
        // The name of its cpupool is all that is left to call it by.
        let name: Name = pool
            .and_then(|pool| pool.name.as_ref()?.parse().ok())
            .or_else(|| format!("unknown-{uuid}").parse().ok())?;
        return Some(Partition {
            object: cp_object(uuid, &name),
            uuid,
            name,
            fate: Fate::Recorded,
            consent: Vec::new(),
            cores: BTreeSet::new(),
            record: None,
            unknown: unknown(Some(reading)),
            pool,
            wanted: pool.map(|pool| pool.cpus.clone()).unwrap_or_default(),
        });
    };
    let object = cp_object(uuid, &record.name);
    let (fate, consent) = fate(world, &object, uuid, &record.name);
    let foreign = (record.pool_id != world.pool_id).then(|| "its record belongs to another Pool".to_owned());
    Some(Partition {
        object,
        uuid,
        name: record.name.clone(),
        fate,
        consent,
        cores: record.cores.clone(),
        record: Some(record),
        unknown: foreign,
        pool,
        wanted: world.topology.cpus(&record.cores),
    })
}

/// Items and reports of all partitions, and where VMs can run when they are as they should be.
pub(crate) fn plan_partitions(world: &World, partitions: &[Partition]) -> (Vec<Draft>, Vec<Report>, Layout) {
    let kept = || partitions.iter().filter(|partition| partition.fate != Fate::Removed);
    let mut layout =
        Layout { partitioned: kept().flat_map(|partition| partition.wanted.iter()).collect(), ..Layout::default() };
    let shapes = shapes(world, partitions, &mut layout.remask);
    let mut drafts = Vec::new();
    let mut reports = Vec::new();
    for (partition, shape) in partitions.iter().zip(shapes) {
        let mut report = partition.report(world);
        let place = match &partition.fate {
            Fate::Removed => {
                drafts.push(partition.remove(world));
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
        if let Some(backoff) = backoff.filter(|backoff| backoff.input == input && backoff.until > world.observed.now) {
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

    fn remove(&self, world: &World) -> Draft {
        let draft = self
            .draft(world, Rank::Dissolve, Action::Delete, Effect::Delete)
            .cause(if self.consent.is_empty() { Cause::Commit } else { Cause::Verb })
            .reason("nothing declares it any more");
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
