//! Observation and every operation that succeeds.

use crate::host::{Host, STATE, create, guest, masks, shape, standing, target};
use anyhow::{Context, Result, ensure};
use lab::{Lab, steadily};
use protocol::{
    BootConfig, CpuSet, DiskConfig, Domain, DomainKind, DomainMasks, DomainState, Dump, FailureKind, NicConfig,
    PROTOCOL, Placement, Request, Sched, ShapeCpupool, ShutdownReason,
};

#[test]
fn pools_and_guests_from_creation_to_their_end() -> Result<()> {
    steadily(from_creation_to_the_end)
}

fn from_creation_to_the_end() -> Result<()> {
    // For the PVH guest.
    let host = Host::boot_on(Lab::builder().parallel())?;
    hello_and_inventory(&host)?;
    let fast = shape("fast", "2-3");
    host.done(Request::ShapeCpupool(fast.clone()))?;
    // Running an order again is no change.
    host.done(Request::ShapeCpupool(fast.clone()))?;
    ensure!(xl_pools(&host)?.contains("fast 2,3"), "{}", xl_pools(&host)?);

    pv_guest_with_devices(&host, &fast)?;
    pvh_guest_lives(&host, &fast)?;
    grub_guests(&host, &fast)?;
    grow_and_shrink(&host, &fast)?;

    host.done(Request::RenameCpupool { uuid: fast.uuid, name: "quick".to_owned() })?;
    host.done(Request::DestroyCpupool { uuid: fast.uuid })?;
    ensure!(host.pools()?.len() == 1 && host.pools()?[0].cpus.len() == 10, "{:?}", host.pools()?);
    ensure!(host.remains()?.is_empty(), "{}", host.remains()?);
    Ok(())
}

fn hello_and_inventory(host: &Host) -> Result<()> {
    let hello = host.hello()?;
    assert_eq!((hello.protocol, hello.running.as_deref()), (PROTOCOL, Some(hello.built_for.as_str())));

    let seen = host.observe()?;
    let xl = |field: &str| host.lab.run(&format!("xl info {field}")).map(|text| text.trim().to_owned());
    assert_eq!(seen.hypervisor.version, xl("xen_version")?.split('-').next().unwrap());
    assert_eq!(seen.hypervisor.pcpus.len().to_string(), xl("nr_cpus")?);
    assert_eq!((seen.hypervisor.memory_total_kib / 1024).to_string(), xl("total_memory")?);
    assert_eq!((seen.hypervisor.memory_free_kib / 1024).to_string(), xl("free_memory")?);
    assert!(seen.hypervisor.pv && seen.hypervisor.hvm && seen.hypervisor.pcpus.iter().all(|cpu| cpu.online));
    assert_eq!(seen.hypervisor.boot_id.to_string(), host.lab.run("cat /proc/sys/kernel/random/boot_id")?.trim());
    let dom0 = seen.hypervisor.dom0;
    assert_eq!((dom0.vcpus, dom0.memory_max_kib.map(|kib| kib / 1024)), (2, Some(900)));
    assert_eq!(seen.domains.known().unwrap(), &[]);
    let pools = seen.cpupools.known().unwrap();
    assert_eq!((pools.len(), pools[0].name.as_deref(), pools[0].cpus.to_string()), (1, Some("Pool-0"), "0-9".into()));
    Ok(())
}

/// Which of a domain's vCPUs are in use.
fn online(domain: &Domain) -> Vec<bool> {
    domain.vcpus.known().unwrap().iter().map(|vcpu| vcpu.online).collect()
}

