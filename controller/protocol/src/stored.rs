//! What is known of how a domain that is not ours was made, and who else looks after it.

use crate::hvm::{BootDevice, Firmware};
use crate::observation::Domain;
use crate::request::BootConfig;
use serde::{Deserialize, Serialize};

/// What libxl keeps of a domain's configuration (`libxl-json` among its userdata, libxl_internal.c) and neither Xen nor xenstore says.
///
/// It is as the domain was made: what was changed since is not in it, except for devices. Values that may be secret are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What it booted; `None` when a program in dom0 found its kernel.
    pub boot: Option<BootConfig>,
    /// The program in dom0 that found its kernel, such as `pygrub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootloader: Option<String>,
    /// The firmware of an HVM domain; `None` for all others, and for firmware that pinfold has no word for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// vCPUs that it was to use at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus_online: Option<u32>,
    /// What its toolstack does when it powers off, in libxl's words (`libxl_action_on_shutdown`).
    pub on_poweroff: String,
    /// The same when it reboots.
    pub on_reboot: String,
    /// The same when it crashes.
    pub on_crash: String,
    /// Members of the configuration that pinfold has no word for, such as `vfbs` or `b_info.nested_hvm`, without their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// Another toolstack that acts when a domain ends: it destroys it, or makes it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Toolstack {
    /// The process that `xl create` leaves behind, one for each domain.
    Xl,
    /// libvirt's daemon.
    Libvirt,
}

impl Domain {
    /// What it boots, as far as libxl keeps that; of a boot order, the devices that it has.
    pub fn boots(&self) -> Option<BootConfig> {
        let has = |device: &BootDevice| match device {
            BootDevice::Disk => self.disks.iter().any(|disk| disk.target.starts_with("hd")),
            BootDevice::Cdrom => self.hvm.iter().any(|hvm| !hvm.cdroms.is_empty()),
            BootDevice::Network => !self.nics.is_empty(),
        };
        match self.stored.as_ref()?.boot.clone()? {
            BootConfig::Devices(order) => Some(BootConfig::Devices(order.into_iter().filter(has).collect())),
            boot => Some(boot),
        }
    }

    /// How many vCPUs its guest is to use, as far as that is known: what it is asked, or what it was made with; not less than it uses.
    pub fn vcpus_wanted(&self) -> u32 {
        let used = self.vcpus.known().into_iter().flatten().filter(|vcpu| vcpu.online).count();
        let used = u32::try_from(used).unwrap_or(u32::MAX).max(1);
        let made = self.stored.as_ref().and_then(|stored| stored.vcpus_online);
        self.vcpus_asked.unwrap_or_else(|| made.unwrap_or(used).max(used))
    }
}
