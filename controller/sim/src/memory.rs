//! Who has the host's memory.

use crate::world::World;
use protocol::{DomainConfig, DomainKind};

/// What libxl adds for a PV domain (`LIBXL_PV_EXTRA_MEMORY`, tools/libs/light/libxl_internal.h).
const PV_EXTRA_KIB: u64 = 1024;

/// What libxl adds for a PVH or HVM domain (`LIBXL_HVM_EXTRA_MEMORY`, ibid.).
const HVM_EXTRA_KIB: u64 = 2048;

/// libxl rounds the sum up to super-pages (`libxl__domain_need_memory_calculate`, libxl_mem.c).
const ROUND_KIB: u64 = 2048;

/// What Xen takes per vCPU and libxl's formula leaves out.
const VCPU_KIB: u64 = 256;

impl World {
    /// Memory as `libxl_get_free_memory` lists it: free pages, and dirty ones that cannot be claimed yet.
    pub fn free_memory_kib(&self) -> u64 {
        let domains: u64 = self.domains.values().map(|domain| domain.current_kib + domain.overhead_kib).sum();
        self.host.memory.total_kib.saturating_sub(self.host.memory.xen_kib + domains)
    }

    /// Memory that a claim can really have.
    pub(crate) fn claimable_kib(&self) -> u64 {
        let dirty: u64 = self.dirty.iter().map(|(_, kib)| kib).sum();
        self.free_memory_kib().saturating_sub(dirty)
    }
}

/// What libxl says that a domain will need (`libxl_domain_need_memory`).
pub(crate) fn need_kib(config: &DomainConfig) -> u64 {
    let extra = match config.kind {
        DomainKind::Pv => PV_EXTRA_KIB,
        DomainKind::Pvh | DomainKind::Hvm => HVM_EXTRA_KIB,
    };
    (config.memory_kib + shadow_kib(config) + extra).next_multiple_of(ROUND_KIB)
}

/// What Xen really uses for a domain beyond its own memory.
pub(crate) fn overhead_kib(config: &DomainConfig) -> u64 {
    let paging = match config.kind {
        DomainKind::Pv => PV_EXTRA_KIB,
        DomainKind::Pvh | DomainKind::Hvm => shadow_kib(config),
    };
    paging + u64::from(config.vcpus_max) * VCPU_KIB
}

/// `libxl_get_required_shadow_memory` (libxl_utils.c): 1 MiB per vCPU, and two pages per MiB.
fn shadow_kib(config: &DomainConfig) -> u64 {
    4 * (256 * u64::from(config.vcpus_max) + 2 * (config.memory_max_kib / 1024))
}
