//! Starting a VM: what must hold before its domain is built, and the request that builds it.

use crate::config::{Disk, Drive, Hvm, Nic, Power, VmConfig};
use crate::draft::{Draft, moment, next_backoff};
use crate::guest_ends::CRASH_LOOP;
use crate::memory::{about, need_kib};
use crate::place::{Problem, Spot, spot};
use crate::record::{Here, Intent, VmRecord};
use crate::vms::Planning;
use crate::world::{World, lives};
use crate::{Operation, RecordEdit, digest, files};
use protocol::{
    Cdrom, DiskConfig, Domain, DomainConfig, DomainKind, Firmware, HvmConfig, Mark, NicConfig, Placement, Request,
};
use uuid::Uuid;

/// Back-off of domains that could not be built.
pub(crate) const CREATE_FAILED: &str = "CreateFailed";

/// Host memory while a plan is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    /// What creates planned before in this plan take, in KiB.
    pub(crate) planned_kib: u64,
    /// What the plan ends before it creates, for messages.
    pub(crate) releases: Vec<String>,
    /// dom0 has all the memory, and would have to be limited when the host boots.
    pub(crate) dom0_owns_it: bool,
}

/// Completes an item that starts a VM: now, or what it waits for.
pub(crate) fn plan_create(planning: &mut Planning, draft: Draft, budget: &mut Budget) {
    let config = within_limits(&planning.intentions.config);
    let problems = problems(planning, &config, budget, false);
    if !problems.is_empty() {
        let on: Vec<String> = problems.into_iter().map(|problem| problem.note(&mut planning.report)).collect();
        planning.drafts.push(draft.waiting(on.join("; ")));
        return;
    }
    budget.planned_kib += need_kib(&config);
    let Ok(spot) = spot(planning.cx, &config) else { return };
    let operation = operation(planning, &config, &spot);
    planning.drafts.push(draft.now(operation));
}

/// What is held back may leave a target above its maximum.
fn within_limits(config: &VmConfig) -> VmConfig {
    VmConfig {
        vcpus_online: config.vcpus_online.min(config.vcpus_max),
        memory_kib: config.memory_kib.min(config.memory_max_kib),
        ..config.clone()
    }
}

fn operation(planning: &Planning, config: &VmConfig, spot: &Spot) -> Operation {
    let world = planning.world;
    let (now, boot_id) = (world.observed.now, world.hypervisor.boot_id);
    let base = planning.next_record();
    let last = base.here.backoff.as_ref();
    let failures = last.map_or(0, |last| last.failures);
    let uuid = planning.subject.uuid;
    let incarnation = Uuid::new_v5(&uuid, format!("{now} {boot_id} {failures}").as_bytes());
    let intent =
        Intent { incarnation, config: config.clone(), at: now, boot_id, commit: world.commit(), claimed: false };
    let here =
        Here { intent: Some(intent), ended: None, stopping: None, asked: None, claiming: None, ..base.here.clone() };
    let record = VmRecord { name: planning.subject.name.clone(), off_by_guest: None, here, ..base };
    let input = digest::config_digest(config);
    let failed = next_backoff(now, record.here.backoff.as_ref(), CREATE_FAILED, &input);
    let request = domain_config(planning, config, spot, incarnation);
    let mut operation = Operation::xen(Request::CreateDomain(Box::new(request)))
        .before([RecordEdit::Vm(Box::new(record.clone()))])
        .on_failure(RecordEdit::VmFailed(uuid, failed));
    if record.here.backoff.as_ref().is_some_and(|last| last.reason != CRASH_LOOP) {
        let here = Here { backoff: None, ..record.here.clone() };
        operation = operation.on_success([RecordEdit::Vm(Box::new(VmRecord { here, ..record }))]);
    }
    operation
}