fn pv_guest_with_devices(host: &Host, fast: &ShapeCpupool) -> Result<()> {
    host.lab.run("truncate -s 8M /srv/a.img /srv/b.img")?;
    let mut config = guest("pv", DomainKind::Pv, Some(fast.uuid), ["2", "2-3"]);
    config.disks = vec![disk("/srv/a.img", false)];
    config.nics = vec![NicConfig { mac: "02:00:00:AA:BB:CC".to_owned(), bridge: "xenbr0".to_owned(), devid: None }];
    let uuid = config.mark.uuid;
    let free = host.observe()?.hypervisor.memory_free_kib;
    let made = host.done(create(&config))?.domid.context("a creation answers a domid")?;
    // Running the order again finds the domain.
    assert_eq!(host.done(create(&config))?.domid, Some(made));

    let domain = host.living(uuid)?;
    let taken = free - host.observe()?.hypervisor.memory_free_kib;
    ensure!(taken >= 96 * 1024 && taken <= host.need_kib(&config)?, "{taken} KiB were taken");
    assert_eq!(standing(&domain), (true, true, DomainState::Running));
    assert_eq!(
        (domain.mark, domain.kind, domain.name.as_deref()),
        (Some(config.mark), Some(DomainKind::Pv), Some("pv"))
    );
    assert_eq!(masks(&domain), ["2", "2-3"]);
    assert_eq!(domain.sched.known(), Some(&config.placement.sched));
    assert_eq!((domain.memory.target_kib, domain.memory.static_max_kib), (Some(96 * 1024), Some(96 * 1024)));
    assert_eq!(disks(&domain), [("xvda", "/srv/a.img", false)]);
    let nic = &domain.nics[0];
    assert_eq!((nic.devid, nic.mac.as_str(), nic.bridge.as_deref()), (0, "02:00:00:aa:bb:cc", Some("xenbr0")));

    // xl sees the same.
    let xl = host.lab.run("xl list -c pv | tail -1; xl vcpu-list pv | tail -n +2")?;
    let words: Vec<Vec<&str>> = xl.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0].last(), Some(&"fast"), "{xl}");
    ensure!(words[1].contains(&"2") && xl.lines().nth(1).unwrap().contains("2 / all"), "{xl}");
    ensure!(xl.lines().nth(2).unwrap().contains("2-3 / all"), "{xl}");
    host.wait_for_boot("pv")?;
    vcpus_go_and_come(host, &domain)?;

    // It ends by itself: that is seen, and nothing is done about it.
    host.lab.type_in_guest("pv", "crash")?;
    let ended = DomainState::Shutdown(ShutdownReason::Crash);
    host.wait_for("the guest has ended", uuid, |domain| domain.is_some_and(|domain| domain.state == ended))?;
    dumps(host, &host.living(uuid)?)?;
    host.remove(uuid)
}

/// Its memory becomes a file, once, when there is room for it.
fn dumps(host: &Host, domain: &Domain) -> Result<()> {
    let mark = domain.mark.context("it is marked")?;
    let dump = Dump { vm: mark.uuid, incarnation: mark.incarnation, kib: 0 };
    let (folder, file) = (Dump::folder(STATE, dump.vm), dump.file(STATE));
    let order = |quota_kib| Request::DumpDomain { target: target(domain), keep: 1, quota_kib };
    host.lab.run(&format!("mkdir {}", folder.parent().context("it lies in the VM's folder")?.display()))?;
    let (refused, _) = host.refused(order(50 * 1024))?;
    ensure!(refused.kind == FailureKind::Refused && refused.message.contains("coreDumpQuota"), "{refused}");
    host.done(order(1024 * 1024))?;
    let seen = format!(
        "stat -c '%a %Y %s' {file}; head -c 4 {file} | tail -c 3; ls {}",
        folder.display(),
        file = file.display()
    );
    let first = host.lab.run(&seen)?;
    let size: u64 = first.split_whitespace().nth(2).context("it has a size")?.parse()?;
    ensure!(first.starts_with("600 ") && size >= 96 << 20 && first.contains("ELF"), "{first}");
    host.done(order(1024 * 1024))?;
    let second = host.lab.run(&seen)?;
    ensure!(first == second, "it was written twice: {first} {second}");
    host.lab.run(&format!("rm -r {}", folder.display()))?;
    Ok(())
}

/// Asked by us and by other hands, and done by the guest.
fn vcpus_go_and_come(host: &Host, domain: &Domain) -> Result<()> {
    host.done(Request::SetVcpus { target: target(domain), online: 1 })?;
    uses_vcpus(host, domain, 1, [true, false])?;
    host.lab.run("xl vcpu-set pv 2")?;
    uses_vcpus(host, domain, 2, [true, true])
}

fn uses_vcpus(host: &Host, domain: &Domain, asked: u32, expected: [bool; 2]) -> Result<()> {
    host.wait_for(&format!("the guest uses {asked} vCPUs"), domain.uuid, |domain| {
        domain.is_some_and(|domain| domain.vcpus_asked == Some(asked) && online(domain) == expected)
    })
}

