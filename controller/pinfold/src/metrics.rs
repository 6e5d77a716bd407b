//! Metrics in the OpenMetrics text format, made from a snapshot at the time of reading: nothing is kept twice.

mod domains;
#[cfg(test)]
mod tests;

use crate::api::usage::UsageDocument;
use crate::api::view::{ConditionView, ObjectView};
use crate::reconcile::Snapshot;
use jiff::Timestamp;
use planner::{ConditionKind, Disposition, ObjectKind, Truth};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What a scraper is told that the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    kind: String,
    name: String,
    r#type: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ItemLabels {
    effect: String,
    disposition: String,
}

/// The text of all metrics.
pub fn text(snapshot: &Snapshot, usage: &UsageDocument, now: Timestamp) -> String {
    let mut registry = Registry::with_prefix("pinfold");
    let commit = snapshot.observed.accepted.as_ref().map(|commit| commit.id.clone()).unwrap_or_default();
    let build = Info::new([
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host", snapshot.observed.host.to_string()),
        ("commit", commit),
    ]);
    registry.register("build", "The daemon, its host, and the commit in force", build);
    passes(&mut registry, snapshot, now);
    source(&mut registry, snapshot, now);
    objects(&mut registry, snapshot);
    items(&mut registry, snapshot);
    operations(&mut registry, snapshot, now);
    domains::vms(&mut registry, snapshot);
    domains::domains(&mut registry, usage);
    let mut text = String::new();
    // Writing to a String cannot fail; half a text would not parse, so a scraper would notice.
    let _ = encode(&mut text, &registry);
    text
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    registry.register(name, help, ConstGauge::new(value));
}

fn seconds_since(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64()
}

fn passes(registry: &mut Registry, snapshot: &Snapshot, now: Timestamp) {
    let seconds = snapshot.counts.pass_seconds.clone();
    registry.register("reconcile_duration_seconds", "How long passes take, since the daemon started", seconds);
    gauge(
        registry,
        "observe_age_seconds",
        "Age of the observation that everything else is from",
        seconds_since(snapshot.observed.now, now),
    );
    let known = snapshot.observed.xen.known().is_some();
    gauge(
        registry,
        "observe_known",
        "1: the host could be read; 0: everything is unknown, and nothing is planned",
        f64::from(u8::from(known)),
    );
}

fn source(registry: &mut Registry, snapshot: &Snapshot, now: Timestamp) {
    let source = &snapshot.source;
    if let Some(fetched) = source.fetched {
        gauge(
            registry,
            "source_age_seconds",
            "Time since the repository was last asked with success",
            seconds_since(fetched, now),
        );
    }
    let flag = |set: bool| f64::from(u8::from(set));
    gauge(registry, "source_failing", "1: the repository cannot be asked", flag(source.failing.is_some()));
    gauge(
        registry,
        "source_refused",
        "1: the branch's tip is refused, and an earlier commit is in force",
        flag(source.refused.is_some()),
    );
}

fn objects(registry: &mut Registry, snapshot: &Snapshot) {
    let conditions = Family::<ConditionLabels, Gauge>::default();
    let restarts = Family::<ObjectLabels, Gauge>::default();
    let drift = Family::<ObjectLabels, Gauge>::default();
    let mut foreign = 0.0;
    for view in snapshot.objects.iter() {
        if matches!(view.object.kind, ObjectKind::ForeignDomain | ObjectKind::ForeignCpupool) {
            foreign += 1.0;
        }
        for condition in &view.conditions {
            conditions.get_or_create(&condition_labels(view, condition)).set(1);
        }
        if view.object.kind == ObjectKind::VirtualMachine {
            restarts.get_or_create(&object_labels(view)).set(i64::from(view.is(ConditionKind::RestartPending)));
        }
    }
    for item in snapshot.plan.items.iter().filter(|item| item.cause == planner::Cause::Drift) {
        let labels = ObjectLabels { kind: item.object.kind.short().to_owned(), name: item.object.name.clone() };
        drift.get_or_create(&labels).inc_by(i64::try_from(item.changes.len().max(1)).unwrap_or(i64::MAX));
    }
    registry.register("condition", "Conditions of objects; all but Ready only while they hold", conditions);
    registry.register("restart_required", "1: a change takes effect when the VM starts next", restarts);
    registry.register("drift_fields", "Fields that somebody changed outside git and that are not yet put right", drift);
    gauge(registry, "foreign_objects", "Domains and cpupools that are not ours and never touched", foreign);
}

fn condition_labels(view: &ObjectView, condition: &ConditionView) -> ConditionLabels {
    let status = match condition.status {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown => "unknown",
    };
    let ObjectLabels { kind, name } = object_labels(view);
    ConditionLabels { kind, name, r#type: format!("{:?}", condition.kind), status: status.to_owned() }
}

fn object_labels(view: &ObjectView) -> ObjectLabels {
    ObjectLabels { kind: view.object.kind.short().to_owned(), name: view.object.name.clone() }
}

fn items(registry: &mut Registry, snapshot: &Snapshot) {
    let items = Family::<ItemLabels, Gauge>::default();
    for item in &snapshot.plan.items {
        let disposition = match item.disposition {
            Disposition::Now => "now",
            Disposition::AtNextStart => "at-next-start",
            Disposition::Held { .. } => "held",
            Disposition::Waiting { .. } => "waiting",
        };
        let labels =
            ItemLabels { effect: planner::render::effect(item.effect).to_owned(), disposition: disposition.to_owned() };
        items.get_or_create(&labels).inc();
    }
    registry.register("plan_items", "Items of the plan", items);
}

fn operations(registry: &mut Registry, snapshot: &Snapshot, now: Timestamp) {
    let counts = &snapshot.counts;
    registry.register(
        "operations_started",
        "Operations started since the daemon started",
        ConstCounter::new(counts.operations_started),
    );
    let refused = ConstCounter::new(counts.operations_refused);
    registry.register("operations_refused", "Operations that could not be started, since the daemon started", refused);
    let running = &snapshot.observed.operations;
    #[allow(clippy::cast_precision_loss, reason = "a host runs fewer operations than 2^52")]
    gauge(registry, "operations_running", "Operations under way", running.len() as f64);
    let longest = running.iter().map(|operation| seconds_since(operation.since, now)).fold(0.0, f64::max);
    gauge(registry, "operation_longest_running_seconds", "Age of the oldest operation under way", longest);
}
