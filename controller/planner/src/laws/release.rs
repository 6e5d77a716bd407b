//! Release before claim.

use super::{Broken, broken, requests};
use crate::{Item, Observed, Plan};
use protocol::{DiskConfig, Domain, DomainConfig, DomainState, Observation, Request, ShapeCpupool};
use uuid::Uuid;

const LAW: &str = "release before claim";

/// Whoever claims something claims what nobody else has: no second live domain, no disk or MAC of another, no pCPU of another pool, no more memory than is free.
pub fn release_before_claim(observed: &Observed, plan: &Plan) -> Result<(), Broken> {
    let Some(xen) = observed.xen.known() else { return Ok(()) };
    let mut creates = 0;
    for (item, request) in requests(plan) {
        match request {
            Request::CreateDomain(config) | Request::RestoreDomain { config, .. } => {
                creates += 1;
                created(xen, item, config)?;
            }
            Request::AttachDisk { target, disk } => attached(xen, item, target.uuid, disk)?,
            Request::ShapeCpupool(shape) => shaped(xen, item, shape)?,
            _ => {}
        }
    }
    if creates > 1 {
        return broken(LAW, "two domains are built at a time");
    }
    Ok(())
}

fn created(xen: &Observation, item: &Item, config: &DomainConfig) -> Result<(), Broken> {
    for domain in xen.domains.known().into_iter().flatten() {
        // What a restore built, and did not end.
        if !domain.ready && domain.mark == Some(config.mark) {
            continue;
        }
        let has = if domain.uuid == config.mark.uuid {
            Some("its UUID".to_owned())
        } else if domain.state != DomainState::Dying && domain.name.as_deref() == Some(&config.name) {
            Some("its name".to_owned())
        } else if let Some(disk) = config.disks.iter().find(|disk| has_open(domain, disk)) {
            Some(format!("{} open", disk.path))
        } else {
            let taken = |mac: &str| domain.nics.iter().any(|theirs| theirs.mac == mac);
            config.nics.iter().find(|nic| taken(&nic.mac)).map(|nic| format!("MAC {}", nic.mac))
        };
        if let Some(has) = has {
            return broken(LAW, format!("{} is created while domain {} has {has}", item.object, domain.domid));
        }
    }
    if config.memory_kib + config.memory_reserve_kib > xen.hypervisor.memory_free_kib {
        return broken(LAW, format!("{} is created with more memory than is free", item.object));
    }
    Ok(())
}

fn attached(xen: &Observation, item: &Item, uuid: Uuid, disk: &DiskConfig) -> Result<(), Broken> {
    let mut others = xen.domains.known().into_iter().flatten().filter(|domain| domain.uuid != uuid);
    match others.find(|domain| has_open(domain, disk)) {
        Some(domain) => {
            broken(LAW, format!("{} gets {} while domain {} has it open", item.object, disk.path, domain.domid))
        }
        None => Ok(()),
    }
}

/// Whether the domain has the disk, and one of the two writes to it.
fn has_open(domain: &Domain, disk: &DiskConfig) -> bool {
    domain.disks.iter().any(|theirs| theirs.path == disk.path && !(theirs.read_only && disk.read_only))
}

fn shaped(xen: &Observation, item: &Item, shape: &ShapeCpupool) -> Result<(), Broken> {
    let pools = xen.cpupools.known().into_iter().flatten();
    let wanted = shape.add.union(&shape.take);
    let mut others = pools.filter(|pool| pool.poolid != 0 && pool.uuid != Some(shape.uuid));
    match others.find(|pool| !pool.cpus.is_disjoint(&wanted)) {
        Some(pool) => broken(LAW, format!("{} takes pCPUs of cpupool {}", item.object, pool.poolid)),
        None => Ok(()),
    }
}