fn pvh_guest_lives(host: &Host, fast: &ShapeCpupool) -> Result<()> {
    let mut config = guest("pvh", DomainKind::Pvh, Some(fast.uuid), ["3", "3"]);
    config.vcpus_online = 1;
    // With less, its Linux runs out of memory when some is taken back.
    config.memory_kib = 160 * 1024;
    config.memory_max_kib = 160 * 1024;
    let uuid = config.mark.uuid;
    host.done(create(&config))?;
    let domain = host.living(uuid)?;
    assert_eq!((domain.kind, masks(&domain)), (Some(DomainKind::Pvh), vec!["3".to_owned(), "3".to_owned()]));
    assert_eq!(domain.vcpus_asked, Some(1));
    host.wait_for_boot("pvh")?;
    let target = target(&domain);

    // Moved out of the partition and back, its masks, weight and cap with it.
    let outside = Placement {
        cpupool: None,
        hard: vec!["0-1,4".parse()?, "5".parse()?],
        soft: None,
        sched: Sched { weight: 100, cap: 50 },
    };
    for placement in [&outside, &config.placement] {
        host.done(Request::MoveDomain { target, placement: placement.clone() })?;
        let domain = host.living(uuid)?;
        assert_eq!(standing(&domain), (true, true, DomainState::Running));
        assert_eq!(domain.poolid == Some(0), placement.cpupool.is_none());
        assert_eq!(masks(&domain), placement.hard.iter().map(CpuSet::to_string).collect::<Vec<_>>());
        assert_eq!(domain.sched.known(), Some(&placement.sched));
    }
    host.done(Request::SetAffinity { target, hard: vec!["2".parse()?, "2-3".parse()?], soft: None })?;
    host.done(Request::SetSched { target, sched: Sched { weight: 300, cap: 0 } })?;
    host.done(Request::SetMemory { target, memory_kib: 128 * 1024 })?;
    host.done(Request::RenameDomain { target, name: "pvh-renamed".to_owned() })?;
    let domain = host.living(uuid)?;
    assert_eq!(masks(&domain), ["2", "2-3"]);
    assert_eq!(domain.sched.known(), Some(&Sched { weight: 300, cap: 0 }));
    assert_eq!((domain.memory.target_kib, domain.name.as_deref()), (Some(128 * 1024), Some("pvh-renamed")));
    host.wait_for("the guest gives memory back", uuid, |domain| {
        domain.is_some_and(|domain| domain.memory.current_kib <= 132 * 1024)
    })?;
    host.done(Request::SetVcpus { target, online: 2 })?;
    uses_vcpus(host, &domain, 2, [true, true])?;

    // Another UUID behind the number: nothing is done.
    let mut stranger = target;
    stranger.uuid = uuid::Uuid::from_u128(5);
    assert_eq!(host.refused(Request::DestroyDomain { target: stranger })?.0.kind, FailureKind::Stale);
    // A mask outside of the cpupool, and the end of a cpupool with a domain in it.
    let outside = Request::SetAffinity { target, hard: vec!["0".parse()?, "0".parse()?], soft: None };
    assert_eq!(host.refused(outside)?.0.kind, FailureKind::Stale);
    assert_eq!(host.refused(Request::DestroyCpupool { uuid: fast.uuid })?.0.kind, FailureKind::Stale);

    host.done(Request::ShutdownDomain { target })?;
    let ended = DomainState::Shutdown(ShutdownReason::Poweroff);
    host.wait_for("the guest has ended", uuid, |domain| domain.is_some_and(|domain| domain.state == ended))?;
    host.remove(uuid)
}

/// GRUB as the guest's kernel, as PV and as PVH.
fn grub_guests(host: &Host, fast: &ShapeCpupool) -> Result<()> {
    for kind in [DomainKind::Pv, DomainKind::Pvh] {
        let mut config = guest("grub", kind, Some(fast.uuid), ["2", "3"]);
        config.boot = BootConfig::Grub;
        host.done(create(&config))?;
        let domain = host.living(config.mark.uuid)?;
        assert_eq!((domain.kind, domain.state), (Some(kind), DomainState::Running));
        host.remove(config.mark.uuid)?;
    }
    Ok(())
}

fn disk(path: &str, read_only: bool) -> DiskConfig {
    DiskConfig { target: "xvda".to_owned(), path: path.to_owned(), read_only }
}

fn disks(domain: &Domain) -> Vec<(&str, &str, bool)> {
    domain.disks.iter().map(|disk| (&*disk.target, &*disk.path, disk.read_only)).collect()
}

/// A cpupool changes all its pCPUs while a guest runs in it.
fn grow_and_shrink(host: &Host, fast: &ShapeCpupool) -> Result<()> {
    let mut config = guest("stays", DomainKind::Pv, Some(fast.uuid), ["2", "2-3"]);
    config.disks = vec![disk("/srv/b.img", true)];
    host.done(create(&config))?;
    let domain = host.living(config.mark.uuid)?;
    assert_eq!(disks(&domain), [("xvda", "/srv/b.img", true)]);
    let change = ShapeCpupool {
        take: "6-7".parse()?,
        add: "6-7".parse()?,
        masks: vec![DomainMasks { target: target(&domain), hard: vec!["6".parse()?, "6-7".parse()?] }],
        remove: "2-3".parse()?,
        give: "2-3".parse()?,
        ..fast.clone()
    };
    host.done(Request::ShapeCpupool(change))?;
    let pools = host.pools()?;
    assert_eq!(pools.iter().map(|pool| pool.cpus.to_string()).collect::<Vec<_>>(), ["0-5,8-9", "6-7"]);
    let domain = host.living(config.mark.uuid)?;
    assert_eq!((masks(&domain), domain.state), (vec!["6".to_owned(), "6-7".to_owned()], DomainState::Running));
    host.remove(config.mark.uuid)
}

/// Each cpupool's name and pCPUs as xl lists them.
fn xl_pools(host: &Host) -> Result<String> {
    let listed = host.lab.run("xl cpupool-list -c")?;
    Ok(listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n"))
}
