//! What a change of each field does to a running VM: the whole table.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;
use planner::Effect;
use planner::classify::{FieldChange, Group, all_new, compare, with_group};
use planner::config::{Disk, Drive, Hvm, Nic, Power, Restart, VmConfig};
use protocol::{BootConfig, DomainKind, Firmware, Sched};
use std::collections::BTreeSet;

fn drive(name: &str, target: &str, medium: Option<&str>) -> Drive {
    Drive { name: name.parse().unwrap(), target: target.to_owned(), medium: medium.map(str::to_owned) }
}

/// Also what only another kind of guest has: the table is of all fields.
fn config() -> VmConfig {
    let disk =
        Disk { name: "root".parse().unwrap(), target: "xvda".to_owned(), path: "/srv/a".to_owned(), read_only: false };
    let nic = Nic {
        name: "lan0".parse().unwrap(),
        mac: "00:16:3e:00:00:01".parse().unwrap(),
        bridge: "xenbr0".to_owned(),
        devid: None,
    };
    VmConfig {
        kind: DomainKind::Pvh,
        power: Power::Running,
        restart: Restart::OnFailure,
        vcpus_online: 1,
        vcpus_max: 2,
        memory_kib: 1024,
        memory_max_kib: 2048,
        partition: None,
        pins: None,
        soft_pins: None,
        sched: Sched { weight: 256, cap: 0 },
        boot: BootConfig::Kernel { kernel: "/k".to_owned(), ramdisk: None, cmdline: None },
        disks: vec![disk],
        nics: vec![nic],
        hvm: Some(Hvm { firmware: Firmware::Bios, vnc: false, cdroms: vec![drive("cd", "hdc", Some("/srv/a.iso"))] }),
        shutdown_timeout_s: 60,
        crash_dumps: 0,
    }
}

/// Every field with another value. A struct literal without `..`: a new field does not compile until it is in the table.
fn other() -> VmConfig {
    let disk =
        Disk { name: "root".parse().unwrap(), target: "xvdb".to_owned(), path: "/srv/b".to_owned(), read_only: true };
    let more =
        Disk { name: "data".parse().unwrap(), target: "xvdc".to_owned(), path: "/srv/c".to_owned(), read_only: false };
    VmConfig {
        kind: DomainKind::Pv,
        power: Power::Stopped,
        restart: Restart::Always,
        vcpus_online: 2,
        vcpus_max: 4,
        memory_kib: 2048,
        memory_max_kib: 4096,
        partition: Some("a".parse().unwrap()),
        pins: Some(["0.2".to_owned()].into()),
        soft_pins: Some(["0.2".to_owned()].into()),
        sched: Sched { weight: 512, cap: 50 },
        boot: BootConfig::Grub,
        disks: vec![disk, more],
        nics: Vec::new(),
        hvm: Some(Hvm {
            firmware: Firmware::Uefi,
            vnc: true,
            cdroms: vec![drive("more", "hdc", Some("/srv/c.iso")), drive("cd", "hdd", Some("/srv/b.iso"))],
        }),
        shutdown_timeout_s: 90,
        crash_dumps: 2,
    }
}