/// The domain to be made of a configuration.
pub(crate) fn domain_config(planning: &Planning, config: &VmConfig, spot: &Spot, incarnation: Uuid) -> DomainConfig {
    let world = planning.world;
    let uuid = planning.subject.uuid;
    DomainConfig {
        name: planning.subject.name.to_string(),
        mark: Mark { pool_id: world.pool_id, uuid, incarnation },
        kind: config.kind,
        vcpus_max: config.vcpus_max,
        vcpus_online: config.vcpus_online,
        memory_kib: config.memory_kib,
        memory_max_kib: config.memory_max_kib,
        placement: Placement {
            cpupool: spot.cpupool,
            hard: (0..config.vcpus_max).map(|_| spot.mask.clone()).collect(),
            soft: config.soft_pins.is_some().then(|| spot.soft.clone()),
            sched: config.sched,
        },
        boot: config.boot.clone(),
        disks: config
            .disks
            .iter()
            .map(|Disk { target, path, read_only, .. }| DiskConfig {
                target: target.clone(),
                path: path.clone(),
                read_only: *read_only,
            })
            .collect(),
        nics: config
            .nics
            .iter()
            .map(|nic| NicConfig { mac: nic.mac.to_string(), bridge: nic.bridge.clone(), devid: nic.devid })
            .collect(),
        hvm: config.hvm.as_ref().map(hvm_config),
        memory_reserve_kib: world.observed.dom0.memory_reserve_kib,
        stays_paused: config.power == Power::Paused,
    }
}

fn hvm_config(Hvm { firmware, vnc, cdroms }: &Hvm) -> HvmConfig {
    let cdrom = |Drive { target, medium, .. }: &Drive| Cdrom { target: target.clone(), medium: medium.clone() };
    HvmConfig { firmware: *firmware, vnc: *vnc, cdroms: cdroms.iter().map(cdrom).collect() }
}

/// Everything that keeps it from being built, at once: an administrator corrects all of it in one go.
pub(crate) fn problems(
    planning: &mut Planning,
    config: &VmConfig,
    budget: &mut Budget,
    restored: bool,
) -> Vec<Problem> {
    if let Some(problem) = twin(planning) {
        return vec![problem];
    }
    let mut problems = Vec::new();
    problems.extend(backoff(planning, config));
    problems.extend(kind(planning.world, config));
    problems.extend(hvm_parts(planning.world, config));
    // The kernel of a guest that goes on is in its memory.
    problems.extend(if restored {
        files::all_disk_problems(planning, config)
    } else {
        files::problems(planning, config)
    });
    problems.extend(bridges(planning.world, &config.nics));
    problems.extend(macs(planning, &config.nics));
    problems.extend(spot(planning.cx, config).err());
    if config.partition.is_some() && planning.world.cpupools.is_none() {
        problems.push(Problem::Unknown("CpupoolsUnknown", "the host's cpupools are not known at present".to_owned()));
    }
    if problems.is_empty() {
        problems.extend(memory(planning.world, config, budget));
    }
    problems
}

/// Another domain that has its identity or its name, or a remainder of it that still has its devices.
pub(crate) fn twin(planning: &Planning) -> Option<Problem> {
    let subject = planning.subject;
    let domains = planning.world.domains.unwrap_or_default();
    // Not even a remainder: the worker refuses a second domain of one UUID in whatever state, and a backend may still hold its disks.
    if let Some(domain) = subject.dying.first() {
        return Some(Problem::Waiting(format!("domain {} of it is torn down", domain.domid)));
    }
    let other = domains.iter().find(|domain| {
        let same = domain.uuid == subject.uuid || domain.name.as_deref() == Some(subject.name.as_str());
        lives(domain) && same && planning.world.owner(domain) != Some(subject.uuid)
    })?;
    let which = if other.uuid == subject.uuid { "UUID" } else { "name" };
    let name = World::domain_name(other);
    Some(match planning.world.owner(other) {
        Some(_) => Problem::Waiting(format!("{name}, another VM of this Pool, gives up its {which}")),
        None => Problem::Stalled(
            "ForeignTwin",
            format!(
                "{name} has its {which} and is not pinfold's, so it is not created; end that domain, or give one of them another {which}"
            ),
        ),
    })
}

fn backoff(planning: &mut Planning, config: &VmConfig) -> Option<Problem> {
    let last = planning.subject.record?.here.backoff.as_ref()?;
    let same = match last.reason.as_str() {
        CRASH_LOOP => last.input == planning.subject.manifest,
        _ => last.input == digest::config_digest(config),
    };
    if !same {
        return None;
    }
    let over = !last.waits(planning.world.observed.now);
    // What failed is told until it succeeds; a crash is over when the next try begins.
    if !over || last.reason != CRASH_LOOP {
        planning.report.stalled(&last.reason, last.message.clone());
    }
    if over {
        return None;
    }
    planning.report.due(last.until);
    Some(Problem::Waiting(format!("the next try at {}, after {} failure(s)", moment(last.until), last.failures)))
}

