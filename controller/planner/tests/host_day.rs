//! The host goes down, and others in dom0 would act on its guests.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, host, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::observed::HostShutdown;
use planner::toolstacks::{OtherToolstack, Reach};
use planner::{Disposition, laws};
use protocol::{Reading, ShutdownReason};
use sim::{Event, ForeignDomain, Guest, GuestRequest};

/// A guest that obeys, one in a partition that ignores requests, one that is off by its own will, one that should be off; and a foreign domain.
fn busy() -> Stage {
    let mut host = host();
    host.guests.insert("deaf".to_owned(), Guest { ignores: [GuestRequest::PowerOff].into(), ..Guest::default() });
    let text = base("")
        + &cp("oracle-a", &[2, 3])
        + &vm("web", "")
        + &vm("deaf", "  cpu: {partition: oracle-a}\n  shutdown: {timeout: 20s}\n")
        + &vm("own-will", "")
        + &vm("idle", "  power: stopped\n");
    let mut stage = Stage::on(host, &text);
    stage.converge();
    stage.event(&Event::GuestEnds { domain: "own-will".to_owned(), how: ShutdownReason::Poweroff });
    let foreign: Box<ForeignDomain> = serde_json::from_value(serde_json::json!({"name": "foreign"})).unwrap();
    stage.event(&Event::Create { domain: foreign, raced: false });
    stage.converge();
    stage
}

fn go_down(stage: &mut Stage) {
    let boot_id = stage.observe().xen.known().unwrap().hypervisor.boot_id;
    let up_ms = Some(stage.xen.now_ms());
    stage.host_shutdown =
        Some(HostShutdown { since: stage.now(), up_ms, boot_id, until: None, why: "test".to_owned() });
}

