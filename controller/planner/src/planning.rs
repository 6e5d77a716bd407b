//! The whole plan of a host.

use crate::consent::Fate;
use crate::create::Budget;
use crate::gates::Gates;
use crate::partitions::Partition;
use crate::release::Homes;
use crate::status::{Report, STATE_UNWRITABLE};
use crate::subjects::{Blocked, Subject, subjects};
use crate::toolstacks::OtherToolstack;
use crate::trash;
use crate::unknown;
use crate::vms::{Context, domain_facts};
use crate::world::{POOL0, World, lives};
use crate::{
    Action, Disposition, Item, ObjectKind, ObjectRef, Observed, Plan, claims, draft::Draft, drift, host_shutdown,
    partitions, toolstacks,
};
use protocol::{DomainState, Reading};
use schema::desired::Desired;
use std::collections::BTreeMap;

/// What should happen on one host, given what the commit in force says and what was found.
///
/// `desired` is `None` when the accepted commit cannot be read: then everything stays as its record last wanted it (guests still come back after a
/// boot of the host or an end of their own), and no other change is planned.
pub fn plan(desired: Option<&Desired>, observed: &Observed) -> Plan {
    let pinned = observed.pool_id;
    let declared = desired.map(|desired| desired.pool.id);
    let pool_id = match (pinned, declared) {
        (Some(pinned), Some(declared)) if pinned != declared => {
            let message = format!(
                "this host's state belongs to the Pool with id {pinned}, and the repository declares {declared}; nothing is done until they agree"
            );
            return unknown::plan(desired, observed, "OtherPool", &message);
        }
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return unknown::plan(desired, observed, "NothingAccepted", "no commit was accepted yet"),
    };
    match &observed.xen {
        Reading::Unknown(cause) => unknown::plan(desired, observed, &cause.reason, &cause.message),
        Reading::Known(xen) => known(&World::new(desired, observed, pool_id, xen)),
    }
}

fn known(world: &World) -> Plan {
    let (subjects, blocked) = subjects(world);
    let partitions = partitions::partitions(world);
    let gates = Gates::of(world, &subjects, &partitions);
    let (mut drafts, mut reports, layout) = gates.plan_partitions(world, &subjects, partitions);
    let shutdown = host_shutdown::in_force(world);
    if let Some(note) = shutdown {
        drafts = host_shutdown::strays(world, note, &subjects, &blocked);
    }
    let cx = Context { world, layout: &layout };
    // VMs that end come first: what they let go of counts for those that start.
    let mut budget = Budget { releases: releases(world), ..Budget::default() };
    for subject in &subjects {
        let (own, report) = gates.plan_vm(&cx, subject, &mut budget);
        budget
            .releases
            .extend(own.iter().filter(|draft| releases_memory(draft)).map(|draft| draft.item.object.to_string()));
        drafts.extend(own);
        reports.push(report);
    }
    if shutdown.is_none() {
        drafts.extend(gates.purges(world, trash::purges(world)));
    }
    drafts.extend(gates.note(world));
    reports.extend(blocked.into_iter().map(blocked_report));
    reports.extend(foreign(world));
    let mut host = host(world, &budget);
    let others = toolstacks::in_the_way(world);
    toolstacks::report(&others, &mut host);
    if let Some(gate) = gates.host() {
        gate.report(&mut host);
    }
    if let Some(note) = shutdown {
        host_shutdown::report(note, &mut host);
    }
    reports.push(host);
    // A shutdown of the host is no change: what ends before others can touch it is out of their reach.
    let others = if shutdown.is_some() { Vec::new() } else { others };
    drift::hold_fights(world, &mut drafts, &mut reports);
    finish(world, drafts, reports, &others)
}

/// Where the domains of our VMs belong.
pub(crate) fn homes(subjects: &[Subject], partitions: &[Partition]) -> Homes {
    let named = |name| partitions.iter().find(|partition| partition.is_called(name)).map(|partition| partition.uuid);
    let mut homes = Homes::new();
    for subject in subjects {
        let stays = subject.fate != Fate::Removed && subject.config.power.has_domain();
        let home = subject.config.partition.as_ref().filter(|_| stays).and_then(named);
        homes.extend(subject.domains.iter().map(|domain| (domain.domid, home)));
    }
    homes
}

/// Ends under way, and domains that Xen is tearing down.
fn releases(world: &World) -> Vec<String> {
    let dying = world.domains.unwrap_or_default().iter().filter(|domain| !lives(domain));
    dying.map(World::domain_name).collect()
}

fn releases_memory(draft: &Draft) -> bool {
    matches!(draft.item.action, Action::Stop | Action::Suspend | Action::Delete | Action::CleanUp | Action::Settle)
        && matches!(draft.item.disposition, Disposition::Now | Disposition::Waiting { .. })
}

