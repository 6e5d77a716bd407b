//! `kind: VirtualMachine`.

use super::CoreForm;
use super::hvm::{BootDevice, Cdrom, Firmware};
use super::mode::Mode;
use super::pool::PoolId;
use super::scalars::{Bounded, CommandLine, DiskTarget, HostPath};
use super::shorthand::{ShortOr, Shorthand};
use crate::decode::Spanned;
use crate::desired;
use crate::effect::Effect;
use crate::units::{Mac, Name, Size, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// A virtual machine. "At the next start" below means: the change is shown as pending until the VM starts next, unless the pool's `changes.restarts` says otherwise.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "a mapping with `host`, `type`, `vcpus` and `memory`"
)]
pub(crate) struct VirtualMachineSpec {
    /// The host that the VM lives on.
    ///
    /// Changing it: stop and remove the VM on one host before another host declares it.
    #[schemars(extend("x-pinfold-effect" = Effect::Refused))]
    pub(crate) host: Spanned<Name>,
    /// How it is virtualised: `pv` (paravirtualised), `pvh` (paravirtualised devices in a hardware container) or `hvm` (a whole PC, which
    /// QEMU in dom0 emulates the devices of).
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(rename = "type")]
    pub(crate) vm_type: Spanned<VmType>,
    /// The firmware of an HVM guest: `bios` (SeaBIOS) or `uefi` (OVMF). Only for `hvm`. Default: `bios`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) firmware: Option<Spanned<Firmware>>,
    /// Whether it should run: `running`, `paused` (it has its memory and its devices, and none of its vCPUs runs), `suspended` (its memory is
    /// written to disk, and it goes on from there, also after a boot of the host) or `stopped`. A VM that its guest switched off stays off
    /// until its manifest changes. Default: `running`.
    ///
    /// Changing it: a paused guest runs again to be stopped or suspended, since it cannot hear. What takes a restart stays pending while it is
    /// paused or suspended. Only what runs can be suspended, and to stop what is suspended takes an approval, since its memory is lost.
    #[schemars(extend("x-pinfold-effect" = Effect::Power))]
    #[serde(default)]
    pub(crate) power: Option<Power>,
    /// When a guest that ended by itself is started again: `always` (also after a power-off), `on-failure` (after a crash) or `never`.
    /// After a reboot it always is. Default: `on-failure`.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) restart: Option<Restart>,
    /// vCPUs: a number, or `{online: 2, max: 4}`.
    #[schemars(extend("x-pinfold-effect" = Effect::Parts))]
    pub(crate) vcpus: Spanned<ShortOr<Vcpus>>,
    /// Memory: a size, or `{target: 2Gi, max: 4Gi}`.
    #[schemars(extend("x-pinfold-effect" = Effect::Parts))]
    pub(crate) memory: Spanned<ShortOr<Memory>>,
    /// Placement on the processors, and the share of them. Default: any core of Pool-0, with the scheduler's own weight and no cap.
    #[serde(default)]
    pub(crate) cpu: Cpu,
    /// What it boots: a kernel in dom0, or GRUB from its own disks; an HVM guest a kernel, or from its devices. Required for `pv` and
    /// `pvh`. Default for `hvm`: `{order: [disk]}`.
    #[serde(default)]
    pub(crate) boot: Option<Spanned<Boot>>,
    /// Its disks. Default: none.
    ///
    /// Changing it: a disk that is added is attached to the running guest; one that is removed is taken away once the guest has let go of it, never by
    /// force. Linux lets go of a mounted disk too, and loses what it has not written: unmount it first. A disk that the guest can write to is
    /// therefore taken away when it starts next, or at once when `pinfold approve` says so or the pool's `changes.restarts` is `allow`. An emulated
    /// disk of an HVM guest (`hd…`) comes and goes at the next start.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-patch-merge-key" = "name",
        "x-kubernetes-patch-strategy" = "merge"
    ))]
    pub(crate) disks: Vec<Disk>,
    /// Its CD-ROM drives, with what is in them. Only for `hvm`. Default: none.
    ///
    /// Changing it: a drive comes and goes at the next start; the medium of one that stays is changed in the running guest.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-patch-merge-key" = "name",
        "x-kubernetes-patch-strategy" = "merge"
    ))]
    pub(crate) cdroms: Vec<Cdrom>,
    /// Its network interfaces, in the order in which the guest sees them. Default: none.
    ///
    /// Changing it: a NIC that is added is attached to the running guest; one that is removed is taken away, by force when the guest does not let go of it
    /// within 10 s. The others keep their device numbers.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-patch-merge-key" = "name",
        "x-kubernetes-patch-strategy" = "merge"
    ))]
    pub(crate) nics: Vec<Nic>,
    /// `true`: the screen of an HVM guest is served by VNC, on a Unix socket in dom0 that only root can open; `pinfold describe` names it.
    /// Only for `hvm`. Default: `false`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) vnc: Option<Spanned<bool>>,
    /// How it is stopped. A guest without PV drivers is asked by its ACPI power button.
    #[serde(default)]
    pub(crate) shutdown: Shutdown,
    /// How many of its last crashes are kept as core dumps, 0 to 16: ELF files in `crashes/` of the VM's folder, readable for root only, each as large as the
    /// guest's memory. A guest is started again when its dump is written. All dumps of a host stay under `coreDumpQuota` of the daemon's configuration.
    /// Default: 0, none.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) crash_dumps: Option<Bounded<0, 16>>,
    /// `true`: a commit may remove this VM only if an earlier commit removed this line. Default: `false`.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) protect: bool,
    /// Names it had before, oldest first: the VM is renamed instead of removed and made again. Kept for the VM's life, because its identity comes from the first.
    /// Default: none.
    ///
    /// Changing it: the domain is renamed. Only the name that the same commit replaces can be added.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) formerly: Vec<Spanned<Name>>,
    /// Identity taken over from a domain that existed before pinfold: its UUID, written by `pinfold adopt`. Default: made from the pool's id and the VM's first name.
    #[schemars(extend("x-pinfold-effect" = Effect::Refused))]
    #[serde(default)]
    pub(crate) uuid: Option<Spanned<PoolId>>,
    /// What pinfold may do with this VM: `enforce`, `plan` or `observe`, as for its host (`spec.mode` of `Host`); the stricter of the two counts. A VM
    /// whose manifest is removed keeps the last one. Default: `enforce`.
    ///
    /// Changing it: it counts from the next pass on, and starts no VM that its guest switched off.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) mode: Option<Mode>,
}

