//! A domain that runs, as a VM: what the observation says of it, and what libxl keeps of how it was made.

use crate::names::{self, Networks};
use crate::xl::restart_of;
use crate::{Site, cpus, hvm};
use protocol::{BootConfig, CpuSet, Domain, DomainKind, Observation, Reading, Stored};
use schema::desired::{Boot, BootDevice, Cdrom, Cpu, Disk, Firmware, Hvm, Memory, Nic, Vcpus, Vm, VmType};
use schema::units::{Cores, Name, Size};
use schema::{Finding, check};
use std::collections::{BTreeMap, BTreeSet};

/// Weight and cap that every scheduler begins with.
const USUAL: protocol::Sched = protocol::Sched { weight: 256, cap: 0 };

/// What a domain becomes, and what is said about it. There is no file to point at.
struct Sheet<'d> {
    domain: &'d Domain,
    called: String,
    findings: Vec<Finding>,
    is_refused: bool,
}

impl Sheet<'_> {
    fn lost(&mut self, what: &str, why: &str, next: &str) {
        let message = format!("{}: {what} is not carried over: {why}", self.called);
        self.findings.push(Finding::warning("not-carried-over", message).help(next));
    }

    fn refuse(&mut self, message: &str, next: &str) {
        self.is_refused = true;
        self.findings.push(Finding::error("no-manifest", format!("{}: {message}", self.called)).help(next));
    }
}

/// Turns one domain into a VM; `None` when a finding is an error.
pub(crate) fn vm(
    domain: &Domain,
    observation: &Observation,
    site: &Site,
    networks: &mut Networks,
) -> (Option<Vm>, Vec<Finding>) {
    let called = domain.name.clone().unwrap_or_else(|| format!("domain {}", domain.domid));
    let mut sheet = Sheet { domain, called, findings: Vec::new(), is_refused: false };
    let name = name(&mut sheet);
    let kind = kind(&mut sheet);
    let vcpus = vcpus(&mut sheet);
    let disks = disks(&mut sheet);
    let hvm = hvm(&mut sheet);
    let restart = domain.stored.as_ref().map(|stored| restart_of(&stored.on_poweroff, &stored.on_crash));
    let boot = domain.stored.as_ref().and_then(|stored| boot(&mut sheet, stored, !disks.is_empty()));
    if domain.stored.is_none() {
        let next = "write its manifest by hand, or `pinfold import xl` its configuration, with its UUID";
        sheet.refuse("libxl keeps no configuration of it, so nobody knows what it boots", next);
    }
    let cpu = cpu(&mut sheet, observation, site);
    let nics = nics(&mut sheet, networks);
    let (Some(name), Some(kind), Some(vcpus), Some(boot)) = (name, kind, vcpus, boot) else {
        return (None, sheet.findings);
    };
    let vm = Vm {
        name,
        labels: BTreeMap::new(),
        host: site.host.clone(),
        kind,
        power: None,
        restart,
        vcpus,
        memory: memory(domain),
        cpu,
        boot,
        disks,
        nics,
        hvm,
        shutdown_timeout: None,
        crash_dumps: None,
        protect: false,
        formerly: Vec::new(),
        uuid: Some(domain.uuid),
        mode: None,
    };
    ((!sheet.is_refused).then_some(vm), sheet.findings)
}

fn name(sheet: &mut Sheet<'_>) -> Option<Name> {
    let text = sheet.domain.name.clone().unwrap_or_default();
    let Some(name) = names::name(&text) else {
        sheet.refuse(
            "its name cannot become a VM's",
            "a VM's name is made of a-z, 0-9 and `-`, and starts with a letter: `xl rename` it",
        );
        return None;
    };
    if name.as_str() != text {
        let message = format!("{text} becomes `{name}`: a VM's name is a DNS label");
        let finding = Finding::warning("carried-over-differently", message);
        sheet.findings.push(finding.help("the domain is renamed when pinfold takes it over"));
    }
    Some(name)
}

