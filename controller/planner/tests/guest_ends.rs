//! Guests that end by themselves, and power that others switch.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, vm};
use insta::assert_snapshot;
use protocol::ShutdownReason;
use sim::{Event, Fault};

fn ends(how: ShutdownReason) -> Event {
    Event::GuestEnds { domain: "web".to_owned(), how }
}

fn running(more: &str) -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", more)));
    stage.converge();
    stage
}

#[test]
fn a_reboot_from_inside_starts_it_again() {
    let mut stage = running("");
    stage.event(&ends(ShutdownReason::Reboot));
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: ended: reboot
      Ready False Progressing: settle (its guest ended by itself (reboot); it is started again); start (its guest ended): waits: the domain that ended is cleared away
      Reconciling True Progressing: settle (its guest ended by itself (reboot); it is started again); start (its guest ended): waits: the domain that ended is cleared away
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c10000000000 says
    ");
}

#[test]
fn a_power_off_from_inside_stays_off_across_a_host_boot_until_the_manifest_changes() {
    let mut stage = running("");
    stage.event(&ends(ShutdownReason::Poweroff));
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Guest; its guest ended by itself (poweroff); it stays off) now do destroy-domain");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: off by guest
      Ready True OffByGuest: its guest ended by itself (poweroff) and stays off; any change of its manifest starts it, and so does `pinfold start`
    ");
    stage.event(&Event::PowerLoss);
    assert_snapshot!(stage.converge(), @"");
    stage.commit(&(base("") + &vm("web", "  cpu: {weight: 300}")));
    assert_snapshot!(stage.converge(), @" 1 vm/web start [spec.cpu.weight 256 -> 300] (Commit; it should run) now do create-domain");
}

#[test]
fn a_power_off_is_undone_only_under_always() {
    let mut stage = running("  restart: always");
    stage.event(&ends(ShutdownReason::Poweroff));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (poweroff); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
}

#[test]
fn crashes_in_a_row_are_followed_by_longer_and_longer_pauses() {
    let mut stage = running("");
    for _ in 0..3 {
        stage.event(&ends(ShutdownReason::Crash));
        stage.converge();
    }
    stage.event(&ends(ShutdownReason::Crash));
    stage.pass();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopped
      Ready False CrashLoop: its guest ended with `crash`, 4 time(s) in a row
      Reconciling True Progressing: start (its guest ended and is started again): waits: the next try at 2026-01-01T00:01:11Z, after 4 failure(s)
      Stalled True CrashLoop: its guest ended with `crash`, 4 time(s) in a row
    ");
    assert_snapshot!(stage.converge(), @" 2 vm/web start (Guest; its guest ended and is started again) now do create-domain");
    stage.wait(700);
    stage.event(&ends(ShutdownReason::Crash));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (crash); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
}

#[test]
fn a_crash_leaves_a_dump_and_nothing_waits_for_one_that_fails() {
    let mut stage = running("  crashDumps: 2");
    let crash = |stage: &mut Stage| {
        stage.event(&ends(ShutdownReason::Crash));
        stage.converge()
    };
    assert_snapshot!(crash(&mut stage), @r"
    1 vm/web settle (Guest; its guest ended by itself (crash); its core dump is written first) now do dump-domain
    2 vm/web settle (Guest; its guest ended by itself (crash); it is started again) now do destroy-domain
    3 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
    // The back-off counts on, whatever became of the dump.
    stage.event(&ends(ShutdownReason::Crash));
    let fault = serde_json::from_value(serde_json::json!({"fail": [{"call": "dump-domain", "message": "refused"}]}));
    let plan = stage.plan();
    stage.carry_out(&plan.items[0], fault.unwrap()).unwrap_err();
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (crash); it is started again) now do destroy-domain
    3 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
    assert_snapshot!(crash(&mut stage), @r"
    1 vm/web settle (Guest; its guest ended by itself (crash); its core dump is written first) now do dump-domain
    2 vm/web settle (Guest; its guest ended by itself (crash); it is started again) now do destroy-domain
    4 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
    stage.event(&ends(ShutdownReason::Crash));
    stage.pass();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: ended: crash
      Ready False Progressing: settle (its guest ended by itself (crash); it is started again); start (its guest ended): waits: the domain that ended is cleared away, and then until 2026-01-01T00:01:11Z
      Reconciling True Progressing: settle (its guest ended by itself (crash); it is started again); start (its guest ended): waits: the domain that ended is cleared away, and then until 2026-01-01T00:01:11Z
    ");
}

/// The worker dies after each of its calls: the dump is there once, and the guest comes back.
#[test]
fn a_dump_that_is_cut_off_is_written_again() {
    for points in 1..=12 {
        let mut stage = running("  crashDumps: 1");
        stage.event(&ends(ShutdownReason::Crash));
        let plan = stage.plan();
        let done = stage.carry_out(&plan.items[0], Fault { die_after: Some(points), ..Fault::default() });
        stage.converge();
        assert_eq!((stage.plan().items.len(), stage.xen.dumps().len()), (0, 1), "cut off after {points} points");
        if done.is_ok() {
            return;
        }
    }
    panic!("a dump has fewer points");
}

#[test]
fn a_crash_stays_under_never() {
    let mut stage = running("  restart: never");
    stage.event(&ends(ShutdownReason::Watchdog));
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Guest; its guest ended by itself (watchdog); it stays off) now do destroy-domain");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: off by guest
      Ready True OffByGuest: its guest ended by itself (watchdog) and stays off; any change of its manifest starts it, and so does `pinfold start`
    ");
}