/// How a VM is virtualised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VmType {
    /// Paravirtualised.
    Pv,
    /// Paravirtualised devices in a hardware container.
    Pvh,
    /// A whole PC.
    Hvm,
}

/// Whether a VM should run.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Power {
    /// The domain exists and its vCPUs run.
    Running,
    /// The domain exists and none of its vCPUs runs.
    Paused,
    /// No domain; the guest's memory lies on disk, and it goes on from there.
    Suspended,
    /// No domain.
    Stopped,
}

/// When a guest that ended by itself is started again.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    /// After power-off, crash and reboot.
    Always,
    /// After crash and reboot.
    OnFailure,
    /// After reboot only.
    Never,
}

/// A number of vCPUs. Xen allows 8192 for PV (MAX_VIRT_CPUS) and 128 for PVH and HVM (HVM_MAX_VCPUS).
pub(crate) type VcpuCount = Bounded<1, 8192>;

/// vCPUs in their long form.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `online` and `max`")]
pub(crate) struct Vcpus {
    /// vCPUs that the guest is asked to use.
    ///
    /// Changing it: the guest is asked, and told of as ignoring it (`GuestIgnores`) when it does not follow within 2 minutes.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    pub(crate) online: VcpuCount,
    /// vCPUs that the domain is built with, at least as many as `online`; at most 128 for `pvh` and `hvm`. Default: as many as `online`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) max: Option<Spanned<VcpuCount>>,
}

/// Memory in its long form.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `target` and `max`")]
pub(crate) struct Memory {
    /// Memory that the guest is asked to use: a whole number with `Ki`, `Mi`, `Gi` or `Ti`, at least 4Mi.
    ///
    /// Changing it: the guest is asked, and told of as ignoring it (`GuestIgnores`) when it is not within 16Mi of it after 2 minutes.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    pub(crate) target: Size,
    /// Memory that the domain is built for, at least as much as `target`. Default: as much as `target`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) max: Option<Spanned<Size>>,
}

impl Shorthand for Vcpus {
    type Short = VcpuCount;
    const EXPECTING: &'static str = "a whole number from 1 to 8192, or `{online: …, max: …}`";

    fn from_short(online: VcpuCount) -> Self {
        Self { online, max: None }
    }
}

impl Shorthand for Memory {
    type Short = Size;
    const EXPECTING: &'static str = "a size such as `512Mi`, or `{target: …, max: …}`";

    fn from_short(target: Size) -> Self {
        Self { target, max: None }
    }
}

