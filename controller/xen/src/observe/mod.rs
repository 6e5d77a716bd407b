//! What Xen and xenstore say now. Nothing here changes anything or forks.
//!
//! Invariants: what cannot be read is unknown, never absent; a xenstore that cannot be reached, or has lost what it held, fails the whole
//! observation, since every mark and every name is in it.

mod devices;
mod domains;
mod stored;

pub(crate) use domains::{Origin, domain, domains, identities};
pub(crate) use stored::is_libvirts;

use crate::libxl::{List, Physinfo};
use crate::xen::Xen;
use protocol::{CpuSet, Cpupool, Dom0, Failure, FailureKind, HvmParts, Hypervisor, Observation, Pcpu, Reading};
use std::fs;
use std::io::Read as _;
use std::path::Path;
use uuid::Uuid;

/// Everything, at one moment.
pub(crate) fn observe(xen: &Xen) -> Result<Observation, Failure> {
    let physinfo = Physinfo::read(&xen.libxl)?;
    let topology = List::topology(&xen.libxl)?;
    let pools = cpupools(xen)?;
    let free = xen.libxl.free_cpus()?;
    let consistent = consistent_pools(&pools, &free, physinfo.nr_cpus);
    let online: Option<CpuSet> = consistent.is_ok().then(|| pools.iter().fold(free, |all, pool| all.union(&pool.cpus)));
    let pcpus = topology.iter().zip(0_u32..).filter(|(place, _)| place.core != ABSENT).map(|(place, id)| Pcpu {
        id,
        socket: place.socket,
        core: place.core,
        // A machine without NUMA tables has one node, which Xen may leave unnamed.
        node: if place.node == ABSENT { 0 } else { place.node },
        online: online.as_ref().is_none_or(|online| online.contains(id)),
    });
    let hypervisor = Hypervisor {
        version: xen.libxl.version()?,
        pcpus: pcpus.collect(),
        memory_total_kib: pages_kib(physinfo.total_pages),
        memory_free_kib: free_memory_kib(&physinfo),
        pv: physinfo.cap_pv,
        hvm: physinfo.cap_hvm,
        hvm_parts: Some(hvm_parts()),
        boot_id: boot_id()?,
        dom0: dom0(xen)?,
    };
    let cpupools = match consistent {
        Ok(()) => Reading::Known(pools),
        Err(message) => Reading::unknown("CpupoolsInconsistent", message),
    };
    Ok(Observation { hypervisor, cpupools, domains: Reading::Known(domains(xen)?) })
}

/// All cpupools, also those without a name. Pool-0 has no uuid in xenstore.
pub(crate) fn cpupools(xen: &Xen) -> Result<Vec<Cpupool>, Failure> {
    xen.control
        .pools()?
        .into_iter()
        .map(|pool| {
            let node = |name: &str| xen.store.read(&format!("/local/pool/{}/{name}", pool.poolid));
            Ok(Cpupool {
                poolid: pool.poolid,
                name: node("name")?,
                uuid: node("uuid")?.and_then(|text| text.parse().ok()),
                scheduler: pool.scheduler,
                cpus: pool.cpus,
                domains: pool.domains,
            })
        })
        .collect()
}

/// Memory that a new domain could take, in KiB: free, or still being scrubbed, and claimed by nobody.
pub(crate) fn free_memory_kib(physinfo: &Physinfo) -> u64 {
    pages_kib((physinfo.free_pages + physinfo.scrub_pages).saturating_sub(physinfo.outstanding_pages))
}

/// `LIBXL_CPUTOPOLOGY_INVALID_ENTRY` (libxl.h:2001).
const ABSENT: u32 = u32::MAX;

/// x86 pages are 4 KiB.
fn pages_kib(pages: u64) -> u64 {
    pages * 4
}

