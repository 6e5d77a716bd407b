//! What domains have used of dom0's devices so far: for people and scrapers. Planning never sees it, so it is read only when somebody asks.
//!
//! CPU time and memory are in the observation. Counters begin at zero with each domain.

use protocol::Domain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a sector in the kernel's statistics, whatever the device's own are (drivers/block/xen-blkback/xenbus.c counts in units of 512).
const SECTOR: u64 = 512;

/// The devices of one domain, added up. `None` is unknown: a device of it has no statistics, as one that QEMU serves. A domain that has
/// none of a kind has used none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Its disks.
    pub disks: Option<DiskUsage>,
    /// Its NICs.
    pub nics: Option<NicUsage>,
}

/// What a domain's disks have carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUsage {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

/// What a domain's NICs have carried, as the guest sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NicUsage {
    /// Bytes that the guest received.
    pub received_bytes: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
}

/// Reads what domains have used, from any thread.
pub trait Meter: Send + Sync {
    /// By domain number. A domain that is gone meanwhile is unknown.
    fn read(&self, domains: &[Domain]) -> BTreeMap<u32, Usage>;
}

/// The kernel's own counters in dom0.
pub(crate) struct Sysfs {
    /// `/`, or a folder that stands in for it in a test.
    pub(crate) root: PathBuf,
}

impl Meter for Sysfs {
    fn read(&self, domains: &[Domain]) -> BTreeMap<u32, Usage> {
        let disks = self.disks();
        let of = |domain: &Domain| {
            let disks = disks.get(&domain.domid).map(Vec::as_slice).unwrap_or_default();
            // A disk without statistics is not listed.
            let disks = (disks.len() >= domain.disks.len()).then(|| disks.iter().fold(DiskUsage::default(), add));
            (domain.domid, Usage { disks, nics: self.nics(domain) })
        };
        domains.iter().map(of).collect()
    }
}

fn add(sum: DiskUsage, one: &DiskUsage) -> DiskUsage {
    DiskUsage {
        read_bytes: sum.read_bytes.saturating_add(one.read_bytes),
        written_bytes: sum.written_bytes.saturating_add(one.written_bytes),
        reads: sum.reads.saturating_add(one.reads),
        writes: sum.writes.saturating_add(one.writes),
    }
}

impl Sysfs {
    /// Every disk that the kernel serves: `vbd-DOMID-DEVID` (drivers/block/xen-blkback/xenbus.c, `VBD_SHOW_ALLRING`).
    fn disks(&self) -> BTreeMap<u32, Vec<DiskUsage>> {
        let mut disks: BTreeMap<u32, Vec<DiskUsage>> = BTreeMap::new();
        let folder = self.root.join("sys/bus/xen-backend/devices");
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let domid = name.to_str().and_then(|name| name.strip_prefix("vbd-")?.split_once('-')?.0.parse().ok());
            let (Some(domid), Some(usage)) = (domid, disk(&entry.path().join("statistics"))) else { continue };
            disks.entry(domid).or_default().push(usage);
        }
        disks
    }

    /// A NIC is `vifDOMID.DEVID` in dom0, and beside it `…-emu` while an HVM guest uses the card that QEMU shows it (xl-network-configuration(5)).
    fn nics(&self, domain: &Domain) -> Option<NicUsage> {
        let mut sum = NicUsage::default();
        for nic in &domain.nics {
            let vif = format!("vif{}.{}", domain.domid, nic.devid);
            let of = |device: &str| Self::nic(&self.root.join("sys/class/net").join(device).join("statistics"));
            let (paravirtual, emulated) = (of(&vif), of(&format!("{vif}-emu")));
            if paravirtual.is_none() && emulated.is_none() {
                return None;
            }
            for one in [paravirtual, emulated].into_iter().flatten() {
                sum.received_bytes = sum.received_bytes.saturating_add(one.received_bytes);
                sum.sent_bytes = sum.sent_bytes.saturating_add(one.sent_bytes);
            }
        }
        Some(sum)
    }

    /// What dom0's end sends, the guest receives.
    fn nic(statistics: &Path) -> Option<NicUsage> {
        let (received_bytes, sent_bytes) = (number(statistics, "tx_bytes")?, number(statistics, "rx_bytes")?);
        Some(NicUsage { received_bytes, sent_bytes })
    }
}

