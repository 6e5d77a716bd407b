//! Disks and NICs, from their backends in dom0's xenstore: so also those of domains that pinfold did not make.

use crate::libxl::Store;
use protocol::{Cdrom, DeviceState, DomainDisk, DomainNic, Failure};
use std::collections::BTreeSet;

/// Where dom0's backends stand.
const BACKENDS: &str = "/local/domain/0/backend";

/// Which domains have backends of which kind.
pub(super) struct Backends {
    /// Kinds of block backends (`vbd`, `qdisk`, …) with the domains that have any.
    disks: Vec<(String, BTreeSet<u32>)>,
    /// Domains that have NICs.
    nics: BTreeSet<u32>,
}

impl Backends {
    /// Reads which there are.
    pub(super) fn read(store: &Store) -> Result<Self, Failure> {
        let mut backends = Self { disks: Vec::new(), nics: BTreeSet::new() };
        for kind in store.names(BACKENDS)? {
            let domids = || -> Result<BTreeSet<u32>, Failure> {
                Ok(numbers(&store.names(&format!("{BACKENDS}/{kind}"))?).collect())
            };
            match kind.as_str() {
                "vbd" | "vbd3" | "tap" | "qdisk" | "virtio_disk" => {
                    let domids = domids()?;
                    backends.disks.push((kind, domids));
                }
                "vif" => backends.nics = domids()?,
                _ => {}
            }
        }
        Ok(backends)
    }

    /// The disks of a domain, in the order of their device numbers, and with `drives` its CD-ROM drives apart from them.
    pub(super) fn disks(
        &self,
        store: &Store,
        domid: u32,
        is_ours: bool,
        mut drives: Option<&mut Vec<Cdrom>>,
    ) -> Result<Vec<DomainDisk>, Failure> {
        let mut disks = Vec::new();
        for (kind, _) in self.disks.iter().filter(|(_, domids)| domids.contains(&domid)) {
            let folder = format!("{BACKENDS}/{kind}/{domid}");
            for device in store.names(&folder)? {
                let node = |name: &str| store.read(&format!("{folder}/{device}/{name}"));
                let path = node("params")?.map(|params| path_of(&params).to_owned()).filter(|path| !is_nothing(path));
                let target = node("dev")?.unwrap_or_else(|| device.clone());
                if let Some(drives) = &mut drives
                    && node("device-type")?.as_deref() == Some("cdrom")
                {
                    drives.push(Cdrom { target, medium: path });
                    continue;
                }
                // An empty CD drive names no file; a backend that is being removed may have lost any of its nodes.
                let Some(path) = path else { continue };
                let read_only = node("mode")?.is_some_and(|mode| mode == "r");
                let state = if is_ours { state(&node)? } else { DeviceState::Attached };
                disks.push(DomainDisk { target, path, read_only, state });
            }
        }
        Ok(disks)
    }

    /// The NICs of a domain, in the order of their device numbers.
    pub(super) fn nics(&self, store: &Store, domid: u32, is_ours: bool) -> Result<Vec<DomainNic>, Failure> {
        let mut nics = Vec::new();
        if !self.nics.contains(&domid) {
            return Ok(nics);
        }
        let folder = format!("{BACKENDS}/vif/{domid}");
        for devid in numbers(&store.names(&folder)?) {
            let node = |name: &str| store.read(&format!("{folder}/{devid}/{name}"));
            if let Some(mac) = node("mac")? {
                let state = if is_ours { state(&node)? } else { DeviceState::Attached };
                nics.push(DomainNic { devid, mac, bridge: node("bridge")?, state });
            }
        }
        nics.sort_by_key(|nic| nic.devid);
        Ok(nics)
    }
}

/// How far a device is attached. Every backend that libxl makes has `online`, which it sets to 0 when it asks for the device's removal
/// (`libxl__initiate_device_generic_remove`, libxl_device.c), and the scripts of those that have one write `hotplug-status`.
fn state(node: &dyn Fn(&str) -> Result<Option<String>, Failure>) -> Result<DeviceState, Failure> {
    if node("online")?.as_deref() == Some("0") {
        return Ok(DeviceState::Closing);
    }
    let connected = node("hotplug-status")?.as_deref() == Some("connected");
    // Without a script there is none that could be missing: QEMU serves the device.
    let whole = connected || node("script")?.is_none();
    Ok(if whole { DeviceState::Attached } else { DeviceState::Unfinished })
}

/// The numbers among names.
fn numbers(names: &[String]) -> impl Iterator<Item = u32> + '_ {
    names.iter().filter_map(|name| name.parse().ok())
}

/// The file behind a backend's `params`: `/dev/vg/a`, but `aio:/srv/a.qcow2` for one that QEMU serves.
fn path_of(params: &str) -> &str {
    if params.starts_with('/') { params } else { params.find('/').map_or(params, |start| &params[start..]) }
}

/// What QEMU's `params` are without a file behind the format: `aio:`.
fn is_nothing(path: &str) -> bool {
    path.is_empty() || path.ends_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_name_a_file() {
        assert_eq!(path_of("/dev/vg/a"), "/dev/vg/a");
        assert_eq!(path_of("aio:/srv/a.img"), "/srv/a.img");
        assert_eq!(path_of("tap:qcow2:/srv/a.img"), "/srv/a.img");
        assert_eq!(path_of("nbd"), "nbd");
    }
}
