//! Every request on the simulated host: what it does, and what it refuses to do.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use protocol::{
    CpuSet, DomainConfig, DomainMasks, DomainState, FailureKind, Mark, Request, Sched, ShapeCpupool, Target,
};
use sim::{CallName, Event, FailedCall, Fault, Guest, Meanwhile, World};

/// Partition `p` of pCPUs 2-3 with domain `d`; domain `o` outside, on pCPU 8 only; foreign cpupool `theirs` of pCPU 9.
fn populated() -> World {
    let mut host = host();
    host.cpupools = vec![serde_json::from_value(serde_json::json!({"name": "theirs", "cpus": "9"})).unwrap()];
    let mut world = World::new(host).unwrap();
    run(&mut world, &carve("p", "2-3")).unwrap();
    run(&mut world, &create(&config("d", placement(Some("p"), &["2", "3"])))).unwrap();
    run(&mut world, &create(&config("o", placement(None, &["8"])))).unwrap();
    world
}

fn masked(world: &World, name: &str, hard: &[&str]) -> DomainMasks {
    DomainMasks { target: target(world, name), hard: hard.iter().map(|mask| cpus(mask)).collect() }
}

#[test]
fn a_domain_is_made_in_its_cpupool_with_its_masks() {
    let world = populated();
    let domain = domain(&world, "d");
    let config = config("d", placement(Some("p"), &["2", "3"]));
    assert_eq!((domain.state, domain.ready, domain.mark), (DomainState::Running, true, Some(config.mark)));
    assert_eq!(domain.poolid, Some(pool(&world, "p").poolid));
    assert_eq!(masks(&world, "d"), ["2", "3"]);
    assert_eq!(domain.sched.known(), Some(&config.placement.sched));
}

#[test]
fn a_cpupool_changes_its_cores_under_a_running_domain() {
    let mut world = populated();
    let shape = ShapeCpupool {
        take: cpus("4-5"),
        add: cpus("4-5"),
        masks: vec![masked(&world, "d", &["4", "5"])],
        remove: cpus("2-3"),
        give: cpus("2"),
        ..shape("p")
    };
    run(&mut world, &Request::ShapeCpupool(shape)).unwrap();
    assert_eq!(pool(&world, "p").cpus, cpus("4-5"));
    assert_eq!(pool(&world, "Pool-0").cpus, cpus("0-2,6-8"));
    assert_eq!(world.free_cpus(), cpus("3"));
    assert_eq!(masks(&world, "d"), ["4", "5"]);
    run(&mut world, &Request::FeedPool0 { cpus: cpus("3") }).unwrap();
    assert_eq!(world.free_cpus(), CpuSet::new());
}

#[test]
fn a_move_leaves_a_running_domain_running_and_a_paused_one_paused() {
    for (paused, state) in [(false, DomainState::Running), (true, DomainState::Paused)] {
        let mut world = populated();
        if paused {
            apply(&mut world, &Event::Pause { domain: "o".to_owned() });
        }
        let request = Request::MoveDomain { target: target(&world, "o"), placement: placement(Some("p"), &["3"]) };
        run(&mut world, &request).unwrap();
        let domain = domain(&world, "o");
        assert_eq!((domain.state, domain.poolid), (state, Some(pool(&world, "p").poolid)));
        assert_eq!(masks(&world, "o"), ["3"]);
        assert_eq!(domain.sched.known(), Some(&Sched { weight: 512, cap: 50 }));
    }
}

#[test]
fn a_refused_move_lets_the_domain_run_on() {
    let mut world = populated();
    let before = domain(&world, "o");
    let request = Request::MoveDomain { target: target(&world, "o"), placement: placement(Some("p"), &["3"]) };
    run_with(&mut world, &request, failing(CallName::MoveDomain)).unwrap_err();
    assert_eq!(domain(&world, "o"), before);
    run_with(&mut world, &request, failing(CallName::SetHardAffinity)).unwrap_err();
    assert_eq!(domain(&world, "o").state, DomainState::Paused, "it is in the cpupool and has not its mask");
}

