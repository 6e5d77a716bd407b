//! Hot-plug: a disk or a NIC comes to a domain that lives, or goes.
//!
//! ```text
//! attach: backend's nodes in xenstore ─► hotplug script ─► `hotplug-status`      detach: `online` 0, Closing ─► guest lets go ─► nodes gone
//! ```
//! (`device_disk_add` and `libxl__initiate_device_generic_remove` in tools/libs/light/libxl_disk.c and libxl_device.c.)

use crate::description::GuestRequest;
use crate::world::{World, rc, refused};
use protocol::{DeviceState, DiskConfig, DomainDisk, DomainNic, Failure, FailureKind, NicConfig};

const DISK: &str = "libxl_device_disk_add";
const NIC: &str = "libxl_device_nic_add";

/// How long libxl waits for a guest to let go of a device (`LIBXL_DESTROY_TIMEOUT`, libxl_internal.h).
pub(crate) const LET_GO_MS: u64 = 10_000;

impl World {
    /// Writes the backend's nodes.
    pub(crate) fn disk_enter(&mut self, domid: u32, disk: &DiskConfig) -> Result<(), Failure> {
        if !self.host.files.contains_key(&disk.path) {
            let message = format!("Disk vdev={} failed to stat: {}: No such file or directory", disk.target, disk.path);
            return Err(refused(DISK, rc::INVAL, None, message));
        }
        let domain = self.domain_mut(DISK, domid)?;
        if domain.disks.iter().any(|there| there.target == disk.target) {
            let message = format!("Domain {domid}:device already exists in xenstore");
            return Err(refused(DISK, rc::DEVICE_EXISTS, None, message));
        }
        let DiskConfig { target, path, read_only, .. } = disk.clone();
        domain.disks.push(DomainDisk { target, path, read_only, state: DeviceState::Unfinished });
        Ok(())
    }

    /// Runs the `block` script; when it fails, libxl takes the nodes away again.
    pub(crate) fn disk_connect(&mut self, domid: u32, disk: &DiskConfig) -> Result<(), Failure> {
        let busy = self.why_disk_is_busy(domid, disk);
        let disks = &mut self.domain_mut(DISK, domid)?.disks;
        if let Some(reason) = busy {
            disks.retain(|there| there.target != disk.target);
            let message = format!("/etc/xen/scripts/block add exited with error status 1: {reason}");
            return Err(refused(DISK, rc::FAIL, None, message));
        }
        disks
            .iter_mut()
            .filter(|there| there.target == disk.target)
            .for_each(|there| there.state = DeviceState::Attached);
        Ok(())
    }

    /// Asks the guest to let go. Refused, with the request standing, when it does not.
    pub(crate) fn disk_release(&mut self, domid: u32, device: &str) -> Result<(), Failure> {
        const CALL: &str = "libxl_device_disk_safe_remove";
        let lets_go = self.lets_go(domid, GuestRequest::Disks)?;
        let disks = &mut self.domain_mut(CALL, domid)?.disks;
        let Some(place) = disks.iter().position(|there| there.target == device) else {
            return Err(refused(CALL, rc::INVAL, None, format!("Domain {domid} has no disk {device}")));
        };
        // What no guest has seen yet, none holds.
        if lets_go || disks[place].state == DeviceState::Unfinished {
            disks.remove(place);
            return Ok(());
        }
        disks[place].state = DeviceState::Closing;
        let message = format!("Domain {domid}: unable to remove device {device}: timed out");
        let refusal = refused(CALL, rc::TIMEDOUT, None, message);
        Err(Failure { kind: FailureKind::GuestIgnored, ..refusal })
    }

    /// Writes the backend's nodes.
    pub(crate) fn nic_enter(&mut self, domid: u32, nic: &NicConfig) -> Result<(), Failure> {
        let domain = self.domain_mut(NIC, domid)?;
        let next = domain.nics.iter().map(|there| there.devid + 1).max().unwrap_or(0);
        let devid = nic.devid.unwrap_or(next);
        if domain.nics.iter().any(|there| there.devid == devid) {
            let message = format!("Domain {domid}:device already exists in xenstore");
            return Err(refused(NIC, rc::DEVICE_EXISTS, None, message));
        }
        let NicConfig { mac, bridge, .. } = nic.clone();
        domain.nics.push(DomainNic { devid, mac, bridge: Some(bridge), state: DeviceState::Unfinished });
        domain.nics.sort_by_key(|nic| nic.devid);
        Ok(())
    }

    /// Runs the `vif-bridge` script; when it fails, libxl takes the nodes away again.
    pub(crate) fn nic_connect(&mut self, domid: u32, nic: &NicConfig) -> Result<(), Failure> {
        let has_bridge = self.host.bridges.contains(&nic.bridge);
        let nics = &mut self.domain_mut(NIC, domid)?.nics;
        if !has_bridge {
            nics.retain(|there| there.mac != nic.mac);
            let message = format!(
                "/etc/xen/scripts/vif-bridge online exited with error status 1: Could not find bridge device {}",
                nic.bridge
            );
            return Err(refused(NIC, rc::FAIL, None, message));
        }
        nics.iter_mut().filter(|there| there.mac == nic.mac).for_each(|there| there.state = DeviceState::Attached);
        Ok(())
    }

    /// Asks the guest to let go, and takes the NIC away by force when it does not. Answers after how many milliseconds it is gone.
    pub(crate) fn nic_release(&mut self, domid: u32, devid: u32) -> Result<u64, Failure> {
        const CALL: &str = "libxl_device_nic_remove";
        let lets_go = self.lets_go(domid, GuestRequest::Nics)?;
        let nics = &mut self.domain_mut(CALL, domid)?.nics;
        if !nics.iter().any(|there| there.devid == devid) {
            return Err(refused(CALL, rc::INVAL, None, format!("Domain {domid} has no NIC {devid}")));
        }
        nics.retain(|there| there.devid != devid);
        Ok(if lets_go { 0 } else { LET_GO_MS })
    }

    /// Whether the guest's drivers answer. A guest that does not run, or has not booted, cannot.
    fn lets_go(&self, domid: u32, request: GuestRequest) -> Result<bool, Failure> {
        let domain = self.domain("libxl", domid)?;
        let guest = self.host.guest(&domain.guest.name);
        Ok(domain.is_runnable() && domain.guest.booted && !guest.ignores.contains(&request))
    }
}
