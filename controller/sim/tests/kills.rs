//! Operations whose worker is killed at every point: the law of cores holds at each, nothing foreign is touched, and running the request
//! again ends where an undisturbed run ends.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use operation::run as operate;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use protocol::{
    CpuSet, DomainMasks, DomainState, Failure, FailureKind, Placement, Request, Sched, ShapeCpupool, Target,
};
use sim::{Calls, Event, Fault, World, laws};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Two partitions and their domains, two domains outside, and foreign ones in Pool-0 and in a cpupool of their own.
fn populated() -> World {
    let mut host = host();
    host.topology.cores = 12;
    host.cpupools = vec![serde_json::from_value(serde_json::json!({"name": "theirs", "cpus": "11"})).unwrap()];
    host.domains = vec![
        serde_json::from_value(serde_json::json!({"name": "f0", "hard": "1", "vcpus": 2})).unwrap(),
        serde_json::from_value(serde_json::json!({"name": "f1", "cpupool": "theirs", "hard": "11"})).unwrap(),
    ];
    let mut world = World::new(host).unwrap();
    for (name, of) in [("a", "2-3"), ("b", "4-5")] {
        run(&mut world, &carve(name, of)).unwrap();
    }
    for (name, pool, hard) in [
        ("a1", Some("a"), &["2-3", "2-3"][..]),
        ("a2", Some("a"), &["2"]),
        ("b1", Some("b"), &["4", "5", "4-5"]),
        ("o1", None, &["0-11", "0-11"]),
        ("o2", None, &["0-1"]),
    ] {
        run(&mut world, &create(&config(name, placement(pool, hard)))).unwrap();
    }
    world
}

const OURS: [&str; 5] = ["a1", "a2", "b1", "o1", "o2"];
const PARTITIONS: [&str; 3] = ["a", "b", "c"];

