//! What only `type: hvm` has: firmware, a boot order, CD-ROM drives.

use super::scalars::{DiskTarget, HostPath};
use crate::decode::Spanned;
use crate::desired;
use crate::effect::Effect;
use crate::units::Name;
use schemars::JsonSchema;
use serde::Deserialize;

/// The firmware of an HVM guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF.
    Uefi,
}

/// What an HVM guest can boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BootDevice {
    /// Its first emulated disk.
    Disk,
    /// Its first CD-ROM drive.
    Cdrom,
    /// Its first network interface, by PXE.
    Network,
}

/// A CD-ROM drive of an HVM guest. The guest only reads what is in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `name`, `target` and `medium`")]
pub(crate) struct Cdrom {
    /// Its name within the VM.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) name: Spanned<Name>,
    /// The drive on the guest's IDE bus: `hda` to `hdd`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) target: Spanned<DiskTarget>,
    /// What is in it: the absolute path of an image (ISO 9660) or block device in dom0. Default: nothing, the drive is empty.
    ///
    /// Changing it: the medium is inserted, changed or ejected while the guest runs, whether or not the guest has locked the drive.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) medium: Option<Spanned<HostPath>>,
}

impl From<Firmware> for desired::Firmware {
    fn from(firmware: Firmware) -> Self {
        match firmware {
            Firmware::Bios => Self::Bios,
            Firmware::Uefi => Self::Uefi,
        }
    }
}

impl From<BootDevice> for desired::BootDevice {
    fn from(device: BootDevice) -> Self {
        match device {
            BootDevice::Disk => Self::Disk,
            BootDevice::Cdrom => Self::Cdrom,
            BootDevice::Network => Self::Network,
        }
    }
}
