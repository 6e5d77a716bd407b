//! `spec.power: suspended`, pass by pass, on a simulated host.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, vm_sized};
use insta::assert_snapshot;
use planner::record::{Approval, Saved};
use planner::{Disposition, Plan};
use protocol::{ImageState, Reading};
use sim::{Event, Fault, Guest, GuestRequest};
use std::fmt::Write;

const MORE: &str = "  cpu: {partition: oracle-a}\n  disks: [{name: root, target: xvda, path: /srv/a.img}]\n";

fn all(power: &str, more: &str) -> String {
    base("") + &cp("oracle-a", &[2, 3]) + &vm_sized("erp", "2", "128Mi", &format!("  power: {power}\n{more}"))
}

/// A VM in a partition, with a disk, that runs for a minute.
fn running() -> Stage {
    let mut stage = Stage::new(&all("running", MORE));
    stage.law_of_cores = true;
    stage.converge();
    stage.wait(60);
    stage
}

fn suspended() -> Stage {
    let mut stage = running();
    turn(&mut stage, "suspended");
    stage
}

fn turn(stage: &mut Stage, power: &str) -> String {
    stage.commit(&all(power, MORE));
    stage.converge()
}

/// Which start of its guest this is, how often it has gone on since, and whether its domain runs.
fn guest(stage: &Stage) -> String {
    let domains: Vec<String> = stage
        .xen
        .domains()
        .map(|(_, domain)| {
            let guest = &domain.guest;
            format!("start {}, suspended {}, {:?}", guest.start, guest.suspensions, domain.is_runnable())
        })
        .collect();
    domains.join("; ")
}

fn saved(stage: &Stage) -> Option<Saved> {
    stage.records.vms.values().next().and_then(Reading::known).unwrap().saved.clone()
}

fn approve(stage: &mut Stage) {
    let plan = stage.plan();
    let held = plan.items.iter().find(|item| matches!(item.disposition, Disposition::Held { .. })).unwrap();
    let approval = Approval {
        actor: "alice".to_owned(),
        reason: "no need".to_owned(),
        at: stage.now(),
        expires: stage.now() + jiff::SignedDuration::from_hours(1),
    };
    stage.records.approvals.insert(held.id.clone(), approval);
}

