//! Which fields of a VM differ, by which operation each takes effect, and what that means for a running guest.
//!
//! The effect itself is defined beside the field, in the language ([`schema::effect`]); here stands only who brings it about. [`compare`]
//! destructures [`VmConfig`] without `..`: a new field does not compile until it has its place here.

use crate::config::{Disk, Drive, Hvm, Nic, Power, Restart, VmConfig};
use crate::memory::size;
use crate::{Change, Effect};
use protocol::{BootConfig, BootDevice, DomainKind, Firmware, Sched};
use std::collections::BTreeSet;

/// Fields that change together, by one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Whether the domain exists.
    Power,
    /// Pool and masks.
    Placement,
    /// Weight and cap.
    Sched,
    /// Memory target.
    Memory,
    /// vCPUs in use.
    Vcpus,
    /// Which disks it has.
    Disks,
    /// Which NICs it has.
    Nics,
    /// What is in its CD-ROM drives.
    Media,
    /// Read when the domain is built.
    Built,
    /// Only pinfold itself reads it.
    Policy,
}

impl Group {
    /// Every group; a test holds them together to be the whole configuration.
    pub const ALL: [Self; 10] = [
        Self::Power,
        Self::Placement,
        Self::Sched,
        Self::Memory,
        Self::Vcpus,
        Self::Disks,
        Self::Nics,
        Self::Media,
        Self::Built,
        Self::Policy,
    ];
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field with its values.
    pub change: Change,
    /// How it takes effect.
    pub group: Group,
    /// What that means for a running guest.
    pub effect: Effect,
}

/// What a change of a field means for a running guest, as the language defines it. What the language does not name is part of what it
/// names: the device number and the bridge of a NIC belong to its network.
fn effect(field: &str, old: &VmConfig, new: &VmConfig) -> Effect {
    let declared = field.rsplit_once('.').filter(|(_, last)| matches!(*last, "device" | "bridge"));
    let declared = declared.map_or_else(|| field.to_owned(), |(nic, _)| format!("{nic}.network"));
    match schema::effect::of_vm(&declared) {
        Some(schema::effect::Effect::Live) => Effect::Live,
        Some(schema::effect::Effect::Power) => power_effect(old.power, new.power),
        Some(schema::effect::Effect::Recreate) => Effect::Recreate,
        // Nothing is promised to be gentle that nobody has decided about; a test holds every field to have its effect.
        Some(schema::effect::Effect::Restart | schema::effect::Effect::Refused | schema::effect::Effect::Parts)
        | None => Effect::Restart,
    }
}

/// What a change of `spec.power` means for the guest.
fn power_effect(old: Power, new: Power) -> Effect {
    match (old, new) {
        (_, Power::Stopped) => Effect::Stop,
        (Power::Stopped, Power::Running | Power::Paused) => Effect::Create,
        (_, Power::Paused | Power::Suspended) => Effect::Pause,
        (_, Power::Running) => Effect::Live,
    }
}

/// A field of the manifest, with its group and its value as text; `None`: not there.
type Field = (String, Group, Option<String>);

/// Every field of a configuration.
fn fields(config: &VmConfig) -> Vec<Field> {
    let VmConfig {
        kind,
        power,
        restart,
        vcpus_online,
        vcpus_max,
        memory_kib,
        memory_max_kib,
        partition,
        pins,
        soft_pins,
        sched: Sched { weight, cap },
        boot,
        disks,
        nics,
        hvm,
        shutdown_timeout_s,
        crash_dumps,
    } = config;
    let mut fields: Vec<Field> = [
        ("spec.type", Group::Built, Some(kind_text(*kind).to_owned())),
        ("spec.power", Group::Power, Some(power_text(*power).to_owned())),
        ("spec.restart", Group::Policy, Some(restart_text(*restart).to_owned())),
        ("spec.vcpus.online", Group::Vcpus, Some(vcpus_online.to_string())),
        ("spec.vcpus.max", Group::Built, Some(vcpus_max.to_string())),
        ("spec.memory.target", Group::Memory, Some(size(*memory_kib))),
        ("spec.memory.max", Group::Built, Some(size(*memory_max_kib))),
        ("spec.cpu.partition", Group::Placement, partition.as_ref().map(ToString::to_string)),
        ("spec.cpu.pins", Group::Placement, pins.as_ref().map(cores_text)),
        ("spec.cpu.softPins", Group::Placement, soft_pins.as_ref().map(cores_text)),
        ("spec.cpu.weight", Group::Sched, Some(weight.to_string())),
        ("spec.cpu.cap", Group::Sched, Some(cap.to_string())),
        ("spec.shutdown.timeout", Group::Policy, Some(format!("{shutdown_timeout_s}s"))),
        ("spec.crashDumps", Group::Policy, (*crash_dumps > 0).then(|| crash_dumps.to_string())),
    ]
    .map(|(field, group, value)| (field.to_owned(), group, value))
    .into();
    fields.extend(boot_fields(boot));
    fields.extend(disks.iter().flat_map(disk_fields));
    fields.extend(hvm.iter().flat_map(hvm_fields));
    fields.extend(nics.iter().flat_map(|nic| nic_fields(Nic::number(nics, nic), nic)));
    fields
}

