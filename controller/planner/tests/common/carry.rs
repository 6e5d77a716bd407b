//! How an item is carried out on the stage: records, work, records, with the laws held after every call.

use super::Stage;
use planner::record::Backoff;
use planner::{Item, RecordEdit, Work};
use protocol::{CpuSet, FailureKind, Reading, Request};
use sim::{Calls, Fault, World};
use std::collections::BTreeMap;
use uuid::Uuid;

impl Stage {
    /// Carries out one item as the host does: records, work, records.
    pub fn carry_out(&mut self, item: &Item, fault: Fault) -> Result<(), String> {
        let operation = item.operation.clone().unwrap();
        self.edit(&operation.before, "");
        let result = match &operation.work {
            Work::Xen(request) => {
                let allowed = if self.law_of_cores { self.allowed(request) } else { BTreeMap::new() };
                let look = |world: &World| sim::laws::law_of_cores(world, &allowed).unwrap();
                let mut calls = Calls::with_fault(&mut self.xen, fault).after_call(look);
                let result = operation::run(&mut calls, request);
                let (died, elapsed) = (calls.died(), calls.elapsed_ms());
                drop(calls);
                self.xen.advance(self.xen.now_ms() + elapsed);
                if died {
                    return Err("the worker died".to_owned());
                }
                match result {
                    // The request reached the guest.
                    Err(failure) if failure.kind == FailureKind::GuestIgnored => Ok(()),
                    result => result.map(|_| ()).map_err(|failure| failure.to_string()),
                }
            }
            Work::Trash { uuid, .. } => {
                self.records.vms.remove(uuid);
                Ok(())
            }
            Work::Purge { folder } => {
                self.records.trash.remove(folder);
                Ok(())
            }
            Work::Restore { uuid, folder } => {
                let back = self.records.trash.remove(folder).unwrap();
                self.records.vms.insert(*uuid, back.record);
                Ok(())
            }
            Work::Records => Ok(()),
        };
        sim::laws::one_domain_per_uuid(&self.xen).unwrap();
        sim::laws::memory_goes_on_once(&self.xen).unwrap();
        match &result {
            Ok(()) => self.edit(&operation.on_success, ""),
            Err(message) => self.edit(&operation.on_failure, message),
        }
        result
    }

    /// Where every domain may run while a request is carried out: where it can run now, and where it shall. Domains that stay in Pool-0 are in no partition.
    fn allowed(&self, request: &Request) -> BTreeMap<Uuid, Vec<CpuSet>> {
        let mut allowed = BTreeMap::new();
        for (_, domain) in self.xen.domains().filter(|(_, domain)| domain.poolid != 0) {
            let before = domain
                .vcpus
                .iter()
                .flat_map(|vcpu| self.xen.effective(domain, vcpu).iter().collect::<Vec<_>>())
                .collect();
            allowed.insert(domain.uuid, vec![before]);
        }
        match request {
            Request::ShapeCpupool(shape) => {
                if let Some((poolid, pool)) = self.xen.pools().find(|(_, pool)| pool.uuid == Some(shape.uuid)) {
                    let after = pool.cpus.union(&shape.add).difference(&shape.remove);
                    for (_, domain) in self.xen.domains().filter(|(_, domain)| domain.poolid == poolid) {
                        allowed.entry(domain.uuid).or_default().push(after.clone());
                    }
                }
            }
            Request::MoveDomain { target, placement } => {
                if placement.cpupool.is_none() {
                    allowed.remove(&target.uuid);
                } else if let Some(sets) = allowed.get_mut(&target.uuid) {
                    sets.push(placement.hard[0].clone());
                }
            }
            Request::SetAffinity { target, hard, .. } => {
                if let Some(sets) = allowed.get_mut(&target.uuid) {
                    sets.push(hard[0].clone());
                }
            }
            Request::CreateDomain(config) | Request::RestoreDomain { config, .. }
                if config.placement.cpupool.is_some() =>
            {
                allowed.insert(config.mark.uuid, vec![config.placement.hard[0].clone()]);
            }
            _ => {}
        }
        allowed
    }

    pub(crate) fn edit(&mut self, edits: &[RecordEdit], message: &str) {
        for edit in edits {
            match edit.clone() {
                RecordEdit::Vm(record) => drop(self.records.vms.insert(record.uuid, Reading::Known(*record))),
                RecordEdit::Partition(record) => {
                    drop(self.records.partitions.insert(record.uuid, Reading::Known(record)));
                }
                RecordEdit::ForgetPartition(uuid) => drop(self.records.partitions.remove(&uuid)),
                RecordEdit::Grants(grants) => self.records.grants = Some(Reading::Known(grants)),
                RecordEdit::UseApproval(id) => drop(self.records.approvals.remove(&id)),
                RecordEdit::Modes(modes) => self.records.modes = Some(Reading::Known(modes)),
                RecordEdit::Drift(key, None) => drop(self.records.drift.remove(&key)),
                RecordEdit::Drift(key, Some(mut record)) => {
                    for seen in record.fields.values_mut().filter_map(|field| field.seen.as_mut()) {
                        seen.sighting.suspects.get_or_insert_with(|| self.suspects.clone());
                    }
                    drop(self.records.drift.insert(key, record));
                }
                RecordEdit::Approve(id, approval) => drop(self.records.approvals.insert(id, approval)),
                RecordEdit::VmFailed(uuid, backoff) => {
                    let backoff = self.told(backoff, message);
                    if let Some(Reading::Known(record)) = self.records.vms.get_mut(&uuid) {
                        record.here.backoff = Some(backoff);
                    }
                }
                RecordEdit::PartitionFailed(uuid, backoff) => {
                    let backoff = self.told(backoff, message);
                    if let Some(Reading::Known(record)) = self.records.partitions.get_mut(&uuid) {
                        record.backoff = Some(backoff);
                    }
                }
            }
        }
    }

    /// The wait begins when the failure is seen.
    fn told(&self, backoff: Backoff, message: &str) -> Backoff {
        let until = self.now() + backoff.until.duration_since(backoff.since);
        Backoff { since: self.now(), until, message: message.to_owned(), ..backoff }
    }
}