#[test]
fn a_domain_that_was_paused_many_times_runs_after_one_request() {
    let mut world = populated();
    for _ in 0..5 {
        apply(&mut world, &Event::Pause { domain: "d".to_owned() });
    }
    let request = Request::UnpauseDomain { target: target(&world, "d"), placement: placement(Some("p"), &["2", "3"]) };
    run(&mut world, &request).unwrap();
    assert_eq!(domain(&world, "d").state, DomainState::Running);
}

#[test]
fn a_domain_that_is_not_as_asked_is_destroyed_and_has_never_run() {
    let mut world = world();
    let pinned = Meanwhile { after: 11, event: event(serde_json::json!({"vcpu-pin": {"domain": "d", "hard": "7"}})) };
    let twin = Meanwhile {
        after: 6,
        event: event(serde_json::json!({"create": {"domain": {"name": "other", "uuid": id("d")}}})),
    };
    let namesake =
        Meanwhile { after: 7, event: event(serde_json::json!({"create": {"domain": {"name": "d"}, "raced": true}})) };
    for (fault, kind) in [
        (Fault { meanwhile: vec![pinned], ..Fault::default() }, FailureKind::ReadBack),
        (Fault { meanwhile: vec![twin], ..Fault::default() }, FailureKind::Stale),
        (Fault { meanwhile: vec![namesake], ..Fault::default() }, FailureKind::Stale),
        (failing(CallName::MarkReady), FailureKind::Refused),
    ] {
        let failure = run_with(&mut world, &create(&config("d", placement(None, &["5"]))), fault).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert_eq!(world.domains().filter(|(_, domain)| domain.ours).count(), 0);
        for theirs in world.domains().map(|(domid, _)| domid.to_string()).collect::<Vec<_>>() {
            apply(&mut world, &Event::Destroy { domain: theirs });
        }
    }
}

/// Memory goes on once: it counts as used only when the domain that was built from it is as asked.
#[test]
fn a_restored_domain_that_is_not_as_asked_is_destroyed_and_its_memory_kept() {
    let mut world = world();
    let first = config("d", placement(None, &["5"]));
    run(&mut world, &create(&first)).unwrap();
    let image = id("image");
    let d = target(&world, "d");
    run(&mut world, &Request::SaveDomain { target: d, image }).unwrap();
    run(&mut world, &Request::DestroyDomain { target: d }).unwrap();
    let again = DomainConfig { mark: Mark { incarnation: id("incarnation 2"), ..first.mark }, ..first };
    let restore = Request::RestoreDomain { config: Box::new(again), image };
    let mut refused = 0;
    for after in 1..30 {
        let mut world = world.clone();
        let pin = event(serde_json::json!({"vcpu-pin": {"domain": "d", "hard": "7"}}));
        let fault = Fault { meanwhile: vec![Meanwhile { after, event: pin }], ..Fault::default() };
        let Err(failure) = run_with(&mut world, &restore, fault) else { continue };
        assert_eq!(failure.kind, FailureKind::ReadBack, "{failure}");
        assert_eq!(world.domains().filter(|(_, domain)| domain.ours && !domain.is_dying()).count(), 0);
        world.advance(60_000);
        run(&mut world, &restore).unwrap();
        refused += 1;
    }
    assert!(refused > 0, "no hand came between the building and the look at it");
}