/// Whether the pools' pCPUs and the free pCPUs are each online pCPU exactly once. Between the hypercalls that read them another may have moved one.
fn consistent_pools(pools: &[Cpupool], free: &CpuSet, online: u32) -> Result<(), String> {
    let sum = pools.iter().map(|pool| pool.cpus.len()).sum::<usize>() + free.len();
    let union = pools.iter().fold(free.clone(), |all, pool| all.union(&pool.cpus)).len();
    if sum == online as usize && union == sum {
        return Ok(());
    }
    Err(format!(
        "the cpupools and the free pCPUs together have {sum} pCPUs ({union} different ones), Xen has {online} online; somebody is changing cpupools, wait for the next observation"
    ))
}

/// The control domain.
fn dom0(xen: &Xen) -> Result<Dom0, Failure> {
    let domains = List::domains(&xen.libxl)?;
    let dom0 = domains.iter().find(|domain| domain.domid == 0).ok_or_else(|| {
        Failure::new(
            FailureKind::Refused,
            "libxl_list_domain",
            "Xen lists no dom0; run pinfold-xen in the control domain",
        )
    })?;
    Ok(Dom0 {
        memory_kib: dom0.current_memkb,
        memory_max_kib: Some(dom0.max_memkb).filter(|max| *max < UNLIMITED_KIB),
        vcpus: dom0.vcpu_online,
        cpu_time_ns: Some(dom0.cpu_time),
    })
}

/// `max_pages` of a dom0 without a limit is `UINT_MAX` (construct_dom0), here in KiB.
const UNLIMITED_KIB: u64 = u32::MAX as u64 * 4;

/// What dom0 has for HVM guests. libxl looks where it was built to look, and tells nobody: these are the places of Debian's libxl.
fn hvm_parts() -> HvmParts {
    const OVMF: &str = "/usr/share/ovmf/OVMF.fd";
    let there = |path: &str| Path::new(path).is_file();
    HvmParts {
        device_model: there("/usr/libexec/xen-qemu-system-i386"),
        bios: there("/usr/share/seabios/bios-256k.bin"),
        uefi: there(OVMF),
        uefi_for_xen: is_for_xen(Path::new(OVMF)),
    }
}

/// Whether a build of OVMF is the one for Xen: only that one begins with an ELF header, by which Xen starts it in PVH guests too (edk2,
/// OvmfPkg/XenElfHeader.fdf.inc). `None`: it cannot be read.
fn is_for_xen(ovmf: &Path) -> Option<bool> {
    let mut begin = [0; 4];
    fs::File::open(ovmf).and_then(|mut file| file.read_exact(&mut begin)).ok()?;
    Some(begin == *b"\x7fELF")
}

/// Which boot of dom0's kernel this is.
fn boot_id() -> Result<Uuid, Failure> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(|error| crate::libxl::io_failure(path, &error))?;
    text.trim()
        .parse()
        .map_err(|error| Failure::new(FailureKind::Refused, path, format!("{text:?} is no UUID: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_count_only_when_every_cpu_is_somewhere_once() {
        let check = |pools: &[&str], free: &str, online| {
            let pools: Vec<Cpupool> = pools
                .iter()
                .zip(0..)
                .map(|(cpus, poolid)| Cpupool {
                    poolid,
                    name: None,
                    uuid: None,
                    scheduler: "credit2".to_owned(),
                    cpus: cpus.parse().unwrap(),
                    domains: 0,
                })
                .collect();
            consistent_pools(&pools, &free.parse().unwrap(), online).is_ok()
        };
        assert!(check(&["0-1", "3"], "2", 4));
        assert!(!check(&["0-1"], "2", 4));
        assert!(!check(&["0-2", "2"], "", 4));
        assert!(!check(&["0-1", "1"], "2", 4));
    }

    #[test]
    fn firmware_for_xen_begins_like_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, begin: &[u8]| {
            fs::write(folder.path().join(name), begin).unwrap();
            is_for_xen(&folder.path().join(name))
        };
        assert_eq!(of("OvmfXen.fd", b"\x7fELF\x01"), Some(true));
        assert_eq!(of("OVMF.fd", &[0; 16]), Some(false));
        assert_eq!(of("torn.fd", b"\x7f"), None);
        assert_eq!(is_for_xen(&folder.path().join("none")), None);
    }
}
