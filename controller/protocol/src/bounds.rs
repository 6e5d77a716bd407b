//! Bounds of numbers that are read, for `#[serde(deserialize_with)]`: arithmetic on what is below them cannot overflow, and nothing is made
//! in such a number that memory ends. What lies beyond is no host and no VM, but a damaged or invented file.

use crate::cpuset::MAX_CPU;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// More vCPUs than any domain has: Xen's limit is this for PV (MAX_VIRT_CPUS, xen/include/public/xen.h, `XEN_LEGACY_MAX_VCPUS` aside), 128 for HVM.
const MAX_VCPUS: u32 = 8192;

/// 4 PiB, beyond the physical address space of x86 (52 bits).
const MAX_KIB: u64 = 1 << 42;

/// A pCPU's number.
pub fn pcpu<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let cpu = u32::deserialize(from)?;
    if cpu <= MAX_CPU {
        Ok(cpu)
    } else {
        Err(D::Error::custom(format!("pCPU {cpu} is beyond any Xen: the last one is {MAX_CPU}")))
    }
}

/// A number of vCPUs.
pub fn vcpus<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let count = u32::deserialize(from)?;
    if count <= MAX_VCPUS {
        Ok(count)
    } else {
        Err(D::Error::custom(format!("{count} vCPUs are beyond any Xen: at most {MAX_VCPUS}")))
    }
}

/// A size in KiB.
pub fn kib<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    below(u64::deserialize(from)?)
}

/// A size in KiB, or none.
pub fn optional_kib<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<u64>::deserialize(from)?.map(below).transpose()
}

fn below<E: Error>(kib: u64) -> Result<u64, E> {
    if kib <= MAX_KIB { Ok(kib) } else { Err(E::custom(format!("{kib} KiB are beyond any host: at most {MAX_KIB}"))) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_has_is_refused() {
        let pcpu = |id: u32| format!(r#"{{"id": {id}, "socket": 0, "core": 0, "node": 0, "online": true}}"#);
        assert_eq!(serde_json::from_str::<crate::Pcpu>(&pcpu(MAX_CPU)).unwrap().id, MAX_CPU);
        let error = serde_json::from_str::<crate::Pcpu>(&pcpu(u32::MAX)).unwrap_err().to_string();
        assert!(error.starts_with("pCPU 4294967295 is beyond any Xen: the last one is 16383"), "{error}");
        let memory = |kib: u64| format!(r#"{{"current_kib": {kib}, "target_kib": {kib}, "static_max_kib": null}}"#);
        assert_eq!(serde_json::from_str::<crate::DomainMemory>(&memory(MAX_KIB)).unwrap().target_kib, Some(MAX_KIB));
        let error = serde_json::from_str::<crate::DomainMemory>(&memory(u64::MAX)).unwrap_err().to_string();
        assert!(error.starts_with("18446744073709551615 KiB are beyond any host"), "{error}");
    }
}
