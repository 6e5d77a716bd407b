//! Laws of importing: what xl can say of a VM comes back as the same VM, by way of the manifest too; and no text makes it panic or lose a key silently.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use schema::desired::{Boot, BootDevice, Cdrom, Cpu, Disk, Firmware, Hvm, Memory, Nic, Restart, Vcpus, Vm, VmType};
use schema::units::{Core, Cores, Mac, Size};
use std::collections::BTreeMap;
use std::fmt::Write as _;

fn cores() -> impl Strategy<Value = Vec<u32>> {
    btree_set(1_u32..7, 1..4).prop_map(|cores| cores.into_iter().collect())
}

fn cpu() -> impl Strategy<Value = Cpu> {
    let placed = prop_oneof![
        Just((None, None)),
        Just((Some("oracle-a".parse().unwrap()), None)),
        cores().prop_map(|cores| (None, Some(cores.into_iter().map(|core| Core { socket: 0, core }).collect()))),
    ];
    (placed, any::<bool>(), option::of(1_u16..), option::of(0_u16..=100)).prop_map(
        |((partition, pins), prefers, weight, cap)| {
            let pins: Option<Cores> = pins;
            // Of those that it is limited to.
            let soft_pins = pins.iter().flatten().next().filter(|_| prefers).map(|core| Cores::from([*core]));
            Cpu { partition, pins, soft_pins, weight, cap }
        },
    )
}

fn boot() -> impl Strategy<Value = Boot> {
    let text = "[ -~äß]{0,20}";
    let kernel = ("/[a-z]{1,8}(/[a-z0-9.,é-]{1,8}[a-z])?", option::of("/[a-z]{1,8}"), option::of(text));
    prop_oneof![
        kernel.prop_map(|(kernel, ramdisk, cmdline)| Boot::Kernel { kernel, ramdisk, cmdline }),
        Just(Boot::Grub),
    ]
}

fn disks() -> impl Strategy<Value = Vec<Disk>> {
    vec(("/[a-z]{1,4}/[a-z0-9,: =-]{0,6}[a-z]", any::<bool>()), 1..4).prop_map(|disks| {
        let disk = |(index, (path, read_only)): (usize, (String, bool))| {
            let target = format!("xvd{}", ["a", "b", "c1", "ab"][index]);
            Disk { name: target.parse().unwrap(), target, path: format!("{path}{index}"), read_only }
        };
        disks.into_iter().enumerate().map(disk).collect()
    })
}

fn nics() -> impl Strategy<Value = Vec<Nic>> {
    vec(option::of(any::<[u8; 5]>()), 0..3).prop_map(|macs| {
        let nic = |(index, mac): (usize, Option<[u8; 5]>)| Nic {
            name: format!("nic{index}").parse().unwrap(),
            network: "lan".parse().unwrap(),
            mac: mac.map(|[a, b, c, d, _]| Mac([2, a, b, c, d, u8::try_from(index).unwrap()])),
        };
        macs.into_iter().enumerate().map(nic).collect()
    })
}

/// What xl can say: no labels, no power, no time of a graceful stop; a restart always, since xl's own default is another than ours.
fn vm() -> impl Strategy<Value = Vm> {
    let restart = select(vec![Restart::Always, Restart::OnFailure, Restart::Never]);
    let numbers = (1_u32..=4, option::of(1_u32..=4), 4_u64..=9000, option::of(1_u64..=9000));
    let what = ("[a-d][a-z0-9-]{0,8}[a-z0-9]", select(vec![VmType::Pv, VmType::Pvh]), restart, option::of(1_u128..));
    (what, numbers, cpu(), boot(), disks(), nics()).prop_map(|(what, numbers, cpu, boot, disks, nics)| {
        let ((name, kind, restart, uuid), (online, more, target, more_mib)) = (what, numbers);
        Vm {
            name: name.parse().unwrap(),
            labels: BTreeMap::new(),
            host: "xen1".parse().unwrap(),
            kind,
            power: None,
            restart: Some(restart),
            vcpus: Vcpus { online, max: more.map(|more| online + more) },
            memory: Memory { target: Size::from_mib(target), max: more_mib.map(|more| Size::from_mib(target + more)) },
            cpu,
            boot,
            disks,
            nics,
            hvm: None,
            shutdown_timeout: None,
            crash_dumps: None,
            protect: false,
            formerly: Vec::new(),
            uuid: uuid.map(uuid::Uuid::from_u128),
            mode: None,
        }
    })
}

