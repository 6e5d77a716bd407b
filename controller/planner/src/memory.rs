//! How much host memory a domain takes.

use crate::config::VmConfig;
use protocol::MemoryNeed;

/// KiB of free host memory that building a domain of this configuration takes. The worker asks libxl itself before it builds; this is what
/// lets a plan say beforehand that it will not fit.
pub fn need_kib(config: &VmConfig) -> u64 {
    let VmConfig { kind, vcpus_max, memory_kib, memory_max_kib, .. } = *config;
    MemoryNeed { kind, vcpus_max, memory_kib, memory_max_kib }.kib()
}

/// Sizes for people.
pub fn size(kib: u64) -> String {
    schema::units::Size::from_kib(kib).to_string()
}

/// Sizes for people that need not be exact.
pub fn about(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}
