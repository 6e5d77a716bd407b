//! What an inventory says about a host, in the words of the language's checks.

use planner::Observed;
use planner::observed::FileFact;
use protocol::Hypervisor;
use schema::against::{HostFacts, PathFact};
use schema::units::{Core, Size};
use std::collections::BTreeMap;

/// The facts; what the inventory does not know is not checked.
pub fn host_facts(observed: &Observed) -> HostFacts {
    let hypervisor = observed.xen.known().map(|xen| &xen.hypervisor);
    let files = &observed.dom0.files;
    HostFacts {
        host: observed.host.clone(),
        cores: hypervisor.map(cores),
        memory: hypervisor.map(|hypervisor| memory(hypervisor, observed.dom0.memory_reserve_kib)),
        bridges: Some(observed.dom0.bridges.clone()),
        paths: files.iter().map(|(path, fact)| (path.clone(), path_fact(fact))).collect(),
    }
}

/// Every core with how many of its pCPUs are online.
fn cores(hypervisor: &Hypervisor) -> BTreeMap<Core, u32> {
    let mut cores = BTreeMap::new();
    for pcpu in hypervisor.pcpus.iter().filter(|pcpu| pcpu.online) {
        *cores.entry(Core { socket: pcpu.socket, core: pcpu.core }).or_default() += 1;
    }
    cores
}

/// What all guests may have together: what neither dom0 nor the reserve has.
fn memory(hypervisor: &Hypervisor, reserve_kib: u64) -> Size {
    let dom0 = hypervisor.dom0.memory_max_kib.unwrap_or(hypervisor.dom0.memory_kib);
    Size::from_kib(hypervisor.memory_total_kib.saturating_sub(dom0).saturating_sub(reserve_kib))
}

fn path_fact(fact: &FileFact) -> PathFact {
    match fact {
        FileFact::File { .. } => PathFact::File,
        FileFact::Block { .. } => PathFact::BlockDevice,
        FileFact::Missing => PathFact::Missing,
        FileFact::Unusable(_) => PathFact::Other,
    }
}
