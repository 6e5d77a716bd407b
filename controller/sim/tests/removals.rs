//! pCPUs that Xen does not take out of their cpupool at once, because some vCPU cannot leave them: Xen's habits, and what operations make of them.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use operation::Hypervisor;
use protocol::Request;
use sim::{Calls, Event, Fault};

#[test]
fn a_stuck_removal_blocks_all_others() {
    // sched/cpupool.c, `cpupool_unassign_cpu_finish`: the pCPU is listed as free, and `cpupool_moving_cpu` names it.
    let mut world = world();
    run(&mut world, &carve("p", "2-3")).unwrap();
    let poolid = pool(&world, "p").poolid;
    apply(&mut world, &Event::RemovalsStick { times: 1 });
    let remove = |cpu: &str| event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "Pool-0", "cpus": cpu}}));
    assert_eq!(world.apply(&remove("8")).unwrap_err().errno, Some(98));
    assert_eq!(world.free_cpus(), cpus("8"));
    assert!(world.observe().unwrap().cpupools.known().is_some(), "nothing looks wrong");
    assert_eq!(world.apply(&remove("9")).unwrap_err().errno, Some(99));
    assert_eq!(Calls::new(&mut world).add_cpu(poolid, 8).unwrap_err().errno, Some(99));
    apply(&mut world, &remove("8"));
    apply(&mut world, &remove("9"));
    assert_eq!(world.free_cpus(), cpus("8-9"));
}

#[test]
fn a_cpu_that_xen_does_not_let_go_is_tried_again_and_then_put_back() {
    for (times, done) in [(2, true), (3, false)] {
        let mut world = world();
        apply(&mut world, &Event::RemovalsStick { times });
        assert_eq!(run(&mut world, &carve("q", "5")).is_ok(), done);
        assert!(world.observe().unwrap().cpupools.known().is_some(), "no pCPU is lost");
        assert_eq!(pool(&world, "Pool-0").cpus.contains(5), !done);
    }
}

#[test]
fn a_removal_that_a_killed_worker_left_half_done_is_finished() {
    let stuck = || {
        let worlds = (1..40).map(|points| {
            let mut world = world();
            apply(&mut world, &Event::RemovalsStick { times: 1 });
            let fault = Fault { die_after: Some(points), ..Fault::default() };
            run_with(&mut world, &carve("q", "5-6"), fault).unwrap_err();
            world
        });
        // The first one that has lost a pCPU: the worker died right after Xen did not let it go.
        worlds.into_iter().find(|world| world.free_cpus() == cpus("5")).unwrap()
    };
    // The same again; another cpupool, which needs none of it; and the pCPU back to Pool-0.
    for request in [carve("q", "5-6"), carve("r", "6"), Request::FeedPool0 { cpus: cpus("5") }] {
        let mut world = stuck();
        run(&mut world, &request).unwrap();
        apply(&mut world, &event(serde_json::json!({"cpupool-cpu-remove": {"cpupool": "Pool-0", "cpus": "7"}})));
    }
    // Whoever could not leave the pCPU still cannot: nothing else is done meanwhile, and the pCPU goes to nobody.
    let mut world = stuck();
    apply(&mut world, &Event::RemovalsStick { times: 9 });
    assert_eq!(run(&mut world, &carve("q", "5-6")).unwrap_err().errno, Some(98));
    assert_eq!(world.free_cpus(), cpus("5"));
}