fn finish(world: &World, drafts: Vec<Draft>, mut reports: Vec<Report>, others: &[&OtherToolstack]) -> Plan {
    let mut items: Vec<Item> = claims::decide(world, drafts);
    toolstacks::hold(others, &mut items);
    let notes = drift::note(world, &mut items);
    let commit = world.commit();
    reports.sort_by(|a, b| a.object.cmp(&b.object));
    let due = reports.iter().filter_map(|report| report.due).min();
    let mut of_object: BTreeMap<&ObjectRef, Vec<&Item>> = BTreeMap::new();
    for item in &items {
        of_object.entry(&item.object).or_default().push(item);
    }
    let status = |report: Report| {
        let own = of_object.get(&report.object).map_or(&[][..], Vec::as_slice);
        report.status(own, commit.as_deref())
    };
    let objects = reports.into_iter().map(status).collect();
    Plan { commit, items, objects, due, notes }
}

fn blocked_report(blocked: Blocked) -> Report {
    let mut report = Report::new(blocked.object);
    if blocked.unknown {
        report.unknown(blocked.reason, blocked.message);
    } else {
        report.stalled(blocked.reason, blocked.message);
    }
    report
}

/// What is on the host and is not ours: reported, never touched.
fn foreign(world: &World) -> Vec<Report> {
    let mut reports: Vec<Report> = world
        .foreign_domains()
        .map(|domain| {
            let name = domain.name.clone().unwrap_or_else(|| format!("domid-{}", domain.domid));
            let object = ObjectRef { kind: ObjectKind::ForeignDomain, name, uuid: Some(domain.uuid) };
            let mut report = Report::new(object);
            report.power = match domain.state {
                DomainState::Running => "running".to_owned(),
                DomainState::Paused => "paused".to_owned(),
                DomainState::Shutdown(reason) => format!("ended: {}", crate::guest_ends::reason_text(reason)),
                DomainState::Dying => "dying".to_owned(),
            };
            domain_facts(world, domain, &mut report);
            report
        })
        .collect();
    let partitions = partitions::partitions(world);
    for pool in world.cpupools.unwrap_or_default() {
        if pool.poolid == POOL0 || partitions.iter().any(|partition| pool.uuid == Some(partition.uuid)) {
            continue;
        }
        let name = pool.name.clone().unwrap_or_else(|| format!("number-{}", pool.poolid));
        let mut report = Report::new(ObjectRef { kind: ObjectKind::ForeignCpupool, name, uuid: pool.uuid });
        "present".clone_into(&mut report.power);
        report.fact("cpupool", pool.poolid.to_string());
        report.fact("pCPUs", pool.cpus.to_string());
        report.fact("domains", pool.domains.to_string());
        reports.push(report);
    }
    reports
}

fn host(world: &World, budget: &Budget) -> Report {
    let mut report = Report::new(world.host());
    let hypervisor = world.hypervisor;
    "up".clone_into(&mut report.power);
    report.fact("xen", hypervisor.version.clone());
    report.fact("pCPUs", world.topology.online.to_string());
    if let Some(pool0) = world.pool0() {
        report.fact("Pool-0", pool0.cpus.to_string());
    }
    report.fact("memory", crate::memory::about(hypervisor.memory_total_kib));
    report.fact("memory free", crate::memory::about(hypervisor.memory_free_kib));
    if budget.dom0_owns_it {
        report.stalled(
            "Dom0OwnsMemory",
            format!(
                "dom0 has {} and no limit, so nothing is left for guests; boot Xen with `dom0_mem=2048M,max:2048M` on its command line (GRUB_CMDLINE_XEN)",
                crate::memory::about(hypervisor.dom0.memory_kib)
            ),
        );
    }
    if let Some(why) = &world.observed.unwritable {
        let message = format!("nothing that needs a record can begin or end: {why}; it is tried again and again");
        report.stalled(STATE_UNWRITABLE, message);
    }
    if let Some(desired) = world.desired
        && !desired.hosts.contains_key(&world.observed.host)
    {
        report.stalled(
            "NotDeclared",
            format!(
                "the repository has no Host named {}; declare it, or correct `host` in the daemon's configuration",
                world.observed.host
            ),
        );
    }
    if let Reading::Known(xen) = &world.observed.xen {
        if let Reading::Unknown(cause) = &xen.cpupools {
            report.unknown(&cause.reason, cause.message.clone());
        }
        if let Reading::Unknown(cause) = &xen.domains {
            report.unknown(&cause.reason, cause.message.clone());
        }
    }
    report
}
