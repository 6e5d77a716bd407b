//! The end state, in words that do not depend on how often anything was tried.

use host::Machine;
use host::store::{Disk, MemoryDisk};
use std::fmt::Write;
use std::path::Path;

pub fn summary(machine: &Machine, disk: &MemoryDisk) -> String {
    let world = machine.world();
    let mut text = String::new();
    let name_of = |poolid: u32| {
        let found = world.pools().find(|(other, _)| *other == poolid);
        found.and_then(|(_, pool)| pool.name.clone()).unwrap_or_else(|| "?".to_owned())
    };
    let mut pools: Vec<String> = world
        .pools()
        .map(|(_, pool)| format!("cpupool {:<12} cpus {}", pool.name.as_deref().unwrap_or("(unnamed)"), pool.cpus))
        .collect();
    pools.sort();
    let mut domains: Vec<String> =
        world.domains().map(|(_, domain)| describe(domain, &name_of(domain.poolid))).collect();
    domains.sort();
    for line in pools.into_iter().chain(domains) {
        let _ = writeln!(text, "{line}");
    }
    let free = world.free_cpus();
    if !free.is_empty() {
        let _ = writeln!(text, "free pCPUs {free}");
    }
    for (what, dir) in [("record", "/storage/by-name"), ("trash", "/storage/trash")] {
        for name in disk.list(Path::new(dir)).unwrap_or_default() {
            let name = name.split("--").nth(1).unwrap_or(&name).to_owned();
            let _ = writeln!(text, "{what} {name}");
        }
    }
    text
}

fn describe(domain: &sim::Domain, pool: &str) -> String {
    let state = match (domain.is_dying(), domain.shutdown, domain.pauses) {
        (true, _, _) => "dying".to_owned(),
        (_, Some(reason), _) => format!("ended: {reason:?}"),
        (_, _, 0) => "running".to_owned(),
        _ => "paused".to_owned(),
    };
    let mut masks: Vec<String> = domain.vcpus.iter().map(|vcpu| vcpu.hard.to_string()).collect();
    masks.dedup();
    let online = domain.vcpus.iter().filter(|vcpu| vcpu.online).count();
    format!(
        "domain  {:<12} {state} in {pool}, {online}/{} vCPUs on {}, weight {} cap {}, {} KiB",
        domain.name().unwrap_or("(unnamed)"),
        domain.vcpus.len(),
        masks.join(" "),
        domain.sched.weight,
        domain.sched.cap,
        domain.store.as_ref().map_or(0, |store| store.target_kib),
    )
}
