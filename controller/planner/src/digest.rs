//! Digests: what makes an item, a manifest or a configuration the same one again.

use crate::config::VmConfig;
use crate::{Action, Change, ObjectRef};
use schema::desired::{Boot, Cdrom, Cpu, Disk, Hvm, Memory, Nic, Vcpus, Vm};
use schema::units::Mac;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use uuid::Uuid;

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn short(text: &str) -> String {
    sha256(text)[..12].to_owned()
}

/// The id of an item: the same for the same thing to do, offline and live, now and later. Nothing of time and place goes in.
pub fn item_id(object: &ObjectRef, action: Action, changes: &[Change]) -> String {
    let mut text = format!("{object}\n{}\n{action:?}\n", object.uuid.unwrap_or_default());
    for Change { field, old, new } in changes {
        let _ = writeln!(text, "{field:?} {old:?} {new:?}");
    }
    short(&text)
}

/// What a back-off counts when it is about making a domain of this configuration.
pub(crate) fn config_digest(config: &VmConfig) -> String {
    // Maps with string keys and plain fields only: cannot fail. Should it ever, one shared value only makes back-off coarser.
    short(&serde_json::to_string(config).unwrap_or_default())
}

/// The MAC of a NIC that the manifest gives none: locally administered and unicast (bits 1 and 0 of the first octet, IEEE 802 §8.2),
/// the other 46 bits from SHA-256 of the VM's UUID and the NIC's name.
pub fn derive_mac(vm: Uuid, nic: &str) -> Mac {
    let hash = Sha256::digest(format!("{vm}/{nic}").as_bytes());
    let mut octets = [0; 6];
    octets.copy_from_slice(&hash[..6]);
    octets[0] = (octets[0] & 0b1111_1100) | 0b0000_0010;
    Mac(octets)
}

/// Digest of a manifest as it is written: a field that it leaves out adds nothing, so that a newer binary with more fields digests an
/// unchanged manifest to the same value. Destructured whole: a new field does not compile until it is added here.
pub fn manifest_digest(vm: &Vm) -> String {
    let Vm {
        name,
        labels,
        host,
        kind,
        power,
        restart,
        vcpus: Vcpus { online, max: vcpus_max },
        memory: Memory { target, max: memory_max },
        cpu: Cpu { partition, pins, soft_pins, weight, cap },
        boot,
        disks,
        nics,
        hvm,
        shutdown_timeout,
        crash_dumps,
        protect,
        formerly,
        uuid,
        // What pinfold may do says nothing about the guest: a change of it starts no VM that its guest switched off.
        mode: _,
    } = vm;
    let mut text = Lines(String::new());
    text.line("name", Some(name));
    for (key, value) in labels {
        text.line(&format!("label {key:?}"), Some(format!("{value:?}")));
    }
    text.line("host", Some(host));
    text.line("kind", Some(format!("{kind:?}")));
    text.line("power", power.map(|power| format!("{power:?}")));
    text.line("restart", restart.map(|restart| format!("{restart:?}")));
    text.line("vcpus", Some(online));
    text.line("vcpus max", *vcpus_max);
    text.line("memory", Some(target.kib()));
    text.line("memory max", memory_max.map(schema::units::Size::kib));
    text.line("partition", partition.as_ref());
    pins.iter().flatten().for_each(|core| text.line("pin", Some(core)));
    soft_pins.iter().flatten().for_each(|core| text.line("soft pin", Some(core)));
    text.line("weight", *weight);
    text.line("cap", *cap);
    match boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            text.line("kernel", Some(format!("{kernel:?}")));
            text.line("ramdisk", ramdisk.as_ref().map(|path| format!("{path:?}")));
            text.line("cmdline", cmdline.as_ref().map(|line| format!("{line:?}")));
        }
        Boot::Grub => text.line("grub", Some(true)),
        Boot::Devices(order) => text.line("boot order", Some(format!("{order:?}"))),
    }
    for Disk { name, target, path, read_only } in disks {
        text.line("disk", Some(format!("{name} {target:?} {path:?} {read_only}")));
    }
    for Nic { name, network, mac } in nics {
        text.line("nic", Some(format!("{name} {network} {}", mac.map(|mac| mac.to_string()).unwrap_or_default())));
    }
    if let Some(Hvm { firmware, vnc, cdroms }) = hvm {
        text.line("firmware", Some(format!("{firmware:?}")));
        text.line("vnc", vnc.then_some(true));
        for Cdrom { name, target, medium } in cdroms {
            text.line("cdrom", Some(format!("{name} {target:?} {medium:?}")));
        }
    }
    text.line("shutdown timeout", shutdown_timeout.map(schema::units::Span::as_secs));
    text.line("crash dumps", *crash_dumps);
    text.line("protect", protect.then_some(true));
    for name in formerly {
        text.line("formerly", Some(name));
    }
    text.line("uuid", *uuid);
    sha256(&text.0)
}

struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            let _ = writeln!(self.0, "{key}={value}");
        }
    }
}
