//! VMs of this host: by what is found of each, to what is done next.

use crate::config::{Power, VmConfig};
use crate::consent::{Fate, removal_id};
use crate::create::Budget;
use crate::draft::{Draft, Rank};
use crate::intentions::{Intentions, intentions};
use crate::partitions::Layout;
use crate::record::{Here, VmRecord};
use crate::status::{Report, STATE_UNWRITABLE, unwritten};
use crate::subjects::Subject;
use crate::world::{World, lives};
use crate::{
    Action, Cause, Effect, Operation, RecordEdit, claim, guest_ends, host_shutdown, live, power, stop, suspend, trash,
};
use protocol::{Cdrom, Domain, DomainHvm, DomainState, Reading, Request, ShutdownReason, Target};

/// What planning one VM can see of the rest of the host.
pub(crate) struct Context<'a, 'w> {
    pub(crate) world: &'a World<'w>,
    pub(crate) layout: &'a Layout,
}

/// One VM while it is planned.
pub(crate) struct Planning<'a, 'w> {
    pub(crate) cx: &'a Context<'a, 'w>,
    pub(crate) world: &'a World<'w>,
    pub(crate) subject: &'a Subject<'w>,
    pub(crate) intentions: Intentions,
    pub(crate) report: Report,
    pub(crate) drafts: Vec<Draft>,
}

/// Items and report of one VM. `budget` is the host memory that creates planned before leave.
pub(crate) fn plan_vm<'w>(cx: &Context<'_, 'w>, subject: &Subject<'w>, budget: &mut Budget) -> (Vec<Draft>, Report) {
    let world = cx.world;
    let mut drafts = Vec::new();
    if let Fate::Orphaned { until } = &subject.fate {
        let draft = Draft::new(world, &subject.object, Rank::Stop, Action::Delete, Effect::Delete);
        debug_assert_eq!(draft.item.id, removal_id(&subject.object));
        let fate = trash::fate_text(&subject.config.disks);
        drafts.push(draft.reason(format!("nothing declares it; deleted, {fate}")).held(until));
    }
    let intentions = intentions(world, subject, &mut drafts);
    let mut report = report(world, subject);
    if let Some(crowd) = crowd(cx, &intentions.config) {
        report.fact("contention", crowd);
    }
    let mut planning = Planning { cx, world, subject, intentions, report, drafts };
    planning.plan(budget);
    if let Some(order) = &subject.overridden {
        order.sign(&mut planning.drafts, &mut planning.report);
    }
    (planning.drafts, planning.report)
}