#[test]
fn every_field_has_its_effect() {
    let table: Vec<String> = compare(&config(), &other())
        .into_iter()
        .map(|field| {
            let (old, new) = (field.change.old.unwrap_or_default(), field.change.new.unwrap_or_default());
            let effect = format!("{:?}", field.effect);
            let group = format!("{:?}", field.group);
            format!("{effect:<8} {group:<10} {}: {old} -> {new}", field.change.field)
        })
        .collect();
    assert_snapshot!(table.join("\n"), @r"
    Restart  Built      spec.type: pvh -> pv
    Stop     Power      spec.power: running -> stopped
    Live     Policy     spec.restart: on-failure -> always
    Live     Vcpus      spec.vcpus.online: 1 -> 2
    Restart  Built      spec.vcpus.max: 2 -> 4
    Live     Memory     spec.memory.target: 1Mi -> 2Mi
    Restart  Built      spec.memory.max: 2Mi -> 4Mi
    Live     Placement  spec.cpu.partition:  -> a
    Live     Placement  spec.cpu.pins:  -> 0.2
    Live     Placement  spec.cpu.softPins:  -> 0.2
    Live     Sched      spec.cpu.weight: 256 -> 512
    Live     Sched      spec.cpu.cap: 0 -> 50
    Live     Policy     spec.shutdown.timeout: 60s -> 90s
    Live     Policy     spec.crashDumps:  -> 2
    Restart  Built      spec.boot.grub:  -> true
    Restart  Built      spec.disks[root].target: xvda -> xvdb
    Restart  Built      spec.disks[root].path: /srv/a -> /srv/b
    Restart  Built      spec.disks[root].readOnly: false -> true
    Live     Disks      spec.disks[data].target:  -> xvdc
    Live     Disks      spec.disks[data].path:  -> /srv/c
    Live     Disks      spec.disks[data].readOnly:  -> false
    Restart  Built      spec.firmware: bios -> uefi
    Restart  Built      spec.vnc:  -> true
    Restart  Built      spec.cdroms[more].target:  -> hdc
    Restart  Built      spec.cdroms[more].medium:  -> /srv/c.iso
    Restart  Built      spec.cdroms[cd].target: hdc -> hdd
    Live     Media      spec.cdroms[cd].medium: /srv/a.iso -> /srv/b.iso
    Restart  Built      spec.boot.kernel: /k -> 
    Live     Nics       spec.nics[lan0].device: 0 -> 
    Live     Nics       spec.nics[lan0].mac: 00:16:3e:00:00:01 -> 
    Live     Nics       spec.nics[lan0].bridge: xenbr0 ->
    ");
    assert!(compare(&config(), &config()).is_empty());
}

/// The effect is the language's, the operation the planner's: neither may promise what the other does not keep.
#[test]
fn what_takes_a_restart_is_built_and_what_is_live_is_not() {
    let all = compare(&config(), &other());
    for FieldChange { change, group, effect } in all {
        let expected = match group {
            Group::Built => Effect::Restart,
            Group::Power => Effect::Stop,
            Group::Placement
            | Group::Sched
            | Group::Memory
            | Group::Vcpus
            | Group::Disks
            | Group::Nics
            | Group::Media
            | Group::Policy => Effect::Live,
        };
        assert_eq!(effect, expected, "{}", change.field);
    }
}

/// Fields of the language that only pinfold itself reads, or that say which object it is.
const NO_CONFIGURATION: [&str; 10] = [
    "metadata.name",
    "metadata.labels",
    "spec.host",
    "spec.protect",
    "spec.formerly",
    "spec.uuid",
    "spec.mode",
    "spec.disks.name",
    "spec.nics.name",
    "spec.cdroms.name",
];

#[test]
fn every_field_of_the_language_is_classified() {
    let plain = |path: &str| {
        let parts = path.split('.').map(|part| part.split('[').next().unwrap_or_default());
        parts.collect::<Vec<_>>().join(".")
    };
    let mut classified: BTreeSet<String> =
        compare(&config(), &other()).iter().map(|field| plain(&field.change.field)).collect();
    classified.extend(["spec.boot.ramdisk", "spec.boot.cmdline", "spec.boot.order"].map(str::to_owned));
    classified.extend(NO_CONFIGURATION.map(str::to_owned));
    for (_, path, _) in schema::effect::all().into_iter().filter(|(kind, ..)| *kind == schema::Kind::VirtualMachine) {
        let path =
            plain(&path).replace("nics.network", "nics.bridge").replace("ins.socket", "ins").replace("ins.core", "ins");
        assert!(classified.contains(&path) || matches!(&*path, "apiVersion" | "kind"), "{path} is not classified");
    }
}

#[test]
fn the_groups_together_are_the_whole_configuration() {
    let all = Group::ALL.iter().fold(config(), |config, group| with_group(&config, &other(), *group));
    assert_eq!(all, other());
    assert!(all_new(&config()).iter().all(|change| change.old.is_none() && change.new.is_some()));
}
