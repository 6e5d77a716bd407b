//! Every request, on the simulated host.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use protocol::{DomainState, FailureKind, Request, ShapeCpupool};
use sim::World;

#[test]
fn a_domain_is_made_in_its_cpupool_with_its_masks() {
    let mut world = world();
    run(&mut world, &carve("oracle", "2-3")).unwrap();
    let config = config("erp", placement(Some("oracle"), &["2", "3"]));
    let done = run(&mut world, &create(&config)).unwrap();
    let domain = domain(&world, "erp");
    assert_eq!(done.domid, Some(domain.domid));
    assert_eq!((domain.state, domain.ready, domain.mark), (DomainState::Running, true, Some(config.mark)));
    assert_eq!(domain.poolid, Some(pool(&world, "oracle").poolid));
    assert_eq!(masks(&world, "erp"), ["2", "3"]);
    assert_eq!(domain.sched.known(), Some(&config.placement.sched));
}

#[test]
fn a_request_that_is_done_is_done_again() {
    let mut world = world();
    let shape = ShapeCpupool { take: cpus("2-3"), add: cpus("2-3"), ..shape("oracle") };
    let config = config("erp", placement(Some("oracle"), &["2", "3"]));
    for request in [Request::ShapeCpupool(shape), create(&config)] {
        let first = run(&mut world, &request).unwrap();
        let after: World = world.clone();
        assert_eq!(run(&mut world, &request), Ok(first));
        assert_eq!(world, after);
    }
    let other =
        protocol::DomainConfig { mark: protocol::Mark { incarnation: id("incarnation 2"), ..config.mark }, ..config };
    assert_eq!(run(&mut world, &create(&other)).unwrap_err().kind, FailureKind::Stale);
}
