//! Drift: since when, by whom, how often; and fights.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, line, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::drift::FIGHT;
use planner::record::Approval;
use planner::{Disposition, render};
use sim::Event;
use std::fmt::Write as _;

fn pinned() -> Stage {
    let mut stage =
        Stage::new(&(base("") + &cp("oracle", &[6, 7]) + &vm("web", "  cpu: {pins: [{socket: 0, core: 2}]}\n")));
    stage.converge();
    stage
}

fn widen() -> Event {
    Event::VcpuPin { domain: "web".to_owned(), vcpu: None, hard: "0-5".parse().unwrap() }
}

/// Passes until nothing goes any more.
fn settle(stage: &mut Stage) -> String {
    let mut text = String::new();
    loop {
        let (plan, failures) = stage.pass();
        for item in &plan.items {
            let _ = writeln!(text, "{}", line(item));
        }
        text += &failures;
        if plan.items.iter().all(|item| item.disposition != Disposition::Now) {
            return text;
        }
    }
}

fn known(stage: &Stage) -> String {
    serde_json::to_string_pretty(&stage.records.drift).unwrap()
}

#[test]
fn it_is_noted_since_when_it_is_seen_and_who_was_there() {
    let mut stage = pinned();
    stage.suspects = vec!["`xl vcpu-pin` (pid 20)".to_owned(), "ada on pts/0".to_owned()];
    stage.event(&widen());
    let first = stage.plan();
    assert_snapshot!(render::plan(&first), @r"
    ~ vm/web                   repair    live        drift     now
        because its placement was changed outside pinfold
        seen since 2026-01-01T00:00:00Z
        ~ hard affinity  0-5 -> 2
    0 to create, 1 to change, 0 to remove or stop. 1 now, 0 waiting, 0 held, 0 at next start.
    ");
    settle(&mut stage);
    assert_snapshot!(known(&stage), @r#"
    {
      "vm--f4107b80-67e5-5bf6-a539-ab11394853c6": {
        "version": 1,
        "object": {
          "kind": "virtual-machine",
          "name": "web",
          "uuid": "f4107b80-67e5-5bf6-a539-ab11394853c6"
        },
        "fields": {
          "hard affinity": {
            "seen": null,
            "corrected": [
              "2026-01-01T00:00:00.442Z"
            ]
          }
        }
      }
    }
    "#);
    // What was put right is forgotten after a while.
    stage.wait(11 * 60);
    settle(&mut stage);
    assert!(stage.records.drift.is_empty());
}

#[test]
fn what_stays_so_keeps_the_time_of_its_first_sight() {
    let mut stage = pinned();
    // Frozen by a mode: nothing is put right.
    stage.commit(
        &(base("") + &cp("oracle", &[6, 7]) + &vm("web", "  mode: observe\n  cpu: {pins: [{socket: 0, core: 2}]}\n")),
    );
    settle(&mut stage);
    stage.suspects = vec!["ada on pts/0".to_owned()];
    stage.event(&widen());
    settle(&mut stage);
    stage.wait(3600);
    stage.suspects.clear();
    assert_snapshot!(render::plan(&stage.plan()), @r"
    ~ vm/web                   repair    live        drift     held  [7816d5291d39]
        because its placement was changed outside pinfold
        seen since 2026-01-01T00:00:00Z; then there: ada on pts/0
        held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
        ~ hard affinity  0-5 -> 2
    0 to create, 1 to change, 0 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False NeedsPerson: repair hard affinity 0-5 -> 2: held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
      Held True NeedsPerson: repair hard affinity 0-5 -> 2: held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
      Drifted True ChangedOutside: repair hard affinity 0-5 -> 2: held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that; seen since 2026-01-01T00:00:00Z; then there: ada on pts/0
      NotEnforced True Observe: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
    ");
    // Another value is another sight.
    stage.event(&Event::VcpuPin { domain: "web".to_owned(), vcpu: None, hard: "0-3".parse().unwrap() });
    settle(&mut stage);
    assert_snapshot!(render::plan(&stage.plan()), @r"
    ~ vm/web                   repair    live        drift     held  [f882e904429d]
        because its placement was changed outside pinfold
        seen since 2026-01-01T01:00:00Z; nobody was logged in, and no other toolstack ran
        held: `spec.mode` of vm/web is observe: nothing is done until a commit changes that
        ~ hard affinity  0-3 -> 2
    0 to create, 1 to change, 0 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    ");
}

#[test]
fn a_fight_is_given_up_and_the_guest_runs_on() {
    let mut stage = pinned();
    stage.suspects = vec!["cron (pid 99)".to_owned()];
    for _ in 0..FIGHT {
        stage.event(&widen());
        assert!(settle(&mut stage).contains("do set-affinity"));
        stage.wait(20);
    }
    stage.event(&widen());
    assert_snapshot!(settle(&mut stage), @"vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) held: somebody fights over hard affinity: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again; pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 7816d5291d39` puts it right once more");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False Fight: somebody fights over hard affinity: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; then there: cron (pid 99)); pinfold leaves it as it is, and the guest runs on: find who does it
      Stalled True Fight: somebody fights over hard affinity: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; then there: cron (pid 99)); pinfold leaves it as it is, and the guest runs on: find who does it
      Held True NeedsPerson: repair hard affinity 0-5 -> 2: held: somebody fights over hard affinity: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; then there: cron (pid 99)); pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 7816d5291d39` puts it right once more
      Drifted True ChangedOutside: repair hard affinity 0-5 -> 2: held: somebody fights over hard affinity: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; then there: cron (pid 99)); pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 7816d5291d39` puts it right once more; seen since 2026-01-01T00:01:40Z; then there: cron (pid 99)
    ");
    // It does not begin again by itself.
    stage.wait(24 * 3600);
    assert!(!settle(&mut stage).contains("set-affinity"));
    assert_eq!(stage.xen.domains().filter(|(_, domain)| domain.name() == Some("web")).count(), 1);
    // Nothing else of the VM has to wait.
    stage.commit(
        &(base("") + &cp("oracle", &[6, 7]) + &vm("web", "  cpu: {pins: [{socket: 0, core: 2}], weight: 512}\n")),
    );
    assert!(settle(&mut stage).contains("do set-sched"));
    // A person lets it be put right once more; then there is peace.
    let plan = stage.plan();
    let held = plan.items.iter().find(|item| matches!(item.disposition, Disposition::Held { .. })).unwrap();
    let (at, expires) = (stage.now(), stage.now() + SignedDuration::from_hours(1));
    stage
        .records
        .approvals
        .insert(held.id.clone(), Approval { actor: "ada".to_owned(), reason: "found it".to_owned(), at, expires });
    assert_snapshot!(settle(&mut stage), @r"
    vm/web repair [hard affinity 0-5 -> 2] (Drift; its placement was changed outside pinfold) now do set-affinity
    vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert!(stage.records.approvals.is_empty());
    stage.wait(11 * 60);
    settle(&mut stage);
    assert!(stage.records.drift.is_empty());
    stage.event(&widen());
    assert!(settle(&mut stage).contains("do set-affinity"));
}

#[test]
fn corrections_that_are_far_apart_are_no_fight() {
    let mut stage = pinned();
    for _ in 0..3 * FIGHT {
        stage.event(&widen());
        assert!(settle(&mut stage).contains("do set-affinity"));
        stage.wait(200);
    }
}

#[test]
fn clocks_that_are_set_begin_no_fight() {
    let mut stage = pinned();
    for _ in 0..2 * FIGHT {
        stage.event(&widen());
        assert!(settle(&mut stage).contains("do set-affinity"));
        stage.event(&Event::ClockSet { by: -3600 });
    }
}

#[test]
fn cpupools_are_fought_over_as_well() {
    let mut stage = pinned();
    let take = Event::CpupoolCpuRemove { cpupool: "oracle".to_owned(), cpus: "7".parse().unwrap() };
    for _ in 0..FIGHT {
        stage.event(&take);
        settle(&mut stage);
        stage.wait(20);
    }
    stage.event(&take);
    assert_snapshot!(settle(&mut stage), @"cp/oracle repair [cpupool.cpus 6 -> 6-7] (Drift; its cpupool was changed outside pinfold) held: somebody fights over cpupool.cpus: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again; pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 5b987ddb54a1` puts it right once more");
    assert_snapshot!(stage.status("cp/oracle"), @r"
    cp/oracle: misshapen
      Ready False Fight: somebody fights over cpupool.cpus: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; nobody was logged in, and no other toolstack ran); pinfold leaves it as it is, and the guest runs on: find who does it
      Stalled True Fight: somebody fights over cpupool.cpus: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; nobody was logged in, and no other toolstack ran); pinfold leaves it as it is, and the guest runs on: find who does it
      Held True NeedsPerson: repair cpupool.cpus 6 -> 6-7: held: somebody fights over cpupool.cpus: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; nobody was logged in, and no other toolstack ran); pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 5b987ddb54a1` puts it right once more
      Drifted True ChangedOutside: repair cpupool.cpus 6 -> 6-7: held: somebody fights over cpupool.cpus: it was put right 5 times within 10 minutes before 2026-01-01T00:01:40Z and changed again (since 2026-01-01T00:01:40Z; nobody was logged in, and no other toolstack ran); pinfold leaves it as it is, and the guest runs on: find who does it; `pinfold approve 5b987ddb54a1` puts it right once more; seen since 2026-01-01T00:01:40Z; nobody was logged in, and no other toolstack ran
    ");
}
