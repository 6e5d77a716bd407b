//! What libxl keeps of a domain's configuration, for domains that are not ours.
//!
//! Read from its file, not through libxl: `libxl_userdata_retrieve` waits for a lock that another process may hold for long (libxl_dom.c, `libxl__lock_domain_userdata`),
//! and `libxl_retrieve_domain_configuration` may fork. libxl replaces the file whole (it writes a new one and renames it), so what is read is never torn.

use crate::config::{GRUB_PV, GRUB_PVH};
use crate::libxl::io_failure;
use protocol::{BootConfig, BootDevice, Failure, Firmware, Stored};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use uuid::Uuid;

/// The file of one kind of userdata (`libxl__userdata_path`, libxl_dom.c; the letter is for data that goes with the domain).
fn file(domid: u32, uuid: Uuid, kind: &str) -> PathBuf {
    PathBuf::from(format!("/var/lib/xen/userdata-d.{domid}.{uuid}.{kind}"))
}

/// What libxl keeps of a domain's configuration; `None` when libxl did not make it, or is about to.
pub(crate) fn stored(domid: u32, uuid: Uuid) -> Result<Option<Stored>, Failure> {
    let path = file(domid, uuid, "libxl-json");
    match fs::read(&path) {
        Ok(bytes) => Ok(from_bytes(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure(&path.display().to_string(), &error)),
    }
}

/// Whether libvirt made the domain: it keeps its own configuration beside libxl's (libxl_driver.c of libvirt).
pub(crate) fn is_libvirts(domid: u32, uuid: Uuid) -> bool {
    file(domid, uuid, "libvirt-xml").exists()
}

/// Members that the observation says otherwise, that libxl fills in by itself, or that describe what every domain of pinfold is.
const KNOWN: [&str; 46] = [
    "c_info.type",
    "c_info.name",
    "c_info.uuid",
    "c_info.domid",
    "c_info.pool_name",
    "c_info.poolid",
    "c_info.run_hotplug_scripts",
    "c_info.hap",
    "c_info.oos",
    "c_info.passthrough",
    "c_info.xend_suspend_evtchn_compat",
    "b_info.max_vcpus",
    "b_info.avail_vcpus",
    "b_info.cpumap",
    "b_info.nodemap",
    "b_info.vcpu_hard_affinity",
    "b_info.numa_placement",
    "b_info.max_memkb",
    "b_info.target_memkb",
    "b_info.video_memkb",
    "b_info.shadow_memkb",
    "b_info.iommu_memkb",
    "b_info.claim_mode",
    "b_info.sched_params",
    "b_info.kernel",
    "b_info.ramdisk",
    "b_info.cmdline",
    "b_info.bootloader",
    "b_info.bootloader_args",
    "b_info.max_grant_frames",
    "b_info.max_maptrack_frames",
    "b_info.max_grant_version",
    "b_info.event_channels",
    "b_info.device_model_version",
    "b_info.disable_migrate",
    "b_info.blkdev_start",
    "b_info.arch_arm",
    "b_info.arch_x86",
    "b_info.tee",
    "b_info.vmtrace_buf_kb",
    "b_info.vpmu",
    "b_info.type.pv",
    "b_info.type.pvh",
    "on_watchdog",
    "on_soft_reset",
    "b_info.exec_ssidref",
];

/// Reads libxl's file: JSON, and the 0 that ends a C string (`libxl__set_domain_configuration`, libxl_internal.c).
fn from_bytes(bytes: &[u8]) -> Option<Stored> {
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    serde_json::from_slice(text).ok().map(|json| from_json(&json))
}

/// Reads libxl's JSON. Members with their default value are not in it.
fn from_json(json: &Value) -> Stored {
    let b_info = &json["b_info"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let kernel = text(&b_info["kernel"]);
    let hvm = b_info.get("type.hvm");
    let boot = kernel.map(|kernel| match kernel.as_str() {
        GRUB_PV | GRUB_PVH => BootConfig::Grub,
        _ => BootConfig::Kernel { kernel, ramdisk: text(&b_info["ramdisk"]), cmdline: text(&b_info["cmdline"]) },
    });
    let boot = boot.or_else(|| hvm.map(|hvm| BootConfig::Devices(order(hvm["boot"].as_str().unwrap_or(USUAL_ORDER)))));
    // `libxl_action_on_shutdown` begins with `destroy`, which is not written.
    let action = |name: &str| text(&json[name]).unwrap_or_else(|| "destroy".to_owned());
    Stored {
        boot,
        bootloader: text(&b_info["bootloader"]),
        firmware: hvm.and_then(|hvm| firmware(hvm["bios"].as_str())),
        vcpus_online: b_info["avail_vcpus"].as_array().and_then(|vcpus| u32::try_from(vcpus.len()).ok()),
        on_poweroff: action("on_poweroff"),
        on_reboot: action("on_reboot"),
        on_crash: action("on_crash"),
        others: others(json),
    }
}

/// The order of a guest for which none is given (libxl_create.c, `libxl__domain_build_info_setdefault`).
const USUAL_ORDER: &str = "cda";

/// What firmware looks for something to boot on. There are no floppy disks.
fn order(letters: &str) -> Vec<BootDevice> {
    let device = |letter| match letter {
        'c' => Some(BootDevice::Disk),
        'd' => Some(BootDevice::Cdrom),
        'n' => Some(BootDevice::Network),
        _ => None,
    };
    letters.chars().filter_map(device).collect()
}

/// The firmware by libxl's word for it (`libxl_bios_type`); QEMU has SeaBIOS where none is given.
fn firmware(bios: Option<&str>) -> Option<Firmware> {
    match bios {
        None | Some("seabios") => Some(Firmware::Bios),
        Some("ovmf") => Some(Firmware::Uefi),
        Some(_) => None,
    }
}

/// Members that pinfold has no word for. Only their names: a value may be a password.
fn others(json: &Value) -> Vec<String> {
    let mut others = Vec::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        match name.as_str() {
            "c_info" | "b_info" => {
                let members = value.as_object().into_iter().flatten();
                let (whole, of_hvm): (Vec<_>, Vec<_>) = members.partition(|(member, _)| *member != "type.hvm");
                others.extend(whole.iter().map(|(member, _)| format!("{name}.{member}")));
                let of_hvm = of_hvm.iter().filter_map(|(_, value)| value.as_object()).flatten();
                let of_hvm = of_hvm.filter(|(member, value)| match member.as_str() {
                    "bios" => firmware(value.as_str()).is_none(),
                    "boot" => false,
                    // Its console, as pinfold's.
                    "serial" => value.as_str() != Some("pty"),
                    _ => !is_off(value),
                });
                others.extend(of_hvm.map(|(member, _)| format!("{name}.type.hvm.{member}")));
            }
            "disks" => others.extend(devices(
                name,
                value,
                &["pdev_path", "vdev", "backend", "format", "readwrite", "discard_enable", "removable", "is_cdrom"],
            )),
            "nics" => others.extend(devices(name, value, &["devid", "mac", "bridge", "ip", "nictype", "mtu"])),
            "on_poweroff" | "on_reboot" | "on_crash" => {}
            _ => others.push(name.clone()),
        }
    }
    for disk in json["disks"].as_array().into_iter().flatten() {
        // QEMU serves every CD-ROM drive, an empty one too.
        if disk["is_cdrom"].as_u64() == Some(1) {
            continue;
        }
        let format = disk["format"].as_str().filter(|format| *format != "raw");
        let backend = disk["backend"].as_str().filter(|backend| !matches!(*backend, "phy" | "unknown"));
        others
            .extend(format.or(backend).map(|word| format!("{word} of disk {}", disk["vdev"].as_str().unwrap_or("?"))));
    }
    others.retain(|other| !KNOWN.contains(&other.as_str()));
    others.sort();
    others.dedup();
    others
}

/// Whether a part is not there: its switch is off, or that of everything in it.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(is_off),
        other => other.as_str() == Some("False"),
    }
}