impl<'w> Planning<'_, 'w> {
    fn plan(&mut self, budget: &mut Budget) {
        if let Some(operation) = self.world.under_way(&self.subject.object) {
            let (action, effect) = match &operation.request {
                Some(Request::CreateDomain(_)) => (Action::Start, Effect::Create),
                Some(Request::SaveDomain { .. }) => (Action::Suspend, Effect::Pause),
                Some(Request::RestoreDomain { .. } | Request::ResumeDomain { .. }) => (Action::Resume, Effect::Live),
                Some(Request::DiscardImage { .. }) => (Action::Discard, Effect::Stop),
                Some(
                    Request::ShutdownDomain { .. } | Request::PressPowerButton { .. } | Request::DestroyDomain { .. },
                ) => (Action::Stop, Effect::Stop),
                Some(Request::PauseDomain { .. }) => (Action::Change, Effect::Pause),
                _ => (Action::Change, Effect::Live),
            };
            if let Some(why) = &operation.unwritten {
                self.report.stalled(STATE_UNWRITABLE, unwritten(&operation.what, why));
            }
            let draft = self.draft(Rank::Change, action, effect).reason("an operation works on it");
            let draft = draft.waiting(format!("{} is under way", operation.what));
            self.drafts.push(draft);
            return;
        }
        if let Reading::Unknown(cause) = domains(self.world) {
            self.report.unknown("DomainsUnknown", format!("the host's domains are not known: {}", cause.message));
            return;
        }
        if let Some(note) = host_shutdown::in_force(self.world) {
            return host_shutdown::plan_vm(self, note);
        }
        if self.subject.record.is_none()
            && self.subject.fate == Fate::Declared
            && let Some((folder, trashed)) = trash::of(self.world, self.subject.uuid)
        {
            return trash::plan_restore(self, folder, trashed);
        }
        match self.subject.domains.as_slice() {
            [] if claim::plan(self) => {}
            [] => power::plan_absent(self, budget),
            &[domain] => self.plan_one(domain),
            domains => self.plan_several(domains),
        }
    }

    fn plan_one(&mut self, domain: &Domain) {
        if self.subject.record.is_none() {
            return self.reconstruct(domain);
        }
        if !domain.ready {
            if !suspend::plan_unfinished(self, domain) {
                self.clean_up(domain);
            }
            return;
        }
        if claim::settle(self, domain) {
            return;
        }
        self.tell_of_twin(domain);
        self.tell_of_lost_device_model(domain);
        match domain.state {
            DomainState::Shutdown(ShutdownReason::Suspend) => suspend::plan_suspended(self, domain),
            DomainState::Shutdown(reason) => guest_ends::plan_ended(self, domain, reason),
            DomainState::Running | DomainState::Paused => self.plan_alive(domain),
            // Not among the live ones.
            DomainState::Dying => {}
        }
    }

    /// Somebody else's domain of the same VM, beside ours: only a person can say which is the wrong one.
    fn tell_of_twin(&mut self, domain: &Domain) {
        let is_twin = |other: &&Domain| other.uuid == domain.uuid && other.domid != domain.domid && lives(other);
        if let Some(other) = self.world.foreign_domains().find(is_twin) {
            let message = format!(
                "{} has its UUID too and is not pinfold's; stop its guests from writing to the same disks: end the wrong one with `xl destroy`",
                World::domain_name(other)
            );
            self.report.stalled("ForeignTwin", message);
        }
    }

    /// Its guest stands still at its next access to an emulated device, or goes on for long with PV drivers alone: only a person can weigh that.
    fn tell_of_lost_device_model(&mut self, domain: &Domain) {
        if lost_device_model(domain) {
            let (vm, name) = (&self.subject.object.name, domain.name.as_deref().unwrap_or("NAME"));
            let message = format!(
                "the QEMU that emulates its devices has ended under it: whatever its guest does with one of them stops it for good; look into \
                 /var/log/xen/qemu-dm-{name}.log, then `pinfold restart vm/{vm}`"
            );
            self.report.stalled("DeviceModelGone", message);
        }
    }

    fn plan_alive(&mut self, domain: &Domain) {
        if self.subject.fate == Fate::Removed || self.intentions.config.power == Power::Stopped {
            stop::plan_stop(self, domain);
        } else if self.intentions.config.power == Power::Suspended {
            suspend::plan_save(self, domain);
        } else if suspend::tidy(self, domain) {
            // One thing at a time.
        } else if self.subject.overridden.as_ref().is_some_and(|order| order.restarts(domain)) {
            stop::plan_restart_by_hand(self, domain);
        } else if !stop::plan_restart(self, domain) {
            live::plan_live(self, domain);
        }
    }

    /// Two live domains of one VM: something went badly wrong, or a person made one by hand.
    fn plan_several(&mut self, domains: &[&'w Domain]) {
        let ready = domains.iter().filter(|domain| domain.ready).count();
        let wreckage = domains.iter().find(|domain| !domain.ready).filter(|_| self.subject.record.is_some());
        let names: Vec<String> = domains.iter().map(|domain| World::domain_name(domain)).collect();
        self.report.stalled(
            "TwoDomains",
            format!(
                "{} are domains of this VM at the same time; stop its guests from writing to the same disks: end the wrong one with `xl destroy`",
                names.join(" and ")
            ),
        );
        if let (true, Some(domain)) = (ready <= 1, wreckage) {
            self.clean_up(domain);
        }
    }

    /// A domain of ours that was never verified: its maker died. It never runs.
    fn clean_up(&mut self, domain: &Domain) {
        let record = self.next_record();
        let here = Here { intent: None, stopping: None, ..record.here.clone() };
        let destroy = Operation::xen(Request::DestroyDomain { target: target(domain) })
            .on_success([RecordEdit::Vm(Box::new(VmRecord { here, ..record }))]);
        let draft = self
            .draft(Rank::Clear, Action::CleanUp, Effect::Stop)
            .reason(format!("{} was never verified as placed right: whoever made it died", World::domain_name(domain)))
            .now(destroy);
        self.drafts.push(draft);
    }

    /// A domain that bears our mark proves whose it is; how it was built stays unknown until it starts next.
    fn reconstruct(&mut self, domain: &Domain) {
        if !domain.ready || self.subject.fate != Fate::Declared {
            self.report.unknown(
                "RecordMissing",
                format!(
                    "{} bears its mark, but its record is missing; restore the state directory, or end it with `xl destroy {}`",
                    World::domain_name(domain),
                    domain.domid
                ),
            );
            return;
        }
        let record = self.next_record();
        let draft = self
            .draft(Rank::Record, Action::Settle, Effect::Live)
            .cause(Cause::Drift)
            .reason("its record is missing; it is written anew from the manifest")
            .now(Operation::records(vec![RecordEdit::Vm(Box::new(record))]));
        self.drafts.push(draft);
    }

    pub(crate) fn draft(&self, rank: Rank, action: Action, effect: Effect) -> Draft {
        Draft::new(self.world, &self.subject.object, rank, action, effect)
    }

    /// Its record with everything that is wanted now; what this host did stays.
    pub(crate) fn next_record(&self) -> VmRecord {
        VmRecord {
            defaults: self.subject.defaults.clone(),
            wanted: self.intentions.config.clone(),
            manifest: self.subject.manifest.clone(),
            declared_power: self.subject.declared_power,
            ..self.subject.base_record(self.world)
        }
    }

    /// Edits that go before the first step of something that a person approved.
    pub(crate) fn consent(&self) -> Vec<RecordEdit> {
        self.subject.consent.iter().chain(&self.intentions.consent).cloned().collect()
    }
}

