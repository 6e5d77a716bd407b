//! Edges that a person's verbs are: overrides of a VM's power, freezes, and the claim of another toolstack's domain.

use super::{Edge, Person, Second, edge, vm};
use crate::desired;
use crate::stage::Stage;
use crate::stage::verbs::Order;
use jiff::SignedDuration;
use sim::{Event, ForeignDomain};
use uuid::Uuid;

/// So long that an override outlives every play.
const LONG: SignedDuration = SignedDuration::from_hours(24 * 20);

pub fn edges() -> Vec<Edge> {
    let running = || vec![vm("v", ""), vm("w", "")];
    let stopped = || vec![vm("v", "power: stopped"), vm("w", "")];
    let paused = || vec![vm("v", "power: paused"), vm("w", "")];
    vec![
        edge("stopped by a person", running, Person(|_| {}, |stage| stage.order("vm/v", Order::Stop, LONG))),
        edge("started by a person", stopped, Person(|_| {}, |stage| stage.order("vm/v", Order::Start, LONG))),
        edge("paused by a person", running, Person(|_| {}, |stage| stage.order("vm/v", Order::Pause, LONG))),
        edge("let run by a person", paused, Person(|_| {}, |stage| stage.order("vm/v", Order::Start, LONG))),
        edge("restarted by a person", running, Person(|_| {}, |stage| stage.order("vm/v", Order::Restart, LONG))),
        edge("stopped by a person, and follows again", running, Person(ordered_off, |stage| stage.follow("vm/v"))),
        edge("started by a person, and follows again", stopped, Person(ordered_on, |stage| stage.follow("vm/v"))),
        edge("paused by a person, and follows again", running, Person(ordered_still, |stage| stage.follow("vm/v"))),
        edge("started by a person after it switched itself off", running, Person(switches_off, ordered_on)),
        edge(
            "a change waits for the end of a freeze",
            running,
            Person(frozen_and_changed, |stage| stage.unfreeze("vm/v")),
        ),
        edge(
            "a removal waits for the end of a freeze",
            running,
            Person(frozen_and_gone, |stage| stage.unfreeze("vm/v")),
        ),
        edge("frozen while it is stopped", running, Person(|_| {}, stopped_and_frozen)),
        edge("followed once it is no longer only observed", running, Second(observed, weighty)),
        edge("a change in mode plan is approved", running, Person(planned, |stage| stage.approve("vm/v"))),
        edge("a fight is put right by a person", running, Person(fought_over, |stage| stage.approve("vm/v"))),
        edge(
            "a domain of another toolstack is taken over",
            || vec![vm("w", "")],
            Person(theirs, |stage| stage.approve("vm/v")),
        ),
    ]
}

fn ordered_off(stage: &mut Stage) {
    stage.order("vm/v", Order::Stop, LONG);
}

fn ordered_on(stage: &mut Stage) {
    stage.order("vm/v", Order::Start, LONG);
}

fn ordered_still(stage: &mut Stage) {
    stage.order("vm/v", Order::Pause, LONG);
}

fn switches_off(stage: &mut Stage) {
    stage.apply(&super::ends_by(protocol::ShutdownReason::Poweroff));
}

fn frozen_and_changed(stage: &mut Stage) {
    stage.freeze("vm/v");
    stage.commit(desired(&[vm("v", "cpu: {weight: 900}\n  power: paused"), vm("w", "")]));
}

fn frozen_and_gone(stage: &mut Stage) {
    stage.freeze("vm/v");
    stage.commit(desired(&[vm("w", "")]));
}

/// Its guest has been asked to power off, and then nobody may touch it.
fn stopped_and_frozen(stage: &mut Stage) {
    stage.commit(desired(&[vm("v", "power: stopped"), vm("w", "")]));
    stage.pass();
    stage.freeze("vm/v");
}

fn weighty() -> Vec<String> {
    vec![vm("v", "cpu: {weight: 900}"), vm("w", "")]
}

fn observed() -> Vec<String> {
    vec![vm("v", "mode: observe\n  cpu: {weight: 900}"), vm("w", "")]
}

fn planned(stage: &mut Stage) {
    stage.commit(desired(&[vm("v", "mode: plan\n  cpu: {weight: 900}"), vm("w", "")]));
}

/// Somebody widens its pins again whenever they are put right, until pinfold leaves them.
fn fought_over(stage: &mut Stage) {
    for _ in 0..6 {
        stage.apply(&Event::VcpuPin { domain: "v".to_owned(), vcpu: Some(0), hard: "1".parse().unwrap() });
        stage.settle(SignedDuration::from_secs(30));
    }
}

/// `xl` has made what a commit then declares, with a cap of its own.
fn theirs(stage: &mut Stage) {
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"theirs");
    let file = "{name: v, memory-kib: 65536, vcpus: 2, cap: 50}";
    let domain: ForeignDomain = serde_saphyr::from_str(file).unwrap();
    stage.apply(&Event::Create { domain: ForeignDomain { uuid: Some(uuid), ..domain }.into(), raced: false });
    stage.commit(desired(&[vm("v", &format!("uuid: \"{uuid}\"")), vm("w", "")]));
}