#[test]
fn a_suspended_guest_is_kept() {
    let mut stage = running("");
    stage.event(&ends(ShutdownReason::Suspend));
    assert_snapshot!(stage.converge(), @"");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: ended: suspend
      Ready False Suspended: its guest suspended, and not for pinfold: another tool may be writing its memory (`xl save`); if none is, let it go on with `xl resume 1`, or end it with `xl destroy 1` to have it started anew
      Stalled True Suspended: its guest suspended, and not for pinfold: another tool may be writing its memory (`xl save`); if none is, let it go on with `xl resume 1`, or end it with `xl destroy 1` to have it started anew
    ");
}

#[test]
fn a_domain_destroyed_by_hand_is_drift() {
    let mut stage = running("");
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopped
      Ready False Progressing: start (it should run and has no domain: destroyed outside pinfold, or its start was cut off)
      Reconciling True Progressing: start (it should run and has no domain: destroyed outside pinfold, or its start was cut off)
      Drifted True ChangedOutside: start (it should run and has no domain: destroyed outside pinfold, or its start was cut off); seen since 2026-01-01T00:00:00Z
    ");
    assert_snapshot!(stage.converge(), @" 1 vm/web start (Drift; it should run and has no domain: destroyed outside pinfold, or its start was cut off) now do create-domain");
}

#[test]
fn a_guest_that_ignores_the_request_is_destroyed_at_the_deadline() {
    let mut host = common::host();
    let guest = sim::Guest { ignores: [sim::GuestRequest::Shutdown].into(), ..sim::Guest::default() };
    host.guests.insert("web".to_owned(), guest);
    let mut stage = Stage::on(host, &(base("") + &vm("web", "  shutdown: {timeout: 90s}")));
    stage.converge();
    stage.commit(&(base("") + &vm("web", "  power: stopped\n  shutdown: {timeout: 90s}")));
    stage.pass();
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopping
      Ready False Progressing: stop spec.power running -> stopped (it should be stopped): waits: the guest powers off; it is destroyed at 2026-01-01T00:01:30Z if it does not
      Reconciling True Progressing: stop spec.power running -> stopped (it should be stopped): waits: the guest powers off; it is destroyed at 2026-01-01T00:01:30Z if it does not
    ");
    assert_snapshot!(stage.converge(), @" 2 vm/web stop [spec.power running -> stopped] (Commit; it should be stopped; the guest did not power off in time) now do destroy-domain");
}

#[test]
fn a_stop_that_is_withdrawn_destroys_nothing() {
    let mut stage = running("");
    stage.commit(&(base("") + &vm("web", "  power: stopped")));
    stage.pass();
    stage.commit(&(base("") + &vm("web", "")));
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: stopping
      Ready False Progressing: settle (a stop was withdrawn): waits: domain web (domid 1) was asked to power off (it should be stopped), which is not wanted any more; if it does, it is started again
      Reconciling True Progressing: settle (a stop was withdrawn): waits: domain web (domid 1) was asked to power off (it should be stopped), which is not wanted any more; if it does, it is started again
    ");
    assert_snapshot!(stage.converge(), @r"
    2 vm/web stop (Commit; it was asked to power off, and did) now do destroy-domain
    3 vm/web start (Commit; it should run) now do create-domain
    ");
}

#[test]
fn a_paused_guest_runs_again_and_is_stopped_gracefully() {
    let mut stage = running("");
    stage.event(&Event::Pause { domain: "web".to_owned() });
    assert_snapshot!(stage.converge(), @" 1 vm/web repair [spec.power paused -> running] (Drift; it was paused outside pinfold (the first thing that an `xl destroy` does, too)) now do unpause-domain");
    stage.event(&Event::Pause { domain: "web".to_owned() });
    stage.commit(&(base("") + &vm("web", "  power: stopped")));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web stop [spec.power running -> stopped] (Commit; it should be stopped; it is paused and cannot hear, so it runs again first) now do unpause-domain
    2 vm/web stop [spec.power running -> stopped] (Commit; it should be stopped) now do shutdown-domain
    4 vm/web stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    ");
}