fn kind(sheet: &mut Sheet<'_>) -> Option<VmType> {
    match sheet.domain.kind {
        Some(DomainKind::Pv) => Some(VmType::Pv),
        Some(DomainKind::Pvh) => Some(VmType::Pvh),
        Some(DomainKind::Hvm) => Some(VmType::Hvm),
        None => {
            sheet.refuse(
                "libxl did not make it",
                "pinfold works with libxl's domains only: leave it to whoever made it",
            );
            None
        }
    }
}

fn vcpus(sheet: &mut Sheet<'_>) -> Option<Vcpus> {
    let domain = sheet.domain;
    let Reading::Known(vcpus) = &domain.vcpus else {
        sheet.refuse("its vCPUs cannot be read at present", "try again");
        return None;
    };
    let max = u32::try_from(vcpus.len()).unwrap_or(u32::MAX);
    let online = domain.vcpus_wanted().clamp(1, max.max(1));
    Some(Vcpus { online, max: Some(max).filter(|max| *max > online) })
}

fn memory(domain: &Domain) -> Memory {
    let target = domain.memory.target_kib.unwrap_or(domain.memory.current_kib);
    let max = domain.memory.static_max_kib.filter(|max| *max > target);
    Memory { target: Size::from_kib(target), max: max.map(Size::from_kib) }
}

fn boot(sheet: &mut Sheet<'_>, stored: &Stored, has_disks: bool) -> Option<Boot> {
    let lossy = stored.others.clone();
    for other in lossy {
        if other == "b_info.type.hvm.vnc" {
            let why = "pinfold serves it on a Unix socket, from the guest's next start on";
            sheet.lost("its screen", why, "write `vnc: true` if it needs one; until then it stays where it is");
            continue;
        }
        sheet.lost(
            &format!("`{other}`"),
            "manifests have no field for it",
            "if the guest needs it, leave the domain to `xl`",
        );
    }
    if stored.on_reboot != "restart" {
        let what = format!("`on_reboot = {}`", stored.on_reboot);
        sheet.lost(&what, "a reboot always brings the guest back", "have the guest power off instead");
    }
    let boot = match (&sheet.domain.boots(), &stored.bootloader) {
        (_, Some(loader)) => {
            let message = format!(
                "{}: `bootloader = {loader}` becomes `boot: {{grub: true}}`: GRUB for Xen runs in the guest, not in dom0",
                sheet.called
            );
            let finding = Finding::warning("carried-over-differently", message);
            sheet.findings.push(finding.help("see that the guest's disk has a `/boot/grub/grub.cfg`"));
            Boot::Grub
        }
        (Some(BootConfig::Grub), None) => Boot::Grub,
        (Some(BootConfig::Kernel { kernel, ramdisk, cmdline }), None) => Boot::Kernel {
            kernel: names::path(kernel),
            ramdisk: ramdisk.as_deref().map(names::path),
            cmdline: cmdline.clone(),
        },
        (Some(BootConfig::Devices(order)), None) => Boot::Devices(order.iter().copied().map(device).collect()),
        (None, None) => {
            sheet.refuse("libxl does not say what it boots", "write its manifest by hand, with its UUID");
            return None;
        }
    };
    match &boot {
        Boot::Grub if !has_disks => {
            sheet.refuse("GRUB reads the guest's disks, and none of its is carried over", "leave it to `xl`");
        }
        Boot::Kernel { kernel, ramdisk, cmdline } => {
            let paths = std::iter::once(kernel).chain(ramdisk).map(|path| check::host_path(path));
            let wrong = paths.chain(cmdline.iter().map(|cmdline| check::command_line(cmdline))).find_map(Result::err);
            if let Some(why) = wrong {
                sheet.refuse(&format!("what it boots cannot be carried over: {why}"), "write its manifest by hand");
            }
        }
        Boot::Devices(_) if boots_by_pv_name(sheet.domain, stored) => {
            let next = "shut it down, and `pinfold import xl` its configuration";
            sheet.refuse(
                "its firmware boots a disk with the name of a PV one, which pinfold calls `hda` to `hdd`",
                next,
            );
        }
        Boot::Devices(order) if order.is_empty() => {
            let next = "shut it down, and `pinfold import xl` its configuration";
            sheet.refuse("its firmware finds nothing to boot from among what is carried over", next);
        }
        Boot::Grub | Boot::Devices(_) => {}
    }
    Some(boot)
}

