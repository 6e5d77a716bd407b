//! A configuration against one host as it is: what the manifests ask for and the host does not have.
//!
//! Never a reason to refuse a commit, because acceptance depends on git alone. `validate --inventory` shows these findings; on the host itself they are conditions.

use crate::desired::{Boot, Desired, Firmware, Vm};
use crate::finding::{Finding, Kind, Sources};
use crate::units::{Core, Cores, Name, Size};
use std::collections::{BTreeMap, BTreeSet};

/// What is known about a host. Unknown is never the same as absent: what is `None`, or not in a map, is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// The host, as its manifest names it.
    pub host: Name,
    /// Its cores with their online pCPUs.
    pub cores: Option<BTreeMap<Core, u32>>,
    /// Memory that its VMs may have together: all, without Xen's and dom0's share.
    pub memory: Option<Size>,
    /// Bridges in dom0.
    pub bridges: Option<BTreeSet<String>>,
    /// What dom0 has for HVM guests.
    pub hvm: Option<HvmFacts>,
    /// Files and devices of dom0 that somebody looked for.
    pub paths: BTreeMap<String, PathFact>,
}

/// What dom0 has for HVM guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HvmFacts {
    /// QEMU built for Xen.
    pub device_model: bool,
    /// `SeaBIOS`.
    pub bios: bool,
    /// OVMF.
    pub uefi: bool,
    /// Whether that OVMF says that it was built for Xen.
    pub uefi_for_xen: Option<bool>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFact {
    /// Nothing.
    Missing,
    /// A regular file.
    File,
    /// A block device.
    BlockDevice,
    /// Something else, such as a folder.
    Other,
}

/// What the host does not have.
pub fn check(desired: &Desired, sources: &Sources, facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(host) = desired.hosts.get(&facts.host) else {
        let known: Vec<_> = desired.hosts.keys().map(Name::as_str).collect();
        let finding = Finding::error(
            "unknown-host",
            format!("the inventory is of host `{}`, which no manifest declares", facts.host),
        );
        findings.push(finding.help(crate::suggest::help(facts.host.as_str(), &known)));
        return findings;
    };
    let at = |kind, name: &Name, field: &str, finding: Finding| Finding {
        location: sources.field(kind, name, field).cloned(),
        ..finding
    };
    if let Some(absent) = absent(&host.dom0_cores, facts) {
        findings.push(at(Kind::Host, &host.name, "spec.dom0.cores", missing_cores("dom0", &absent, facts)));
    }
    for partition in desired.partitions.values().filter(|partition| partition.host == facts.host) {
        if let Some(absent) = absent(&partition.cores, facts) {
            let subject = format!("partition `{}`", partition.name);
            findings.push(at(
                Kind::CorePartition,
                &partition.name,
                "spec.cores",
                missing_cores(&subject, &absent, facts),
            ));
        }
    }
    let vms: Vec<&Vm> = desired.vms.values().filter(|vm| vm.host == facts.host).collect();
    for vm in &vms {
        let found = cores_of(desired, vm, facts)
            .into_iter()
            .chain(bridges(desired, vm, facts))
            .chain(files(vm, facts))
            .chain(hvm(vm, facts));
        findings.extend(found.map(|(field, finding)| at(Kind::VirtualMachine, &vm.name, field, finding)));
    }
    findings.extend(memory(&vms, facts));
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    findings
}

type Found = (&'static str, Finding);

/// The cores that the host lacks, if any, and if its cores are known.
fn absent(cores: &Cores, facts: &HostFacts) -> Option<Vec<Core>> {
    let known = facts.cores.as_ref()?;
    let absent: Vec<_> = cores.iter().copied().filter(|core| !known.contains_key(core)).collect();
    (!absent.is_empty()).then_some(absent)
}

fn missing_cores(subject: &str, absent: &[Core], facts: &HostFacts) -> Finding {
    let names: Vec<_> = absent.iter().map(Core::to_string).collect();
    let plural = if absent.len() == 1 { "core" } else { "cores" };
    let finding = Finding::error(
        "absent-core",
        format!("host `{}` has no {plural} {} for {subject}", facts.host, names.join(", ")),
    );
    let Some(known) = facts.cores.as_ref().filter(|known| !known.is_empty()) else { return finding };
    let names: Vec<_> = known.keys().map(Core::to_string).collect();
    finding.help(format!("its cores, as socket.core: {}", names.join(", ")))
}

/// Pins that the host lacks, and more vCPUs than pCPUs to run them on.
fn cores_of(desired: &Desired, vm: &Vm, facts: &HostFacts) -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(absent) = vm.cpu.pins.as_ref().and_then(|pins| absent(pins, facts)) {
        found.push(("spec.cpu.pins", missing_cores(&format!("VM `{}`", vm.name), &absent, facts)));
    }
    let Some(known) = &facts.cores else { return found };
    let partition = vm.cpu.partition.as_ref().and_then(|name| desired.partitions.get(name));
    let partitioned = desired.partitioned_cores(&facts.host);
    let allowed = |core: &Core| match (partition, &vm.cpu.pins) {
        (Some(partition), _) => partition.cores.contains(core),
        (None, Some(pins)) => pins.contains(core),
        (None, None) => !partitioned.contains(core),
    };
    let pcpus: u32 = known.iter().filter(|(core, _)| allowed(core)).map(|(_, pcpus)| pcpus).sum();
    if pcpus > 0 && vm.vcpus.online > pcpus {
        let message = format!("VM `{}` has {} vCPUs on {pcpus} pCPUs", vm.name, vm.vcpus.online);
        found.push((
            "spec.vcpus",
            Finding::warning("vcpus-over-pcpus", message)
                .help("its own vCPUs wait for each other; give it fewer, or more cores"),
        ));
    }
    found
}

