//! What a host looks like at the end of a scenario, in words that do not depend on how often anything was tried. Made of an observation, so
//! that the simulator and real Xen are told by the same lines. Included by both who play scenarios.

use protocol::{Cdrom, CpuSet, Cpupool, Domain, DomainDisk, DomainNic, DomainState, Observation, Reading};
use std::fmt::Write;

/// `records` and `trash` are the names in the storage's `by-name` and `trash`.
pub(crate) fn summary(xen: &Reading<Observation>, records: &[String], trash: &[String]) -> String {
    let mut text = match xen {
        Reading::Known(observation) => host(observation),
        Reading::Unknown(cause) => format!("unknown: {}\n", cause.reason),
    };
    for (what, names) in [("record", records), ("trash", trash)] {
        for name in names {
            // `<date>--<name>--<uuid>` in the trash.
            let _ = writeln!(text, "{what} {}", name.split("--").nth(1).unwrap_or(name));
        }
    }
    text
}

fn host(observation: &Observation) -> String {
    let (pools, domains) = match (&observation.cpupools, &observation.domains) {
        (Reading::Known(pools), Reading::Known(domains)) => (pools, domains),
        (Reading::Unknown(cause), _) | (_, Reading::Unknown(cause)) => return format!("unknown: {}\n", cause.reason),
    };
    let online: CpuSet = observation.hypervisor.pcpus.iter().filter(|pcpu| pcpu.online).map(|pcpu| pcpu.id).collect();
    let mut pool_lines: Vec<String> =
        pools.iter().map(|pool| format!("cpupool {:<12} cpus {}", name_of(pool), pool.cpus)).collect();
    pool_lines.sort();
    let mut domain_lines: Vec<String> = domains.iter().map(|domain| describe(domain, pools, &online)).collect();
    domain_lines.sort();
    let mut text = String::new();
    for line in pool_lines.into_iter().chain(domain_lines) {
        let _ = writeln!(text, "{line}");
    }
    let free = pools.iter().fold(online, |free, pool| free.difference(&pool.cpus));
    if !free.is_empty() {
        let _ = writeln!(text, "free pCPUs {free}");
    }
    text
}

fn name_of(pool: &Cpupool) -> &str {
    pool.name.as_deref().unwrap_or("(unnamed)")
}

fn describe(domain: &Domain, pools: &[Cpupool], pcpus: &CpuSet) -> String {
    let state = match domain.state {
        DomainState::Running => "running".to_owned(),
        DomainState::Paused => "paused".to_owned(),
        DomainState::Shutdown(reason) => format!("ended: {reason:?}"),
        DomainState::Dying => "dying".to_owned(),
    };
    let pool = pools.iter().find(|pool| Some(pool.poolid) == domain.poolid).map_or("?", name_of);
    let vcpus = domain.vcpus.known().map(Vec::as_slice).unwrap_or_default();
    let mut masks: Vec<String> = vcpus.iter().map(|vcpu| vcpu.hard.to_string()).collect();
    masks.dedup();
    let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
    let share = match &domain.sched {
        Reading::Known(sched) => format!("weight {} cap {}", sched.weight, sched.cap),
        Reading::Unknown(cause) => format!("share unknown: {}", cause.reason),
    };
    let mut text = format!(
        "domain  {:<12} {state} in {pool}, {online}/{} vCPUs on {}, {share}, {} KiB",
        domain.name.as_deref().unwrap_or("(unnamed)"),
        vcpus.len(),
        masks.join(" "),
        domain.memory.target_kib.unwrap_or(0),
    );
    let preferred = vcpus.iter().filter_map(|vcpu| vcpu.soft.as_ref()).find(|soft| !pcpus.is_subset(soft));
    if let Some(soft) = preferred {
        let _ = write!(text, "\n        prefers {soft}");
    }
    for DomainDisk { target, path, read_only, state } in &domain.disks {
        let access = if *read_only { "read-only" } else { "read-write" };
        let _ = write!(text, "\n        disk {target} {path} {access} {state:?}");
    }
    for Cdrom { target, medium } in domain.hvm.iter().flat_map(|hvm| &hvm.cdroms) {
        let _ = write!(text, "\n        CD-ROM {target} {}", medium.as_deref().unwrap_or("empty"));
    }
    if let Some(hvm) = &domain.hvm {
        let screen = hvm.vnc.as_deref().unwrap_or("none");
        let _ = write!(text, "\n        screen {screen}, PV drivers {}", hvm.pv_drivers);
    }
    for DomainNic { devid, mac, bridge, state } in &domain.nics {
        let _ = write!(text, "\n        NIC {devid} {mac} on {} {state:?}", bridge.as_deref().unwrap_or("?"));
    }
    text
}
