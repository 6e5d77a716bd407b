//! The whole text, as a scraper reads it.

use super::text;
use crate::api::usage::{Counters, usage};
use crate::fixture::{VM, domain, item, snapshot};
use crate::reconcile::Snapshot;
use host::{DiskUsage, NicUsage, Usage};
use jiff::Timestamp;
use planner::{Action, Disposition, Effect};
use protocol::{Domain, DomainMemory, DomainState, Reading, Vcpu};
use std::collections::{BTreeMap, BTreeSet};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn metrics(snapshot: &Snapshot, counted: BTreeMap<u32, Usage>) -> String {
    let counters = Counters { at: at(101), by_domid: counted };
    text(snapshot, &usage(snapshot, &counters), at(105))
}

/// Samples of a metric come in any order; here in one. Buckets have theirs.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let is_sample = |line: &str| !line.starts_with('#') && !line.contains("le=\"");
    for block in lines.chunk_by_mut(|a, b| is_sample(a) == is_sample(b)).filter(|block| is_sample(block[0])) {
        block.sort_unstable();
    }
    lines.join("\n")
}

/// What a scraper sees of a VM with a domain that is dying and the next one, beside a domain that nobody knows.
#[test]
fn every_metric_is_here() {
    let vcpu = |id, online| Vcpu { id, online, hard: "0-9".parse().unwrap(), soft: None };
    let web = Domain {
        vcpus: Reading::Known(vec![vcpu(0, true), vcpu(1, false)]),
        memory: DomainMemory { current_kib: 131_072, target_kib: Some(131_072), static_max_kib: Some(262_144) },
        cpu_time_ns: 12_500_000_000,
        ..domain(8, DomainState::Running, None, true)
    };
    let old = Domain { cpu_time_ns: 99_000_000_000, ..domain(7, DomainState::Dying, None, true) };
    let stranger = Domain {
        uuid: uuid::Uuid::from_u128(77),
        name: Some("stranger".to_owned()),
        mark: None,
        ..domain(9, DomainState::Running, None, false)
    };
    let waits = Disposition::Waiting { on: "the domain that ended is cleared away".to_owned() };
    let items = vec![item(Action::Start, Effect::Create, waits)];
    let mut seen = snapshot(Reading::Known(vec![old, web, stranger]), items, "");
    seen.counts.tally.look(&snapshot(Reading::Known(Vec::new()), Vec::new(), "").observed);
    seen.counts.tally.look(&seen.observed);
    assert_eq!(
        seen.counts.tally.of(VM).map(|tally| tally.starts),
        Some(1),
        "the one that dies was counted in its time"
    );
    let disks = DiskUsage { read_bytes: 4096, written_bytes: 512, reads: 2, writes: 1 };
    let nics = NicUsage { received_bytes: 1200, sent_bytes: 60 };
    let counted = BTreeMap::from([
        (8, Usage { disks: Some(disks), nics: Some(nics) }),
        (9, Usage { disks: None, nics: Some(NicUsage::default()) }),
    ]);
    insta::assert_snapshot!(in_order(&metrics(&seen, counted)));
}

/// What cannot be read is left out, never shown as nothing.
#[test]
fn unknown_is_not_zero() {
    let unknown = snapshot(Reading::unknown("XenstoreLost", "xenstored does not answer"), Vec::new(), "");
    let text = metrics(&unknown, BTreeMap::new());
    assert!(!text.lines().any(|line| line.starts_with("pinfold_domain_") && line.contains("kind=\"vm\"")), "{text}");
    assert!(text.contains("pinfold_vm_power{name=\"web\""), "{text}");
}

/// `docs/metrics.md` names every metric, and no other.
#[test]
fn the_documentation_is_whole() {
    let docs = include_str!("../../../../docs/metrics.md");
    let documented: BTreeSet<&str> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next())
        .flat_map(|cell| cell.split('`').filter(|word| word.starts_with("pinfold_")))
        .collect();
    let mut sources = [include_str!("../metrics.rs"), include_str!("domains.rs")].concat();
    sources.retain(|character| !character.is_whitespace());
    let stem = |name: &str| {
        let name = name.trim_start_matches("pinfold_").trim_end_matches("_total").trim_end_matches("_info");
        name.to_owned()
    };
    let is_registered = |name: &str| {
        let (stem, unitless) = (stem(name), stem(name.trim_end_matches("_total")));
        let unitless = unitless.trim_end_matches("_bytes").trim_end_matches("_seconds").to_owned();
        [stem, unitless].iter().any(|name| sources.contains(&format!("\"{name}\",")))
    };
    let unknown: Vec<_> = documented.iter().filter(|name| !is_registered(name)).collect();
    assert!(unknown.is_empty(), "documented, and not there: {unknown:?}");
    let shown = include_str!("snapshots/pinfold__metrics__tests__every_metric_is_here.snap");
    let names = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let documented: BTreeSet<String> = documented.into_iter().map(stem).collect();
    let missing: Vec<_> = names.filter(|name| !documented.contains(&stem(name))).collect();
    assert!(missing.is_empty(), "there, and not documented: {missing:?}");
}