/// Whether the disk that firmware looks for is one that libxl shows it under another name only.
fn boots_by_pv_name(domain: &Domain, stored: &Stored) -> bool {
    let Some(BootConfig::Devices(order)) = &stored.boot else { return false };
    let is_emulated = |disk: &protocol::DomainDisk| disk.target.starts_with("hd");
    let is_shown = |disk: &protocol::DomainDisk| hvm::drive(&disk.target, disk.read_only).is_some();
    order.contains(&protocol::BootDevice::Disk)
        && !domain.disks.iter().any(is_emulated)
        && domain.disks.iter().any(is_shown)
}

fn device(device: protocol::BootDevice) -> BootDevice {
    match device {
        protocol::BootDevice::Disk => BootDevice::Disk,
        protocol::BootDevice::Cdrom => BootDevice::Cdrom,
        protocol::BootDevice::Network => BootDevice::Network,
    }
}

fn cpu(sheet: &mut Sheet<'_>, observation: &Observation, site: &Site) -> Cpu {
    let domain = sheet.domain;
    let mut cpu = Cpu::default();
    match &domain.sched {
        Reading::Known(sched) => {
            cpu.weight = Some(sched.weight).filter(|weight| *weight != USUAL.weight);
            cpu.cap = Some(sched.cap).filter(|cap| *cap != USUAL.cap);
        }
        Reading::Unknown(cause) => sheet.lost("its weight and cap", &cause.message, "try again"),
    }
    let pools = observation.cpupools.known().map(Vec::as_slice).unwrap_or_default();
    let pool = pools.iter().find(|pool| Some(pool.poolid) == domain.poolid && pool.poolid != 0);
    if let Some(pool) = pool {
        let name = pool.name.as_ref().and_then(|name| name.parse::<Name>().ok());
        cpu.partition = name.filter(|name| site.partitions.contains(name));
        if cpu.partition.is_none() {
            let called = pool.name.clone().unwrap_or_else(|| format!("number {}", pool.poolid));
            let why = format!("the configuration declares no partition `{called}`");
            sheet.lost(
                &format!("its cpupool {called}"),
                &why,
                "declare a `CorePartition`; without one it moves to Pool-0",
            );
        }
    }
    let Reading::Known(vcpus) = &domain.vcpus else { return cpu };
    if pool.is_none() {
        cpu.pins = cores(sheet, observation, "hard affinity", "pins", vcpus.iter().map(|vcpu| &vcpu.hard));
    }
    let soft = || vcpus.iter().filter_map(|vcpu| vcpu.soft.as_ref());
    let preferred = cores(sheet, observation, "soft affinity", "softPins", soft());
    let may_run_on = |pcpu: u32| match pool {
        Some(pool) => pool.cpus.contains(pcpu),
        None => vcpus.iter().all(|vcpu| vcpu.hard.contains(pcpu)),
    };
    if preferred.is_some() && !soft().flat_map(CpuSet::iter).all(may_run_on) {
        sheet.lost("its soft affinity", "it prefers pCPUs that it may not run on", "write `spec.cpu.softPins`");
        return cpu;
    }
    cpu.soft_pins = preferred;
    cpu
}

