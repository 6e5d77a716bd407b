//! A [`DomainConfig`] in libxl's JSON, and the check that libxl understood all of it.
//!
//! Pure. libxl ignores members that it does not know and leaves members with their default value out of what it prints, so nothing here
//! is written with libxl's own default: [`not_understood`] may then demand every member back.

use crate::device_model::BLANK;
use protocol::{
    BootConfig, BootDevice, Cdrom, CpuSet, DiskConfig, DomainConfig, DomainKind, Firmware, HvmConfig, NicConfig,
    vnc_socket,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// GRUB's images, as Debian's package `grub-xen-host` installs them.
pub(crate) const GRUB_PV: &str = "/usr/lib/grub-xen/grub-x86_64-xen.bin";
/// See [`GRUB_PV`]; a PVH guest starts in 32-bit mode.
pub(crate) const GRUB_PVH: &str = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin";

/// The JSON for `libxl_domain_config_from_json`. Bitmaps are lists of bits, `libxl_defbool` is the word `True` or `False`.
pub(crate) fn to_libxl(config: &DomainConfig, poolid: u32) -> Value {
    let DomainConfig {
        name,
        mark,
        kind,
        vcpus_max,
        vcpus_online,
        memory_kib,
        memory_max_kib,
        placement,
        boot,
        disks,
        nics,
        hvm,
        memory_reserve_kib: _,
        // Every domain is built paused.
        stays_paused: _,
    } = config;
    let kind_name = match kind {
        DomainKind::Pv => "pv",
        DomainKind::Pvh => "pvh",
        DomainKind::Hvm => "hvm",
    };
    let mut c_info = json!({
        "type": kind_name,
        "name": name,
        "uuid": mark.uuid,
        // Written below /local/domain/N in the transaction that introduces the domain (libxl__domain_make).
        "xsdata": {
            "pinfold/pool": mark.pool_id,
            "pinfold/uuid": mark.uuid,
            "pinfold/incarnation": mark.incarnation,
        },
    });
    // The number, never a name: libxl finds names in a list that ends at the first cpupool without one.
    if poolid != 0 {
        c_info["poolid"] = poolid.into();
    }
    let mut b_info = json!({
        "max_vcpus": vcpus_max,
        "avail_vcpus": bits(&CpuSet::first(*vcpus_online)),
        "vcpu_hard_affinity": placement.hard.iter().map(bits).collect::<Value>(),
        // Automatic placement would add soft affinities of its own to the masks.
        "numa_placement": "False",
        "max_memkb": memory_max_kib,
        "target_memkb": memory_kib,
        "claim_mode": "True",
        "sched_params": {"weight": placement.sched.weight, "cap": placement.sched.cap},
    });
    if let Some(soft) = &placement.soft {
        b_info["vcpu_soft_affinity"] = placement.hard.iter().map(|_| bits(soft)).collect();
    }
    b_info[format!("type.{kind_name}")] = hvm.as_ref().map_or_else(|| json!({}), |hvm| hvm_json(hvm, mark.uuid, boot));
    match boot {
        BootConfig::Devices(_) => {}
        BootConfig::Kernel { kernel, ramdisk, cmdline } => {
            b_info["kernel"] = kernel.as_str().into();
            for (member, text) in [("ramdisk", ramdisk), ("cmdline", cmdline)] {
                if let Some(text) = text {
                    b_info[member] = text.as_str().into();
                }
            }
        }
        BootConfig::Grub => b_info["kernel"] = if *kind == DomainKind::Pv { GRUB_PV } else { GRUB_PVH }.into(),
    }
    let drives = hvm.iter().flat_map(|hvm| &hvm.cdroms).map(|Cdrom { target, medium }| {
        let medium = medium.clone().unwrap_or_else(|| BLANK.to_owned());
        cdrom_json(&Cdrom { target: target.clone(), medium: Some(medium) })
    });
    let disks: Vec<Value> = disks.iter().map(disk_json).chain(drives).collect();
    let nics: Vec<Value> =
        nics.iter().zip(0_u32..).map(|(nic, place)| nic_json(nic, nic.devid.unwrap_or(place))).collect();
    let mut whole = json!({"c_info": c_info, "b_info": b_info});
    if !disks.is_empty() {
        whole["disks"] = disks.into();
    }
    if !nics.is_empty() {
        whole["nics"] = nics.into();
    }
    whole
}

/// What only HVM has. libxl's defaults would choose another graphics card with every release, listen on TCP, and have no console.
fn hvm_json(HvmConfig { firmware, vnc, cdroms: _ }: &HvmConfig, vm: Uuid, boot: &BootConfig) -> Value {
    let vnc = if *vnc {
        // libxl hands what has a colon in it to QEMU as it is (libxl_dm.c, `libxl__build_device_model_args_new`), and QEMU knows no other
        // port to look for there.
        json!({"enable": "True", "listen": format!("unix:{}", vnc_socket(vm)), "findunused": "False"})
    } else {
        json!({"enable": "False"})
    };
    let mut json = json!({
        "bios": match firmware {
            Firmware::Bios => "seabios",
            Firmware::Uefi => "ovmf",
        },
        "serial": "pty",
        "vga": {"kind": "std"},
        "vnc": vnc,
    });
    if let BootConfig::Devices(order) = boot {
        let letter = |device: &BootDevice| match device {
            BootDevice::Disk => 'c',
            BootDevice::Cdrom => 'd',
            BootDevice::Network => 'n',
        };
        json["boot"] = order.iter().map(letter).collect::<String>().into();
    }
    json
}

/// The JSON of a CD-ROM drive for `libxl_device_disk_from_json`. QEMU serves it, as libxl demands of HVM (libxl_disk.c).
pub(crate) fn cdrom_json(Cdrom { target, medium }: &Cdrom) -> Value {
    let mut json = json!({"vdev": target, "backend": "qdisk", "removable": 1, "is_cdrom": 1});
    match medium {
        Some(path) => {
            json["pdev_path"] = path.as_str().into();
            json["format"] = "raw".into();
        }
        None => json["format"] = "empty".into(),
    }
    json
}

/// The JSON for `libxl_device_disk_from_json`.
pub(crate) fn disk_json(disk: &DiskConfig) -> Value {
    let DiskConfig { target, path, read_only } = disk;
    let mut json = json!({"pdev_path": path, "vdev": target, "backend": "phy", "format": "raw"});
    if !read_only {
        json["readwrite"] = 1.into();
    }
    json
}

/// The JSON for `libxl_device_nic_from_json`.
pub(crate) fn nic_json(nic: &NicConfig, devid: u32) -> Value {
    json!({"devid": devid, "mac": nic.mac.to_lowercase(), "bridge": nic.bridge})
}

/// The members of `written` that libxl did not give back, as paths such as `b_info.max_vcpus`.
pub(crate) fn not_understood(written: &Value, read_back: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    compare("", written, read_back, &mut missing);
    missing
}

fn compare(path: &str, written: &Value, read_back: &Value, missing: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (written, read_back) {
        (Value::Object(written), Value::Object(read_back)) => {
            for (name, value) in written {
                // An empty object says which member of a union is meant; libxl prints it when it was understood.
                compare(&below(name), value, read_back.get(name).unwrap_or(&Value::Null), missing);
            }
        }
        (Value::Array(written), Value::Array(read_back)) if written.len() == read_back.len() => {
            for (index, (written, read_back)) in written.iter().zip(read_back).enumerate() {
                compare(&below(&index.to_string()), written, read_back, missing);
            }
        }
        _ if written == read_back => {}
        _ => missing.push(path.to_owned()),
    }
}

/// A `libxl_bitmap` in JSON.
fn bits(cpus: &CpuSet) -> Value {
    cpus.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Mark, Placement, Sched};

    fn config(kind: DomainKind) -> DomainConfig {
        DomainConfig {
            name: "web".to_owned(),
            mark: Mark { pool_id: Uuid::from_u128(1), uuid: Uuid::from_u128(2), incarnation: Uuid::from_u128(3) },
            kind,
            vcpus_max: 2,
            vcpus_online: 1,
            memory_kib: 65536,
            memory_max_kib: 131_072,
            placement: Placement {
                cpupool: None,
                hard: vec!["2-3".parse().unwrap(), "2".parse().unwrap()],
                soft: None,
                sched: Sched { weight: 256, cap: 0 },
            },
            boot: BootConfig::Grub,
            disks: Vec::new(),
            nics: Vec::new(),
            hvm: None,
            memory_reserve_kib: 1024,
            stays_paused: false,
        }
    }

    /// A member of the second level on each line.
    fn lines(json: &Value) -> String {
        let mut lines = Vec::new();
        for (name, value) in json.as_object().unwrap() {
            match value {
                Value::Object(members) => {
                    lines.extend(members.iter().map(|(member, value)| format!("{name}.{member} {value}")));
                }
                value => lines.extend(value.as_array().unwrap().iter().map(|value| format!("{name} {value}"))),
            }
        }
        lines.join("\n")
    }

    #[test]
    fn kernel_guest_with_devices() {
        let mut config = config(DomainKind::Pvh);
        config.boot = BootConfig::Kernel {
            kernel: "/boot/vmlinuz".to_owned(),
            ramdisk: Some("/boot/initrd.img".to_owned()),
            cmdline: None,
        };
        let disk = |target: &str, read_only| DiskConfig {
            target: target.to_owned(),
            path: format!("/srv/{target}.img"),
            read_only,
        };
        config.disks = vec![disk("xvda", false), disk("xvdb", true)];
        config.nics = vec![NicConfig { mac: "02:00:00:AA:BB:CC".to_owned(), bridge: "xenbr0".to_owned(), devid: None }];
        insta::assert_snapshot!(lines(&to_libxl(&config, 3)), @r#"
        b_info.avail_vcpus [0]
        b_info.claim_mode "True"
        b_info.kernel "/boot/vmlinuz"
        b_info.max_memkb 131072
        b_info.max_vcpus 2
        b_info.numa_placement "False"
        b_info.ramdisk "/boot/initrd.img"
        b_info.sched_params {"cap":0,"weight":256}
        b_info.target_memkb 65536
        b_info.type.pvh {}
        b_info.vcpu_hard_affinity [[2,3],[2]]
        c_info.name "web"
        c_info.poolid 3
        c_info.type "pvh"
        c_info.uuid "00000000-0000-0000-0000-000000000002"
        c_info.xsdata {"pinfold/incarnation":"00000000-0000-0000-0000-000000000003","pinfold/pool":"00000000-0000-0000-0000-000000000001","pinfold/uuid":"00000000-0000-0000-0000-000000000002"}
        disks {"backend":"phy","format":"raw","pdev_path":"/srv/xvda.img","readwrite":1,"vdev":"xvda"}
        disks {"backend":"phy","format":"raw","pdev_path":"/srv/xvdb.img","vdev":"xvdb"}
        nics {"bridge":"xenbr0","devid":0,"mac":"02:00:00:aa:bb:cc"}
        "#);
    }

    #[test]
    fn grub_guest_in_pool_0() {
        insta::assert_snapshot!(lines(&to_libxl(&config(DomainKind::Pv), 0)), @r#"
        b_info.avail_vcpus [0]
        b_info.claim_mode "True"
        b_info.kernel "/usr/lib/grub-xen/grub-x86_64-xen.bin"
        b_info.max_memkb 131072
        b_info.max_vcpus 2
        b_info.numa_placement "False"
        b_info.sched_params {"cap":0,"weight":256}
        b_info.target_memkb 65536
        b_info.type.pv {}
        b_info.vcpu_hard_affinity [[2,3],[2]]
        c_info.name "web"
        c_info.type "pv"
        c_info.uuid "00000000-0000-0000-0000-000000000002"
        c_info.xsdata {"pinfold/incarnation":"00000000-0000-0000-0000-000000000003","pinfold/pool":"00000000-0000-0000-0000-000000000001","pinfold/uuid":"00000000-0000-0000-0000-000000000002"}
        "#);
    }

    #[test]
    fn hvm_guest_with_firmware_screen_and_drives() {
        let mut config = config(DomainKind::Hvm);
        config.boot = BootConfig::Devices(vec![BootDevice::Cdrom, BootDevice::Disk, BootDevice::Network]);
        config.disks = vec![DiskConfig { target: "hda".to_owned(), path: "/srv/hda.img".to_owned(), read_only: false }];
        let drive =
            |target: &str, medium: Option<&str>| Cdrom { target: target.to_owned(), medium: medium.map(str::to_owned) };
        let cdroms = vec![drive("hdc", Some("/srv/a.iso")), drive("hdd", None)];
        config.hvm = Some(HvmConfig { firmware: Firmware::Uefi, vnc: true, cdroms });
        let json = to_libxl(&config, 0);
        insta::assert_snapshot!(
            format!("{}\n{}", json["b_info"]["type.hvm"], lines(&json!({"disks": json["disks"]}))),
            @r#"
            {"bios":"ovmf","boot":"dcn","serial":"pty","vga":{"kind":"std"},"vnc":{"enable":"True","findunused":"False","listen":"unix:/run/pinfold/vnc/00000000-0000-0000-0000-000000000002"}}
            disks {"backend":"phy","format":"raw","pdev_path":"/srv/hda.img","readwrite":1,"vdev":"hda"}
            disks {"backend":"qdisk","format":"raw","is_cdrom":1,"pdev_path":"/srv/a.iso","removable":1,"vdev":"hdc"}
            disks {"backend":"qdisk","format":"raw","is_cdrom":1,"pdev_path":"/run/pinfold/blank.iso","removable":1,"vdev":"hdd"}
            "#
        );
        config.hvm = Some(HvmConfig { firmware: Firmware::Bios, vnc: false, cdroms: Vec::new() });
        config.boot = BootConfig::Kernel { kernel: "/boot/vmlinuz".to_owned(), ramdisk: None, cmdline: None };
        let json = to_libxl(&config, 0);
        insta::assert_snapshot!(format!("{} {}", json["b_info"]["type.hvm"], json["b_info"]["kernel"]), @r#"{"bios":"seabios","serial":"pty","vga":{"kind":"std"},"vnc":{"enable":"False"}} "/boot/vmlinuz""#);
    }

    #[test]
    fn what_libxl_did_not_take_is_named() {
        let check = |written: Value, read_back: Value| not_understood(&written, &read_back).join(" ");
        let written = json!({"c_info": {"name": "a", "type": "pv"}, "nics": [{"devid": 0, "vlan": 3}], "u": {}});
        let mut read_back = written.clone();
        assert_eq!(check(written.clone(), read_back.clone()), "");
        read_back["more"] = json!({"default": 1});
        assert_eq!(check(written.clone(), read_back.clone()), "");
        read_back["nics"][0]["vlan"] = Value::Null;
        read_back["c_info"]["name"] = "b".into();
        read_back.as_object_mut().map(|all| all.remove("u"));
        assert_eq!(check(written, read_back), "c_info.name nics.0.vlan u");
    }
}