fn kind(world: &World, config: &VmConfig) -> Option<Problem> {
    let (able, what) = match config.kind {
        DomainKind::Pv => (world.hypervisor.pv, "PV"),
        DomainKind::Pvh => (world.hypervisor.hvm, "PVH"),
        DomainKind::Hvm => (world.hypervisor.hvm, "HVM"),
    };
    (!able).then(|| {
        let message = format!("this host cannot build {what} guests (`xl info`: virt_caps); choose another `spec.type`, or turn on virtualisation in its firmware");
        Problem::Stalled("KindUnsupported", message)
    })
}

/// What dom0 lacks for an HVM guest. What an older worker did not look for is tried.
fn hvm_parts(world: &World, config: &VmConfig) -> Vec<Problem> {
    let (Some(hvm), Some(parts)) = (&config.hvm, world.hypervisor.hvm_parts) else { return Vec::new() };
    let firmware = match hvm.firmware {
        Firmware::Bios => (parts.bios, "FirmwareMissing", "SeaBIOS, the firmware `bios`", "seabios"),
        Firmware::Uefi => (parts.uefi, "FirmwareMissing", "OVMF, the firmware `uefi`", "ovmf"),
    };
    let model = (parts.device_model, "DeviceModelMissing", "QEMU for Xen, which HVM guests need", "qemu-system-xen");
    let missing = [model, firmware].into_iter().filter(|(is_there, ..)| !is_there);
    missing
        .map(|(_, reason, what, package)| {
            Problem::Stalled(reason, format!("dom0 has no {what}; install it: `apt-get install {package}`"))
        })
        .collect()
}

pub(crate) fn bridges(world: &World, nics: &[Nic]) -> Vec<Problem> {
    let missing = nics.iter().filter(|nic| !world.observed.dom0.bridges.contains(&nic.bridge));
    missing
        .map(|nic| {
            let message =
                format!("dom0 has no bridge {} (NIC {}); make it, or correct the Network", nic.bridge, nic.name);
            Problem::Stalled("BridgeMissing", message)
        })
        .collect()
}

/// Two NICs with one address on a bridge make both unreachable.
pub(crate) fn macs(planning: &Planning, nics: &[Nic]) -> Vec<Problem> {
    let others: Vec<&Domain> = planning
        .world
        .domains
        .unwrap_or_default()
        .iter()
        .filter(|domain| planning.world.owner(domain) != Some(planning.subject.uuid))
        .collect();
    let mut problems = Vec::new();
    for nic in nics {
        let mac = nic.mac.to_string();
        let Some(other) =
            others.iter().find(|domain| domain.nics.iter().any(|theirs| theirs.mac.eq_ignore_ascii_case(&mac)))
        else {
            continue;
        };
        let name = World::domain_name(other);
        problems.push(match planning.world.owner(other) {
            Some(_) => Problem::Waiting(format!("{name} gives up MAC {mac}")),
            None => Problem::Stalled(
                "MacInUse",
                format!("{name}, which is not pinfold's, has MAC {mac} (NIC {}); give it another", nic.name),
            ),
        });
    }
    problems
}

/// libxl's need, and the reserve, against what is free less what creates before this one take.
fn memory(world: &World, config: &VmConfig, budget: &mut Budget) -> Option<Problem> {
    let need = need_kib(config);
    let reserve = world.observed.dom0.memory_reserve_kib;
    let free = world.hypervisor.memory_free_kib;
    if need + reserve + budget.planned_kib <= free {
        return None;
    }
    let have = free.saturating_sub(reserve);
    let planned = if budget.planned_kib == 0 {
        String::new()
    } else {
        format!(", {} of it for VMs started before", about(budget.planned_kib))
    };
    let short = format!("it needs {}, and the host has {} to give{planned}", about(need), about(have));
    if world.hypervisor.dom0.memory_max_kib.is_none() && free < need + reserve {
        budget.dom0_owns_it = true;
        return Some(Problem::Waiting(format!("{}: dom0 owns the memory ({short})", world.host())));
    }
    match budget.releases.first() {
        Some(release) => Some(Problem::Waiting(format!("{release} lets go of its memory ({short})"))),
        None => Some(Problem::Stalled("NotEnoughMemory", format!("{short}; stop another VM, or give this one less"))),
    }
}
