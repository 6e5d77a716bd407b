//! Each of Xen's and libxl's habits that pinfold has to live with, one by one, with where it stands in their source (RELEASE-4.17.7).
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use operation::Hypervisor;
use protocol::{DomainState, FailureKind, Request, Sched, ShutdownReason};
use sim::{
    CallName, Calls, Event, FailedCall, Fault, File, ForeignDomain, Guest, GuestEnd, GuestRequest, Meanwhile, Point,
    World,
};

/// A change that makes a configuration fail.
type Change<'a> = &'a dyn Fn(&mut protocol::DomainConfig);

/// A host with cpupool `p` of pCPUs 2-3 and domain `d` in it.
fn pinned() -> World {
    let mut world = world();
    run(&mut world, &carve("p", "2-3")).unwrap();
    run(&mut world, &create(&config("d", placement(Some("p"), &["2", "3"])))).unwrap();
    world
}

fn foreign(name: &str) -> ForeignDomain {
    ForeignDomain::named(name)
}

#[test]
fn a_move_resets_affinity_weight_and_cap() {
    // sched/core.c:669-670, 714, 808.
    let mut world = pinned();
    apply(&mut world, &event(serde_json::json!({"cpupool-migrate": {"domain": "d", "cpupool": "Pool-0"}})));
    assert_eq!(masks(&world, "d"), ["0-9", "0-9"]);
    assert_eq!(domain(&world, "d").sched.known(), Some(&Sched { weight: 256, cap: 0 }));
}

#[test]
fn removing_the_last_cpu_of_a_mask_lets_it_run_on_all() {
    // sched/core.c:1224-1239, `cpu_disable_scheduler`: nothing fails.
    let mut world = pinned();
    apply(&mut world, &event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "p", "cpus": "3"}})));
    assert_eq!(masks(&world, "d"), ["2", "0-9"]);
}

#[test]
fn the_last_cpu_of_a_cpupool_with_live_domains_stays() {
    // sched/cpupool.c, `cpupool_unassign_cpu_start`: EBUSY, unless all its domains are dying; those go to Pool-0.
    let mut world = pinned();
    apply(&mut world, &event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "p", "cpus": "2"}})));
    let last = event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "p", "cpus": "3"}}));
    assert_eq!(world.apply(&last).unwrap_err().errno, Some(16));
    apply(&mut world, &event(serde_json::json!({"guest-behaves": {"name": "d", "guest": {"lingers-ms": 5000}}})));
    apply(&mut world, &event(serde_json::json!({"destroy": {"domain": "d"}})));
    assert_eq!(pool(&world, "p").domains, 1, "a zombie counts");
    apply(&mut world, &last);
    assert_eq!(pool(&world, "p").domains, 0);
}

#[test]
fn cpu_0_never_leaves_pool_0_and_no_cpu_is_in_two_places() {
    // sched/cpupool.c, `cpupool_do_sysctl`: EINVAL, ENODEV, EADDRNOTAVAIL.
    let mut world = pinned();
    for (what, cpupool, cpu, errno) in [
        ("cpupool-cpu-remove", "Pool-0", "0", 22),
        ("cpupool-cpu-add", "p", "5", 19),
        ("cpupool-cpu-remove", "p", "5", 99),
    ] {
        let refusal = world.apply(&event(serde_json::json!({what: {"cpupool": cpupool, "cpus": cpu}}))).unwrap_err();
        assert_eq!(refusal.errno, Some(errno), "{what} {cpupool} {cpu}");
    }
}

