//! What only HVM guests have: a device model (QEMU in dom0) that emulates a PC for them.

use serde::{Deserialize, Serialize};

/// What an HVM domain is made with beyond what every domain has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HvmConfig {
    /// Its firmware.
    pub firmware: Firmware,
    /// Its screen is served by VNC, on the socket that [`vnc_socket`] names.
    #[serde(default)]
    pub vnc: bool,
    /// Its CD-ROM drives.
    #[serde(default)]
    pub cdroms: Vec<Cdrom>,
}

/// The firmware of an HVM guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF.
    Uefi,
}

/// What firmware looks for something to boot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootDevice {
    /// The first emulated disk.
    Disk,
    /// The first CD-ROM drive.
    Cdrom,
    /// The first NIC.
    Network,
}

/// A CD-ROM drive and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cdrom {
    /// The drive on the guest's IDE bus, `hda` to `hdd`.
    pub target: String,
    /// An image or block device in dom0; `None`: the drive is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
}

/// What only an HVM domain shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainHvm {
    /// Its guest has PV drivers that take requests: it has told Xen by which interrupt to call it (`HVM_PARAM_CALLBACK_IRQ`, which is what
    /// `libxl__domain_pvcontrol_available` in libxl_domain.c looks at). Without them it hears nothing but its power button.
    pub pv_drivers: bool,
    /// Its CD-ROM drives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdroms: Vec<Cdrom>,
    /// The socket in dom0 that its screen is served on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnc: Option<String>,
    /// The QEMU that emulated its devices has ended under it. `false` also where nobody can tell: nothing follows from that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device_model_gone: bool,
}

/// Which of the things in dom0 are there that HVM guests are made of, besides Xen itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HvmParts {
    /// QEMU built for Xen.
    pub device_model: bool,
    /// `SeaBIOS`.
    pub bios: bool,
    /// OVMF.
    pub uefi: bool,
    /// Whether that OVMF says of itself that it was built for Xen. One that does not may come to nothing there, and nobody can tell beforehand:
    /// the one for QEMU knew Xen too until edk2-stable202108. `None`: an older worker did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uefi_for_xen: Option<bool>,
}

impl Default for HvmParts {
    fn default() -> Self {
        Self { device_model: true, bios: true, uefi: true, uefi_for_xen: None }
    }
}

/// Folder of the VNC sockets: only root may enter it. It stands apart from the daemon's own, whose sockets other groups may open.
pub const VNC_FOLDER: &str = "/run/pinfold/vnc";

/// The socket that the screen of a VM is served on.
pub fn vnc_socket(vm: uuid::Uuid) -> String {
    format!("{VNC_FOLDER}/{vm}")
}