fn devices(list: &str, value: &Value, known: &[&str]) -> Vec<String> {
    let members = value.as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
    members
        // `colo_restore_enable` is written whatever it is.
        .filter(|(member, value)| !known.contains(&member.as_str()) && value.as_str() != Some("False"))
        .map(|(member, _)| format!("{list}.{member}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_guest_of_xl() {
        let stored = from_json(&json!({
            "c_info": {"type": "pv", "name": "web", "uuid": "00000000-0000-0000-0000-000000000001", "run_hotplug_scripts": "True"},
            "b_info": {"max_vcpus": 2, "avail_vcpus": [0], "max_memkb": 98304, "target_memkb": 98304, "kernel": "/srv/vmlinuz",
                "ramdisk": "/srv/initrd", "cmdline": "console=hvc0", "sched_params": {}, "claim_mode": "True", "type.pv": {}, "arch_arm": {}},
            "disks": [{"pdev_path": "/srv/a", "vdev": "xvda", "format": "raw", "readwrite": 1}, {"pdev_path": "/srv/b", "vdev": "xvdb", "format": "qcow2"}],
            "nics": [{"devid": 0, "mac": "00:16:3e:00:00:01", "bridge": "xenbr0", "rate_bytes_per_interval": 3}],
            "vfbs": [{"vnc": {"passwd": "secret"}}],
            "on_reboot": "restart", "on_crash": "preserve"
        }));
        insta::assert_snapshot!(serde_json::to_string_pretty(&stored).unwrap(), @r#"
        {
          "boot": {
            "kernel": {
              "kernel": "/srv/vmlinuz",
              "ramdisk": "/srv/initrd",
              "cmdline": "console=hvc0"
            }
          },
          "vcpus_online": 1,
          "on_poweroff": "destroy",
          "on_reboot": "restart",
          "on_crash": "preserve",
          "others": [
            "nics.rate_bytes_per_interval",
            "qcow2 of disk xvdb",
            "vfbs"
          ]
        }
        "#);
    }

    #[test]
    fn a_file_as_libxl_writes_it() {
        // Of an `xl create` with Xen 4.17, shortened.
        let text = "{\n    \"c_info\": {\n        \"type\": \"pv\",\n        \"name\": \"theirs\",\n        \"domid\": 4294967295,\n        \
            \"run_hotplug_scripts\": \"True\"\n    },\n    \"b_info\": {\n        \"max_vcpus\": 3,\n        \"avail_vcpus\": [\n 0,\n 1\n ],\n\
            \"video_memkb\": 0,\n \"kernel\": \"/srv/guests/vmlinuz\",\n \"type.pv\": {\n\n },\n \"arch_x86\": {\n \"msr_relaxed\": \"False\"\n }\n },\n\
            \"disks\": [ { \"pdev_path\": \"/srv/theirs.img\", \"vdev\": \"xvda\", \"format\": \"raw\", \"readwrite\": 1,\n\
            \"colo_restore_enable\": \"False\" } ],\n \"on_reboot\": \"restart\",\n \"on_soft_reset\": \"soft_reset\"\n}\n\0";
        let stored = from_bytes(text.as_bytes()).unwrap();
        assert_eq!((stored.vcpus_online, stored.on_reboot.as_str()), (Some(2), "restart"));
        assert_eq!(stored.others, Vec::<String>::new());
        assert_eq!(from_bytes(b"{"), None);
    }

    #[test]
    fn an_hvm_guest() {
        // As Xen 4.17 writes it, shortened; but for `usb`.
        let hvm = json!({"bios": "ovmf", "vga": {}, "vnc": {"enable": "False"}, "sdl": {}, "spice": {}, "serial": "pty", "boot": "dca", "rdm": {}});
        let of = |hvm: Value| {
            from_json(&json!({
                "b_info": {"max_vcpus": 1, "video_memkb": 8192, "claim_mode": "True", "type.hvm": hvm},
                "disks": [
                    {"pdev_path": "/srv/pc.img", "vdev": "hda", "format": "raw", "readwrite": 1, "colo_restore_enable": "False"},
                    {"vdev": "hdc", "format": "empty", "removable": 1, "is_cdrom": 1, "colo_restore_enable": "False"}
                ]
            }))
        };
        let stored = of(hvm);
        assert_eq!(stored.boot, Some(BootConfig::Devices(vec![BootDevice::Cdrom, BootDevice::Disk])));
        assert_eq!((stored.firmware, stored.others), (Some(Firmware::Uefi), Vec::<String>::new()));
        let stored = of(json!({"bios": "rombios", "vnc": {"enable": "True"}, "usb": "True", "serial": "none"}));
        assert_eq!(stored.boot, Some(BootConfig::Devices(vec![BootDevice::Disk, BootDevice::Cdrom])));
        let others = ["bios", "serial", "usb", "vnc"].map(|member| format!("b_info.type.hvm.{member}"));
        assert_eq!((stored.firmware, stored.others), (None, others.to_vec()));
    }

    #[test]
    fn grub_and_bootloaders() {
        let boot = |b_info: Value| {
            let stored = from_json(&json!({"b_info": b_info}));
            (stored.boot, stored.bootloader)
        };
        assert_eq!(boot(json!({"kernel": GRUB_PV})), (Some(BootConfig::Grub), None));
        assert_eq!(boot(json!({"bootloader": "pygrub"})), (None, Some("pygrub".to_owned())));
        assert_eq!(boot(json!({})), (None, None));
    }
}
