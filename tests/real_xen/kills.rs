//! `kill -9` of `do` inside and between its calls: what is seen then is what the planner knows how to go on from, no other guest notices,
//! and there are never two domains of one VM.

use crate::host::{Host, create, guest, masks, shape, standing, target};
use anyhow::{Result, ensure};
use protocol::{CpuSet, Domain, DomainConfig, DomainKind, DomainState, Placement, Request, Sched, ShapeCpupool};
use uuid::Uuid;

/// Where the program stands that keeps a pCPU in its cpupool.
const HOLD_PCPU: &str = "/usr/local/bin/hold_pcpu";

#[test]
fn a_killed_worker_leaves_what_can_be_gone_on_from() -> Result<()> {
    let host = Host::boot()?;
    let bystander = guest("bystander", DomainKind::Pv, None, ["8", "9"]);
    host.done(create(&bystander))?;
    host.wait_for_boot("bystander")?;
    let undisturbed = host.living(bystander.mark.uuid)?;

    let fast = shape("fast", "2-3");
    half_removed(&host)?;
    pools(&host, &fast)?;
    creations(&host, &guest("web", DomainKind::Pv, Some(fast.uuid), ["2", "3"]))?;
    moves(&host, &guest("web", DomainKind::Pv, Some(fast.uuid), ["2", "3"]))?;
    ends(&host, &guest("web", DomainKind::Pv, Some(fast.uuid), ["2", "3"]))?;

    let now = host.living(bystander.mark.uuid)?;
    assert_eq!(now, Domain { cpu_time_ns: now.cpu_time_ns, ..undisturbed });
    assert_eq!(host.lab.guest_boots("bystander")?, 1);
    Ok(())
}

/// A pCPU that a vCPU could not leave: its removal is begun, and Xen begins no other. Whoever wanted it is gone, as a killed worker is; the
/// next order ends it.
fn half_removed(host: &Host) -> Result<()> {
    let folder = tempfile::tempdir()?;
    host.lab.copy_in(rig::holder(folder.path())?, HOLD_PCPU)?;
    // dom0's vCPU 1 is held on pCPU 7.
    host.lab.run(&format!("taskset -c 1 {HOLD_PCPU} 7"))?;
    // `xl` says what Xen answered and exits with 0.
    host.lab.run("xl cpupool-cpu-remove Pool-0 7")?;
    assert_eq!(seen(host)?, "Pool-0 0-6,8-9");
    let slow = shape("slow", "6-7");
    let (failure, _) = host.refused(Request::ShapeCpupool(slow.clone()))?;
    ensure!(failure.message.starts_with("vCPU 1 of dom0 is pinned"), "{failure}");
    host.lab.run(&format!("taskset -c 1 {HOLD_PCPU} -1"))?;
    let refused = host.lab.sh("xl cpupool-cpu-remove Pool-0 6 2>&1")?;
    ensure!(refused.stdout.contains("Cannot assign requested address"), "Xen removes another: {refused:?}");

    host.done(Request::ShapeCpupool(slow.clone()))?;
    assert_eq!(seen(host)?, "Pool-0 0-5,8-9; slow 6-7");
    host.done(Request::DestroyCpupool { uuid: slow.uuid })?;
    assert_eq!(seen(host)?, "Pool-0 0-9");
    Ok(())
}

/// The cpupools, each with its pCPUs.
fn seen(host: &Host) -> Result<String> {
    let observation = host.observe()?;
    let pools = observation.cpupools.known().map(Vec::as_slice).unwrap_or_default();
    let pools = pools.iter().map(|pool| format!("{} {}", pool.name.as_deref().unwrap_or("-"), pool.cpus));
    Ok(pools.collect::<Vec<_>>().join("; "))
}

/// A cpupool that is made: each time the same order, given again, ends it.
fn pools(host: &Host, fast: &ShapeCpupool) -> Result<()> {
    let shape = || Request::ShapeCpupool(fast.clone());
    for (at, left) in [
        ("after:libxl_cpupool_cpuremove:1", "Pool-0 0-1,3-9"),
        // The cpupool is made and has no name yet: xl's list ends here.
        ("before:xs_transaction_end:1", "Pool-0 0-1,4-9; - "),
        ("after:libxl_cpupool_cpuadd:1", "Pool-0 0-1,4-9; fast 2"),
    ] {
        host.killed(at, shape())?;
        assert_eq!(seen(host)?, left, "{at}");
        host.done(shape())?;
        assert_eq!(seen(host)?, "Pool-0 0-1,4-9; fast 2-3", "{at}");
        host.done(Request::DestroyCpupool { uuid: fast.uuid })?;
        assert_eq!(seen(host)?, "Pool-0 0-9", "{at}");
    }
    host.done(shape())?;
    // The end of a cpupool, half-way: one pCPU is free.
    host.killed("after:libxl_cpupool_cpuremove:1", Request::DestroyCpupool { uuid: fast.uuid })?;
    assert_eq!(seen(host)?, "Pool-0 0-1,4-9; fast 3");
    host.done(Request::DestroyCpupool { uuid: fast.uuid })?;
    host.done(Request::FeedPool0 { cpus: "2".parse()? })?;
    assert_eq!(seen(host)?, "Pool-0 0-9");
    host.done(shape()).map(drop)
}

