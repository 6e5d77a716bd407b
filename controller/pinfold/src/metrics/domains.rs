//! What domains have and use, and how VMs fare. Labels are names of objects on this host, and words of ours: never more than there are.

use crate::api::usage::{DomainUsage, UsageDocument};
use crate::reconcile::Snapshot;
use planner::ObjectKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabels {
    kind: &'static str,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PowerLabels {
    name: String,
    power: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmLabels {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    name: String,
    reason: &'static str,
}

type Counts = Family<DomainLabels, Counter<u64, AtomicU64>>;
type Seconds = Family<DomainLabels, Counter<f64, AtomicU64>>;
type Sizes = Family<DomainLabels, Gauge<i64, AtomicI64>>;

/// Registers what domains have and use.
pub(super) fn domains(registry: &mut Registry, usage: &UsageDocument) {
    if let Some(machine) = usage.machine {
        let bytes = |kib: u64| gauge(i64::try_from(kib * 1024).unwrap_or(i64::MAX));
        let with_unit = |registry: &mut Registry, name: &str, help: &str, value| {
            registry.register_with_unit(name, help, Unit::Bytes, value);
        };
        with_unit(registry, "host_memory", "The host's memory", bytes(machine.memory_total_kib));
        with_unit(registry, "host_memory_free", "Memory that a new domain could take", bytes(machine.memory_free_kib));
        registry.register("host_pcpus", "pCPUs that Xen uses", gauge(signed(machine.pcpus as u64)));
    }
    let cpu = Seconds::default();
    let (vcpus, memory, target) = (Sizes::default(), Sizes::default(), Sizes::default());
    for domain in newest(usage) {
        if let Some(ns) = domain.cpu_time_ns {
            #[allow(clippy::cast_precision_loss, reason = "a counter of seconds")]
            cpu.get_or_create(&labels(domain)).inc_by(ns as f64 / 1e9);
        }
        if let Some(count) = domain.vcpus {
            vcpus.get_or_create(&labels(domain)).set(signed(count as u64));
        }
        memory.get_or_create(&labels(domain)).set(signed(domain.memory_kib.saturating_mul(1024)));
        if let Some(kib) = domain.memory_target_kib {
            target.get_or_create(&labels(domain)).set(signed(kib.saturating_mul(1024)));
        }
    }
    registry.register_with_unit("domain_cpu", "CPU time of all its vCPUs", Unit::Seconds, cpu);
    registry.register("domain_vcpus", "vCPUs that the guest uses", vcpus);
    registry.register_with_unit("domain_memory", "Memory that it has", Unit::Bytes, memory);
    registry.register_with_unit("domain_memory_target", "Memory that it is asked to have", Unit::Bytes, target);
    devices(registry, usage);
}

/// Counters of devices: only of domains whose counters are known.
fn devices(registry: &mut Registry, usage: &UsageDocument) {
    let (read, written, reads, writes) = (Counts::default(), Counts::default(), Counts::default(), Counts::default());
    let (received, sent) = (Counts::default(), Counts::default());
    for domain in newest(usage) {
        let add = |family: &Counts, value| {
            family.get_or_create(&labels(domain)).inc_by(value);
        };
        if let Some(disks) = domain.disks {
            add(&read, disks.read_bytes);
            add(&written, disks.written_bytes);
            add(&reads, disks.reads);
            add(&writes, disks.writes);
        }
        if let Some(nics) = domain.nics {
            add(&received, nics.received_bytes);
            add(&sent, nics.sent_bytes);
        }
    }
    registry.register("domain_disk_read_bytes", "Bytes that it read from its disks", read);
    registry.register("domain_disk_written_bytes", "Bytes that it wrote to its disks", written);
    registry.register("domain_disk_reads", "Requests to read from its disks", reads);
    registry.register("domain_disk_writes", "Requests to write to its disks", writes);
    registry.register("domain_network_receive_bytes", "Bytes that it received", received);
    registry.register("domain_network_transmit_bytes", "Bytes that it sent", sent);
}

/// Registers how VMs fare.
pub(super) fn vms(registry: &mut Registry, snapshot: &Snapshot) {
    let power = Family::<PowerLabels, Gauge>::default();
    let starts = Family::<VmLabels, Counter>::default();
    let ends = Family::<EndLabels, Counter>::default();
    for view in snapshot.objects.iter().filter(|view| view.object.kind == ObjectKind::VirtualMachine) {
        let name = view.object.name.clone();
        power.get_or_create(&PowerLabels { name: name.clone(), power: view.power.clone() }).set(1);
        let tally = view.object.uuid.and_then(|uuid| snapshot.counts.tally.of(uuid));
        starts.get_or_create(&VmLabels { name: name.clone() }).inc_by(tally.map_or(0, |tally| tally.starts));
        for (reason, count) in tally.iter().flat_map(|tally| &tally.ends) {
            ends.get_or_create(&EndLabels { name: name.clone(), reason }).inc_by(*count);
        }
    }
    registry.register("vm_power", "1: what is seen of the VM, as `pinfold get vm` shows it", power);
    registry.register("vm_starts", "Domains that were made for the VM, since the daemon started", starts);
    registry.register("vm_guest_ends", "Ends that the guest made by itself, since the daemon started", ends);
}

/// One domain for each pair of labels: while a VM's old domain dies, its next one is the one to count.
fn newest(usage: &UsageDocument) -> impl Iterator<Item = &DomainUsage> {
    let by_labels: HashMap<DomainLabels, &DomainUsage> =
        usage.items.iter().map(|domain| (labels(domain), domain)).collect();
    by_labels.into_values()
}

fn labels(domain: &DomainUsage) -> DomainLabels {
    match &domain.object {
        Some(object) => DomainLabels { kind: object.kind.short(), name: object.name.clone() },
        None if domain.domid == 0 => DomainLabels { kind: "dom0", name: domain.name.clone() },
        None => DomainLabels { kind: "domain", name: domain.name.clone() },
    }
}

fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