/// Of `boot`.
fn letter(device: BootDevice) -> char {
    match device {
        BootDevice::Disk => 'c',
        BootDevice::Cdrom => 'd',
        BootDevice::Network => 'n',
    }
}

/// The same VM as an HVM guest: with an emulated disk and drives, and an order of them.
fn hvm() -> impl Strategy<Value = Vm> {
    let medium = || option::of("/[a-z]{1,4}/[a-z0-9,: =-]{0,6}[a-z]");
    let order = vec![vec![BootDevice::Disk], vec![BootDevice::Cdrom, BootDevice::Disk], vec![BootDevice::Network]];
    (vm(), medium(), medium(), any::<bool>(), any::<bool>(), select(order)).prop_map(
        |(mut vm, one, other, uefi, vnc, order)| {
            let drives = [("hdc", one), ("hdd", other)];
            let cdroms = drives.map(|(target, medium)| Cdrom {
                name: target.parse().unwrap(),
                target: target.to_owned(),
                medium,
            });
            let disk = Disk {
                target: "hda".to_owned(),
                name: "hda".parse().unwrap(),
                read_only: false,
                ..vm.disks[0].clone()
            };
            // `xvda` to `xvdd` become emulated ones.
            vm.disks.retain(|disk| disk.target == "xvdab");
            vm.disks.insert(0, disk);
            if vm.nics.is_empty() && order == [BootDevice::Network] {
                vm.boot = Boot::Devices(vec![BootDevice::Disk]);
            } else if !matches!(&vm.boot, Boot::Kernel { .. }) || vnc {
                vm.boot = Boot::Devices(order);
            }
            let firmware = if uefi { Firmware::Uefi } else { Firmware::Bios };
            let memory = Memory { target: Size::from_mib(vm.memory.target.kib() / 1024 + 32), max: None };
            Vm { kind: VmType::Hvm, hvm: Some(Hvm { firmware, vnc, cdroms: cdroms.into() }), memory, ..vm }
        },
    )
}

/// A string of xl, in single or double quotes.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
    if text.len().is_multiple_of(2) { format!("'{escaped}'") } else { format!("\"{}\"", escaped.replace('"', "\\\"")) }
}

fn list(key: &str, items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.map(|item| format!("  {}, # one", quoted(&item))).collect();
    format!("{key} = [\n{}\n]\n", items.join("\n"))
}

