//! What an inventory says about a host, in the words of the language's checks.

use host::Interest;
use planner::Observed;
use planner::observed::{Dom0Facts, FileFact};
use protocol::{HvmParts, Hypervisor};
use schema::against::{HostFacts, HvmFacts, PathFact};
use schema::desired::Desired;
use schema::units::{Core, Size};
use std::collections::BTreeMap;
use std::path::Path;

/// The facts; what the inventory does not know is not checked.
pub fn host_facts(observed: &Observed, desired: &Desired) -> HostFacts {
    let hypervisor = observed.xen.known().map(|xen| &xen.hypervisor);
    HostFacts {
        host: observed.host.clone(),
        cores: hypervisor.map(cores),
        memory: hypervisor.map(|hypervisor| memory(hypervisor, observed.dom0.memory_reserve_kib)),
        bridges: Some(observed.dom0.bridges.clone()),
        hvm: hypervisor.and_then(hvm),
        paths: paths(&observed.dom0, desired),
    }
}

/// What dom0 has for HVM guests.
fn hvm(hypervisor: &Hypervisor) -> Option<HvmFacts> {
    let HvmParts { device_model, bios, uefi, uefi_for_xen } = hypervisor.hvm_parts?;
    Some(HvmFacts { device_model, bios, uefi, uefi_for_xen })
}

/// What was looked at, and what is known not to be there because the listing is complete.
fn paths(dom0: &Dom0Facts, desired: &Desired) -> BTreeMap<String, PathFact> {
    let mut paths: BTreeMap<String, PathFact> =
        dom0.files.iter().map(|(path, fact)| (path.clone(), path_fact(fact))).collect();
    let is_listed = |path: &str| dom0.allow_paths.iter().any(|allowed| Path::new(path).starts_with(allowed));
    for path in
        Interest::of(Some(desired), None).paths.into_iter().filter(|path| dom0.files_complete && is_listed(path))
    {
        paths.entry(path).or_insert(PathFact::Missing);
    }
    paths
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
