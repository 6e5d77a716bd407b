//! A domain that another toolstack made, and that the commit declares by its UUID: taken over once a person approved it, and not before.
//!
//! The record comes first, with everything that is known of how the domain was built, but not as its intent: a domain without a mark is ours by its intent, and would
//! count as wreckage. Once the domain bears the mark, the claim in the record becomes its intent. Whoever dies between is seen, and the claim goes on.

use crate::classify::{FieldChange, Group, compare};
use crate::config::{Disk, Drive, Hvm, Nic, Power, VmConfig};
use crate::consent::Fate;
use crate::draft::Rank;
use crate::live::mask_change;
use crate::place::{Problem, Spot, spot};
use crate::record::{Claiming, Here, Intent, VmRecord};
use crate::vms::{Planning, target};
use crate::world::{World, lives};
use crate::{Action, Cause, Change, Effect, Operation, RecordEdit};
use protocol::{Cdrom, Domain, DomainState, Firmware, Mark, Reading, Request, Toolstack, vnc_socket};
use schema::units::Name;
use uuid::Uuid;

/// Plans the claim, if the VM has no domain of ours and a foreign one that its manifest names. Answers whether it has.
pub(crate) fn plan(planning: &mut Planning) -> bool {
    let Some(domain) = foreign(planning) else { return false };
    let state = if domain.state == DomainState::Paused { "paused" } else { "running" };
    planning.report.power = format!("{state}, not pinfold's");
    let built = match built(planning, domain) {
        Ok(built) => built,
        Err(problem) => {
            let draft =
                planning.draft(Rank::Change, Action::Claim, Effect::Live).reason(reason(planning.world, domain, &[]));
            let on = problem.note(&mut planning.report);
            planning.drafts.push(draft.waiting(on));
            return true;
        }
    };
    let differences = differences(planning, domain, &built);
    let changes = differences.iter().map(|field| field.change.clone()).collect();
    let draft = planning.draft(Rank::Change, Action::Claim, Effect::Live).changes(changes);
    let draft = draft.reason(reason(planning.world, domain, &differences));
    let id = draft.item.id.clone();
    let approved = planning.world.approval(&id).is_some();
    let goes_on = claiming(planning).filter(|claim| claim.domid == domain.domid);
    if !approved && goes_on.is_none() {
        planning.drafts.push(draft.held(format!("`pinfold approve {id}` takes it over; a revert leaves it alone")));
        return true;
    }
    let (operation, cause) = (operation(planning, domain, built, approved.then_some(id)), Cause::Verb);
    let draft = planning.attempt(draft.cause(cause), operation, "ClaimFailed");
    planning.drafts.push(draft);
    true
}

/// Turns a claim that was carried out into the intent of the domain. Answers whether there was one.
pub(crate) fn settle(planning: &mut Planning, domain: &Domain) -> bool {
    let Some(claim) = claiming(planning) else { return false };
    let is_this = domain.mark.is_some_and(|mark| mark.incarnation == claim.intent.incarnation);
    let record = planning.subject.base_record(planning.world);
    let intent = if is_this { Some(claim.intent.clone()) } else { record.here.intent.clone() };
    let here = Here { intent, claiming: None, ..record.here.clone() };
    let draft = planning
        .draft(Rank::Record, Action::Settle, Effect::Live)
        .cause(Cause::Verb)
        .reason("it was taken over; that is recorded")
        .now(Operation::records(vec![RecordEdit::Vm(Box::new(VmRecord { here, ..record }))]));
    planning.drafts.push(draft);
    true
}

fn claiming<'w>(planning: &Planning<'_, 'w>) -> Option<&'w Claiming> {
    planning.subject.record?.here.claiming.as_deref()
}

/// The live foreign domain with the VM's UUID, when the manifest says `spec.uuid`, a claim of it is under way, or it bears the VM's mark, as after
/// `xl restore`. A UUID that pinfold made itself is no reason to take a domain over that somebody else built with it.
fn foreign<'w>(planning: &Planning<'_, 'w>) -> Option<&'w Domain> {
    let (world, subject) = (planning.world, planning.subject);
    let declared = world.desired.and_then(|desired| desired.vms.get(&subject.name)).and_then(|vm| vm.uuid);
    let is_named = subject.fate == Fate::Declared && (declared == Some(subject.uuid) || claiming(planning).is_some());
    let is_its_own = |domain: &Domain| subject.fate == Fate::Declared && world.bears_its_mark(domain);
    let is_foreign = |domain: &&Domain| lives(domain) && domain.uuid == subject.uuid && world.owner(domain).is_none();
    world.domains?.iter().find(is_foreign).filter(|domain| is_named || is_its_own(domain))
}

fn reason(world: &World, domain: &Domain, differences: &[FieldChange]) -> String {
    let restart = differences.iter().filter(|field| !matches!(field.effect, Effect::Live)).count();
    let then = match (differences.len() - restart, restart) {
        (0, 0) => String::new(),
        (live, 0) => format!("; {live} field(s) change after it, live"),
        (0, restart) => format!("; {restart} field(s) change after it, not live"),
        (live, restart) => format!("; {live} field(s) change after it live, {restart} not live"),
    };
    let whose = if world.bears_its_mark(domain) {
        "bears its mark, and another tool made it (`xl restore`, `xl migrate`)"
    } else {
        "has its UUID and is not pinfold's"
    };
    format!("{} {whose}; its guest runs on{then}", World::domain_name(domain))
}

