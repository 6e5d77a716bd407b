//! Core partitions of this host: those the commit declares, those that have a record, and what VMs see of them.

use crate::consent::{Fate, fate};
use crate::cores;
use crate::record::PartitionRecord;
use crate::world::World;
use crate::{ObjectKind, ObjectRef, RecordEdit};
use protocol::{CpuSet, Cpupool, Reading};
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A partition with everything that planning it takes.
pub(crate) struct Partition<'a> {
    pub(crate) object: ObjectRef,
    pub(crate) uuid: Uuid,
    pub(crate) name: Name,
    pub(crate) fate: Fate,
    pub(crate) consent: Vec<RecordEdit>,
    pub(crate) cores: BTreeSet<String>,
    pub(crate) record: Option<&'a PartitionRecord>,
    /// Why its record cannot be relied on.
    pub(crate) unknown: Option<String>,
    pub(crate) pool: Option<&'a Cpupool>,
    /// The pCPUs it should have; those it has, while its record is unknown and nothing declares it.
    pub(crate) wanted: CpuSet,
}

/// Where VMs can run.
#[derive(Default)]
pub(crate) struct Layout {
    /// Partitions by current and by recorded name.
    pub(crate) places: BTreeMap<Name, Place>,
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

impl<'a> Partition<'a> {
    /// The partition as its record last wanted it; `None` when it has none that can be relied on, and no cpupool.
    pub(crate) fn into_recorded(self, world: &World<'a>) -> Option<Self> {
        let Some(record) = self.record else {
            return Some(self).filter(|partition| partition.unknown.is_some());
        };
        Some(Partition {
            name: record.name.clone(),
            fate: Fate::Recorded,
            consent: Vec::new(),
            cores: record.cores.clone(),
            wanted: world.topology.cpus(&record.cores),
            ..self
        })
    }
}

impl Partition<'_> {
    /// Whether VMs mean it by this name, its own or the one it had until now.
    pub(crate) fn is_called(&self, name: &Name) -> bool {
        self.name == *name || self.record.is_some_and(|record| record.name == *name)
    }
}
