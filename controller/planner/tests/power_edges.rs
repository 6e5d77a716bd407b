//! Every state that a VM can be found in, against every power that a commit can want: the one step that follows, or why none does. The table is
//! `docs/power.md`, so that what an administrator reads is what the planner does.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, vm};
use planner::{ConditionKind, Disposition, Item, Plan, Work};
use protocol::ShutdownReason;
use sim::{Event, Fault, Point};
use std::fmt::Write;
use std::path::Path;

const DISK: &str = "  disks: [{name: root, target: xvda, path: /srv/a.img}]";
const WANTED: [&str; 5] = ["running", "paused", "suspended", "stopped", "no manifest"];

fn manifest(wanted: &str) -> String {
    match wanted {
        "no manifest" => base(""),
        power => base("") + &vm("web", &format!("  power: {power}\n{DISK}")),
    }
}

/// A VM that was brought to a power and has run for a minute.
fn at(power: &str) -> Stage {
    let mut stage = Stage::new(&manifest("running"));
    stage.converge();
    stage.wait(60);
    if power != "running" {
        stage.commit(&manifest(power));
        stage.converge();
    }
    stage
}

fn after(power: &str, event: &Event) -> Stage {
    let mut stage = at(power);
    stage.event(event);
    stage
}

/// A VM whose worker died at a point on the way from one power to another.
fn killed(from: &str, to: &str, point: Point) -> Stage {
    let mut stage = at(from);
    stage.commit(&manifest(to));
    let plan = stage.plan();
    let item = plan.items.iter().find(|item| item.disposition == Disposition::Now).unwrap();
    stage.carry_out(item, Fault { die_at: Some(point), ..Fault::default() }).unwrap_err();
    stage
}

/// The same, after so many steps of the worker.
fn killed_after(from: &str, to: &str, steps: u32) -> Stage {
    let mut stage = at(from);
    stage.commit(&manifest(to));
    let plan = stage.plan();
    let item = plan.items.iter().find(|item| item.disposition == Disposition::Now).unwrap();
    stage.carry_out(item, Fault { die_after: Some(steps), ..Fault::default() }).unwrap_err();
    stage
}

fn ended(how: ShutdownReason) -> Event {
    Event::GuestEnds { domain: "web".to_owned(), how }
}

/// The number of steps after which a restoring worker has marked the image used and the domain not `ready`.
fn used_and_not_ready() -> u32 {
    let found = (1..40).find(|steps| {
        let stage = killed_after("suspended", "running", *steps);
        let used = stage.xen.images().any(|(_, image)| image.used.is_some());
        used && stage.xen.domains().all(|(_, domain)| domain.store.as_ref().is_some_and(|store| !store.ready))
    });
    found.unwrap()
}

/// A state, and how a VM comes to be in it.
type State = (&'static str, Box<dyn Fn() -> Stage>);

fn states() -> Vec<State> {
    let name = || "web".to_owned();
    let off = || {
        let mut stage = after("running", &ended(ShutdownReason::Poweroff));
        stage.converge();
        stage
    };
    let used = used_and_not_ready();
    vec![
        ("never made", Box::new(|| Stage::new(&base("")))),
        ("running", Box::new(|| at("running"))),
        ("paused", Box::new(|| at("paused"))),
        ("stopped", Box::new(|| at("stopped"))),
        ("suspended", Box::new(|| at("suspended"))),
        ("suspended, and its image is torn", Box::new(|| after("suspended", &Event::ImagesTorn))),
        ("suspended, and the host booted", Box::new(|| after("suspended", &Event::PowerLoss))),
        ("running, and the host booted", Box::new(|| after("running", &Event::PowerLoss))),
        ("switched off by its guest", Box::new(off)),
        ("ended: poweroff", Box::new(|| after("running", &ended(ShutdownReason::Poweroff)))),
        ("ended: reboot", Box::new(|| after("running", &ended(ShutdownReason::Reboot)))),
        ("ended: suspend, by another tool", Box::new(|| after("running", &ended(ShutdownReason::Suspend)))),
        ("running, paused by `xl pause`", Box::new(move || after("running", &Event::Pause { domain: name() }))),
        ("paused, let run by `xl unpause`", Box::new(move || after("paused", &Event::Unpause { domain: name() }))),
        ("destroyed by `xl destroy`", Box::new(move || after("running", &Event::Destroy { domain: name() }))),
        ("killed while its memory was written", Box::new(|| killed("running", "suspended", Point::ImageWritten))),
        ("killed when its memory was whole", Box::new(|| killed_after("running", "suspended", 6))),
        ("killed while it was restored", Box::new(|| killed("suspended", "running", Point::MemoryRestored))),
        ("killed when its image was used", Box::new(move || killed_after("suspended", "running", used))),
    ]
}

fn cell(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.items.iter().filter(|item| item.object.name == "web").map(line).collect();
    let status = plan.objects.iter().find(|status| status.object.name == "web");
    let conditions = status.into_iter().flat_map(|status| &status.conditions);
    let stalled = conditions.filter(|condition| condition.kind == ConditionKind::Stalled);
    lines.extend(stalled.map(|condition| format!("**{}**: {}", condition.reason, condition.message)));
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("<br>") }
}

fn line(item: &Item) -> String {
    let does = match item.operation.as_ref().map(|operation| &operation.work) {
        Some(Work::Xen(request)) => serde_json::to_value(request).unwrap()["do"].as_str().unwrap().to_owned(),
        Some(Work::Trash { .. }) => "trash".to_owned(),
        Some(Work::Restore { .. }) => "restore from the trash".to_owned(),
        Some(Work::Purge { .. }) => "purge".to_owned(),
        Some(Work::Records) => "record".to_owned(),
        None => planner::render::doing(item.action).to_owned(),
    };
    match &item.disposition {
        Disposition::Now => format!("`{does}`: {}", item.reason),
        Disposition::AtNextStart => format!("at its next start: {}", item.reason),
        Disposition::Held { .. } => format!("held until approved: {}", item.reason),
        Disposition::Waiting { on } => format!("then {does}: when {on}"),
    }
}

fn table() -> String {
    let mut text = format!(
        "| it is | {} |\n|---|---|---|---|---|---|\n",
        WANTED.map(|power| format!("wanted: {power}")).join(" | ")
    );
    for (state, make) in states() {
        let cells = WANTED.map(|wanted| {
            let mut stage = make();
            stage.commit(&manifest(wanted));
            cell(&stage.plan())
        });
        writeln!(text, "| {state} | {} |", cells.join(" | ")).unwrap();
    }
    text
}

#[test]
fn every_edge_is_a_plan_or_says_why_not() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/power.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("<!-- the table -->\n").unwrap();
    let now = format!("{before}<!-- the table -->\n{}", table());
    if std::env::var_os("PINFOLD_GENERATE").is_some() {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    assert!(
        after.lines().count() > 10 && text == now,
        "{} is not what the planner does; run: make generate",
        path.display()
    );
}