fn operation(planning: &Planning, domain: &Domain, built: VmConfig, approval: Option<String>) -> Operation {
    let world = planning.world;
    let (now, boot_id) = (world.observed.now, world.hypervisor.boot_id);
    let uuid = planning.subject.uuid;
    let goes_on = claiming(planning).filter(|claim| claim.domid == domain.domid);
    let fresh = || Uuid::new_v5(&uuid, format!("claim {now} {boot_id} {}", domain.domid).as_bytes());
    let incarnation = goes_on.map_or_else(fresh, |claim| claim.intent.incarnation);
    let intent = Intent { incarnation, config: built.clone(), at: now, boot_id, commit: world.commit(), claimed: true };
    let base = planning.subject.base_record(world);
    // What is recorded as wanted is what is there: each difference is then a change that the commit brings about.
    let name = domain.name.as_ref().and_then(|name| name.parse().ok()).unwrap_or_else(|| base.name.clone());
    let base = VmRecord { name, wanted: built, off_by_guest: None, ..base };
    let claim = Claiming { domid: domain.domid, intent: intent.clone() };
    let before = Here {
        intent: None,
        ended: None,
        stopping: None,
        asked: None,
        claiming: Some(Box::new(claim)),
        ..base.here.clone()
    };
    let after = Here { intent: Some(intent), claiming: None, backoff: None, ..before.clone() };
    let mark = Mark { pool_id: world.pool_id, uuid, incarnation };
    Operation::xen(Request::ClaimDomain { target: target(domain), mark })
        .before([RecordEdit::Vm(Box::new(VmRecord { here: before, ..base.clone() }))])
        .before(approval.map(RecordEdit::UseApproval))
        .on_success([RecordEdit::Vm(Box::new(VmRecord { here: after, ..base }))])
}

/// How the domain is built, as a configuration; what the manifest alone decides is taken from it.
fn built(planning: &Planning, domain: &Domain) -> Result<VmConfig, Problem> {
    let stalled =
        |reason, message: &str| Err(Problem::Stalled(reason, format!("{}: {message}", World::domain_name(domain))));
    let is_claimed = claiming(planning).is_some_and(|claim| claim.domid == domain.domid);
    let is_twin = |other: &&Domain| lives(other) && other.uuid == domain.uuid && other.domid != domain.domid;
    if domain.mark.is_some() && !planning.world.bears_its_mark(domain) {
        return stalled("OtherPool", "it bears the mark of another Pool, which has to let go of it");
    }
    if domain.toolstack == Some(Toolstack::Libvirt) {
        return stalled(
            "LibvirtDomain",
            "libvirt looks after it and would act on its end too; shut it down, `virsh undefine` it, and let pinfold create it",
        );
    }
    if let Some(twin) = planning.world.domains.unwrap_or_default().iter().find(is_twin) {
        return stalled("TwoDomains", &format!("{} has the same UUID; end the wrong one", World::domain_name(twin)));
    }
    if matches!(domain.state, DomainState::Shutdown(_)) && !is_claimed {
        return Err(Problem::Waiting(format!(
            "{} has ended, and its toolstack makes it again or destroys it",
            World::domain_name(domain)
        )));
    }
    let Some(kind) = domain.kind else {
        return stalled("NotOfLibxl", "libxl did not make it, or is about to; only domains of libxl can be taken over");
    };
    let (Reading::Known(vcpus), Reading::Known(sched)) = (&domain.vcpus, &domain.sched) else {
        return Err(Problem::Unknown("VcpusUnknown", "its vCPUs, weight and cap cannot be read at present".to_owned()));
    };
    let wanted = &planning.subject.config;
    let memory_kib = domain.memory.target_kib.unwrap_or(domain.memory.current_kib);
    let is_placed = placement(planning, domain).is_empty();
    Ok(VmConfig {
        kind,
        power: if domain.state == DomainState::Paused { Power::Paused } else { Power::Running },
        restart: wanted.restart,
        vcpus_online: domain.vcpus_wanted(),
        vcpus_max: u32::try_from(vcpus.len()).unwrap_or(u32::MAX),
        memory_kib,
        memory_max_kib: domain.memory.static_max_kib.unwrap_or(memory_kib),
        partition: wanted.partition.clone().filter(|_| is_placed),
        pins: wanted.pins.clone().filter(|_| is_placed),
        soft_pins: wanted.soft_pins.clone().filter(|_| is_placed),
        sched: *sched,
        boot: domain.boots().unwrap_or_else(|| wanted.boot.clone()),
        disks: disks(wanted, domain),
        nics: nics(wanted, domain),
        hvm: hvm(wanted, domain),
        shutdown_timeout_s: wanted.shutdown_timeout_s,
        crash_dumps: wanted.crash_dumps,
    })
}