#[test]
fn a_guest_goes_on_where_it_was() {
    let mut stage = running();
    assert_snapshot!(turn(&mut stage, "suspended"), @r"
    1 vm/erp suspend [spec.power running -> suspended] (Commit; it should be suspended) now do save-domain
    2 vm/erp suspend [spec.power running -> suspended] (Commit; its memory is on disk; its domain, which runs no more, goes) now do destroy-domain
    ");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: suspended
      Ready True Suspended: its memory lies on disk since 2026-01-01T00:01:00Z
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    ");
    stage.wait(600);
    assert_snapshot!(turn(&mut stage, "running"), @r"
    1 vm/erp resume [spec.power suspended -> running] (Commit; its guest goes on from its memory on disk) now do restore-domain
    2 vm/erp discard (Commit; its guest has gone on from it) now do discard-image
    ");
    assert_snapshot!(stage.xl(), @r"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    domain erp Running pool 1 hard 2-3 2-3
    ");
    assert_snapshot!(guest(&stage), @"start 0, suspended 1, true");
    assert_eq!((saved(&stage), stage.xen.images().count()), (None, 0));
    turn(&mut stage, "suspended");
    turn(&mut stage, "paused");
    assert_snapshot!(guest(&stage), @"start 0, suspended 2, false");
    turn(&mut stage, "running");
    assert_snapshot!(guest(&stage), @"start 0, suspended 2, true");
}

#[test]
fn a_paused_guest_runs_to_be_suspended() {
    let mut stage = running();
    turn(&mut stage, "paused");
    assert_snapshot!(turn(&mut stage, "suspended"), @r"
    1 vm/erp suspend [spec.power running -> suspended] (Commit; it should be suspended; it is paused and cannot answer, so it runs again first) now do unpause-domain
    2 vm/erp suspend [spec.power running -> suspended] (Commit; it should be suspended) now do save-domain
    3 vm/erp suspend [spec.power running -> suspended] (Commit; its memory is on disk; its domain, which runs no more, goes) now do destroy-domain
    ");
}

#[test]
fn a_boot_of_the_host_loses_nothing_of_it() {
    let mut stage = suspended();
    stage.event(&Event::PowerLoss);
    assert_snapshot!(stage.converge(), @" 1 cp/oracle-a create [cpupool.cpus 2-3] (HostBoot; the host booted, and cpupools do not survive that) now do shape-cpupool");
    turn(&mut stage, "running");
    assert_snapshot!(guest(&stage), @"start 0, suspended 1, true");
}

#[test]
fn what_does_not_run_is_not_suspended() {
    let mut stage = Stage::new(&all("suspended", MORE));
    assert_snapshot!(stage.converge(), @" 1 cp/oracle-a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) now do shape-cpupool");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: absent
      Ready False NothingToSuspend: it does not run, so there is no memory to be saved; set `spec.power` to `running` first and to `suspended` when it runs, or to `stopped`
      Stalled True NothingToSuspend: it does not run, so there is no memory to be saved; set `spec.power` to `running` first and to `suspended` when it runs, or to `stopped`
    ");
    turn(&mut stage, "stopped");
    turn(&mut stage, "suspended");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: stopped
      Ready False NothingToSuspend: it does not run, so there is no memory to be saved; set `spec.power` to `running` first and to `suspended` when it runs, or to `stopped`
      Stalled True NothingToSuspend: it does not run, so there is no memory to be saved; set `spec.power` to `running` first and to `suspended` when it runs, or to `stopped`
    ");
}

#[test]
fn to_stop_it_takes_a_person() {
    let mut stage = suspended();
    assert_snapshot!(turn(&mut stage, "stopped"), @r"
    1 vm/erp change [spec.power suspended -> stopped] (Commit; it is off; that is recorded) now records
      vm/erp discard [saved memory (was of 2026-01-01T00:01:00Z)] (Commit; its saved memory is thrown away: to be stopped, it loses its memory) held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored
    ");
    assert!(saved(&stage).is_some());
    approve(&mut stage);
    assert_snapshot!(stage.converge(), @" 1 vm/erp discard [saved memory (was of 2026-01-01T00:01:00Z)] (Verb; its saved memory is thrown away: to be stopped, it loses its memory) now do discard-image");
    assert_eq!(saved(&stage), None);
}

#[test]
fn a_guest_that_does_not_answer_runs_on() {
    let mut stage = running();
    let deaf = Guest { ignores: [GuestRequest::Suspend].into(), ..Guest::default() };
    stage.event(&Event::GuestBehaves { name: "erp".to_owned(), guest: deaf });
    stage.commit(&all("suspended", MORE));
    let (_, failures) = stage.pass();
    assert_snapshot!(failures, @"  failed: vm/erp: libxl_domain_suspend: the guest of domain 1 did not suspend within 60 s");
    assert_snapshot!(stage.status("vm/erp"), @r"
    vm/erp: running
      Ready False SuspendFailed: libxl_domain_suspend: the guest of domain 1 did not suspend within 60 s
      Reconciling True Progressing: suspend spec.power running -> suspended (it should be suspended): waits: the next try at 2026-01-01T00:02:10Z, after 1 failure(s)
      Stalled True SuspendFailed: libxl_domain_suspend: the guest of domain 1 did not suspend within 60 s
    ");
    assert_snapshot!(guest(&stage), @"start 0, suspended 0, true");
    stage.event(&Event::GuestBehaves { name: "erp".to_owned(), guest: Guest::default() });
    assert_snapshot!(stage.converge(), @r"
    2 vm/erp suspend [spec.power running -> suspended] (Commit; it should be suspended) now do save-domain
    3 vm/erp suspend [spec.power running -> suspended] (Commit; its memory is on disk; its domain, which runs no more, goes) now do destroy-domain
    4 vm/erp settle (Commit; it is off; that is recorded) now records
    ");
}

#[test]
fn what_is_changed_meanwhile_waits_for_a_start_where_it_takes_one() {
    let mut stage = suspended();
    let all = |power, more: &str| all(power, more).replace("/srv/vmlinuz\"", "/srv/vmlinuz\", cmdline: quiet");
    let more = MORE.replace("oracle-a}", "oracle-a, weight: 512}");
    let more = more + "  nics: [{name: lan0, network: lan}]\n";
    stage.commit(&all("suspended", &more));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp change (Commit; it is off; that is recorded) now records
      vm/erp change [spec.boot.cmdline quiet] (Commit; it goes on as it was built; this takes a start anew) at next start
    ");
    stage.commit(&all("running", &more));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp resume [spec.power suspended -> running] (Commit; its guest goes on from its memory on disk) now do restore-domain
    2 vm/erp discard (Commit; its guest has gone on from it) now do discard-image
    3 vm/erp change [spec.nics[lan0] 5a:b5:14:55:26:33] (Commit; it is declared, and not attached yet) now do attach-nic
      vm/erp change [spec.boot.cmdline quiet] (Commit; it takes a restart) at next start
    ");
    assert_snapshot!(guest(&stage), @"start 0, suspended 1, true");
}

#[test]
fn its_disks_are_its_own() {
    let mut stage = suspended();
    let other = vm_sized("web", "1", "128Mi", "  disks: [{name: root, target: xvda, path: /srv/a.img}]");
    let none = all("suspended", "  cpu: {partition: oracle-a}\n");
    stage.commit(&(none + &other));
    stage.converge();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: absent
      Ready False DiskOfSuspended: disk root: vm/erp is suspended, and its memory relies on /srv/a.img; let it go on and stop it, or name another disk
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: disk root: vm/erp is suspended, and its memory relies on /srv/a.img; let it go on and stop it, or name another disk
      Stalled True DiskOfSuspended: disk root: vm/erp is suspended, and its memory relies on /srv/a.img; let it go on and stop it, or name another disk
    ");
}

#[test]
fn what_cannot_be_restored_is_held() {
    type Case = (&'static str, fn(&mut Stage));
    let cases: [Case; 3] = [
        ("torn", |stage| stage.event(&Event::ImagesTorn)),
        ("older Xen", |stage| stage.xen.host.version = "4.16.9".to_owned()),
        ("refused", |stage| {
            let refused = serde_json::json!({"call": "restore-domain", "rc": -3, "message": "cpuid"});
            let fault = Fault { fail: vec![serde_json::from_value(refused).unwrap()], ..Fault::default() };
            let plan = stage.plan();
            let item = plan.items.iter().find(|item| item.disposition == Disposition::Now).unwrap();
            stage.carry_out(item, fault).unwrap_err();
        }),
    ];
    let mut text = String::new();
    for (name, spoil) in cases {
        let mut stage = suspended();
        stage.commit(&all("running", MORE));
        spoil(&mut stage);
        let plan = stage.plan();
        writeln!(text, "{name}\n{}{}", planner::render::plan(&plan), stage.status("vm/erp")).unwrap();
        assert!(saved(&stage).is_some());
        approve(&mut stage);
        stage.converge();
        writeln!(text, "\napproved: {}", guest(&stage)).unwrap();
    }
    assert_snapshot!(text, @r"
    torn
    - vm/erp                   discard   stop        commit    held  [09e8168ffcac]
        because its saved memory is thrown away: then its guest starts anew
        held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored
        - saved memory  of 2026-01-01T00:01:00Z
    0 to create, 0 to change, 1 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    vm/erp: suspended
      Ready False SavedUnusable: its memory cannot be restored: its image is torn: it ends early
      Stalled True SavedUnusable: its memory cannot be restored: its image is torn: it ends early
      Held True NeedsPerson: discard saved memory (was of 2026-01-01T00:01:00Z): held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored

    approved: start 1, suspended 0, true
    older Xen
    - vm/erp                   discard   stop        commit    held  [09e8168ffcac]
        because its saved memory is thrown away: then its guest starts anew
        held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored
        - saved memory  of 2026-01-01T00:01:00Z
    0 to create, 0 to change, 1 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    vm/erp: suspended
      Ready False SavedByOtherXen: its memory was written by Xen 4.17.5, and Xen 4.16.9 runs: Xen reads its own release's and the last one's; boot that Xen
      Stalled True SavedByOtherXen: its memory was written by Xen 4.17.5, and Xen 4.16.9 runs: Xen reads its own release's and the last one's; boot that Xen
      Held True NeedsPerson: discard saved memory (was of 2026-01-01T00:01:00Z): held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored

    approved: start 1, suspended 0, true
    refused
    + vm/erp                   resume    live        commit    waiting
        because its guest goes on from its memory on disk
        waits: the next try at 2026-01-01T00:01:10Z, after 1 failure(s)
        ~ spec.power  suspended -> running
    - vm/erp                   discard   stop        commit    held  [09e8168ffcac]
        because its saved memory is thrown away: then its guest starts anew
        held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored
        - saved memory  of 2026-01-01T00:01:00Z
    1 to create, 0 to change, 1 to remove or stop. 0 now, 1 waiting, 1 held, 0 at next start.
    vm/erp: suspended
      Ready False RestoreFailed: RestoreDomain: cpuid
      Reconciling True Progressing: resume spec.power suspended -> running (its guest goes on from its memory on disk): waits: the next try at 2026-01-01T00:01:10Z, after 1 failure(s)
      Stalled True RestoreFailed: RestoreDomain: cpuid
      Held True NeedsPerson: discard saved memory (was of 2026-01-01T00:01:00Z): held: `pinfold approve 09e8168ffcac` moves it aside; it is then never restored

    approved: start 1, suspended 0, true
    ");
}

#[test]
fn it_is_deleted_with_its_memory() {
    let mut stage = suspended();
    stage.commit(&base(""));
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp delete (Commit; nothing declares it any more; its saved memory goes with its folder) now do trash
    1 cp/oracle-a delete (Commit; nothing declares it any more) now do destroy-cpupool
    ");
}

/// Carries out what is planned until a worker has met `fault`, once.
fn pass_with(stage: &mut Stage, number: usize, die_after: u32) -> Option<Plan> {
    for pass in 0..6 {
        let plan = stage.plan();
        let items: Vec<_> = plan.items.iter().filter(|item| item.disposition == Disposition::Now).cloned().collect();
        let item = items.first()?;
        let fault =
            if pass == number { Fault { die_after: Some(die_after), ..Fault::default() } } else { Fault::default() };
        let _ = stage.carry_out(item, fault);
        if pass == number {
            return Some(plan);
        }
    }
    None
}

/// Wherever a worker dies, the guest goes on from one memory, once, and that memory is not lost.
#[test]
fn killed_anywhere_its_memory_goes_on_once() {
    let mut deaths = 0;
    for number in 0..4 {
        for die_after in 0..26 {
            for (from, to) in [("running", "suspended"), ("suspended", "running")] {
                let mut stage = if from == "running" { running() } else { suspended() };
                stage.commit(&all(to, MORE));
                if pass_with(&mut stage, number, die_after).is_none() {
                    continue;
                }
                deaths += 1;
                stage.converge();
                if to == "suspended" {
                    assert!(
                        matches!(
                            saved(&stage).map(|saved| stage.xen.image_state(protocol::ImageRef {
                                vm: *stage.records.vms.keys().next().unwrap(),
                                image: saved.image,
                            })),
                            Some(ImageState::Whole(_))
                        ),
                        "{from}, {number}, {die_after}"
                    );
                    turn(&mut stage, "running");
                }
                let now = guest(&stage);
                assert!(
                    now.starts_with("start 0, ") && now.ends_with(", true"),
                    "{from}, {number}, {die_after}: {now}"
                );
                assert_eq!((saved(&stage), stage.xen.images().count()), (None, 0), "{from}, {number}, {die_after}");
            }
        }
    }
    assert!(deaths > 100, "{deaths}");
}

/// Wherever the host loses power, the memory goes on once or is lost, and never twice.
#[test]
fn a_host_that_goes_at_any_point_loses_memory_at_worst() {
    for die_after in 1..26 {
        for (from, to) in [("running", "suspended"), ("suspended", "running")] {
            let mut stage = if from == "running" { running() } else { suspended() };
            stage.commit(&all(to, MORE));
            pass_with(&mut stage, 0, die_after);
            stage.event(&Event::PowerLoss);
            stage.converge();
            turn(&mut stage, "running");
            assert!(guest(&stage).ends_with(", true"), "{from}, {die_after}: {}", guest(&stage));
            assert_eq!((saved(&stage), stage.xen.images().count()), (None, 0), "{from}, {die_after}");
        }
    }
}
