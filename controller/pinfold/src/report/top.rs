//! `pinfold top`: what domains use, from two readings of what they have used. Pure.

use crate::api::usage::{DomainUsage, UsageDocument};
use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// What one domain uses. `None` is unknown: a device without statistics, or a domain that was not there before.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// What it has and has used in all.
    #[serde(flatten)]
    pub domain: DomainUsage,
    /// CPU, in percent of one pCPU.
    pub cpu_percent: Option<f64>,
    /// Bytes read from its disks a second.
    pub disk_read_bytes_per_second: Option<f64>,
    /// Bytes written to its disks a second.
    pub disk_written_bytes_per_second: Option<f64>,
    /// Requests to its disks a second, reads and writes together.
    pub disk_requests_per_second: Option<f64>,
    /// Bytes received a second.
    pub network_received_bytes_per_second: Option<f64>,
    /// Bytes sent a second.
    pub network_sent_bytes_per_second: Option<f64>,
}

/// What every domain of the later reading used between the two: the busiest first.
pub fn rates(before: &UsageDocument, after: &UsageDocument) -> Vec<Rates> {
    let cpu_s = seconds(before.observed_at, after.observed_at);
    let device_s = seconds(before.read_at, after.read_at);
    let mut rates: Vec<Rates> = after.items.iter().map(|domain| one(before, domain, cpu_s, device_s)).collect();
    // By name where nothing is used: the same order every time.
    rates.sort_by(|a, b| {
        let busy = |rates: &Rates| rates.cpu_percent.unwrap_or(0.0);
        busy(b).total_cmp(&busy(a)).then_with(|| a.domain.name.cmp(&b.domain.name))
    });
    rates
}

/// As a table.
pub fn top(rates: &[Rates], after: &UsageDocument) -> String {
    let mut text = String::new();
    if let Some(machine) = after.machine {
        text = format!(
            "host {}: {} pCPUs, {} of memory, {} free\n\n",
            after.host,
            machine.pcpus,
            size(kib(machine.memory_total_kib)),
            size(kib(machine.memory_free_kib))
        );
    }
    let heading = ["DOMAIN", "STATE", "CPU%", "vCPU", "MEMORY", "RD/s", "WR/s", "REQ/s", "RX/s", "TX/s"];
    let heading = heading.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rates.iter().map(row)).collect();
    for row in &rows {
        text.push_str(&aligned(row, &rows));
    }
    text
}

fn one(before: &UsageDocument, domain: &DomainUsage, cpu_s: f64, device_s: f64) -> Rates {
    let was = before.items.iter().find(|was| was.domid == domain.domid && was.incarnation == domain.incarnation);
    let device = |of: fn(&DomainUsage) -> Option<u64>| rate(was.and_then(of), of(domain), device_s);
    Rates {
        cpu_percent: rate(was.and_then(|was| was.cpu_time_ns), domain.cpu_time_ns, cpu_s).map(|ns| ns / 1e7),
        disk_read_bytes_per_second: device(|domain| Some(domain.disks?.read_bytes)),
        disk_written_bytes_per_second: device(|domain| Some(domain.disks?.written_bytes)),
        disk_requests_per_second: device(|domain| domain.disks.map(|disks| disks.reads.saturating_add(disks.writes))),
        network_received_bytes_per_second: device(|domain| Some(domain.nics?.received_bytes)),
        network_sent_bytes_per_second: device(|domain| Some(domain.nics?.sent_bytes)),
        domain: domain.clone(),
    }
}

/// A counter's growth a second. One that is smaller than it was began afresh, as that of a device that was plugged in again: unknown.
fn rate(before: Option<u64>, after: Option<u64>, seconds: f64) -> Option<f64> {
    let grown = after?.checked_sub(before?)?;
    #[allow(clippy::cast_precision_loss, reason = "a rate to look at")]
    (seconds > 0.0).then(|| grown as f64 / seconds)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn row(rates: &Rates) -> Vec<String> {
    let domain = &rates.domain;
    let name = domain.object.as_ref().map_or_else(|| domain.name.clone(), ToString::to_string);
    let per_s = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), size);
    vec![
        name,
        domain.state.clone(),
        rates.cpu_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}")),
        domain.vcpus.map_or_else(|| "-".to_owned(), |vcpus| vcpus.to_string()),
        size(kib(domain.memory_kib)),
        per_s(rates.disk_read_bytes_per_second),
        per_s(rates.disk_written_bytes_per_second),
        rates.disk_requests_per_second.map_or_else(|| "-".to_owned(), |requests| format!("{requests:.0}")),
        per_s(rates.network_received_bytes_per_second),
        per_s(rates.network_sent_bytes_per_second),
    ]
}

