//! `/v1/usage`: what every domain has and has used so far. Rates are for whoever asks twice.

use super::view::Head;
use crate::reconcile::Snapshot;
use host::{DiskUsage, Meter, NicUsage, Usage};
use jiff::Timestamp;
use planner::{ObjectKind, ObjectRef};
use protocol::{Domain, DomainState, Observation, Reading};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// `/v1/usage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageDocument {
    /// Version and kind.
    #[serde(flatten)]
    pub head: Head,
    /// The host.
    pub host: String,
    /// When the observation began that CPU time and memory are from.
    pub observed_at: Timestamp,
    /// When the counters of disks and NICs were read.
    pub read_at: Timestamp,
    /// Why there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<protocol::Cause>,
    /// The machine; `None` when it cannot be read.
    pub machine: Option<MachineUsage>,
    /// Every domain: dom0 first, then by number.
    pub items: Vec<DomainUsage>,
}

/// The machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineUsage {
    /// pCPUs that Xen uses.
    pub pcpus: usize,
    /// All memory, in KiB.
    pub memory_total_kib: u64,
    /// What a new domain could take, in KiB.
    pub memory_free_kib: u64,
}

/// One domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainUsage {
    /// The VM, or the foreign domain; `None`: dom0.
    pub object: Option<ObjectRef>,
    /// Its name in xenstore; its number when it has none.
    pub name: String,
    /// Its number.
    pub domid: u32,
    /// Tells it from another domain that had the same number: our mark's, or its UUID.
    pub incarnation: Uuid,
    /// `running`, `paused`, `ended`, `dying`.
    pub state: String,
    /// vCPUs that the guest uses; `None` when unknown.
    pub vcpus: Option<usize>,
    /// CPU time in nanoseconds, on all its vCPUs together; `None` when unknown.
    pub cpu_time_ns: Option<u64>,
    /// Memory that it has, in KiB.
    pub memory_kib: u64,
    /// Memory that it is asked to have, in KiB; `None` when nobody asks.
    pub memory_target_kib: Option<u64>,
    /// What its disks have carried; `None` when unknown.
    pub disks: Option<DiskUsage>,
    /// What its NICs have carried; `None` when unknown.
    pub nics: Option<NicUsage>,
}

/// Counters of disks and NICs, and when they were read.
#[derive(Clone, Debug)]
pub struct Counters {
    /// When.
    pub at: Timestamp,
    /// By domain number.
    pub by_domid: BTreeMap<u32, Usage>,
}

impl Counters {
    /// Reads the counters of all domains that the last pass saw. Reads many small files: not for the thread that serves everybody.
    pub fn read(meter: &dyn Meter, snapshot: &Snapshot, at: Timestamp) -> Self {
        Self { at, by_domid: domains(snapshot).map(|domains| meter.read(domains)).unwrap_or_default() }
    }
}

/// The document. Pure.
pub fn usage(snapshot: &Snapshot, counters: &Counters) -> UsageDocument {
    let observed = &snapshot.observed;
    let unknown = match &observed.xen {
        Reading::Unknown(cause) | Reading::Known(Observation { domains: Reading::Unknown(cause), .. }) => {
            Some(cause.clone())
        }
        Reading::Known(_) => None,
    };
    let xen = observed.xen.known();
    let objects: Objects = snapshot
        .objects
        .iter()
        .filter_map(|view| Some(((view.object.kind, view.object.uuid?), &view.object)))
        .collect();
    let of = |domain: &Domain| domain_usage(&objects, domain, counters.by_domid.get(&domain.domid));
    UsageDocument {
        head: Head::of("Usage"),
        host: observed.host.to_string(),
        observed_at: observed.now,
        read_at: counters.at,
        unknown,
        machine: xen.map(|xen| MachineUsage {
            pcpus: xen.hypervisor.pcpus.iter().filter(|pcpu| pcpu.online).count(),
            memory_total_kib: xen.hypervisor.memory_total_kib,
            memory_free_kib: xen.hypervisor.memory_free_kib,
        }),
        items: xen.map(dom0).into_iter().chain(domains(snapshot).into_iter().flatten().map(of)).collect(),
    }
}

fn domains(snapshot: &Snapshot) -> Option<&[Domain]> {
    snapshot.observed.xen.known()?.domains.known().map(Vec::as_slice)
}

/// dom0's devices are the host's own, and not counted here.
fn dom0(xen: &Observation) -> DomainUsage {
    let dom0 = &xen.hypervisor.dom0;
    DomainUsage {
        object: None,
        name: "Domain-0".to_owned(),
        domid: 0,
        incarnation: xen.hypervisor.boot_id,
        state: "running".to_owned(),
        vcpus: usize::try_from(dom0.vcpus).ok(),
        cpu_time_ns: dom0.cpu_time_ns,
        memory_kib: dom0.memory_kib,
        memory_target_kib: None,
        disks: None,
        nics: None,
    }
}

fn domain_usage(objects: &Objects, domain: &Domain, counted: Option<&Usage>) -> DomainUsage {
    let Usage { disks, nics } = counted.copied().unwrap_or_default();
    let vcpus = domain.vcpus.known().map(|vcpus| vcpus.iter().filter(|vcpu| vcpu.online).count());
    let state = match domain.state {
        DomainState::Running => "running",
        DomainState::Paused => "paused",
        DomainState::Shutdown(_) => "ended",
        DomainState::Dying => "dying",
    };
    DomainUsage {
        object: object_of(objects, domain),
        name: domain.name.clone().unwrap_or_else(|| format!("domid-{}", domain.domid)),
        domid: domain.domid,
        incarnation: domain.mark.map_or(domain.uuid, |mark| mark.incarnation),
        state: state.to_owned(),
        vcpus,
        cpu_time_ns: Some(domain.cpu_time_ns),
        memory_kib: domain.memory.current_kib,
        memory_target_kib: domain.memory.target_kib,
        disks,
        nics,
    }
}

/// Objects by kind and identity.
type Objects<'s> = BTreeMap<(ObjectKind, Uuid), &'s ObjectRef>;

/// The VM whose domain it is, or the foreign domain that it is.
fn object_of(objects: &Objects, domain: &Domain) -> Option<ObjectRef> {
    let vm = domain.mark.map_or(domain.uuid, |mark| mark.uuid);
    let vm = objects.get(&(ObjectKind::VirtualMachine, vm));
    vm.or_else(|| objects.get(&(ObjectKind::ForeignDomain, domain.uuid))).map(|object| (*object).clone())
}