/// Whether the host's domains are known.
fn domains<'a>(world: &World<'a>) -> &'a Reading<Vec<Domain>> {
    match &world.observed.xen {
        Reading::Known(xen) => &xen.domains,
        // Worlds are only made of known observations.
        Reading::Unknown(_) => const { &Reading::Known(Vec::new()) },
    }
}

/// What waits for this waits for a QEMU that answers.
pub(crate) const ANOTHER_DEVICE_MODEL: &str = "the guest starts again, with another QEMU";

/// Whether the QEMU under it has ended: whatever would be asked of that waits for the guest's next start.
pub(crate) fn lost_device_model(domain: &Domain) -> bool {
    domain.hvm.as_ref().is_some_and(|hvm| hvm.device_model_gone)
}

pub(crate) fn target(domain: &Domain) -> Target {
    Target { domid: domain.domid, uuid: domain.uuid }
}

fn report(world: &World, subject: &Subject) -> Report {
    let mut report = Report::new(subject.object.clone());
    let off = subject.record.is_some_and(|record| record.off_by_guest.is_some());
    let suspended = subject.record.is_some_and(|record| record.saved.is_some());
    report.power = match (world.domains, subject.domains.first(), subject.dying.first()) {
        (None, ..) => "unknown".to_owned(),
        (_, Some(domain), _) => power_text(subject, domain),
        (_, None, Some(_)) => "dying".to_owned(),
        (_, None, None) if suspended => "suspended".to_owned(),
        (_, None, None) if off => "off by guest".to_owned(),
        (_, None, None) if subject.record.is_none() => "absent".to_owned(),
        (_, None, None) => "stopped".to_owned(),
    };
    if let Some(partition) = &subject.config.partition {
        report.fact("partition", partition.to_string());
    }
    if let Some(domain) = subject.domains.first() {
        domain_facts(world, domain, &mut report);
    }
    report
}

/// What an administrator of a partition should know: vCPUs of one VM that wait for each other. It is no mistake, so it is only shown.
fn crowd(cx: &Context, config: &VmConfig) -> Option<String> {
    let place = cx.layout.place(config.partition.as_ref()?)?;
    let (vcpus, pcpus) = (config.vcpus_online, place.cpus.len());
    let is_crowded = usize::try_from(vcpus).is_ok_and(|vcpus| vcpus > pcpus) && pcpus > 0;
    is_crowded.then(|| format!("its {vcpus} vCPUs wait for each other: its partition has {pcpus} pCPU(s)"))
}

fn power_text(subject: &Subject, domain: &Domain) -> String {
    let stopping = subject.record.and_then(|record| record.here.stopping.as_ref());
    match domain.state {
        _ if !domain.ready => "unfinished".to_owned(),
        DomainState::Running | DomainState::Paused if stopping.is_some_and(|stop| stop.domid == domain.domid) => {
            "stopping".to_owned()
        }
        DomainState::Running => "running".to_owned(),
        DomainState::Paused => "paused".to_owned(),
        DomainState::Shutdown(reason) => format!("ended: {}", guest_ends::reason_text(reason)),
        DomainState::Dying => "dying".to_owned(),
    }
}

/// What wide listings show of a domain.
pub(crate) fn domain_facts(world: &World, domain: &Domain, report: &mut Report) {
    report.fact("domid", domain.domid.to_string());
    let pool = world.cpupools.unwrap_or_default().iter().find(|pool| Some(pool.poolid) == domain.poolid);
    if let Some(pool) = pool {
        report.fact("cpupool", pool.name.clone().unwrap_or_else(|| pool.poolid.to_string()));
    }
    if let Reading::Known(vcpus) = &domain.vcpus {
        let online = vcpus.iter().filter(|vcpu| vcpu.online).count();
        report.fact("vCPUs", format!("{online} of {}", vcpus.len()));
        let mut masks: Vec<String> = vcpus.iter().map(|vcpu| world.topology.mask_text(&vcpu.hard)).collect();
        masks.dedup();
        report.fact("hard affinity", masks.join(" "));
    }
    report.fact("memory", crate::memory::about(domain.memory.current_kib));
    if let Reading::Known(sched) = &domain.sched {
        report.fact("weight", sched.weight.to_string());
        report.fact("cap", sched.cap.to_string());
    }
    if let Some(hvm) = &domain.hvm {
        hvm_facts(world, hvm, report);
    }
}

/// What an administrator of an HVM guest looks for.
fn hvm_facts(world: &World, hvm: &DomainHvm, report: &mut Report) {
    report.fact("PV drivers", if hvm.pv_drivers { "yes" } else { "no: it is stopped by its ACPI power button" });
    for Cdrom { target, medium } in &hvm.cdroms {
        report.fact(&format!("CD-ROM {target}"), medium.as_deref().unwrap_or("empty"));
    }
    if let Some(socket) = &hvm.vnc {
        let host = &world.observed.host;
        report.fact("VNC", format!("{socket} (`ssh -L 5900:{socket} root@{host}`, then a viewer at localhost:5900)"));
    }
}