/// The first two columns are words, the rest are numbers, which stand to the right.
fn aligned(row: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let cell = |(column, cell): (usize, &String)| {
        let width = width(column);
        if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
    format!("{}\n", cells.join("  "))
}

#[allow(clippy::cast_precision_loss, reason = "a size to look at")]
fn kib(kib: u64) -> f64 {
    kib as f64 * 1024.0
}

/// Bytes in at most five characters: `0`, `512`, `1.5Ki`, `128Mi`.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["", "Ki", "Mi", "Gi"] {
        if value < 999.5 {
            let digits = usize::from(!unit.is_empty() && value < 9.95);
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1}Ti")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::usage::MachineUsage;
    use crate::api::view::Head;
    use host::{DiskUsage, NicUsage};
    use planner::{ObjectKind, ObjectRef};
    use uuid::Uuid;

    fn domain(kind: Option<ObjectKind>, name: &str, domid: u32, cpu_ms: u64) -> DomainUsage {
        DomainUsage {
            object: kind.map(|kind| ObjectRef { kind, name: name.to_owned(), uuid: None }),
            name: name.to_owned(),
            domid,
            incarnation: Uuid::from_u128(domid.into()),
            state: "running".to_owned(),
            vcpus: Some(2),
            cpu_time_ns: Some(cpu_ms * 1_000_000),
            memory_kib: 2 * 1024 * 1024,
            memory_target_kib: Some(2 * 1024 * 1024),
            disks: Some(DiskUsage { read_bytes: 0, written_bytes: 0, reads: 0, writes: 0 }),
            nics: Some(NicUsage { received_bytes: 0, sent_bytes: 0 }),
        }
    }

    fn reading(second: i64, items: Vec<DomainUsage>) -> UsageDocument {
        let at = Timestamp::from_second(second).unwrap();
        UsageDocument {
            head: Head::of("Usage"),
            host: "xen1".to_owned(),
            observed_at: at,
            read_at: at,
            unknown: None,
            machine: Some(MachineUsage { pcpus: 10, memory_total_kib: 8 * 1024 * 1024, memory_free_kib: 3_000_000 }),
            items,
        }
    }

    #[test]
    fn rates_come_from_two_readings_and_are_never_negative() {
        let vm = Some(ObjectKind::VirtualMachine);
        let db = |cpu_ms, read_bytes, reads, received_bytes| DomainUsage {
            disks: Some(DiskUsage { read_bytes, written_bytes: 4096, reads, writes: 1 }),
            nics: Some(NicUsage { received_bytes, sent_bytes: 10_000_000 }),
            ..domain(vm, "db", 5, cpu_ms)
        };
        // Started again between the two, under another number; and under the same one after a boot of the host.
        let (web, web_again) = (domain(vm, "web", 6, 90_000), domain(vm, "web", 7, 10));
        let again = DomainUsage { incarnation: Uuid::from_u128(99), ..domain(vm, "crm", 8, 5) };
        let qemu = DomainUsage { disks: None, ..domain(Some(ObjectKind::ForeignDomain), "stranger", 9, 700) };
        let dom0 = |cpu_ms| DomainUsage { disks: None, nics: None, ..domain(None, "Domain-0", 0, cpu_ms) };
        let before =
            reading(100, vec![dom0(1000), db(3000, 1024, 2, 500), web, domain(vm, "crm", 8, 90_000), qemu.clone()]);
        // A NIC that was plugged in again begins at zero.
        let after = reading(102, vec![dom0(1300), db(6000, 2_098_176, 102, 20), web_again, again, qemu]);
        let text = top(&rates(&before, &after), &after);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        insta::assert_snapshot!(text, @"
        host xen1: 10 pCPUs, 8.0Gi of memory, 2.9Gi free

        DOMAIN           STATE     CPU%  vCPU  MEMORY   RD/s  WR/s  REQ/s  RX/s  TX/s
        vm/db            running  150.0     2   2.0Gi  1.0Mi     0     50     -     0
        Domain-0         running   15.0     2   2.0Gi      -     -      -     -     -
        vm/crm           running      -     2   2.0Gi      -     -      -     -     -
        domain/stranger  running    0.0     2   2.0Gi      -     -      -     0     0
        vm/web           running      -     2   2.0Gi      -     -      -     -     -
        ");
    }

    #[test]
    fn sizes_are_short() {
        let said: Vec<String> = [0.0, 0.4, 999.0, 999.6, 1024.0, 1536.0, 10_240.0, 1_048_576.0, 2e9, 5e12, 3e15]
            .into_iter()
            .map(size)
            .collect();
        insta::assert_snapshot!(said.join(" · "), @"0 · 0 · 999 · 1.0Ki · 1.0Ki · 1.5Ki · 10Ki · 1.0Mi · 1.9Gi · 4.5Ti · 2728.5Ti");
    }
}
