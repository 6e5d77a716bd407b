//! What an author does to a repository. To add a field: a member of `config::Vm` (or another kind), its line in `text`, and a row here.

use crate::config::{Config, KINDS, POWERS, Partition, Place, Vm};
use crate::draw::Draw;

/// An edit: its name, how often it is drawn, and what it does. One that makes an invalid configuration is a refused commit.
pub type Edit = (&'static str, u32, fn(&mut Config, &mut Draw));

pub const EDITS: &[Edit] = &[
    ("vm added", 3, |config, draw| {
        if config.vms.len() < 5 {
            let (name, vm) = (config.name("v"), config.vm(draw));
            config.vms.insert(name, vm);
        }
    }),
    ("vm removed", 3, |config, draw| {
        if let Some(name) = a_name(config.vms.keys(), draw) {
            config.vms.remove(&name);
        }
    }),
    ("vm renamed", 2, |config, draw| {
        if let Some(name) = a_name(config.vms.keys(), draw) {
            let mut vm = config.vms.remove(&name).unwrap();
            vm.formerly.push(name);
            let name = config.name("v");
            config.vms.insert(name, vm);
        }
    }),
    ("vm of another toolstack declared", 2, |config, draw| {
        let (name, uuid) = crate::others::one(draw);
        if !config.vms.contains_key(&name) {
            let vm = Vm { uuid: Some(uuid), ..config.vm(draw) };
            config.vms.insert(name, vm);
        }
    }),
    ("vm.type", 1, |config, draw| vm(config, draw, |vm, draw| vm.kind = draw.word(KINDS))),
    ("vm.power", 5, |config, draw| vm(config, draw, |vm, draw| vm.power = draw.word(POWERS))),
    ("vm.mode", 2, |config, draw| {
        vm(config, draw, |vm, draw| vm.mode = draw.word(&["enforce", "enforce", "plan", "observe"]));
    }),
    ("vm.restart", 1, |config, draw| {
        vm(config, draw, |vm, draw| vm.restart = draw.word(&["always", "on-failure", "never"]));
    }),
    ("vm.vcpus.online", 2, |config, draw| vm(config, draw, |vm, draw| vm.online = draw.number(1, vm.max))),
    ("vm.vcpus.max", 1, |config, draw| vm(config, draw, |vm, draw| vm.max = vm.online + draw.number(0, 2))),
    ("vm.memory.target", 2, |config, draw| {
        vm(config, draw, |vm, draw| vm.memory_mib = draw.number(32, vm.memory_max_mib));
    }),
    ("vm.memory.max", 1, |config, draw| {
        vm(config, draw, |vm, draw| vm.memory_max_mib = vm.memory_mib + draw.number(0, 128));
    }),
    ("vm.cpu place", 4, |config, draw| {
        let place = config.place(draw);
        vm(config, draw, |vm, _| vm.place = place.clone());
    }),
    ("vm.cpu.pins", 1, |config, draw| {
        let cores = [0, config.cores - 1];
        vm(config, draw, |vm, draw| vm.place = Place::Pinned(cores[..draw.number(1, 2) as usize].to_vec()));
    }),
    ("vm.cpu.weight", 2, |config, draw| vm(config, draw, |vm, draw| vm.weight = draw.number(1, 65_535))),
    ("vm.cpu.cap", 2, |config, draw| vm(config, draw, |vm, draw| vm.cap = draw.number(0, 100 * vm.max))),
    ("vm.boot.cmdline", 1, |config, draw| vm(config, draw, |vm, draw| vm.cmdline = draw.number(0, 3))),
    ("vm.boot.ramdisk", 1, |config, draw| vm(config, draw, |vm, _| vm.ramdisk = !vm.ramdisk)),
    ("vm.disks added", 2, |config, draw| {
        let path = format!("/srv/disk{}.img", draw.number(0, 39));
        let name = config.name("d");
        vm(config, draw, |vm, draw| {
            let target = format!("xvd{}", char::from(b'a' + u8::try_from(vm.disks.len() % 8).unwrap()));
            vm.disks.push((name.clone(), target, path.clone(), draw.chance(25)));
        });
    }),
    ("vm.disks removed", 1, |config, draw| vm(config, draw, |vm, _| drop(vm.disks.pop()))),
    ("vm.disks.readOnly", 1, |config, draw| {
        vm(config, draw, |vm, _| vm.disks.iter_mut().take(1).for_each(|disk| disk.3 = !disk.3));
    }),
    ("vm.cdroms", 1, |config, draw| {
        vm(config, draw, |vm, draw| vm.cdroms.resize(draw.number(0, 2) as usize, None));
    }),
    ("vm.cdroms.medium", 3, |config, draw| {
        let medium = draw.chance(70).then(|| format!("/srv/disk{}.img", draw.number(0, 39)));
        vm(config, draw, |vm, _| vm.cdroms.iter_mut().take(1).for_each(|drive| drive.clone_from(&medium)));
    }),
    ("vm.firmware", 1, |config, draw| vm(config, draw, |vm, draw| vm.firmware = draw.word(&["bios", "uefi"]))),
    ("vm.nics added", 2, |config, draw| {
        let network = a_name(config.networks.iter(), draw);
        let name = config.name("n");
        vm(config, draw, |vm, _| vm.nics.extend(network.clone().map(|network| (name.clone(), network, None))));
    }),
    ("vm.nics removed", 1, |config, draw| vm(config, draw, |vm, _| drop(vm.nics.pop()))),
    ("vm.nics.mac", 1, |config, draw| {
        let mac = format!("00:16:3e:00:{:02x}:{:02x}", draw.number(0, 255), draw.number(0, 255));
        vm(config, draw, |vm, _| vm.nics.iter_mut().take(1).for_each(|nic| nic.2 = Some(mac.clone())));
    }),
    ("vm.shutdown.timeout", 1, |config, draw| vm(config, draw, |vm, draw| vm.timeout_s = draw.number(1, 300))),
    ("vm.crashDumps", 2, |config, draw| vm(config, draw, |vm, draw| vm.crash_dumps = draw.number(0, 3))),
    ("vm.protect", 1, |config, draw| vm(config, draw, |vm, _| vm.protect = !vm.protect)),
    ("vm labels", 1, |config, draw| vm(config, draw, |vm, draw| vm.label = Some(draw.number(0, 9)))),
    ("network added", 1, |config, _| {
        let name = config.name("net");
        config.networks.insert(name);
    }),
    ("network removed", 1, |config, draw| {
        if let Some(name) = a_name(config.networks.iter(), draw) {
            config.networks.remove(&name);
        }
    }),
    ("partition added", 2, |config, draw| {
        let (name, cores) = (config.name("p"), config.free_cores(draw, 2));
        if !cores.is_empty() {
            config.partitions.insert(name, Partition { cores, formerly: Vec::new() });
        }
    }),
    ("partition removed, its VMs outside", 1, |config, draw| {
        if let Some(name) = a_name(config.partitions.keys(), draw) {
            config.partitions.remove(&name);
            for_members(config, &name, |vm| vm.place = Place::Anywhere);
        }
    }),
    ("partition grows", 2, |config, draw| {
        let more = config.free_cores(draw, 2);
        partition(config, draw, |partition| partition.cores.extend(&more));
    }),
    ("partition shrinks", 2, |config, draw| {
        partition(config, draw, |partition| {
            if partition.cores.len() > 1 {
                partition.cores.pop_last();
            }
        });
    }),
    ("partition moves to other cores", 2, |config, draw| {
        let cores = config.free_cores(draw, 3);
        partition(config, draw, |partition| {
            if !cores.is_empty() {
                partition.cores.clone_from(&cores);
            }
        });
    }),
    ("partitions swap cores", 1, |config, _| {
        let mut of = config.partitions.values_mut();
        if let (Some(one), Some(other)) = (of.next(), of.next()) {
            std::mem::swap(&mut one.cores, &mut other.cores);
        }
    }),
    ("partition renamed", 1, |config, draw| {
        if let Some(old) = a_name(config.partitions.keys(), draw) {
            let mut partition = config.partitions.remove(&old).unwrap();
            partition.formerly.push(old.clone());
            let name = config.name("p");
            for_members(config, &old, |vm| vm.place = Place::Partition(name.clone()));
            config.partitions.insert(name, partition);
        }
    }),
    ("pool.changes.restarts", 1, |config, draw| config.restarts = draw.word(&["allow", "at-next-start", "hold"])),
    ("host.mode", 1, |config, draw| config.mode = draw.word(&["enforce", "enforce", "plan", "observe"])),
    ("pool.changes.maxDeletions", 1, |config, draw| config.max_deletions = *draw.pick(&[0, 1, 100])),
];

fn a_name<'a>(names: impl Iterator<Item = &'a String>, draw: &mut Draw) -> Option<String> {
    let names: Vec<&String> = names.collect();
    (!names.is_empty()).then(|| (*draw.pick(&names)).clone())
}

fn vm(config: &mut Config, draw: &mut Draw, edit: impl Fn(&mut Vm, &mut Draw)) {
    if let Some(name) = a_name(config.vms.keys(), draw) {
        edit(config.vms.get_mut(&name).unwrap(), draw);
    }
}

fn partition(config: &mut Config, draw: &mut Draw, edit: impl Fn(&mut Partition)) {
    if let Some(name) = a_name(config.partitions.keys(), draw) {
        edit(config.partitions.get_mut(&name).unwrap());
    }
}

fn for_members(config: &mut Config, partition: &str, edit: impl Fn(&mut Vm)) {
    let member = |vm: &&mut Vm| matches!(&vm.place, Place::Partition(name) if name == partition);
    config.vms.values_mut().filter(member).for_each(edit);
}