fn boot_fields(boot: &BootConfig) -> Vec<Field> {
    match boot {
        BootConfig::Kernel { kernel, ramdisk, cmdline } => vec![
            ("spec.boot.kernel".to_owned(), Group::Built, Some(kernel.clone())),
            ("spec.boot.ramdisk".to_owned(), Group::Built, ramdisk.clone()),
            ("spec.boot.cmdline".to_owned(), Group::Built, cmdline.clone()),
        ],
        BootConfig::Grub => vec![("spec.boot.grub".to_owned(), Group::Built, Some("true".to_owned()))],
        BootConfig::Devices(order) => {
            let words: Vec<_> = order.iter().copied().map(device_text).collect();
            vec![("spec.boot.order".to_owned(), Group::Built, Some(words.join(", ")))]
        }
    }
}

fn disk_fields(disk: &Disk) -> Vec<Field> {
    let Disk { name, target, path, read_only } = disk;
    let field = |field: &str, value: String| (format!("spec.disks[{name}].{field}"), Group::Built, Some(value));
    vec![field("target", target.clone()), field("path", path.clone()), field("readOnly", read_only.to_string())]
}

fn hvm_fields(Hvm { firmware, vnc, cdroms }: &Hvm) -> Vec<Field> {
    let firmware = match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    };
    let mut fields = vec![
        ("spec.firmware".to_owned(), Group::Built, Some(firmware.to_owned())),
        ("spec.vnc".to_owned(), Group::Built, vnc.then(|| "true".to_owned())),
    ];
    for Drive { name, target, medium } in cdroms {
        fields.push((format!("spec.cdroms[{name}].target"), Group::Built, Some(target.clone())));
        fields.push((format!("spec.cdroms[{name}].medium"), Group::Media, medium.clone()));
    }
    fields
}

fn device_text(device: BootDevice) -> &'static str {
    match device {
        BootDevice::Disk => "disk",
        BootDevice::Cdrom => "cdrom",
        BootDevice::Network => "network",
    }
}

fn nic_fields(devid: u32, nic: &Nic) -> Vec<Field> {
    let Nic { name, mac, bridge, devid: _ } = nic;
    let field = |field: &str, value: String| (format!("spec.nics[{name}].{field}"), Group::Built, Some(value));
    vec![field("device", devid.to_string()), field("mac", mac.to_string()), field("bridge", bridge.clone())]
}

/// Every field that differs, in the order of the manifest, with what it means for a running guest.
pub fn compare(old: &VmConfig, new: &VmConfig) -> Vec<FieldChange> {
    // Of a thousand VMs nothing differs in most, in most passes: to say so must not take a thousand lists of texts.
    if old == new {
        return Vec::new();
    }
    let (before, after) = (fields(old), fields(new));
    let value = |fields: &[Field], name: &str| {
        fields.iter().find(|(field, ..)| field == name).and_then(|(_, _, value)| value.clone())
    };
    let mut seen = BTreeSet::new();
    after
        .iter()
        .chain(&before)
        .filter(|(field, ..)| seen.insert(field.clone()))
        .map(|(field, group, _)| {
            let change = Change { field: field.clone(), old: value(&before, field), new: value(&after, field) };
            match presence(field, old, new) {
                Some((group, declared)) => FieldChange { change, group, effect: effect(declared, old, new) },
                None => FieldChange { change, group: *group, effect: effect(field, old, new) },
            }
        })
        .filter(|FieldChange { change, .. }| change.old != change.new)
        .collect()
}

/// A field of a device that comes or goes: it is plugged, where that can be done, and says so as a whole.
fn presence(field: &str, old: &VmConfig, new: &VmConfig) -> Option<(Group, &'static str)> {
    let item = |list: &str| field.strip_prefix(list)?.split_once(']').map(|(name, _)| name.to_owned());
    if let Some(name) = item("spec.cdroms[") {
        let has = |config: &VmConfig| config.drives().iter().any(|drive| drive.name.as_str() == name);
        return (has(old) != has(new)).then_some((Group::Built, "spec.cdroms"));
    }
    if let Some(name) = item("spec.disks[") {
        let of = |config: &VmConfig| config.disks.iter().find(|disk| disk.name.as_str() == name).cloned();
        let disk = match (of(old), of(new)) {
            (Some(_), Some(_)) | (None, None) => return None,
            (Some(disk), None) | (None, Some(disk)) => disk,
        };
        return is_hot_pluggable(new, &disk.target).then_some((Group::Disks, "spec.disks"));
    }
    let name = item("spec.nics[")?;
    let has = |config: &VmConfig| config.nics.iter().any(|nic| nic.name.as_str() == name);
    (has(old) != has(new)).then_some((Group::Nics, "spec.nics"))
}

