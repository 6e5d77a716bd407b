//! Wall clocks that are set: what waits, what does not, and that no guest loses a second of its time.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, line, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::record::{Approval, Backoff};
use planner::{Disposition, Plan};
use protocol::{DomainState, Reading};
use sim::{Event, Guest, GuestRequest};

/// Ten years, in seconds.
const DECADE: i64 = 10 * 365 * 86_400;

fn set_clock(stage: &mut Stage, by: i64) {
    stage.event(&Event::ClockSet { by });
}

/// A guest that ignores every request, and was just asked to power off.
fn stopping() -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", "")));
    stage.event(&Event::GuestBehaves {
        name: "web".to_owned(),
        guest: Guest { ignores: [GuestRequest::PowerOff].into(), ..Guest::default() },
    });
    stage.converge();
    stage.commit(&(base("") + &vm("web", "  power: stopped")));
    // It acknowledges the request, and goes on.
    stage.pass();
    assert!(runs(&stage));
    stage
}

fn runs(stage: &Stage) -> bool {
    let observed = stage.observe();
    let domains = observed.xen.known().unwrap().domains.known().unwrap().clone();
    domains.iter().any(|domain| domain.name.as_deref() == Some("web") && domain.state == DomainState::Running)
}

fn lines(plan: &Plan) -> String {
    plan.items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Gives the guest another timeout.
fn patient(stage: &mut Stage, seconds: i64) {
    for record in stage.records.vms.values_mut() {
        let Reading::Known(record) = record else { continue };
        let stop = record.here.stopping.as_mut().unwrap();
        stop.deadline = stop.since + SignedDuration::from_secs(seconds);
    }
}

#[test]
fn a_guest_keeps_its_time_whichever_way_the_clock_is_set() {
    for by in [DECADE, -DECADE, 3600, -3600, 30, -30] {
        let mut stage = stopping();
        patient(&mut stage, 300);
        let asked = stage.xen.now_ms();
        set_clock(&mut stage, by);
        let plan = stage.plan();
        assert!(lines(&plan).contains("the guest powers off"), "{by}: {}", lines(&plan));
        // It comes due in what is left of its time, whatever the clock says.
        let left = plan.due.unwrap().duration_since(stage.now()).as_secs();
        assert!((298..=300).contains(&left), "{by}: {left}");
        while runs(&stage) {
            stage.pass();
            stage.wait(1);
            // Set again and again: by somebody who corrects it, and by somebody who corrects that.
            set_clock(&mut stage, -by);
            set_clock(&mut stage, by);
        }
        let took = (stage.xen.now_ms() - asked) / 1000;
        assert!((300..=302).contains(&took), "{by}: destroyed after {took} s");
    }
}

#[test]
fn time_that_another_clock_measured_begins_anew() {
    // By an earlier pinfold, which had the wall clock only; and in another boot.
    for up in [None, Some(planner::record::UpSince { boot_id: uuid::Uuid::nil(), ms: 0 })] {
        let mut stage = stopping();
        for record in stage.records.vms.values_mut() {
            let Reading::Known(record) = record else { continue };
            record.here.stopping.as_mut().unwrap().up = up;
        }
        set_clock(&mut stage, DECADE);
        let plan = lines(&stage.plan());
        assert!(plan.ends_with("(Commit; it should be stopped) now do shutdown-domain"), "{plan}");
    }
    // An inventory of an earlier pinfold is planned as that one did.
    let mut stage = stopping();
    set_clock(&mut stage, DECADE);
    let mut observed = stage.observe();
    observed.uptime = None;
    let plan = planner::plan(stage.desired.as_ref(), &observed);
    assert_snapshot!(lines(&plan), @"vm/web stop [spec.power running -> stopped] (Commit; it should be stopped; the guest did not power off in time) now do destroy-domain");
}

#[test]
fn a_pause_after_a_failure_does_not_last_for_years() {
    let failed = |since: i64, until: i64| {
        let at = |by| "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap() + SignedDuration::from_secs(by);
        let (reason, message, input) = (String::new(), String::new(), String::new());
        Backoff { failures: 5, since: at(since), until: at(until), reason, message, input }
    };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    assert!(failed(-10, 10).waits(now));
    assert!(failed(0, 10).waits(now));
    assert!(!failed(-20, 0).waits(now), "it is over");
    assert!(!failed(DECADE, DECADE + 300).waits(now), "a clock was set back since");
}

#[test]
fn an_approval_from_the_future_is_void_and_a_grant_never_is() {
    let mut stage = Stage::new(&(base("") + &vm("web", "") + &vm("db", "")));
    stage.converge();
    let over = |commit: String| planner::record::OverBudget { commit, removals: 2, budget: 1 };
    let commit = format!("{:0<40}", "c2");
    stage.commit_with(&base(""), Some(over(commit)));
    let held = stage.plan().items.iter().find(|item| item.object.name == "web").unwrap().clone();
    assert!(matches!(held.disposition, Disposition::Held { .. }));
    let now = stage.now();
    let approval = Approval {
        actor: "uid 0".to_owned(),
        reason: "not needed".to_owned(),
        at: now,
        expires: now + SignedDuration::from_hours(24),
    };
    stage.records.approvals.insert(held.id.clone(), approval);
    for by in [-DECADE, DECADE] {
        set_clock(&mut stage, by);
        let plan = lines(&stage.plan());
        let held = "vm/web delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held";
        assert!(plan.contains(held), "{by}: {plan}");
        set_clock(&mut stage, -by);
    }
    let plan = lines(&stage.plan());
    assert!(plan.contains("vm/web delete (Verb; nothing declares it any more; "), "{plan}");
    assert!(plan.contains("it has no disks) now do shutdown-domain"), "{plan}");
    let (plan, _) = stage.pass();
    let item = plan.items.iter().find(|item| item.object.name == "web").unwrap();
    assert_eq!(item.trail.approved.as_ref().unwrap().reason, "not needed");
    // What was begun with consent is ended, and still says whose it was.
    set_clock(&mut stage, DECADE);
    let (plan, _) = stage.pass();
    let item = plan.items.iter().find(|item| item.object.name == "web").unwrap();
    assert_eq!(item.trail.approved.as_ref().unwrap().actor, "uid 0");
    stage.converge();
    assert!(!runs(&stage));
}