/// A VM as xl writes it. The test's own: nothing of the importer is used.
fn as_xl(vm: &Vm) -> String {
    let kind = match vm.kind {
        VmType::Pv => "pv",
        VmType::Pvh => "pvh",
        VmType::Hvm => "hvm",
    };
    let mut text = format!(
        "name = '{}'\ntype = \"{kind}\" ; vcpus={}\nmemory = {}\n",
        vm.name,
        vm.vcpus.online,
        vm.memory.target.kib() / 1024
    );
    let mut number = |key: &str, value: Option<u64>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    };
    number("maxvcpus", vm.vcpus.max.map(u64::from));
    number("maxmem", vm.memory.max.map(|max| max.kib() / 1024));
    number("cpu_weight", vm.cpu.weight.map(u64::from));
    number("cap", vm.cpu.cap.map(u64::from));
    let mut word = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={}", quoted(&value));
        }
    };
    word("uuid", vm.uuid.map(|uuid| uuid.to_string()));
    word("pool", vm.cpu.partition.as_ref().map(ToString::to_string));
    // Two threads a core, as the site has them.
    let threads = |pins: &schema::units::Cores| {
        pins.iter().map(|core| format!("{}-{}", core.core * 2, core.core * 2 + 1)).collect::<Vec<_>>().join(",")
    };
    word("cpus", vm.cpu.pins.as_ref().map(threads));
    word("cpus_soft", vm.cpu.soft_pins.as_ref().map(threads));
    match &vm.boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            word("kernel", Some(kernel.clone()));
            word("ramdisk", ramdisk.clone());
            word("cmdline", cmdline.clone());
        }
        Boot::Grub => word("kernel", Some("/usr/lib/grub-xen/grub-x86_64-xen.bin".to_owned())),
        Boot::Devices(order) => word("boot", Some(order.iter().map(|device| letter(*device)).collect())),
    }
    if let Some(hvm) = &vm.hvm {
        word("bios", (hvm.firmware == Firmware::Uefi).then(|| "ovmf".to_owned()));
        word("vnc", Some(if hvm.vnc { "1" } else { "0" }.to_owned()));
        word("serial", Some("pty".to_owned()));
    }
    let (poweroff, crash) = match vm.restart.unwrap() {
        Restart::Always => ("restart", "restart"),
        Restart::OnFailure => ("destroy", "restart"),
        Restart::Never => ("destroy", "destroy"),
    };
    word("on_poweroff", Some(poweroff.to_owned()));
    word("on_crash", Some(crash.to_owned()));
    let disk = |disk: &Disk| {
        let access = if disk.read_only { "ro" } else { "rw" };
        format!("format=raw, vdev={}, access={access}, target={}", disk.target, disk.path)
    };
    let drive = |drive: &Cdrom| {
        let medium = drive.medium.as_deref().unwrap_or_default();
        format!("format=raw, vdev={}, devtype=cdrom, target={medium}", drive.target)
    };
    let cdroms = vm.hvm.iter().flat_map(|hvm| &hvm.cdroms);
    text.push_str(&list("disk", vm.disks.iter().map(disk).chain(cdroms.map(drive))));
    let nic = |nic: &Nic| {
        let mac = nic.mac.map(|mac| format!("mac={mac},")).unwrap_or_default();
        format!("{mac}bridge=xenbr0")
    };
    text.push_str(&list("vif", vm.nics.iter().map(nic)));
    text
}

proptest! {
    #[test]
    fn a_vm_comes_back_from_xl_and_from_its_manifest(vm in prop_oneof![vm(), hvm()]) {
        let text = as_xl(&vm);
        let imported = import::xl(&[("vm.cfg".to_owned(), text.clone())], &common::site());
        prop_assert!(imported.findings.is_empty(), "{:#?} of\n{text}", imported.findings);
        prop_assert_eq!(&imported.vms.first().unwrap().1, &vm, "of\n{}", text);
        let desired = common::read(&common::manifests(&imported));
        prop_assert_eq!(desired.vms.values().collect::<Vec<_>>(), vec![&vm]);
    }

    #[test]
    fn any_text_is_read(text in "(\\PC|[\n='\"\\[\\]\\\\#;,]|memory|name|disk|vif|cpus|0x|\\+=){0,60}") {
        let imported = import::xl(&[("vm.cfg".to_owned(), text)], &common::site());
        prop_assert!(!imported.vms.is_empty() || !imported.findings.is_empty());
    }

    /// Each key ends in the manifest, or in the report with its line.
    #[test]
    fn no_key_is_lost_silently(keys in btree_set("q[a-z]{2,8}", 1..6)) {
        let mut text = "name='a'\nkernel='/k'\nmemory=64\n".to_owned();
        for key in &keys {
            let _ = writeln!(text, "{key} = 1");
        }
        let imported = import::xl(&[("vm.cfg".to_owned(), text)], &common::site());
        let lines: Vec<_> = imported.findings.iter().map(|finding| finding.location.as_ref().unwrap().line).collect();
        prop_assert_eq!(lines, (4..4 + u32::try_from(keys.len()).unwrap()).collect::<Vec<_>>());
    }
}