#[test]
fn a_host_that_goes_down_stops_its_guests_and_the_next_boot_brings_them_back() {
    let mut stage = busy();
    go_down(&mut stage);
    assert_snapshot!(stage.converge(), @"
    1 vm/deaf stop [domain (was 2)] (HostShutdown; the host shuts down) now do shutdown-domain
    1 vm/web stop [domain (was 3)] (HostShutdown; the host shuts down) now do shutdown-domain
    4 vm/web stop [domain (was 3)] (HostShutdown; the host shuts down; its guest has ended) now do destroy-domain
    6 vm/deaf stop [domain (was 2)] (HostShutdown; the host shuts down; its guest did not power off within 20 s: forced) now do destroy-domain
      vm/deaf start (HostShutdown; the host shuts down) waits: the next boot of the host
      vm/web start (HostShutdown; the host shuts down) waits: the next boot of the host
    ");
    assert_snapshot!(stage.xl(), @"
    pool 0 Pool-0 cpus 0-1,4-9
    pool 1 oracle-a cpus 2-3
    domain foreign Running pool 0 hard 0-9
    ");
    assert_snapshot!(stage.status("vm/web"), @"
    vm/web: stopped
      Ready False Progressing: start (the host shuts down): waits: the next boot of the host
      Reconciling True Progressing: start (the host shuts down): waits: the next boot of the host
    ");
    assert_snapshot!(stage.status("vm/own-will"), @"
    vm/own-will: off by guest
      Ready True AsDeclared: as commit c10000000000 says
    ");
    assert_snapshot!(stage.status("host/xen1"), @"
    host/xen1: up
      Ready False HostShutdown: since 2026-01-01T00:00:01Z guests are stopped and none is started (test); they start again with the host's next boot; to have them back now, `systemctl start pinfold-guests`
      Stalled True HostShutdown: since 2026-01-01T00:00:01Z guests are stopped and none is started (test); they start again with the host's next boot; to have them back now, `systemctl start pinfold-guests`
    ");
    assert!(planner::remaining(&stage.observe()).unwrap().is_empty());

    stage.event(&Event::HostReboot);
    assert_snapshot!(stage.converge(), @"
    1 cp/oracle-a create [cpupool.cpus 2-3] (HostBoot; the host booted, and cpupools do not survive that) now do shape-cpupool
    1 vm/web start (HostBoot; the host booted) now do create-domain
    2 vm/deaf start (HostBoot; the host booted) now do create-domain
    ");
    laws::settled(&stage.plan()).unwrap();
}

#[test]
fn a_shutdown_that_did_not_happen_is_over_at_its_time_or_when_it_is_taken_back() {
    let mut stage = busy();
    go_down(&mut stage);
    let until = stage.now() + SignedDuration::from_mins(15);
    stage.host_shutdown.as_mut().unwrap().until = Some(until);
    // The time is a moment that passes wait for, so all of it happens in one go.
    assert_snapshot!(stage.converge(), @"
    1 vm/deaf stop [domain (was 2)] (HostShutdown; the host shuts down) now do shutdown-domain
    1 vm/web stop [domain (was 3)] (HostShutdown; the host shuts down) now do shutdown-domain
    4 vm/web stop [domain (was 3)] (HostShutdown; the host shuts down; its guest has ended) now do destroy-domain
    6 vm/deaf stop [domain (was 2)] (HostShutdown; the host shuts down; its guest did not power off within 20 s: forced) now do destroy-domain
    8 vm/deaf start (Commit; it was stopped and should run) now do create-domain
    9 vm/web start (Commit; it was stopped and should run) now do create-domain
    ");

    go_down(&mut stage);
    stage.converge();
    stage.host_shutdown = None;
    assert_snapshot!(stage.converge(), @"
    1 vm/deaf start (Commit; it was stopped and should run) now do create-domain
    2 vm/web start (Commit; it was stopped and should run) now do create-domain
    ");
    laws::settled(&stage.plan()).unwrap();
}

#[test]
fn a_note_of_another_boot_is_void() {
    let mut stage = busy();
    go_down(&mut stage);
    stage.host_shutdown.as_mut().unwrap().boot_id = uuid::Uuid::nil();
    laws::settled(&stage.plan()).unwrap();
}

#[test]
fn what_remains_is_told_with_the_longest_timeout() {
    let stage = busy();
    let remaining = planner::remaining(&stage.observe()).unwrap();
    assert_snapshot!(format!("{remaining:?}"), @r#"Remaining { domains: ["domain deaf (domid 2)", "domain web (domid 3)"], operations: [], timeout_s: 60 }"#);
}

#[test]
fn a_guest_whose_record_cannot_be_read_is_asked_and_never_forced() {
    let mut stage = busy();
    let uuid = stage
        .observe()
        .xen
        .known()
        .unwrap()
        .domains
        .known()
        .unwrap()
        .iter()
        .find(|domain| domain.name.as_deref() == Some("deaf"))
        .unwrap()
        .uuid;
    stage.records.vms.insert(uuid, Reading::unknown("Torn", "half a file"));
    go_down(&mut stage);
    let went = |stage: &Stage| {
        let plan = stage.plan();
        plan.items
            .iter()
            .filter(|item| item.disposition == Disposition::Now)
            .map(common::line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(went(&stage), @"
    vm/deaf stop [domain (was 2)] (HostShutdown; the host shuts down; nothing else is known of it, so its guest is asked and nothing is forced) now do shutdown-domain
    vm/web stop [domain (was 3)] (HostShutdown; the host shuts down) now do shutdown-domain
    ");
    stage.wait(3600);
    assert_snapshot!(went(&stage), @"vm/web stop [domain (was 3)] (HostShutdown; the host shuts down; its guest did not power off within 60 s: forced) now do destroy-domain");
}

fn xendomains(acts: Reading<String>) -> OtherToolstack {
    OtherToolstack {
        name: "xendomains".to_owned(),
        acts,
        reach: Reach::AllDomains,
        fix: "systemctl mask xendomains".to_owned(),
    }
}

/// What is planned, and said of the host, while xendomains is in the way; everything is as declared after it is not any more.
fn held_by(acts: Reading<String>) -> String {
    let mut stage = Stage::new(&(base("") + &cp("oracle-a", &[2, 3]) + &vm("web", "")));
    stage.toolstacks = vec![xendomains(acts)];
    let held = stage.converge() + &stage.status("host/xen1");
    stage.toolstacks.clear();
    stage.converge();
    laws::settled(&stage.plan()).unwrap();
    held
}

#[test]
fn while_others_would_act_everything_is_reported_and_nothing_goes() {
    assert_snapshot!(held_by(Reading::Known("saves every domain when the host goes down".to_owned())), @"
       cp/oracle-a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) waits: xendomains does not act on this host's guests any more: run `systemctl mask xendomains`
       vm/web create (Commit; it is declared and does not exist yet) waits: xendomains does not act on this host's guests any more: run `systemctl mask xendomains`
    host/xen1: up
      Ready False OtherToolstack: xendomains saves every domain when the host goes down; until that is settled, nothing is changed on this host: run `systemctl mask xendomains`
      Stalled True OtherToolstack: xendomains saves every domain when the host goes down; until that is settled, nothing is changed on this host: run `systemctl mask xendomains`
    ");
    assert_snapshot!(held_by(Reading::unknown("Unreadable", "/etc/default/xendomains is no list of settings")), @"
       cp/oracle-a create [spec.cores 0.2, 0.3] (Commit; it has no cpupool yet) waits: xendomains does not act on this host's guests any more: run `systemctl mask xendomains`
       vm/web create (Commit; it is declared and does not exist yet) waits: xendomains does not act on this host's guests any more: run `systemctl mask xendomains`
    host/xen1: up
      Ready False OtherToolstack: nobody can say whether xendomains would act on guests: /etc/default/xendomains is no list of settings; until that is settled, nothing is changed on this host: run `systemctl mask xendomains`
      Stalled True OtherToolstack: nobody can say whether xendomains would act on guests: /etc/default/xendomains is no list of settings; until that is settled, nothing is changed on this host: run `systemctl mask xendomains`
    ");
}

#[test]
fn others_that_know_only_their_own_domains_are_in_the_way_only_of_those() {
    let mut stage = busy();
    let ours = *stage.records.vms.keys().next().unwrap();
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    let mut libvirt = xendomains(Reading::Known("suspends the domains that libvirt knows".to_owned()));
    libvirt.reach = Reach::Domains([uuid::Uuid::nil()].into());
    stage.toolstacks = vec![libvirt.clone()];
    assert!(stage.plan().items.iter().any(|item| item.disposition == Disposition::Now));
    libvirt.reach = Reach::Domains([uuid::Uuid::nil(), ours].into());
    stage.toolstacks = vec![libvirt];
    assert!(stage.plan().items.iter().all(|item| item.disposition != Disposition::Now));
}