/// Whether a disk can come and go while the guest runs: PV disks (`xvd…`) can; an emulated one of an HVM guest is on its IDE or SCSI bus from the
/// start.
pub(crate) fn is_hot_pluggable(config: &VmConfig, target: &str) -> bool {
    config.kind != DomainKind::Hvm || target.starts_with("xvd")
}

/// Every field as it comes into being.
pub fn all_new(config: &VmConfig) -> Vec<Change> {
    fields(config)
        .into_iter()
        .filter(|(_, _, value)| value.is_some())
        .map(|(field, _, new)| Change { field, old: None, new })
        .collect()
}

/// Changes of one group.
pub fn of_group(old: &VmConfig, new: &VmConfig, group: Group) -> Vec<Change> {
    compare(old, new).into_iter().filter(|field| field.group == group).map(|field| field.change).collect()
}

/// `base` with the fields of `group` taken from `other`. Written out whole: a new field does not compile until it has its group here too.
pub fn with_group(base: &VmConfig, other: &VmConfig, group: Group) -> VmConfig {
    let from = |of: Group| if of == group { other } else { base };
    VmConfig {
        kind: from(Group::Built).kind,
        power: from(Group::Power).power,
        restart: from(Group::Policy).restart,
        vcpus_online: from(Group::Vcpus).vcpus_online,
        vcpus_max: from(Group::Built).vcpus_max,
        memory_kib: from(Group::Memory).memory_kib,
        memory_max_kib: from(Group::Built).memory_max_kib,
        partition: from(Group::Placement).partition.clone(),
        pins: from(Group::Placement).pins.clone(),
        soft_pins: from(Group::Placement).soft_pins.clone(),
        sched: from(Group::Sched).sched,
        boot: from(Group::Built).boot.clone(),
        disks: disks(base, other, group),
        nics: nics(base, other, group),
        hvm: hvm(base, other, group),
        shutdown_timeout_s: from(Group::Policy).shutdown_timeout_s,
        crash_dumps: from(Group::Policy).crash_dumps,
    }
}

/// Which disks there are comes with one group, what each is with another.
fn disks(base: &VmConfig, other: &VmConfig, group: Group) -> Vec<Disk> {
    let named = |list: &[Disk], disk: &Disk| list.iter().find(|one| one.name == disk.name).cloned();
    let comes = |disk: &Disk| is_hot_pluggable(other, &disk.target) == (group == Group::Disks);
    let (kept, come): (Vec<&Disk>, Vec<&Disk>) = match group {
        Group::Disks | Group::Built => {
            let goes = |disk: &&Disk| named(&other.disks, disk).is_some() || !comes(disk);
            let is_new = |disk: &&Disk| named(&base.disks, disk).is_none() && comes(disk);
            (base.disks.iter().filter(goes).collect(), other.disks.iter().filter(is_new).collect())
        }
        _ => return base.disks.clone(),
    };
    let kept = kept.into_iter().map(|disk| match group {
        Group::Built => named(&other.disks, disk).unwrap_or_else(|| disk.clone()),
        _ => disk.clone(),
    });
    let mut disks: Vec<Disk> = kept.chain(come.into_iter().cloned()).collect();
    VmConfig::sort_disks(&mut disks);
    disks
}

/// Which drives there are comes with how the domain is built; what is in one that both have, by itself.
fn hvm(base: &VmConfig, other: &VmConfig, group: Group) -> Option<Hvm> {
    let (mut hvm, media) = match group {
        Group::Built => (other.hvm.clone()?, base),
        Group::Media => (base.hvm.clone()?, other),
        _ => return base.hvm.clone(),
    };
    for drive in &mut hvm.cdroms {
        if let Some(from) = media.drives().iter().find(|from| from.name == drive.name) {
            drive.medium.clone_from(&from.medium);
        }
    }
    Some(hvm)
}

fn nics(base: &VmConfig, other: &VmConfig, group: Group) -> Vec<Nic> {
    let (base, other) = (Nic::numbered(&base.nics), Nic::numbered(&other.nics));
    let named = |list: &[(u32, Nic)], nic: &Nic| list.iter().find(|(_, one)| one.name == nic.name).cloned();
    let list = match group {
        Group::Nics => {
            let from = |(number, nic): &(u32, Nic)| named(&base, nic).unwrap_or_else(|| (*number, nic.clone()));
            other.iter().map(from).collect()
        }
        Group::Built => {
            let from = |(number, nic): &(u32, Nic)| named(&other, nic).unwrap_or_else(|| (*number, nic.clone()));
            base.iter().map(from).collect()
        }
        _ => base,
    };
    Nic::list(list)
}

fn kind_text(kind: DomainKind) -> &'static str {
    match kind {
        DomainKind::Pv => "pv",
        DomainKind::Pvh => "pvh",
        DomainKind::Hvm => "hvm",
    }
}

/// A power as manifests spell it.
pub(crate) fn power_text(power: Power) -> &'static str {
    match power {
        Power::Running => "running",
        Power::Paused => "paused",
        Power::Suspended => "suspended",
        Power::Stopped => "stopped",
    }
}

fn restart_text(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    }
}

fn cores_text(cores: &BTreeSet<String>) -> String {
    cores.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}
