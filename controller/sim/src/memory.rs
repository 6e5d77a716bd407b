//! Who has the host's memory.

use crate::description::HostMemory;
use crate::world::World;
use protocol::{DomainConfig, DomainKind, MemoryNeed};

/// What Xen takes per vCPU and libxl's formula leaves out: on real Xen a PV domain with two vCPUs took 100 KiB more than its memory, a PVH
/// domain 220 KiB more than its memory and paging memory.
const PV_VCPU_KIB: u64 = 50;

/// The same for PVH and HVM.
const HVM_VCPU_KIB: u64 = 110;

impl World {
    /// Memory as `libxl_get_free_memory` lists it: free pages, and dirty ones that cannot be claimed yet.
    pub fn free_memory_kib(&self) -> u64 {
        let domains: u64 = self.domains.values().map(|domain| domain.current_kib + domain.overhead_kib).sum();
        self.host.memory.total_kib.saturating_sub(self.host.memory.xen_kib + domains)
    }

    /// Memory that a claim can really have.
    pub(crate) fn claimable_kib(&self) -> u64 {
        u64::try_from(self.unclaimed_kib()).unwrap_or(0)
    }

    /// Memory that nobody has and that is not dirty; less than nothing when more is promised than there is.
    pub(crate) fn unclaimed_kib(&self) -> i128 {
        let HostMemory { total_kib, xen_kib } = self.host.memory;
        let domains: u64 = self.domains.values().map(|domain| domain.current_kib + domain.overhead_kib).sum();
        let dirty: u64 = self.dirty.iter().map(|(_, kib)| kib).sum();
        i128::from(total_kib) - i128::from(xen_kib) - i128::from(domains) - i128::from(dirty)
    }
}

/// What Xen really uses for a domain beyond its own memory. Nothing is set aside for the shadows of a PV domain, though libxl counts them.
pub(crate) fn overhead_kib(config: &DomainConfig) -> u64 {
    let vcpus = u64::from(config.vcpus_max);
    match config.kind {
        DomainKind::Pv => vcpus * PV_VCPU_KIB,
        DomainKind::Pvh | DomainKind::Hvm => MemoryNeed::from(config).paging_kib() + vcpus * HVM_VCPU_KIB,
    }
}