/// Its disks, by the manifest's names where the manifest has the same device.
fn disks(wanted: &VmConfig, domain: &Domain) -> Vec<Disk> {
    let named = |disk: &protocol::DomainDisk| {
        let same = wanted.disks.iter().find(|other| other.target == disk.target).map(|other| other.name.clone());
        let name = same.or_else(|| disk.target.parse().ok())?;
        Some(Disk { name, target: disk.target.clone(), path: disk.path.clone(), read_only: disk.read_only })
    };
    let mut disks: Vec<Disk> = domain.disks.iter().filter_map(named).collect();
    VmConfig::sort_disks(&mut disks);
    disks
}

/// Its firmware and drives, these by the manifest's names where the manifest has the same drive. Its screen is not where pinfold would serve it.
fn hvm(wanted: &VmConfig, domain: &Domain) -> Option<Hvm> {
    let there = domain.hvm.as_ref()?;
    let named = |drive: &Cdrom| {
        let same = wanted.drives().iter().find(|other| other.target == drive.target).map(|other| other.name.clone());
        let name = same.or_else(|| drive.target.parse().ok())?;
        Some(Drive { name, target: drive.target.clone(), medium: drive.medium.clone() })
    };
    let made_with = domain.stored.as_ref().and_then(|stored| stored.firmware);
    let firmware = made_with.or(wanted.hvm.as_ref().map(|hvm| hvm.firmware)).unwrap_or(Firmware::Bios);
    let mut cdroms: Vec<Drive> = there.cdroms.iter().filter_map(named).collect();
    cdroms.sort_by(|a, b| a.target.cmp(&b.target));
    Some(Hvm { firmware, vnc: there.vnc.as_deref() == Some(&vnc_socket(domain.uuid)), cdroms })
}

/// Its NICs in the order of their device numbers, by the manifest's names where the manifest has the same address.
fn nics(wanted: &VmConfig, domain: &Domain) -> Vec<Nic> {
    let named = |nic: &protocol::DomainNic| {
        let mac = nic.mac.parse().ok()?;
        let same = wanted.nics.iter().find(|other| other.mac == mac).map(|other| other.name.clone());
        let name: Name = same.or_else(|| format!("nic{}", nic.devid).parse().ok())?;
        Some((nic.devid, Nic { name, mac, bridge: nic.bridge.clone().unwrap_or_default(), devid: None }))
    };
    Nic::list(domain.nics.iter().filter_map(named).collect())
}

/// Everything that is put right, or waits for the next start, once the domain is ours.
fn differences(planning: &Planning, domain: &Domain, built: &VmConfig) -> Vec<FieldChange> {
    let live = |change| FieldChange { change, group: Group::Placement, effect: Effect::Live };
    let mut differences = Vec::new();
    let name = planning.subject.name.to_string();
    if domain.name.as_ref() != Some(&name) {
        let change = Change { field: "metadata.name".to_owned(), old: domain.name.clone(), new: Some(name) };
        differences.push(live(change));
    }
    if domain.stored.as_ref().is_none_or(|stored| stored.boot.is_none()) {
        let old = Some("unknown: libxl does not say what it booted".to_owned());
        let change = Change { field: "spec.boot".to_owned(), old, new: Some("as the manifest says".to_owned()) };
        differences.push(FieldChange { change, group: Group::Built, effect: Effect::Restart });
    }
    let fields = compare(built, &planning.subject.config);
    differences.extend(fields.into_iter().filter(|field| field.group != Group::Placement));
    differences.extend(placement(planning, domain).into_iter().map(live));
    differences
}

/// What differs between where it runs and where it belongs.
fn placement(planning: &Planning, domain: &Domain) -> Vec<Change> {
    let config = &planning.subject.config;
    let pools = planning.world.cpupools.unwrap_or_default();
    let pool_name = |poolid: Option<u32>| {
        let pool = pools.iter().find(|pool| Some(pool.poolid) == poolid)?;
        Some(pool.name.clone().unwrap_or_else(|| pool.poolid.to_string()))
    };
    let change = |old, new| vec![Change { field: "cpupool".to_owned(), old, new }];
    match spot(planning.cx, config) {
        Ok(Spot { poolid, .. }) if domain.poolid != Some(poolid) => {
            change(pool_name(domain.poolid), pool_name(Some(poolid)))
        }
        Ok(Spot { mask, soft, .. }) => {
            let topology = &planning.world.topology;
            let vcpus = || domain.vcpus.known().into_iter().flatten();
            let hard = vcpus().map(|vcpu| &vcpu.hard).find(|now| !topology.same_mask(now, &mask));
            let preferred = vcpus().filter_map(|vcpu| vcpu.soft.as_ref()).find(|now| !topology.same_mask(now, &soft));
            let hard = hard.map(|now| mask_change(planning.world, "hard affinity", now, &mask));
            let preferred = preferred.map(|now| mask_change(planning.world, "soft affinity", now, &soft));
            hard.into_iter().chain(preferred).collect()
        }
        // Where it belongs does not exist yet.
        Err(_) => change(pool_name(domain.poolid), config.partition.as_ref().map(ToString::to_string)),
    }
}
