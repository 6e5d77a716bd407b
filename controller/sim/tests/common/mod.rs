//! A small host and the requests that tests make of it.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

use protocol::{
    BootConfig, CpuSet, Cpupool, Domain, DomainConfig, DomainKind, Done, Failure, Mark, NicConfig, Placement, Request,
    Sched, ShapeCpupool, Target,
};
use sim::{Calls, Event, Fault, File, HostFile, World};
use uuid::Uuid;

pub const GIB: u64 = 1024 * 1024;

pub fn cpus(text: &str) -> CpuSet {
    text.parse().unwrap()
}

pub fn id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// Ten cores, 4 GiB, a bridge, a kernel and a disk.
pub fn host() -> HostFile {
    let mut host = HostFile::plain(10, 4 * GIB);
    host.bridges.insert("xenbr0".to_owned());
    for path in ["/boot/vmlinuz", "/srv/a.img", "/srv/b.img"] {
        host.files.insert(path.to_owned(), File::File { size: 1 << 20 });
    }
    host
}

pub fn event(json: serde_json::Value) -> Event {
    serde_json::from_value(json).unwrap()
}

pub fn world() -> World {
    World::new(host()).unwrap()
}

pub fn run(world: &mut World, request: &Request) -> Result<Done, Failure> {
    run_with(world, request, Fault::default())
}

pub fn run_with(world: &mut World, request: &Request, fault: Fault) -> Result<Done, Failure> {
    operation::run(&mut Calls::with_fault(world, fault), request)
}

pub fn shape(name: &str) -> ShapeCpupool {
    ShapeCpupool {
        uuid: id(name),
        name: name.to_owned(),
        take: CpuSet::new(),
        add: CpuSet::new(),
        masks: Vec::new(),
        remove: CpuSet::new(),
        give: CpuSet::new(),
    }
}

/// A new cpupool of pCPUs that are in Pool-0.
pub fn carve(name: &str, of: &str) -> Request {
    Request::ShapeCpupool(ShapeCpupool { take: cpus(of), add: cpus(of), ..shape(name) })
}

pub fn placement(cpupool: Option<&str>, hard: &[&str]) -> Placement {
    Placement {
        cpupool: cpupool.map(id),
        hard: hard.iter().map(|mask| cpus(mask)).collect(),
        soft: None,
        sched: Sched { weight: 512, cap: 50 },
    }
}

pub fn config(name: &str, placement: Placement) -> DomainConfig {
    let vcpus = u32::try_from(placement.hard.len()).unwrap();
    DomainConfig {
        name: name.to_owned(),
        mark: Mark { pool_id: id("the pool"), uuid: id(name), incarnation: id("incarnation 1") },
        kind: DomainKind::Pv,
        vcpus_max: vcpus,
        vcpus_online: vcpus,
        memory_kib: GIB / 4,
        memory_max_kib: GIB / 4,
        placement,
        boot: BootConfig::Kernel { kernel: "/boot/vmlinuz".to_owned(), ramdisk: None, cmdline: None },
        disks: Vec::new(),
        nics: vec![NicConfig { mac: "02:00:00:00:00:01".to_owned(), bridge: "xenbr0".to_owned(), devid: None }],
        hvm: None,
        memory_reserve_kib: 0,
        stays_paused: false,
    }
}

pub fn create(config: &DomainConfig) -> Request {
    Request::CreateDomain(Box::new(config.clone()))
}

pub fn domain(world: &World, name: &str) -> Domain {
    find_domain(world, name).unwrap_or_else(|| panic!("there is no domain {name}"))
}

pub fn find_domain(world: &World, name: &str) -> Option<Domain> {
    let domains = world.observe().unwrap().domains;
    domains.known().unwrap().iter().find(|domain| domain.name.as_deref() == Some(name)).cloned()
}

pub fn target(world: &World, name: &str) -> Target {
    let domain = domain(world, name);
    Target { domid: domain.domid, uuid: domain.uuid }
}

pub fn pool(world: &World, name: &str) -> Cpupool {
    let pools = world.observe().unwrap().cpupools;
    pools.known().unwrap().iter().find(|pool| pool.name.as_deref() == Some(name)).cloned().unwrap()
}

pub fn masks(world: &World, name: &str) -> Vec<String> {
    domain(world, name).vcpus.known().unwrap().iter().map(|vcpu| vcpu.hard.to_string()).collect()
}

pub fn apply(world: &mut World, event: &Event) {
    world.apply(event).unwrap();
}
