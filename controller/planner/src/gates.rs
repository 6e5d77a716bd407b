//! Which objects stay as they are, and how these are planned: as they were last recorded, with what else is wanted shown beside it.

use crate::consent::Fate;
use crate::create::Budget;
use crate::draft::Draft;
use crate::freeze::{self, Frozen};
use crate::gate::{Gate, Rule, news};
use crate::mode::{self, Modes};
use crate::partitions::{Layout, Partition, Place};
use crate::status::Report;
use crate::subjects::Subject;
use crate::vms::{self, Context};
use crate::world::World;
use crate::{ObjectRef, cpupools, host_shutdown, planning};
use schema::desired::Mode;
use schema::units::Name;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Freezes and modes in force.
pub(crate) struct Gates {
    freezes: BTreeMap<Frozen, Gate>,
    modes: Modes,
    /// Partitions by name.
    partitions: BTreeMap<Name, Uuid>,
}

impl Gates {
    pub(crate) fn of(world: &World, subjects: &[Subject], partitions: &[Partition]) -> Self {
        let freezes = freeze::in_force(world);
        let modes = Modes::of(world, subjects);
        let named = |partition: &Partition| (partition.name.clone(), partition.uuid);
        let partitions = if freezes.is_empty() && modes.all_enforce() {
            BTreeMap::new()
        } else {
            partitions.iter().map(named).collect()
        };
        Self { freezes, modes, partitions }
    }

    fn are_none(&self) -> bool {
        self.freezes.is_empty() && self.modes.all_enforce()
    }

    fn freeze(&self, frozen: Frozen) -> Option<&Gate> {
        self.freezes.get(&frozen).or_else(|| self.freezes.get(&Frozen::Host))
    }

    /// Of the reasons that there are, the strictest: what is only observed is not touched, what is frozen is not even when a person approves.
    fn strictest(freeze: Option<&Gate>, mode: Option<Gate>) -> Option<Gate> {
        match mode {
            Some(mode) if mode.rule == Rule::Observe => Some(mode),
            mode => freeze.cloned().or(mode),
        }
    }

    pub(crate) fn host(&self) -> Option<Gate> {
        Self::strictest(self.freezes.get(&Frozen::Host), self.modes.host_gate())
    }

    /// By itself, by its host, or by a partition that it is in or belongs in.
    fn vm(&self, world: &World, subject: &Subject) -> Option<Gate> {
        if self.are_none() {
            return None;
        }
        let declared = self.named(subject);
        let within = || {
            let mut homes = declared.into_iter().chain(self.homes(world, subject));
            homes.find_map(|uuid| self.freezes.get(&Frozen::Partition(uuid)))
        };
        let freeze = self.freeze(Frozen::Vm(subject.uuid)).or_else(within);
        Self::strictest(freeze, self.modes.vm_gate(subject))
    }

    /// By itself, by its host, or by a VM in it, whose cores are the partition's.
    fn partition(&self, world: &World, uuid: Uuid, subjects: &[Subject]) -> Option<Gate> {
        let inside = || subjects.iter().filter(|subject| self.homes(world, subject).contains(&uuid));
        let of_vm = |subject: &Subject| self.freezes.get(&Frozen::Vm(subject.uuid));
        let freeze = self.freeze(Frozen::Partition(uuid)).or_else(|| inside().find_map(of_vm));
        let observed = || {
            let is_observed = |subject: &&Subject| self.modes.vm(subject.uuid) == Mode::Observe;
            inside().find(is_observed).and_then(|subject| self.modes.vm_gate(subject))
        };
        Self::strictest(freeze, self.modes.host_gate().or_else(observed))
    }

    /// The partitions that a VM is in: where its domain is, and where it was last wanted.
    fn homes(&self, world: &World, subject: &Subject) -> Vec<Uuid> {
        let is_home = |poolid: u32| world.cpupools?.iter().find(|pool| pool.poolid == poolid)?.uuid;
        let present = subject.domains.iter().filter_map(|domain| is_home(domain.poolid?));
        let last = subject.record.and_then(|record| record.wanted.partition.as_ref());
        present.chain(last.and_then(|name| self.partitions.get(name)).copied()).collect()
    }

    fn named(&self, subject: &Subject) -> Option<Uuid> {
        self.partitions.get(subject.config.partition.as_ref()?).copied()
    }