/// Placement on the processors, and the share of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "a mapping with `partition`, `pins`, `softPins`, `weight` and `cap`"
)]
pub(crate) struct Cpu {
    /// The partition whose cores its vCPUs run on, and no others. Default: none; it runs in Pool-0 beside dom0.
    ///
    /// Changing it: the domain moves while it is paused for a moment.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) partition: Option<Spanned<Name>>,
    /// Cores that its vCPUs are limited to; only without a partition, and none of a partition's cores. Default: every core of Pool-0.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) pins: Option<Spanned<Vec<Spanned<CoreForm>>>>,
    /// Cores that the scheduler prefers for its vCPUs, of those that they are limited to: soft affinity. Default: no preference.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) soft_pins: Option<Spanned<Vec<Spanned<CoreForm>>>>,
    /// Scheduler weight against other VMs on the same cores, 1 to 65535. Default: 256, the scheduler's own.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) weight: Option<Bounded<1, 65535>>,
    /// The most processor time in percent of one pCPU, up to 100 for each vCPU: 150 is one and a half. 0 means no limit. Default: 0.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) cap: Option<Spanned<Bounded<0, 65535>>>,
}

/// What a VM boots: `kernel`, `grub: true`, or devices in an `order`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "a mapping with `kernel`, or `{grub: true}`, or `{order: [disk]}`"
)]
pub(crate) struct Boot {
    /// Absolute path of a kernel in dom0.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) kernel: Option<Spanned<HostPath>>,
    /// Absolute path of the initial RAM disk in dom0; only with `kernel`. Default: none.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) ramdisk: Option<Spanned<HostPath>>,
    /// The kernel's command line; only with `kernel`; at most 1023 bytes for `pv`. Default: empty.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) cmdline: Option<Spanned<CommandLine>>,
    /// `true`: GRUB for Xen reads the guest's own boot configuration from its disks. Without `kernel`; for `pv` and `pvh`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) grub: Option<Spanned<bool>>,
    /// Devices that the firmware looks for something to boot on: `disk`, `cdrom`, `network`, each at most once, the first one first. Without
    /// `kernel`; only for `hvm`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(crate) order: Option<Spanned<Vec<Spanned<BootDevice>>>>,
}

/// A disk: an existing raw file or block device in dom0. pinfold never creates or deletes what is in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `name`, `target` and `path`")]
pub(crate) struct Disk {
    /// Its name within the VM.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    pub(crate) name: Spanned<Name>,
    /// The device in the guest: `xvda` and so on. An HVM guest may also have `hda` to `hdd`: emulated IDE disks, which its firmware boots
    /// from, and which its PV drivers take over.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) target: Spanned<DiskTarget>,
    /// Absolute path of the file or block device in dom0. Which paths are allowed is the host's configuration.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) path: Spanned<HostPath>,
    /// `true`: the guest cannot write. Default: `false`.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// A network interface.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `name` and `network`")]
pub(crate) struct Nic {
    /// Its name within the VM. Without `mac`, the address comes from it.
    ///
    /// Changing it: a NIC of another name is another NIC, unless `mac` and `network` are the same.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    pub(crate) name: Spanned<Name>,
    /// The network that it is attached to.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) network: Spanned<Name>,
    /// Its address, in quotes: six pairs of hexadecimal digits with colons, unicast. Default: a locally administered one, made from the VM's identity and the NIC's name.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    #[serde(default)]
    pub(crate) mac: Option<Spanned<Mac>>,
}

/// How a VM is stopped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `timeout`")]
pub(crate) struct Shutdown {
    /// How long a graceful stop may take before the domain is destroyed: a whole number with `s`, `m`, `h` or `d`, at least `1s`. Default: `60s`.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) timeout: Option<Spanned<Span>>,
}

impl From<VmType> for desired::VmType {
    fn from(vm_type: VmType) -> Self {
        match vm_type {
            VmType::Pv => Self::Pv,
            VmType::Pvh => Self::Pvh,
            VmType::Hvm => Self::Hvm,
        }
    }
}

impl From<Power> for desired::Power {
    fn from(power: Power) -> Self {
        match power {
            Power::Running => Self::Running,
            Power::Paused => Self::Paused,
            Power::Suspended => Self::Suspended,
            Power::Stopped => Self::Stopped,
        }
    }
}

impl From<Restart> for desired::Restart {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Always => Self::Always,
            Restart::OnFailure => Self::OnFailure,
            Restart::Never => Self::Never,
        }
    }
}