#[test]
fn a_request_that_is_done_is_done_again() {
    let mut world = populated();
    let config = config("d", placement(Some("p"), &["2", "3"]));
    let d = target(&world, "d");
    let gone = Target { domid: 99, uuid: id("gone") };
    for request in [
        carve("p", "2-3"),
        create(&config),
        Request::RenameCpupool { uuid: id("p"), name: "q".to_owned() },
        Request::MoveDomain { target: d, placement: placement(Some("p"), &["3", "2"]) },
        Request::SetAffinity { target: d, hard: vec![cpus("2-3"), cpus("2")], soft: None },
        Request::SetSched { target: d, sched: Sched { weight: 1, cap: 1 } },
        Request::SetMemory { target: d, memory_kib: GIB / 8 },
        Request::SetVcpus { target: d, online: 1 },
        Request::RenameDomain { target: d, name: "e".to_owned() },
        Request::ShutdownDomain { target: gone },
        Request::DestroyDomain { target: gone },
        Request::DestroyDomain { target: d },
        Request::DestroyCpupool { uuid: id("p") },
    ] {
        run(&mut world, &request).unwrap();
        let after = world.clone();
        if !matches!(request, Request::ShapeCpupool(_) if pool_is_named(&world, "q")) {
            run(&mut world, &request).unwrap();
        }
        assert_eq!(world, after, "{request:?}");
    }
    assert_eq!(pool(&world, "Pool-0").cpus, cpus("0-8"));
}

fn pool_is_named(world: &World, name: &str) -> bool {
    world.pools().any(|(_, pool)| pool.name.as_deref() == Some(name))
}

fn failing(call: CallName) -> Fault {
    let failed = FailedCall {
        call,
        after: 0,
        kind: FailureKind::Refused,
        rc: Some(-3),
        errno: Some(12),
        message: "no memory".to_owned(),
    };
    Fault { fail: vec![failed], ..Fault::default() }
}

/// What each request is refused with; none of them changes anything.
#[track_caller]
fn refusals(world: &World, requests: impl IntoIterator<Item = Request>) -> String {
    let refuse = |request| {
        let mut after = world.clone();
        let failure = run(&mut after, &request).expect_err(&format!("{request:?}"));
        assert_eq!(after, *world, "{failure}");
        format!("{:?} {failure}\n", failure.kind)
    };
    let names = |text: String, (name, of): (&str, &str)| text.replace(&id(of).to_string(), name);
    [("⟨p⟩", "p"), ("⟨d⟩", "d"), ("⟨o⟩", "o"), ("⟨x⟩", "x")]
        .into_iter()
        .fold(requests.into_iter().map(refuse).collect(), names)
}

