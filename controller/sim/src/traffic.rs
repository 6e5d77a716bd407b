//! What guests do with their disks and NICs: they read their system when they start, and then little, as idle guests do.

use crate::world::World;

/// Bytes of a request to a disk.
const REQUEST: u64 = 4096;
/// Read from each disk with the first instruction.
const SYSTEM: u64 = 4 * 1024 * 1024;

/// What the devices of a domain have carried since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Disks.
    pub disks: DiskTraffic,
    /// NICs.
    pub nics: NicTraffic,
}

/// What disks have carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskTraffic {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

/// What NICs have carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicTraffic {
    /// Bytes that the guest received.
    pub received_bytes: u64,
    /// Bytes that it sent.
    pub sent_bytes: u64,
}

impl World {
    /// What a domain's devices have carried; `None` when there is no such domain.
    pub fn traffic(&self, domid: u32) -> Option<Traffic> {
        let domain = self.domains.get(&domid)?;
        let ran_s = domain.guest.since_ms.map_or(0, |since_ms| self.now_ms.saturating_sub(since_ms) / 1000);
        let (disks, nics) = (domain.disks.len() as u64, domain.nics.len() as u64);
        let system = if domain.guest.since_ms.is_some() { SYSTEM * disks } else { 0 };
        let written_bytes = REQUEST * ran_s * disks;
        Some(Traffic {
            disks: DiskTraffic {
                read_bytes: system,
                written_bytes,
                reads: system / REQUEST,
                writes: written_bytes / REQUEST,
            },
            nics: NicTraffic { received_bytes: 120 * ran_s * nics, sent_bytes: 60 * ran_s * nics },
        })
    }
}
