//! The formula by which planner and simulator count memory, against what libxl says and what Xen takes.

use crate::host::{Host, create, guest};
use anyhow::{Result, ensure};
use protocol::{DomainConfig, DomainKind, Firmware, HvmConfig, MemoryNeed};

/// vCPUs, MiB at start, MiB that the domain is built for.
const SIZES: [(u32, u64, u64); 6] =
    [(1, 32, 32), (2, 96, 96), (1, 1000, 1000), (8, 1024, 2048), (4, 16_384, 16_384), (32, 65_536, 131_072)];

#[test]
fn memory_needed_is_what_libxl_says_and_enough() -> Result<()> {
    let host = Host::boot()?;
    let mut wrong = Vec::new();
    for kind in [DomainKind::Pv, DomainKind::Pvh, DomainKind::Hvm] {
        for (vcpus, memory_mib, max_mib) in SIZES {
            let config = sized(kind, vcpus, memory_mib, max_mib);
            let (libxl, formula) = (host.need_kib(&config)?, MemoryNeed::from(&config).kib());
            if libxl != formula {
                wrong.push((kind, vcpus, memory_mib, max_mib, libxl, formula));
            }
        }
    }
    ensure!(wrong.is_empty(), "libxl's figure and the formula's differ: {wrong:#?}");

    for kind in [DomainKind::Pv, DomainKind::Pvh] {
        let config = sized(kind, 2, 128, 128);
        let before = host.observe()?.hypervisor.memory_free_kib;
        host.done(create(&config))?;
        let taken = before - host.observe()?.hypervisor.memory_free_kib;
        ensure!(taken > 128 * 1024 && taken <= MemoryNeed::from(&config).kib(), "{kind:?}: {taken} KiB were taken");
        host.remove(config.mark.uuid)?;
    }
    Ok(())
}

/// A domain of this size in Pool-0.
fn sized(kind: DomainKind, vcpus: u32, memory_mib: u64, max_mib: u64) -> DomainConfig {
    let mut config = guest("sized", kind, None, ["0-9", "0-9"]);
    config.vcpus_max = vcpus;
    config.vcpus_online = 1;
    config.placement.hard = (0..vcpus).map(|_| "0-9".parse().unwrap()).collect();
    config.memory_kib = memory_mib * 1024;
    config.memory_max_kib = max_mib * 1024;
    config.hvm =
        (kind == DomainKind::Hvm).then(|| HvmConfig { firmware: Firmware::Bios, vnc: true, cdroms: Vec::new() });
    config
}