#[test]
fn a_cpupool_is_only_shaped_when_its_premises_hold() {
    let world = populated();
    let shaped = |shape| Request::ShapeCpupool(shape);
    let absent = DomainMasks { target: Target { domid: 77, uuid: id("x") }, hard: vec![cpus("2")] };
    insta::assert_snapshot!(refusals(&world, [
        carve("q", "0"),
        carve("q", "2"),
        carve("q", "9"),
        carve("q", "1,4-8"),
        carve("theirs", "5"),
        shaped(ShapeCpupool { add: cpus("5"), ..shape("p") }),
        shaped(ShapeCpupool { give: cpus("2"), ..shape("p") }),
        shaped(ShapeCpupool { remove: cpus("3"), ..shape("p") }),
        shaped(ShapeCpupool { remove: cpus("2-3"), ..shape("p") }),
        shaped(ShapeCpupool { remove: cpus("3"), masks: vec![masked(&world, "d", &["2", "2-3"])], ..shape("p") }),
        shaped(ShapeCpupool { remove: cpus("3"), masks: vec![masked(&world, "d", &["2"])], ..shape("p") }),
        shaped(ShapeCpupool { masks: vec![masked(&world, "o", &["2"])], ..shape("p") }),
        shaped(ShapeCpupool { masks: vec![absent], ..shape("p") }),
        Request::RenameCpupool { uuid: id("p"), name: "theirs".to_owned() },
        Request::RenameCpupool { uuid: id("x"), name: "y".to_owned() },
        Request::DestroyCpupool { uuid: id("p") },
        Request::FeedPool0 { cpus: cpus("3") },
    ]), @r"
    Stale shape-cpupool: pCPU 0 never leaves Pool-0
    Stale shape-cpupool: pCPU 2 is in cpupool p, so it cannot be taken for cpupool q
    Stale shape-cpupool: pCPU 9 is in cpupool theirs, so it cannot be taken for cpupool q
    Stale shape-cpupool: vCPU 0 of domain 2 (o) may run on 8 only, which would leave it no pCPU of cpupool Pool-0 (Xen would then let it run on all): change its affinity first
    Stale shape-cpupool: cpupool 1 has the name theirs already: rename one of them
    Stale shape-cpupool: pCPU 5 is in cpupool Pool-0, so it cannot be added to cpupool p
    Stale shape-cpupool: pCPU 2 is in cpupool p, so it cannot be given to Pool-0 by cpupool p
    Stale shape-cpupool: vCPU 1 of domain 1 (d) may run on 3 only, which would leave it no pCPU of cpupool p (Xen would then let it run on all): change its affinity first
    Stale shape-cpupool: cpupool p holds domain 1 (d): it must keep at least one pCPU
    Stale shape-cpupool: domain 1 (d) is to run on pCPUs that are to be removed
    Stale shape-cpupool: domain 1 (d) has 2 vCPUs, and 1 masks were given
    Stale shape-cpupool: domain 2 (UUID ⟨o⟩) is not in the cpupool whose vCPUs are to be re-masked
    Stale shape-cpupool: domain 77 (UUID ⟨x⟩) is not in the cpupool whose vCPUs are to be re-masked
    Stale rename-cpupool: cpupool 1 has the name theirs already: rename one of them
    Stale rename-cpupool: there is no cpupool with UUID ⟨x⟩
    Stale destroy-cpupool: cpupool p still has 1 domain(s), those being torn down included
    Stale feed-pool-0: pCPU 3 is in cpupool p, so it cannot go to Pool-0
    ");
}

#[test]
fn cores_that_dom0_is_pinned_to_stay_with_it() {
    let mut host = host();
    host.dom0.pinned = true;
    let world = World::new(host).unwrap();
    insta::assert_snapshot!(refusals(&world, [carve("q", "1-2")]), @r"
    Stale shape-cpupool: vCPU 1 of dom0 is pinned, and would have no pCPU left without `1-2`: leave dom0 those cores, or unpin it
    ");
}

#[test]
fn a_domain_is_only_made_when_its_premises_hold() {
    let mut world = populated();
    let config = |name, change: &dyn Fn(&mut DomainConfig)| {
        let mut config = config(name, placement(Some("p"), &["2"]));
        config.mark.incarnation = id("incarnation 2");
        change(&mut config);
        create(&config)
    };
    apply(
        &mut world,
        &event(serde_json::json!({"create": {"domain": {"name": "wreck", "paused": true, "uuid": id("w")}}})),
    );
    apply(&mut world, &event(serde_json::json!({"guest-behaves": {"name": "*", "guest": {"lingers-ms": 1000}}})));
    apply(&mut world, &event(serde_json::json!({"guest-ends": {"domain": "o", "how": "poweroff"}})));
    apply(&mut world, &event(serde_json::json!({"create": {"domain": {"name": "z", "uuid": id("z")}}})));
    apply(&mut world, &event(serde_json::json!({"destroy": {"domain": "z"}})));
    insta::assert_snapshot!(refusals(&world, [
        config("d", &|_| {}),
        config("o", &|_| {}),
        config("w", &|_| {}),
        config("z", &|_| {}),
        config("n", &|config| config.name = "d".to_owned()),
        config("n", &|config| config.placement.cpupool = Some(id("x"))),
        config("n", &|config| config.placement.hard = vec![cpus("5")]),
        config("n", &|config| config.vcpus_max = 2),
        config("n", &|config| config.memory_kib = 8 * GIB),
        config("n", &|config| config.memory_reserve_kib = 4 * GIB),
    ]), @r"
    Stale create-domain: domain 1 (d) with UUID ⟨d⟩ runs
    Stale create-domain: domain 2 (o) with UUID ⟨o⟩ has ended and must be destroyed first
    Stale create-domain: domain 3 (wreck) with UUID 911fca64-3954-5549-a639-d035238418d6 was left half-made and must be destroyed first
    Stale create-domain: domain 4 (no name) with UUID e269a3ea-db47-52b8-9512-92c85a8ca275 is still being torn down
    Stale create-domain: domain 1 (d) with UUID ⟨d⟩ has this name already: rename or stop it
    Stale create-domain: there is no cpupool with UUID ⟨x⟩
    Stale create-domain: vCPU 0 is to run on `5`, and its cpupool has `2-3`: they have nothing in common
    Stale create-domain: 1 masks were given for 2 vCPUs
    Memory create-domain: n needs 8392704 KiB and 0 KiB must stay free, but only 2158442 KiB are free: stop or shrink other domains, or give dom0 less memory
    Memory create-domain: n needs 266240 KiB and 4194304 KiB must stay free, but only 2158442 KiB are free: stop or shrink other domains, or give dom0 less memory
    ");
}

#[test]
fn a_domain_is_only_changed_when_its_premises_hold() {
    let mut world = populated();
    let d = target(&world, "d");
    let other = Target { uuid: id("x"), ..d };
    let absent = Target { domid: 77, uuid: id("x") };
    apply(&mut world, &event(serde_json::json!({"pause": {"domain": "o"}})));
    apply(&mut world, &event(serde_json::json!({"guest-ends": {"domain": "d", "how": "crash"}})));
    apply(&mut world, &event(serde_json::json!({"create": {"domain": {"name": "wreck", "paused": true}}})));
    let (o, wreck) = (target(&world, "o"), target(&world, "wreck"));
    insta::assert_snapshot!(refusals(&world, [
        Request::DestroyDomain { target: other },
        Request::ShutdownDomain { target: other },
        Request::ShutdownDomain { target: o },
        Request::UnpauseDomain { target: d, placement: placement(Some("p"), &["2", "3"]) },
        Request::UnpauseDomain { target: wreck, placement: placement(None, &["0-9"]) },
        Request::UnpauseDomain { target: o, placement: placement(Some("p"), &["8"]) },
        Request::UnpauseDomain { target: o, placement: placement(None, &["7"]) },
        Request::UnpauseDomain { target: o, placement: protocol::Placement { sched: Sched { weight: 1, cap: 0 }, ..placement(None, &["8"]) } },
        Request::MoveDomain { target: absent, placement: placement(Some("p"), &["2"]) },
        Request::MoveDomain { target: o, placement: placement(Some("x"), &["2"]) },
        Request::MoveDomain { target: o, placement: placement(Some("p"), &["4"]) },
        Request::MoveDomain { target: o, placement: placement(Some("p"), &["2", "3"]) },
        Request::SetAffinity { target: o, hard: vec![cpus("2")], soft: None },
        Request::SetMemory { target: o, memory_kib: GIB },
        Request::SetVcpus { target: o, online: 2 },
        Request::SetVcpus { target: o, online: 0 },
        Request::RenameDomain { target: o, name: "d".to_owned() },
    ]), @r"
    Stale destroy-domain: domain 1 has UUID ⟨d⟩ now, not ⟨x⟩
    Stale shutdown-domain: domain 1 has UUID ⟨d⟩ now, not ⟨x⟩
    GuestIgnored shutdown-domain: domain 2 (o) is paused and cannot answer
    Stale unpause-domain: domain 1 (d) has ended
    Stale unpause-domain: domain 3 (wreck) was left half-made: destroy it
    Stale unpause-domain: domain 2 (o) is not in cpupool p
    Stale unpause-domain: vCPU 0 of domain 2 (o) may run on `8` instead of `7`
    Stale unpause-domain: domain 2 (o) has weight 512 and cap 50 instead of weight 1 and cap 0
    Stale move-domain: there is no domain 77 (UUID ⟨x⟩)
    Stale move-domain: there is no cpupool with UUID ⟨x⟩
    Stale move-domain: vCPU 0 is to run on `4`, and its cpupool has `2-3`: they have nothing in common
    Stale move-domain: domain 2 (o) has 1 vCPUs, and 2 masks were given
    Stale set-affinity: vCPU 0 is to run on `2`, and its cpupool has `0-1,4-8`: they have nothing in common
    Stale set-memory: domain 2 (o) was built for 262144 KiB: 1048576 KiB need a restart
    Stale set-vcpus: domain 2 (o) has 1 vCPUs, so 2 cannot be online
    Stale set-vcpus: domain 2 (o) has 1 vCPUs, so 0 cannot be online
    Stale rename-domain: domain 1 (d) has the name d already
    ");
}

#[test]
fn a_mask_that_others_change_meanwhile_stops_a_removal() {
    // Read before the removal, not only at the start: without it Xen would let vCPU 0 run everywhere.
    let masks_set = (0..40).find_map(|after| {
        let mut world = populated();
        let pin = event(serde_json::json!({"vcpu-pin": {"domain": "d", "vcpu": 0, "hard": "3"}}));
        let fault = Fault { meanwhile: vec![Meanwhile { after, event: pin }], ..Fault::default() };
        let masks = vec![masked(&world, "d", &["2", "2"])];
        let request = Request::ShapeCpupool(ShapeCpupool { masks, remove: cpus("3"), ..shape("p") });
        let failure = run_with(&mut world, &request, fault).err()?;
        let message = failure.message.contains("would leave it no pCPU");
        (message && common::masks(&world, "d") == ["3", "2"]).then_some(after)
    });
    assert!(masks_set.is_some());
}

#[test]
fn a_mask_that_others_widen_meanwhile_is_noticed_before_a_pcpu_goes() {
    // Xen would cut the mask to what is left, and it would look as if it were ours.
    let noticed = (0..40).any(|after| {
        let mut world = populated();
        let pin = event(serde_json::json!({"vcpu-pin": {"domain": "d", "vcpu": 0, "hard": "2-3"}}));
        let fault = Fault { meanwhile: vec![Meanwhile { after, event: pin }], ..Fault::default() };
        let masks = vec![masked(&world, "d", &["2", "2"])];
        let request = Request::ShapeCpupool(ShapeCpupool { masks, remove: cpus("3"), ..shape("p") });
        run_with(&mut world, &request, fault).is_err()
            && common::masks(&world, "d") == ["2-3", "2"]
            && world.pools().any(|(_, pool)| pool.name.as_deref() == Some("p") && pool.cpus == cpus("2-3"))
    });
    assert!(noticed);
}

#[test]
fn a_host_that_goes_takes_the_worker_with_it() {
    let mut world = populated();
    let fault = Fault { meanwhile: vec![Meanwhile { after: 5, event: Event::PowerLoss }], ..Fault::default() };
    let failure = run_with(&mut world, &carve("q", "5-6"), fault).unwrap_err();
    assert_eq!(failure.kind, FailureKind::WorkerDied);
    assert_eq!(world.pools_as_xl_lists_them(), ["Pool-0"]);
}

#[test]
fn other_incarnations_are_other_domains() {
    let mut world = populated();
    let config = config("d", placement(Some("p"), &["2", "3"]));
    let mark = Mark { incarnation: id("incarnation 2"), ..config.mark };
    assert_eq!(run(&mut world, &create(&DomainConfig { mark, ..config })).unwrap_err().kind, FailureKind::Stale);
}

#[test]
fn a_domain_that_lingers_is_destroyed_once() {
    let mut world = populated();
    apply(
        &mut world,
        &Event::GuestBehaves { name: "d".to_owned(), guest: Guest { lingers_ms: 9000, ..Guest::default() } },
    );
    let request = Request::DestroyDomain { target: target(&world, "d") };
    run(&mut world, &request).unwrap();
    run(&mut world, &request).unwrap();
    assert_eq!(run(&mut world, &Request::DestroyCpupool { uuid: id("p") }).unwrap_err().kind, FailureKind::Stale);
    world.advance(9_000);
    run(&mut world, &Request::DestroyCpupool { uuid: id("p") }).unwrap();
}