/// The cores that are the affinity of every vCPU; `None` for all pCPUs, and for what manifests cannot say.
fn cores<'d>(
    sheet: &mut Sheet<'_>,
    observation: &Observation,
    what: &str,
    field: &str,
    masks: impl Iterator<Item = &'d CpuSet>,
) -> Option<Cores> {
    let pcpus = &observation.hypervisor.pcpus;
    let masks: BTreeSet<Vec<u32>> = masks.map(|mask| mask.iter().collect()).collect();
    let mut masks = masks.into_iter();
    let next = format!("write `spec.cpu.{field}`; without it every core is allowed");
    match (masks.next(), masks.next()) {
        (Some(mask), None) => {
            if pcpus.iter().filter(|pcpu| pcpu.online).all(|pcpu| mask.contains(&pcpu.id)) {
                return None;
            }
            let cores = cpus::cores(&mask.into_iter().collect(), pcpus);
            cores.map_err(|why| sheet.lost(&format!("its {what}"), &why, &next)).ok()
        }
        (Some(_), Some(_)) => {
            sheet.lost(&format!("its {what}"), "each vCPU has one of its own", &next);
            None
        }
        (None, _) => None,
    }
}

fn disks(sheet: &mut Sheet<'_>) -> Vec<Disk> {
    let mut disks = Vec::new();
    for disk in &sheet.domain.disks {
        let path = names::path(&disk.path);
        let known = match sheet.domain.kind {
            Some(DomainKind::Hvm) => check::disk_target(&disk.target),
            _ => names::pv_disk_target(&disk.target),
        };
        let wrong = known.and(check::host_path(&path)).err();
        match (wrong, disk.target.parse()) {
            (None, Ok(name)) => disks.push(Disk { name, target: disk.target.clone(), path, read_only: disk.read_only }),
            (why, _) => {
                let next = "it goes with the guest's next start; leave the domain to `xl` if it needs it";
                sheet.lost(&format!("its disk {}", disk.target), &why.unwrap_or_default(), next);
            }
        }
    }
    disks
}

/// Firmware and drives. Where its screen is served goes with its QEMU.
fn hvm(sheet: &mut Sheet<'_>) -> Option<Hvm> {
    let domain = sheet.domain;
    let there = domain.hvm.as_ref().filter(|_| domain.kind == Some(DomainKind::Hvm))?;
    let firmware = match domain.stored.as_ref().map(|stored| stored.firmware) {
        Some(Some(protocol::Firmware::Uefi)) => Firmware::Uefi,
        Some(Some(protocol::Firmware::Bios)) | None => Firmware::Bios,
        Some(None) => {
            sheet.lost(
                "its firmware",
                "manifests know `bios` and `uefi`",
                "see the guest boot by SeaBIOS, or leave it to `xl`",
            );
            Firmware::Bios
        }
    };
    let mut cdroms = Vec::new();
    for drive in &there.cdroms {
        let medium = drive.medium.as_deref().map(names::path);
        let wrong = check::disk_target(&drive.target).and(medium.as_deref().map_or(Ok(()), check::host_path)).err();
        match (wrong, drive.target.parse()) {
            (None, Ok(name)) => cdroms.push(Cdrom { name, target: drive.target.clone(), medium }),
            (why, _) => {
                let next = "it goes with the guest's next start; leave the domain to `xl` if it needs it";
                sheet.lost(&format!("its CD-ROM drive {}", drive.target), &why.unwrap_or_default(), next);
            }
        }
    }
    Some(Hvm { firmware, vnc: false, cdroms })
}

fn nics(sheet: &mut Sheet<'_>, networks: &mut Networks) -> Vec<Nic> {
    let mut nics = Vec::new();
    for nic in &sheet.domain.nics {
        let bridge = nic.bridge.as_deref().filter(|bridge| check::bridge_name(bridge).is_ok());
        let parts = (bridge, nic.mac.parse(), format!("nic{}", nic.devid).parse());
        if let (Some(bridge), Ok(mac), Ok(name)) = parts {
            nics.push(Nic { name, network: networks.of_bridge(bridge), mac: Some(mac) });
        } else {
            let next = "it goes with the guest's next start; leave the domain to `xl` if it needs it";
            sheet.lost(&format!("its NIC {}", nic.mac), "it is on no bridge", next);
        }
    }
    nics
}