#[test]
fn a_mask_must_meet_the_cpupool_and_is_kept_whole() {
    // sched/core.c:1391-1400: EINVAL when nothing is in common; what lies outside is stored, read back, and takes effect later.
    let mut world = pinned();
    let pin = |hard: &str| event(serde_json::json!({"vcpu-pin": {"domain": "d", "vcpu": 0, "hard": hard}}));
    assert_eq!(world.apply(&pin("5-6")).unwrap_err().errno, Some(22));
    apply(&mut world, &pin("2,5"));
    assert_eq!(masks(&world, "d"), ["2,5", "3"]);
    let effective = |world: &World| {
        let (_, domain) = world.domains().next().unwrap();
        world.effective(domain, &domain.vcpus[0]).to_string()
    };
    assert_eq!(effective(&world), "2");
    apply(&mut world, &event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "Pool-0", "cpus": "5"}})));
    apply(&mut world, &event(serde_json::json!({"cpupool-cpu-add": {"cpupool": "p", "cpus": "5"}})));
    assert_eq!(effective(&world), "2,5");
}

#[test]
fn a_cpupool_with_domains_is_not_destroyed() {
    // libxl_cpupool.c: n_dom > 0 is ERROR_INVAL.
    let mut world = pinned();
    let destroy = event(serde_json::json!({"cpupool-destroy": {"cpupool": "p"}}));
    assert_eq!(world.apply(&destroy).unwrap_err().rc, Some(-6));
    apply(&mut world, &event(serde_json::json!({"destroy": {"domain": "d"}})));
    apply(&mut world, &destroy);
    assert_eq!(world.free_cpus(), cpus("2-3"), "its pCPUs are free, not in Pool-0");
}

#[test]
fn a_listing_of_cpupools_ends_at_one_without_a_name() {
    // libxl_cpupool.c:88-93: ENOENT of the name is taken for the end of the list; seen on a real host.
    let mut world = world();
    apply(&mut world, &Event::CpupoolCreateDies);
    run(&mut world, &Request::FeedPool0 { cpus: cpus("") }).unwrap();
    let made = Calls::new(&mut world).create_cpupool(id("p"), "p").unwrap();
    assert_eq!(made, 2);
    assert_eq!(world.pools_as_xl_lists_them(), ["Pool-0"]);
    assert_eq!(pool(&world, "p").poolid, 2, "a worker asks Xen for each");
}

#[test]
fn pauses_count() {
    // domain.c, `domain_pause_by_systemcontroller`.
    let mut world = pinned();
    let state = |world: &World| domain(world, "d").state;
    let (pause, unpause) = (Event::Pause { domain: "d".to_owned() }, Event::Unpause { domain: "d".to_owned() });
    apply(&mut world, &pause);
    apply(&mut world, &pause);
    apply(&mut world, &unpause);
    assert_eq!(state(&world), DomainState::Paused);
    apply(&mut world, &unpause);
    assert_eq!(state(&world), DomainState::Running);
    assert!(world.apply(&unpause).is_err());
}

#[test]
fn uuids_may_collide_and_names_may_not() {
    // libxl_create.c: Xen keeps the handle and never compares it; the name is checked when the domain has its number already.
    let mut world = pinned();
    let twin = ForeignDomain { uuid: Some(id("d")), ..foreign("twin") };
    apply(&mut world, &Event::Create { domain: twin.into(), raced: false });
    assert!(sim::laws::one_domain_per_uuid(&world).is_err());
    assert_eq!(world.apply(&Event::Create { domain: foreign("d").into(), raced: false }).unwrap_err().rc, Some(-6));
}

#[test]
fn a_creation_that_dies_leaves_what_it_had_made() {
    // libxl_create.c: the UUID comes with the hypercall, name and mark with the transaction after it.
    let seen = |die_at| {
        let mut world = world();
        let fault = Fault { die_at: Some(die_at), ..Fault::default() };
        let failure = run_with(&mut world, &create(&config("d", placement(None, &["4"]))), fault).unwrap_err();
        assert_eq!(failure.kind, FailureKind::WorkerDied);
        let observation = world.observe().unwrap();
        let domain = observation.domains.known().unwrap()[0].clone();
        assert_eq!((domain.uuid, domain.state, domain.ready), (id("d"), DomainState::Paused, false), "{die_at:?}");
        let masks: Vec<String> = domain.vcpus.known().unwrap().iter().map(|vcpu| vcpu.hard.to_string()).collect();
        (domain.name, domain.mark.is_some(), masks, domain.memory.current_kib)
    };
    let name = Some("d".to_owned());
    let mask = vec!["4".to_owned()];
    // That there are no vCPUs yet is known, not unknown.
    assert_eq!(seen(Point::DomainCreated), (None, false, vec![], 0));
    assert_eq!(seen(Point::DomainMarked), (name.clone(), true, vec![], 0));
    assert_eq!(seen(Point::DomainPinned), (name.clone(), true, mask.clone(), 0));
    for built in [Point::DomainBuilt, Point::DevicesAttached, Point::ConsoleReady] {
        assert_eq!(seen(built), (name.clone(), true, mask.clone(), GIB / 4), "{built:?}");
    }
}