/// A creation: until `ready` is written it is wreckage, and nothing of it has run.
fn creations(host: &Host, config: &DomainConfig) -> Result<()> {
    let uuid = config.mark.uuid;
    let paused = DomainState::Paused;
    for (at, left) in [
        // The domain exists, xenstore does not know it.
        ("before:xs_transaction_end:1", (false, false, paused)),
        // It is introduced and marked, and has no memory yet.
        ("after:xs_transaction_end:1", (true, false, paused)),
        ("after:libxl_domain_create_new:1", (true, false, paused)),
        ("before:libxl_domain_unpause:1", (true, true, paused)),
        ("after:libxl_domain_unpause:1", (true, true, DomainState::Running)),
    ] {
        host.killed(at, create(config))?;
        let domain = host.living(uuid)?;
        assert_eq!(standing(&domain), left, "{at}");
        if domain.state == paused {
            assert_eq!(domain.cpu_time_ns, 0, "{at}: it has run");
            ensure!(domain.vcpus.known().is_some(), "{at}: {:?}", domain.vcpus);
            // It holds the UUID: a second domain of this VM is refused.
            host.refused(create(config))?;
        } else {
            assert_eq!(host.done(create(config))?.domid, Some(domain.domid), "{at}");
        }
        host.remove(uuid)?;
        let remains = host.remains()?;
        ensure!(
            remains.lines().all(|line| line.contains("bystander") || line.starts_with("userdata")),
            "{at}: {remains}"
        );
    }
    Ok(())
}

/// A move: the guest is paused until its masks are read back, and the same order, given again, or an unpause, ends it.
fn moves(host: &Host, config: &DomainConfig) -> Result<()> {
    let uuid = config.mark.uuid;
    let outside = Placement {
        cpupool: None,
        hard: vec!["4".parse()?, "5".parse()?],
        soft: None,
        sched: Sched { weight: 100, cap: 0 },
    };
    let all = CpuSet::first(10).to_string();
    for (at, poolid_is_0, left) in [
        ("after:libxl_domain_pause:1", false, ["2", "3"]),
        ("after:libxl_cpupool_movedomain:1", true, [&*all, &*all]),
        ("after:libxl_set_vcpuaffinity:1", true, ["4", &*all]),
        ("before:libxl_domain_unpause:1", true, ["4", "5"]),
    ] {
        host.done(create(config))?;
        let target = target(&host.living(uuid)?);
        let request = Request::MoveDomain { target, placement: outside.clone() };
        host.killed(at, request.clone())?;
        let domain = host.living(uuid)?;
        assert_eq!(standing(&domain), (true, true, DomainState::Paused), "{at}");
        assert_eq!((domain.poolid == Some(0), masks(&domain)), (poolid_is_0, left.map(str::to_owned).to_vec()), "{at}");

        host.done(request)?;
        host.done(Request::UnpauseDomain { target, placement: outside.clone() })?;
        let domain = host.living(uuid)?;
        assert_eq!(standing(&domain), (true, true, DomainState::Running), "{at}");
        assert_eq!(
            (masks(&domain), domain.sched.known()),
            (vec!["4".to_owned(), "5".to_owned()], Some(&outside.sched))
        );
        host.remove(uuid)?;
    }
    Ok(())
}

/// A destruction: the domain is paused, dying or gone, and the same order, given again, ends it.
fn ends(host: &Host, config: &DomainConfig) -> Result<()> {
    let uuid: Uuid = config.mark.uuid;
    for at in ["before:xs_transaction_end:1", "before:xs_rm:1"] {
        host.done(create(config))?;
        let target = target(&host.living(uuid)?);
        host.killed(at, Request::DestroyDomain { target })?;
        let left = host.domain(uuid)?;
        ensure!(left.as_ref().is_none_or(|domain| domain.state != DomainState::Running), "{at}: {left:?}");
        host.remove(uuid)?;
    }
    Ok(())
}