fn bridges(desired: &Desired, vm: &Vm, facts: &HostFacts) -> Vec<Found> {
    let Some(known) = &facts.bridges else { return Vec::new() };
    let networks = vm.nics.iter().filter_map(|nic| desired.networks.get(&nic.network));
    let absent: BTreeSet<_> = networks
        .filter(|network| !known.contains(&network.bridge))
        .map(|network| (&network.name, &network.bridge))
        .collect();
    let finding = |(network, bridge): (&Name, &String)| {
        let message = format!(
            "host `{}` has no bridge `{bridge}`, which VM `{}` needs for network `{network}`",
            facts.host, vm.name
        );
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        ("metadata.name", Finding::error("absent-bridge", message).help(crate::suggest::help(bridge, &known)))
    };
    absent.into_iter().map(finding).collect()
}

fn files(vm: &Vm, facts: &HostFacts) -> Vec<Found> {
    let mut wanted: Vec<(&'static str, &str, String, bool)> = Vec::new();
    if let Boot::Kernel { kernel, ramdisk, .. } = &vm.boot {
        wanted.push(("spec.boot.kernel", kernel, "kernel".to_owned(), false));
        wanted.extend(
            ramdisk.as_ref().map(|ramdisk| ("spec.boot.ramdisk", ramdisk.as_str(), "RAM disk".to_owned(), false)),
        );
    }
    wanted.extend(
        vm.disks.iter().map(|disk| ("metadata.name", disk.path.as_str(), format!("disk `{}`", disk.name), true)),
    );
    for drive in vm.hvm.iter().flat_map(|hvm| &hvm.cdroms) {
        let noun = format!("medium of drive `{}`", drive.name);
        wanted.extend(drive.medium.as_ref().map(|medium| ("spec.cdroms", medium.as_str(), noun, true)));
    }
    let finding = |(field, path, noun, may_be_device): (&'static str, &str, String, bool)| {
        let (code, what) = match facts.paths.get(path)? {
            PathFact::File => return None,
            PathFact::BlockDevice if may_be_device => return None,
            PathFact::Missing => ("absent-file", format!("host `{}` has no `{path}`", facts.host)),
            PathFact::BlockDevice => ("not-a-file", format!("`{path}` on host `{}` is a block device", facts.host)),
            PathFact::Other => {
                ("not-a-file", format!("`{path}` on host `{}` is neither a file nor a block device", facts.host))
            }
        };
        Some((field, Finding::error(code, format!("{what}, the {noun} of VM `{}`", vm.name))))
    };
    wanted.into_iter().filter_map(finding).collect()
}

/// What an HVM guest is made of, and dom0 lacks.
fn hvm(vm: &Vm, facts: &HostFacts) -> Vec<Found> {
    let (Some(hvm), Some(HvmFacts { device_model, bios, uefi, uefi_for_xen })) = (&vm.hvm, facts.hvm) else {
        return Vec::new();
    };
    let firmware = match hvm.firmware {
        Firmware::Bios => (bios, "SeaBIOS", "seabios"),
        Firmware::Uefi => (uefi, "OVMF", "ovmf"),
    };
    let parts = [(device_model, "QEMU for Xen", "qemu-system-xen"), firmware];
    let finding = |(_, what, package): (bool, &str, &str)| {
        let message = format!("host `{}` has no {what}, which VM `{}` of type `hvm` needs", facts.host, vm.name);
        (
            "spec.type",
            Finding::error("absent-hvm-part", message).help(format!("install Debian's package `{package}` there")),
        )
    };
    let mut found: Vec<Found> = parts.into_iter().filter(|(is_there, ..)| !is_there).map(finding).collect();
    if hvm.firmware == Firmware::Uefi && uefi && uefi_for_xen == Some(false) {
        let message =
            format!("the OVMF of host `{}` may not start VM `{}`: it was not built for Xen alone", facts.host, vm.name);
        let help = "builds of edk2's OvmfPkgX64 since 2021, Debian 12's and 13's among them, come to nothing on Xen; docs/hvm.md says which do not";
        found.push(("spec.firmware", Finding::warning("firmware-not-for-xen", message).help(help)));
    }
    found
}

/// Whether the VMs that should run fit together.
fn memory(vms: &[&Vm], facts: &HostFacts) -> Option<Finding> {
    let most = facts.memory?;
    let running = vms
        .iter()
        .filter(|vm| !matches!(vm.power, Some(crate::desired::Power::Stopped | crate::desired::Power::Suspended)));
    let wanted: u64 = running.map(|vm| vm.memory.target.kib()).fold(0, u64::saturating_add);
    let wanted = Size::from_kib(wanted);
    (wanted > most).then(|| {
        Finding::error(
            "memory-over-host",
            format!("the VMs of host `{}` need {wanted} of memory together, and it has {most} for them", facts.host),
        )
        .help("give some less, or set `power: stopped`; each also needs a little for itself beyond its own")
    })
}

#[cfg(test)]
mod tests;