    /// One VM.
    pub(crate) fn plan_vm<'w>(
        &self,
        cx: &Context<'_, 'w>,
        subject: &Subject<'w>,
        budget: &mut Budget,
    ) -> (Vec<Draft>, Report) {
        let Some(gate) = self.vm(cx.world, subject) else { return vms::plan_vm(cx, subject, budget) };
        let (drafts, mut report) = match gate.rule {
            Rule::Frozen => freeze::plan_vm(cx, subject, budget, &gate),
            Rule::Plan => mode::plan_vm(cx, subject, budget, &gate),
            // A host that goes down takes its guests with it: to ask them first is no change.
            Rule::Observe if host_shutdown::in_force(cx.world).is_some() => vms::plan_vm(cx, subject, budget),
            Rule::Observe => mode::observe_vm(cx, subject, budget, &gate),
        };
        gate.report(&mut report);
        (drafts, report)
    }

    /// Partitions: those that stay as they are as they were last recorded, so that VMs find their places there; what the commit wants of them waits.
    pub(crate) fn plan_partitions<'w>(
        &self,
        world: &World<'w>,
        subjects: &[Subject],
        declared: Vec<Partition<'w>>,
    ) -> (Vec<Draft>, Vec<Report>, Layout) {
        let plan = |partitions: &[Partition]| {
            cpupools::plan_partitions(world, partitions, &planning::homes(subjects, partitions))
        };
        if self.are_none() {
            return plan(&declared);
        }
        let gate = |object: &ObjectRef| match Frozen::of(object) {
            Some(Frozen::Partition(uuid)) => self.partition(world, uuid, subjects),
            _ => self.host(),
        };
        let (wanted, said, all) = plan(&declared);
        let as_it_is = |partition: Partition<'w>| match gate(&partition.object) {
            Some(gate) if !is_approved(world, &gate, &partition) => partition.into_recorded(world),
            _ => Some(partition),
        };
        let (own, mut reports, mut layout) = plan(&declared.into_iter().filter_map(as_it_is).collect::<Vec<_>>());
        let stays = |draft: Draft| match gate(&draft.item.object) {
            Some(gate) => gate.as_it_stays(world, draft),
            None => draft,
        };
        let mut drafts: Vec<Draft> = own.into_iter().map(stays).collect();
        let news = news(wanted, &drafts);
        drafts.extend(news.filter_map(|draft| Some(gate(&draft.item.object)?.hold(world, draft))));
        // One that was never made has nothing recorded, and VMs that belong in it wait for it.
        for (name, place) in all.places {
            let Some(gate) = gate(&place.object) else { continue };
            layout.places.entry(name).or_insert(Place { poolid: Err(gate.message), ..place });
        }
        let is_new = |report: &Report| reports.iter().all(|other| other.object != report.object);
        let new: Vec<Report> = said.into_iter().filter(is_new).collect();
        reports.extend(new);
        for report in &mut reports {
            if let Some(gate) = gate(&report.object) {
                gate.report(report);
            }
        }
        (drafts, reports, layout)
    }

    /// What would take away what lies in the trash waits.
    pub(crate) fn purges(&self, world: &World, drafts: Vec<Draft>) -> Vec<Draft> {
        let gate = |draft: &Draft| {
            let frozen = Frozen::of(&draft.item.object)?;
            let mode = match frozen {
                Frozen::Vm(uuid) => self.modes.gate_of(&draft.item.object, uuid),
                Frozen::Host | Frozen::Partition(_) => self.modes.host_gate(),
            };
            Self::strictest(self.freeze(frozen), mode)
        };
        let hold = |draft: Draft| match gate(&draft) {
            Some(gate) => gate.hold(world, draft),
            None => draft,
        };
        drafts.into_iter().map(hold).collect()
    }

    /// What is written down of the modes, when it is not yet.
    pub(crate) fn note(&self, world: &World) -> Option<Draft> {
        self.modes.note(world)
    }
}

/// Whether a person approved the removal of a partition: it takes several steps, and goes on until it is done.
fn is_approved(world: &World, gate: &Gate, partition: &Partition) -> bool {
    let by_person = world.grant(partition.uuid).is_some_and(|grant| grant.approved.is_some());
    gate.rule == Rule::Plan && partition.fate == Fate::Removed && (by_person || !partition.consent.is_empty())
}