#[test]
fn a_destruction_that_dies_leaves_a_nameless_domain() {
    // libxl_domain.c, `libxl__destroy_domid`: xenstore first, then xc_domain_destroy in a child.
    let mut world = pinned();
    let request = Request::DestroyDomain { target: target(&world, "d") };
    let fault = Fault { die_at: Some(Point::StoreRemoved), ..Fault::default() };
    run_with(&mut world, &request, fault).unwrap_err();
    let domains = world.observe().unwrap().domains;
    let left = &domains.known().unwrap()[0];
    assert_eq!((left.uuid, &left.name, left.mark, left.state), (id("d"), &None, None, DomainState::Paused));
    run(&mut world, &request).unwrap();
    assert_eq!(world.domains().count(), 0);
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    // libxl_create.c:1990-2038, `domcreate_complete`.
    let bridge = |config: &mut protocol::DomainConfig| config.nics[0].bridge = "br9".to_owned();
    let disk = |path: &str| protocol::DiskConfig { target: "xvda".to_owned(), path: path.to_owned(), read_only: false };
    let cases: [(&str, Change<'_>, i32, &str); 6] = [
        ("bridge", &bridge, -3, "Could not find bridge device br9"),
        (
            "kernel",
            &|config| config.boot = protocol::BootConfig::Kernel { kernel: "/no".into(), ramdisk: None, cmdline: None },
            -3,
            "failed to open /no",
        ),
        ("no disk", &|config| config.disks.push(disk("/no")), -6, "failed to stat: /no"),
        ("busy disk", &|config| config.disks.push(disk("/srv/a.img")), -3, "/srv/a.img is used by domain 1"),
        ("mounted disk", &|config| config.disks.push(disk("/dev/sdb")), -3, "/dev/sdb is mounted"),
        ("mask", &|config| config.placement.hard[0] = cpus("2"), -3, "nothing in common"),
    ];
    for (what, change, rc, message) in cases {
        let mut world = world();
        world.host.files.insert("/dev/sdb".to_owned(), File::Block { size: 1, mounted: true });
        apply(
            &mut world,
            &Event::Create {
                domain: ForeignDomain { disks: vec!["/srv/a.img".to_owned()], ..foreign("f") }.into(),
                raced: false,
            },
        );
        run(&mut world, &carve("p", "2-3")).unwrap();
        let before = world.clone();
        let mut config = config("d", placement(None, &["4"]));
        change(&mut config);
        let failure = Calls::new(&mut world).create_domain(&config, 0).unwrap_err();
        assert_eq!(failure.rc, Some(rc), "{what}: {failure}");
        assert!(failure.message.contains(message), "{what}: {failure}");
        assert_eq!(world.observe(), before.observe(), "{what}");
    }
}

#[test]
fn without_xenconsoled_a_creation_fails_after_ten_seconds() {
    // libxl_create.c:1934-1966.
    let mut world = world();
    apply(&mut world, &Event::XenconsoledLost);
    let mut calls = Calls::new(&mut world);
    let failure = calls.create_domain(&config("d", placement(None, &["4"])), 0).unwrap_err();
    assert_eq!(failure.rc, Some(-9));
    assert!(calls.elapsed_ms() >= 10_000);
    drop(calls);
    assert_eq!(world.domains().count(), 0);
}

#[test]
fn memory_is_taken_and_comes_back_when_the_zombie_goes_and_the_pages_are_clean() {
    // libxl_mem.c, `libxl_domain_need_memory`: memory, its shadow, and the extra of PV.
    let mut host = host();
    host.latency.scrub_ms = 1000;
    host.guests.insert("*".to_owned(), Guest { lingers_ms: 500, ..Guest::default() });
    let mut world = World::new(host).unwrap();
    let config = config("d", placement(None, &["4"]));
    assert_eq!(Calls::new(&mut world).need_memory(&config).unwrap(), (256 + 3 + 1) * 1024);
    let free = |world: &World| world.observe().unwrap().hypervisor.memory_free_kib;
    let before = free(&world);
    run(&mut world, &create(&config)).unwrap();
    let with = free(&world);
    assert!(with < before - GIB / 4);
    apply(&mut world, &Event::Destroy { domain: "1".to_owned() });
    assert_eq!(free(&world), with, "a zombie keeps its memory");
    world.advance(600);
    assert_eq!(free(&world), before);
    let whole = protocol::DomainConfig { memory_kib: before - 8 * 1024, ..config };
    let failure = Calls::new(&mut world).create_domain(&whole, 0).unwrap_err();
    assert_eq!((failure.rc, failure.errno), (Some(-5), Some(12)), "listed as free, and still dirty");
    world.advance(2000);
    Calls::new(&mut world).create_domain(&whole, 0).unwrap();
}

#[test]
fn what_is_asked_of_a_guest_is_only_asked() {
    // libxl.h: set_memory_target, set_vcpuonline and shutdown are requests through xenstore.
    let mut world = pinned();
    let deaf = Guest {
        ignores: [GuestRequest::Shutdown, GuestRequest::Memory, GuestRequest::Vcpus].into(),
        ..Guest::default()
    };
    let seen = |world: &World| {
        let domain = domain(world, "d");
        let online = domain.vcpus.known().unwrap().iter().filter(|vcpu| vcpu.online).count();
        (domain.memory.current_kib, online)
    };
    assert_eq!(seen(&world).1, 1, "only the first vCPU is up until the guest brings up the others");
    world.advance(1_000);
    assert_eq!(seen(&world), (GIB / 4, 2));
    apply(&mut world, &Event::GuestBehaves { name: "d".to_owned(), guest: deaf });
    let target = target(&world, "d");
    run(&mut world, &Request::SetMemory { target, memory_kib: GIB / 8 }).unwrap();
    run(&mut world, &Request::SetVcpus { target, online: 1 }).unwrap();
    let mut calls = Calls::new(&mut world);
    let ignored = operation::run(&mut calls, &Request::ShutdownDomain { target }).unwrap_err();
    assert_eq!((ignored.kind, ignored.rc), (FailureKind::GuestIgnored, Some(-9)));
    assert!(calls.elapsed_ms() >= 60_000);
    drop(calls);
    world.advance(100_000);
    assert_eq!(seen(&world), (GIB / 4, 2));
    apply(&mut world, &Event::GuestBehaves { name: "d".to_owned(), guest: Guest::default() });
    world.advance(200_000);
    assert_eq!(seen(&world), (GIB / 8, 1));
    run(&mut world, &Request::ShutdownDomain { target }).unwrap();
    world.advance(200_499);
    assert_eq!(domain(&world, "d").state, DomainState::Running);
    world.advance(200_500);
    assert_eq!(domain(&world, "d").state, DomainState::Shutdown(ShutdownReason::Poweroff));
    assert_eq!(seen(&world).0, GIB / 8, "it holds its memory until it is destroyed");
}

#[test]
fn a_linux_guest_takes_a_request_that_it_does_not_follow() {
    let mut world = pinned();
    let stays = Guest { ignores: [GuestRequest::PowerOff].into(), ..Guest::default() };
    apply(&mut world, &Event::GuestBehaves { name: "d".to_owned(), guest: stays });
    world.advance(5_000);
    let request = Request::ShutdownDomain { target: target(&world, "d") };
    run(&mut world, &request).unwrap();
    world.advance(500_000);
    assert_eq!(domain(&world, "d").state, DomainState::Running);
}

#[test]
fn guests_end_by_themselves_and_not_while_they_are_paused() {
    let mut world = world();
    let ends = vec![
        GuestEnd { after_ms: 3_000, how: ShutdownReason::Reboot },
        GuestEnd { after_ms: 10, how: ShutdownReason::Crash },
    ];
    apply(&mut world, &Event::GuestBehaves { name: "d".to_owned(), guest: Guest { ends, ..Guest::default() } });
    let request = create(&config("d", placement(None, &["4"])));
    let mut seen = Vec::new();
    for start in 0..3 {
        run(&mut world, &request).unwrap();
        apply(&mut world, &Event::Pause { domain: "d".to_owned() });
        world.advance(20_000 * start + 10_000);
        assert_eq!(domain(&world, "d").state, DomainState::Paused);
        apply(&mut world, &Event::Unpause { domain: "d".to_owned() });
        world.advance(20_000 * start + 20_000);
        seen.push(domain(&world, "d").state);
        apply(&mut world, &Event::Destroy { domain: "d".to_owned() });
    }
    let ended = DomainState::Shutdown;
    assert_eq!(seen, [ended(ShutdownReason::Reboot), ended(ShutdownReason::Crash), DomainState::Running]);
}

#[test]
fn a_boot_of_the_host_leaves_only_what_is_on_disk() {
    let mut world = pinned();
    let before = world.observe().unwrap();
    apply(&mut world, &Event::PowerLoss);
    let after = world.observe().unwrap();
    assert_ne!(before.hypervisor.boot_id, after.hypervisor.boot_id);
    assert_eq!(after.domains.known().unwrap().len(), 0);
    assert_eq!(pool(&world, "Pool-0").cpus, cpus("0-9"));
    assert!(world.host.files.contains_key("/srv/a.img"));
}

#[test]
fn without_xenstored_nothing_is_known_and_guests_run_on() {
    let mut world = pinned();
    apply(&mut world, &Event::XenstoredLost);
    assert_eq!(world.observe().unwrap_err().kind, FailureKind::XenstoreLost);
    assert_eq!(run(&mut world, &carve("q", "5")).unwrap_err().kind, FailureKind::XenstoreLost);
    assert!(world.domains().all(|(_, domain)| domain.is_runnable()));
    apply(&mut world, &Event::HostReboot);
    assert!(world.observe().is_ok());
}

#[test]
fn a_world_survives_a_file() {
    let mut world = pinned();
    apply(&mut world, &Event::NextOperation(Fault { die_after: Some(3), ..Fault::default() }));
    let text = serde_json::to_string(&world).unwrap();
    assert_eq!(serde_json::from_str::<World>(&text).unwrap(), world);
}

#[test]
fn faults_and_other_hands_meet_an_operation() {
    let mut world = pinned();
    let target = target(&world, "d");
    let fault = Fault {
        fail: vec![FailedCall {
            call: CallName::SetHardAffinity,
            after: 1,
            kind: FailureKind::Refused,
            rc: Some(-3),
            errno: Some(12),
            message: "no memory".to_owned(),
        }],
        meanwhile: vec![Meanwhile { after: 2, event: Event::Pause { domain: "d".to_owned() } }],
        ..Fault::default()
    };
    let request = Request::SetAffinity { target, hard: vec![cpus("2-3"), cpus("2-3")], soft: None };
    let failure = run_with(&mut world, &request, fault).unwrap_err();
    assert_eq!(failure.errno, Some(12));
    assert_eq!(masks(&world, "d"), ["2-3", "3"]);
    assert_eq!(domain(&world, "d").state, DomainState::Paused);
}
