//! How much host memory a domain takes, as libxl counts it.
//!
//! One formula for whoever cannot ask libxl: the planner, which says beforehand that a VM will not fit, and the simulator. The worker asks
//! libxl itself before it builds. `tests/real_xen/memory.rs` holds this against what libxl says.

use crate::{DomainConfig, DomainKind};

/// What decides how much memory building a domain takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// How it is virtualised.
    pub kind: DomainKind,
    /// vCPUs it is built with.
    pub vcpus_max: u32,
    /// KiB at start.
    pub memory_kib: u64,
    /// KiB it is built for.
    pub memory_max_kib: u64,
}

/// What libxl adds for a PV domain, in KiB (`LIBXL_PV_EXTRA_MEMORY`, tools/libs/light/libxl_internal.h).
const PV_EXTRA_KIB: u64 = 1024;

/// What libxl adds for a PVH or HVM domain, in KiB (`LIBXL_HVM_EXTRA_MEMORY`, ibid.).
const HVM_EXTRA_KIB: u64 = 2048;

/// The sum is rounded up to super-pages of this size.
const ROUND_KIB: u64 = 2048;

/// x86 pages.
const PAGE_KIB: u64 = 4;

impl MemoryNeed {
    /// KiB of free host memory that building the domain takes (`libxl_domain_need_memory`): memory, paging memory and a constant, rounded up.
    ///
    /// Source: `libxl__domain_need_memory_calculate` (tools/libs/light/libxl_mem.c, Xen 4.17). Without passthrough nothing is set aside for an
    /// IOMMU. What Xen takes per vCPU and per domain beside it is not in the sum.
    pub fn kib(&self) -> u64 {
        let extra = match self.kind {
            DomainKind::Pv => PV_EXTRA_KIB,
            DomainKind::Pvh | DomainKind::Hvm => HVM_EXTRA_KIB,
        };
        (self.memory_kib + self.paging_kib() + extra).next_multiple_of(ROUND_KIB)
    }

    /// KiB of paging memory: 256 pages per vCPU, and one per MiB that the domain is built for.
    ///
    /// Source: `libxl__get_required_paging_memory` (tools/libs/light, since Xen 4.17). That page is the P2M map's for PVH and HVM, and the
    /// shadow's for PV. Up to 4.16, and in the deprecated `libxl_get_required_shadow_memory`, every domain had both. PVH and HVM would have
    /// both on a machine without hardware-assisted paging, where a Xen without shadow paging (Debian's) cannot build them at all.
    pub fn paging_kib(&self) -> u64 {
        PAGE_KIB * (256 * u64::from(self.vcpus_max) + self.memory_max_kib / 1024)
    }
}

impl From<&DomainConfig> for MemoryNeed {
    fn from(config: &DomainConfig) -> Self {
        let DomainConfig { kind, vcpus_max, memory_kib, memory_max_kib, .. } = *config;
        Self { kind, vcpus_max, memory_kib, memory_max_kib }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DomainKind::{Hvm, Pv, Pvh};

    /// Kind, vCPUs, MiB at start, MiB it is built for, and the KiB that libxl 4.17 answered on real Xen (`tests/real_xen/memory.rs` asks it again).
    const TABLE: [(DomainKind, u32, u64, u64, u64); 18] = [
        (Pv, 1, 32, 32, 36_864),
        (Pv, 2, 96, 96, 102_400),
        (Pv, 1, 1000, 1000, 1_030_144),
        (Pv, 8, 1024, 2048, 1_067_008),
        (Pv, 4, 16_384, 16_384, 16_848_896),
        (Pv, 32, 65_536, 131_072, 67_667_968),
        (Pvh, 1, 32, 32, 36_864),
        (Pvh, 2, 96, 96, 104_448),
        (Pvh, 1, 1000, 1000, 1_032_192),
        (Pvh, 8, 1024, 2048, 1_067_008),
        (Pvh, 4, 16_384, 16_384, 16_848_896),
        (Pvh, 32, 65_536, 131_072, 67_667_968),
        (Hvm, 1, 32, 32, 36_864),
        (Hvm, 2, 96, 96, 104_448),
        (Hvm, 1, 1000, 1000, 1_032_192),
        (Hvm, 8, 1024, 2048, 1_067_008),
        (Hvm, 4, 16_384, 16_384, 16_848_896),
        (Hvm, 32, 65_536, 131_072, 67_667_968),
    ];

    #[test]
    fn as_libxl_says() {
        for (kind, vcpus_max, memory_mib, max_mib, need_kib) in TABLE {
            let need = MemoryNeed { kind, vcpus_max, memory_kib: memory_mib * 1024, memory_max_kib: max_mib * 1024 };
            assert_eq!(need.kib(), need_kib, "{need:?}");
        }
    }
}