/// What a step of a random history asks for; what makes no sense at that moment is left out.
#[derive(Clone, Debug)]
enum Step {
    /// The partition gets these cores, as far as they can be had.
    Reshape { partition: usize, cores: u32, whole: bool, give: bool },
    /// The domain moves there (out of all partitions for 3).
    Move { domain: usize, to: usize, whole: bool },
    /// The partition is given up.
    Drop { partition: usize },
    /// Another hand widens a pin.
    Widen { domain: usize },
    /// Another hand pauses a domain.
    Pause { domain: usize },
    /// Xen will not let a pCPU go at once.
    Stick { times: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..0xfff_u32, any::<bool>(), any::<bool>())
            .prop_map(|(partition, cores, whole, give)| Step::Reshape { partition, cores, whole, give }),
        4 => (0..OURS.len(), 0..4_usize, any::<bool>()).prop_map(|(domain, to, whole)| Step::Move { domain, to, whole }),
        1 => (0..3_usize).prop_map(|partition| Step::Drop { partition }),
        2 => (0..OURS.len()).prop_map(|domain| Step::Widen { domain }),
        1 => (0..OURS.len()).prop_map(|domain| Step::Pause { domain }),
        1 => (1..3_u32).prop_map(|times| Step::Stick { times }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each case is some hundred operations; PROPTEST_CASES asks for more.
        cases: std::env::var("PROPTEST_CASES").map_or(48, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn killed_anywhere_the_law_of_cores_holds_and_a_second_run_converges(steps in prop::collection::vec(step(), 1..8)) {
        let mut world = populated();
        for step in steps {
            if let Some((request, allowed)) = request(&mut world, &step) {
                world = kill_everywhere(&world, &request, &allowed);
            }
        }
    }
}

/// Somebody widened a pin; then the partition goes elsewhere. The old cores and the new ones are its at the same time, for a moment.
#[test]
fn a_wide_mask_never_reaches_old_and_new_cores_at_once() {
    let mut world = populated();
    for step in [Step::Widen { domain: 0 }, Step::Reshape { partition: 0, cores: 0b1100_0000, whole: true, give: true }]
    {
        if let Some((request, allowed)) = request(&mut world, &step) {
            world = kill_everywhere(&world, &request, &allowed);
        }
    }
    let moved = world.pools().any(|(_, pool)| pool.name.as_deref() == Some("a") && pool.cpus == "6-7".parse().unwrap());
    assert!(moved, "the partition has other cores now");
}

/// Where each domain of ours may run while a request is carried out.
type Allowed = BTreeMap<Uuid, Vec<CpuSet>>;

/// Runs a request with its worker killed at each point, and answers the world after an undisturbed run.
fn kill_everywhere(before: &World, request: &Request, allowed: &Allowed) -> World {
    if let Some(failure) = refusal(before, request) {
        assert_eq!(failure.kind, FailureKind::Stale, "{failure}, of {request:?}");
        return before.clone();
    }
    let (undisturbed, changes) = run_watched(before, request, allowed, Fault::default());
    for die_after in changes {
        let fault = Fault { die_after: Some(die_after), ..Fault::default() };
        let (killed, _) = run_watched(before, request, allowed, fault);
        let (again, _) = run_watched(&killed, &rerun(&killed, request), allowed, Fault::default());
        let again = let_run(before, again, request, allowed);
        assert_eq!(settled(&again), settled(&undisturbed), "killed after {die_after} points of {request:?}");
    }
    undisturbed
}

/// Why the request cannot be carried out now, such as a pin of a domain outside to a pCPU that is to be taken. Nothing is changed then.
fn refusal(before: &World, request: &Request) -> Option<Failure> {
    let mut world = before.clone();
    let failure = run(&mut world, request).err()?;
    assert_eq!(world, *before, "{failure}, of {request:?}");
    Some(failure)
}

/// Runs a request with the laws checked after every call. Answers the world, and the points at which a call had changed it: a worker that
/// dies after a call that only reads leaves nothing else behind.
fn run_watched(before: &World, request: &Request, allowed: &Allowed, fault: Fault) -> (World, Vec<u32>) {
    let mut world = before.clone();
    let dies = fault.die_after.is_some();
    let (mut points, mut last, mut changes) = (0, before.clone(), vec![0]);
    let mut calls = Calls::with_fault(&mut world, fault).after_call(|world| {
        points += 1;
        if *world != last {
            last = world.clone();
            changes.push(points);
            laws::law_of_cores(world, allowed).unwrap_or_else(|broken| panic!("{broken}, in {request:?}"));
            laws::after_call(before, request, world).unwrap_or_else(|broken| panic!("{broken}, by {request:?}"));
        }
    });
    let result = operate(&mut calls, request);
    assert_eq!(calls.died(), dies);
    drop(calls);
    match result {
        Ok(_) => {}
        Err(failure) => assert!(dies && failure.kind == FailureKind::WorkerDied, "{failure}, of {request:?}"),
    }
    (world, changes)
}

/// The request that a new plan makes of a killed one: the same, or for a destroyed cpupool what is left to do.
fn rerun(killed: &World, request: &Request) -> Request {
    match request {
        Request::DestroyCpupool { uuid } if !killed.pools().any(|(_, pool)| pool.uuid == Some(*uuid)) => {
            Request::FeedPool0 { cpus: killed.free_cpus() }
        }
        request => request.clone(),
    }
}

/// A killed move leaves its domain paused; that it runs again is another request, made only when it ran before.
fn let_run(before: &World, again: World, request: &Request, allowed: &Allowed) -> World {
    let Request::MoveDomain { target, placement } = request else {
        return again;
    };
    let ran = before.domains().any(|(domid, domain)| domid == target.domid && domain.is_runnable());
    if !ran {
        return again;
    }
    let unpause = Request::UnpauseDomain { target: *target, placement: placement.clone() };
    run_watched(&again, &unpause, allowed, Fault::default()).0
}

/// What counts at the end. pCPUs that a killed run left free are, for a plan, as good as in Pool-0.
fn settled(world: &World) -> (Vec<sim::Pool>, CpuSet, Vec<(u32, sim::Domain)>) {
    let pools = world.pools().filter(|(poolid, _)| *poolid != 0).map(|(_, pool)| pool.clone());
    let pool_0_and_free = world.free_cpus().union(&pool(world, "Pool-0").cpus);
    let domains = world.domains().map(|(domid, domain)| (domid, domain.clone()));
    (pools.collect(), pool_0_and_free, domains.collect())
}

/// The step as a valid request at this moment; steps of other hands are taken at once.
fn request(world: &mut World, step: &Step) -> Option<(Request, Allowed)> {
    match *step {
        Step::Reshape { partition, cores, whole, give } => reshape(world, PARTITIONS[partition], cores, whole, give),
        Step::Move { domain, to, whole } => relocate(world, OURS[domain], PARTITIONS.get(to).copied(), whole),
        Step::Drop { partition } => {
            world.apply(&Event::RemovalsStick { times: 0 }).unwrap();
            let pool = find_pool(world, PARTITIONS[partition])?;
            (pool.domains == 0).then(|| (Request::DestroyCpupool { uuid: id(PARTITIONS[partition]) }, now(world)))
        }
        Step::Widen { domain } => {
            let hard = world.all_cpus();
            let _ = world.apply(&Event::VcpuPin { domain: OURS[domain].to_owned(), vcpu: Some(0), hard });
            None
        }
        Step::Pause { domain } => {
            let _ = world.apply(&Event::Pause { domain: OURS[domain].to_owned() });
            None
        }
        Step::Stick { times } => {
            let _ = world.apply(&Event::RemovalsStick { times });
            None
        }
    }
}

fn reshape(world: &World, name: &str, cores: u32, whole: bool, give: bool) -> Option<(Request, Allowed)> {
    let now_cpus = find_pool(world, name).map(|pool| pool.cpus).unwrap_or_default();
    let pool0 = pool(world, "Pool-0").cpus;
    let reserved = cpus("0-1");
    let within = now_cpus.union(&pool0).union(&world.free_cpus()).difference(&reserved);
    let wanted: CpuSet = within.iter().filter(|cpu| cores & (1 << cpu) != 0).collect();
    if wanted.is_empty() {
        return None;
    }
    let remove = now_cpus.difference(&wanted);
    let mut allowed = now(world);
    let mut masks = Vec::new();
    for member in members(world, find_pool(world, name).map(|pool| pool.poolid)) {
        allowed.insert(member.uuid, vec![now_cpus.clone(), wanted.clone()]);
        let hard = spread(member.vcpus.known().unwrap().len(), &wanted, whole);
        masks.push(DomainMasks { target: Target { domid: member.domid, uuid: member.uuid }, hard });
    }
    let give = if give { remove.clone() } else { CpuSet::new() };
    let shape = ShapeCpupool {
        uuid: id(name),
        name: name.to_owned(),
        take: wanted.intersection(&pool0),
        add: wanted.difference(&now_cpus),
        masks,
        remove,
        give,
    };
    Some((Request::ShapeCpupool(shape), allowed))
}

fn relocate(world: &World, name: &str, to: Option<&str>, whole: bool) -> Option<(Request, Allowed)> {
    let domain = domain(world, name);
    let to_cpus = match to {
        None => pool(world, "Pool-0").cpus,
        Some(name) => find_pool(world, name).map(|pool| pool.cpus).filter(|cpus| !cpus.is_empty())?,
    };
    let mut allowed = now(world);
    let before = cpus_of(world, domain.poolid?);
    allowed.insert(domain.uuid, vec![before, to_cpus.clone()]);
    let hard = spread(domain.vcpus.known()?.len(), &to_cpus, whole);
    let placement = Placement { cpupool: to.map(id), hard, soft: None, sched: Sched { weight: 700, cap: 0 } };
    Some((Request::MoveDomain { target: target(world, name), placement }, allowed))
}

/// Every domain in a cpupool of ours may run there; those in Pool-0 belong to no partition.
fn now(world: &World) -> Allowed {
    world
        .domains()
        .filter(|(_, domain)| domain.ours && domain.poolid != 0)
        .map(|(_, domain)| (domain.uuid, vec![cpus_of(world, domain.poolid)]))
        .collect()
}

fn cpus_of(world: &World, poolid: u32) -> CpuSet {
    world.pools().find(|(found, _)| *found == poolid).unwrap().1.cpus.clone()
}

fn find_pool(world: &World, name: &str) -> Option<protocol::Cpupool> {
    let pools = world.observe().unwrap().cpupools;
    pools.known().unwrap().iter().find(|pool| pool.uuid == Some(id(name))).cloned()
}

fn members(world: &World, poolid: Option<u32>) -> Vec<protocol::Domain> {
    let domains = world.observe().unwrap().domains;
    domains.known().unwrap().iter().filter(|domain| poolid.is_some() && domain.poolid == poolid).cloned().collect()
}

/// A mask for each vCPU: all of the cores, or one each, in turn.
fn spread(vcpus: usize, cpus: &CpuSet, whole: bool) -> Vec<CpuSet> {
    let one = |vcpu: usize| cpus.iter().skip(vcpu % cpus.len()).take(1).collect();
    (0..vcpus).map(|vcpu| if whole { cpus.clone() } else { one(vcpu) }).collect()
}

#[test]
fn a_killed_creation_is_wreckage_or_a_domain_and_never_two() {
    let mut before = world();
    run(&mut before, &carve("p", "2-3")).unwrap();
    let request = create(&config("d", placement(Some("p"), &["2", "3"])));
    let allowed = Allowed::from([(id("d"), vec![cpus("2-3")])]);
    let (undisturbed, changes) = run_watched(&before, &request, &allowed, Fault::default());
    for die_after in changes {
        let fault = Fault { die_after: Some(die_after), ..Fault::default() };
        let (mut world, _) = run_watched(&before, &request, &allowed, fault);
        // What a plan does with what it finds: wreckage is destroyed, a ready domain is let run, an absent one is made.
        for _ in 0..3 {
            let found = world.observe().unwrap().domains.known().unwrap().first().cloned();
            let next = match found {
                None => request.clone(),
                Some(domain) => {
                    assert!(domain.ready || domain.state == DomainState::Paused, "it never ran");
                    let target = Target { domid: domain.domid, uuid: domain.uuid };
                    let placement = placement(Some("p"), &["2", "3"]);
                    if domain.ready {
                        Request::UnpauseDomain { target, placement }
                    } else {
                        Request::DestroyDomain { target }
                    }
                }
            };
            world = run_watched(&world, &next, &allowed, Fault::default()).0;
        }
        let shown = |world: &World| {
            let found = domain(world, "d");
            (found.state, found.ready, found.mark, found.poolid, found.vcpus, found.sched)
        };
        assert_eq!(shown(&world), shown(&undisturbed), "killed after {die_after} points");
        assert_eq!(world.domains().count(), 1);
    }
}

#[test]
fn a_killed_destruction_is_run_again() {
    let mut before = world();
    run(&mut before, &create(&config("d", placement(None, &["2"])))).unwrap();
    let request = Request::DestroyDomain { target: target(&before, "d") };
    let allowed = Allowed::new();
    let (_, changes) = run_watched(&before, &request, &allowed, Fault::default());
    for die_after in changes {
        let fault = Fault { die_after: Some(die_after), ..Fault::default() };
        let (killed, _) = run_watched(&before, &request, &allowed, fault);
        let (again, _) = run_watched(&killed, &request, &allowed, Fault::default());
        assert_eq!(again.domains().count(), 0, "killed after {die_after} points");
    }
}

#[test]
fn a_cpupool_whose_maker_died_before_its_name_is_swept_and_made() {
    let before = world();
    let request = carve("p", "2-3");
    let fault = Fault { die_at: Some(sim::Point::CpupoolCreated), ..Fault::default() };
    let mut killed = before;
    run_with(&mut killed, &request, fault).unwrap_err();
    assert_eq!(killed.pools().filter(|(_, pool)| pool.name.is_none()).count(), 1);
    run(&mut killed, &request).unwrap();
    assert_eq!(killed.pools_as_xl_lists_them(), ["Pool-0", "p"]);
    assert_eq!(pool(&killed, "p").cpus, cpus("2-3"));
}
