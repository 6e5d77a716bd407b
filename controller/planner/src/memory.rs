//! How much host memory a domain takes.

use crate::config::VmConfig;
use protocol::DomainKind;

/// KiB of free host memory that building a domain of this configuration takes, as libxl counts it.
///
/// Source: `libxl__domain_need_memory_calculate` (tools/libs/light/libxl_mem.c, 4.17): target + paging memory + 1 MiB (PV) or 2 MiB
/// (`LIBXL_PV_EXTRA_MEMORY`, `LIBXL_HVM_EXTRA_MEMORY`), rounded up to 2 MiB; paging memory by `libxl__get_required_paging_memory`
/// (libxl_create.c): 256 pages per vCPU and one per MiB of maximal memory, with hardware-assisted paging for PVH. The worker asks libxl itself
/// before it builds; this is what lets a plan say beforehand that it will not fit.
pub fn need_kib(config: &VmConfig) -> u64 {
    let paging = 4 * (256 * u64::from(config.vcpus_max) + config.memory_max_kib / 1024);
    let extra = match config.kind {
        DomainKind::Pv => 1024,
        DomainKind::Pvh | DomainKind::Hvm => 2048,
    };
    (config.memory_kib + paging + extra).next_multiple_of(2048)
}

/// Sizes for people.
pub fn size(kib: u64) -> String {
    schema::units::Size::from_kib(kib).to_string()
}

/// Sizes for people that need not be exact.
pub fn about(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}
