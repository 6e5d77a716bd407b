//! The plan when nobody knows what is there: nothing, and Ready is Unknown on everything.

use crate::status::Report;
use crate::{ObjectKind, ObjectRef, Observed, Plan};
use schema::desired::Desired;
use std::collections::BTreeMap;
use uuid::Uuid;

/// No items; every object of this host that is declared or recorded is unknown, for the given reason.
pub(crate) fn plan(desired: Option<&Desired>, observed: &Observed, reason: &str, message: &str) -> Plan {
    let mut objects: BTreeMap<(ObjectKind, Uuid), String> = BTreeMap::new();
    for (uuid, record) in &observed.records.vms {
        let name = record.known().map_or_else(|| uuid.to_string(), |record| record.name.to_string());
        objects.insert((ObjectKind::VirtualMachine, *uuid), name);
    }
    for (uuid, record) in &observed.records.partitions {
        let name = record.known().map_or_else(|| uuid.to_string(), |record| record.name.to_string());
        objects.insert((ObjectKind::CorePartition, *uuid), name);
    }
    if let Some(desired) = desired {
        let pool_id = observed.pool_id.unwrap_or(desired.pool.id);
        for vm in desired.vms.values().filter(|vm| vm.host == observed.host) {
            objects.insert((ObjectKind::VirtualMachine, vm.uuid(pool_id)), vm.name.to_string());
        }
        for partition in desired.partitions.values().filter(|partition| partition.host == observed.host) {
            objects.insert((ObjectKind::CorePartition, partition.uuid(pool_id)), partition.name.to_string());
        }
    }
    let host = ObjectRef { kind: ObjectKind::Host, name: observed.host.to_string(), uuid: None };
    let refs = objects.into_iter().map(|((kind, uuid), name)| ObjectRef { kind, name, uuid: Some(uuid) });
    let mut all: Vec<ObjectRef> = refs.chain([host]).collect();
    all.sort();
    let commit = observed.accepted.as_ref().map(|commit| commit.id.clone());
    let objects = all
        .into_iter()
        .map(|object| {
            let mut report = Report::new(object);
            report.unknown(reason, message);
            report.status(&[], commit.as_deref())
        })
        .collect();
    Plan { commit, items: Vec::new(), objects, due: None, notes: Vec::new() }
}