fn disk(statistics: &Path) -> Option<DiskUsage> {
    Some(DiskUsage {
        read_bytes: number(statistics, "rd_sect")?.saturating_mul(SECTOR),
        written_bytes: number(statistics, "wr_sect")?.saturating_mul(SECTOR),
        reads: number(statistics, "rd_req")?,
        writes: number(statistics, "wr_req")?,
    })
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{DeviceState, DomainDisk, DomainMemory, DomainNic, DomainState, Reading, Sched};

    /// A dom0 with these files below its `/sys`.
    fn dom0(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("sys").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn domain(domid: u32, disks: usize, nics: u32) -> Domain {
        let state = DeviceState::Attached;
        let disk = |n| DomainDisk { target: format!("xvd{n}"), path: "/srv/a.img".to_owned(), read_only: false, state };
        Domain {
            domid,
            uuid: uuid::Uuid::from_u128(u128::from(domid)),
            name: None,
            kind: None,
            state: DomainState::Running,
            poolid: None,
            vcpus: Reading::Known(Vec::new()),
            vcpus_asked: None,
            memory: DomainMemory { current_kib: 0, target_kib: None, static_max_kib: None },
            sched: Reading::Known(Sched { weight: 256, cap: 0 }),
            mark: None,
            ready: true,
            disks: (0..disks).map(disk).collect(),
            nics: (0..nics).map(|devid| DomainNic { devid, mac: String::new(), bridge: None, state }).collect(),
            hvm: None,
            cpu_time_ns: 0,
            console: None,
            stored: None,
            toolstack: None,
        }
    }

    #[test]
    fn devices_are_added_up_and_what_has_no_statistics_is_unknown() {
        let mut files = Vec::new();
        for (devid, factor) in [("51712", 1), ("51728", 10)] {
            for (file, value) in [("rd_sect", 4), ("wr_sect", 2), ("rd_req", 3), ("wr_req", 1)] {
                let path = format!("bus/xen-backend/devices/vbd-7-{devid}/statistics/{file}");
                files.push((path, format!("{}\n", value * factor)));
            }
        }
        files.push(("bus/xen-backend/devices/vbd-8-51712/statistics/rd_sect".to_owned(), "1\n".to_owned()));
        files.push(("bus/xen-backend/devices/vif-7-0/uevent".to_owned(), String::new()));
        for (device, rx, tx) in [("vif7.0", 100, 30), ("vif7.0-emu", 1, 2), ("vif7.1", 1000, 300), ("vif8.0", 5, 6)] {
            files.push((format!("class/net/{device}/statistics/rx_bytes"), rx.to_string()));
            files.push((format!("class/net/{device}/statistics/tx_bytes"), tx.to_string()));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let root = dom0(&files);
        let meter = Sysfs { root: root.path().to_owned() };
        let read = meter.read(&[domain(7, 2, 2), domain(8, 1, 2), domain(9, 0, 0)]);
        let disks = DiskUsage { read_bytes: 44 * 512, written_bytes: 22 * 512, reads: 33, writes: 11 };
        let nics = NicUsage { received_bytes: 332, sent_bytes: 1101 };
        assert_eq!(read[&7], Usage { disks: Some(disks), nics: Some(nics) });
        assert_eq!(read[&8], Usage { disks: None, nics: None }, "half of a disk's statistics, one of two NICs");
        assert_eq!(read[&9], Usage { disks: Some(DiskUsage::default()), nics: Some(NicUsage::default()) });
    }
}
