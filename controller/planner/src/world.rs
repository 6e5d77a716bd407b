//! The observation, indexed for planning: what is ours, what is foreign, and what is unknown.

use crate::cores::Topology;
use crate::record::{Grant, Grants, OverBudget, PartitionRecord, SavedStage, VmRecord};
use crate::{ObjectKind, ObjectRef, Observed, Trail, observed::UnderWay};
use protocol::{Cpupool, Domain, DomainState, Hypervisor, ImageState, Lock, Observation, Reading};
use schema::desired::Desired;
use schema::units::Name;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Xen's number of the pool that holds dom0.
pub(crate) const POOL0: u32 = 0;

/// Everything planning looks at, when Xen could be read and the Pool is the one this host is pinned to.
pub(crate) struct World<'a> {
    pub(crate) desired: Option<&'a Desired>,
    pub(crate) observed: &'a Observed,
    pub(crate) pool_id: Uuid,
    pub(crate) hypervisor: &'a Hypervisor,
    /// `None`: unknown.
    pub(crate) cpupools: Option<&'a [Cpupool]>,
    /// `None`: unknown.
    pub(crate) domains: Option<&'a [Domain]>,
    pub(crate) topology: Topology,
    /// Who has which path open, once somebody asks.
    open: OnceCell<BTreeMap<&'a str, Vec<(&'a Domain, bool)>>>,
    /// Which disks the memory of suspended guests relies on, once somebody asks.
    saved: OnceCell<BTreeMap<&'a str, Vec<SavedDisk<'a>>>>,
}

/// A disk that a suspended guest's memory relies on.
pub(crate) struct SavedDisk<'a> {
    pub(crate) vm: Uuid,
    pub(crate) name: &'a Name,
    pub(crate) read_only: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        desired: Option<&'a Desired>,
        observed: &'a Observed,
        pool_id: Uuid,
        xen: &'a Observation,
    ) -> Self {
        Self {
            desired,
            observed,
            pool_id,
            hypervisor: &xen.hypervisor,
            cpupools: xen.cpupools.known().map(Vec::as_slice),
            domains: xen.domains.known().map(Vec::as_slice),
            topology: Topology::new(&xen.hypervisor.pcpus),
            open: OnceCell::new(),
            saved: OnceCell::new(),
        }
    }

    /// The commit in force.
    pub(crate) fn commit(&self) -> Option<String> {
        self.observed.accepted.as_ref().map(|commit| commit.id.clone())
    }

    /// Who is behind what the commit in force brings about.
    pub(crate) fn trail(&self) -> Trail {
        let author = self.observed.accepted.as_ref().map(|commit| commit.author.clone());
        Trail { author: author.filter(|author| !author.is_empty()), approved: None }
    }

    pub(crate) fn host(&self) -> ObjectRef {
        ObjectRef { kind: ObjectKind::Host, name: self.observed.host.to_string(), uuid: None }
    }

    pub(crate) fn vm_record(&self, uuid: Uuid) -> Option<&'a Reading<VmRecord>> {
        self.observed.records.vms.get(&uuid)
    }

    pub(crate) fn partition_record(&self, uuid: Uuid) -> Option<&'a Reading<PartitionRecord>> {
        self.observed.records.partitions.get(&uuid)
    }

    /// The VM that a domain is an incarnation of, when it is ours.
    ///
    /// A mark of our Pool that agrees with the handle Xen keeps proves it. Without a mark, a record does that says we were about to build it:
    /// the worker may have died before the mark was written. But libxl writes the mark and the name in one transaction (libxl__domain_make): what has a name
    /// and no mark was built by somebody else, with our UUID. A mark of another Pool never is ours.
    pub(crate) fn owner(&self, domain: &Domain) -> Option<Uuid> {
        match domain.mark {
            Some(_) => (self.bears_its_mark(domain) && !self.was_made_by_others(domain)).then_some(domain.uuid),
            None => match self.vm_record(domain.uuid)? {
                Reading::Known(record) => {
                    (domain.name.is_none() && record.here.intent.is_some()).then_some(domain.uuid)
                }
                Reading::Unknown(_) => Some(domain.uuid),
            },
        }
    }

    /// Whether it bears a mark of our Pool that agrees with the handle Xen keeps.
    pub(crate) fn bears_its_mark(&self, domain: &Domain) -> bool {
        domain.mark.is_some_and(|mark| mark.pool_id == self.pool_id && mark.uuid == domain.uuid)
    }

    /// Whether another tool made it, mark and all: libxl keeps the mark in what `xl save` writes, and in what `xl migrate` sends. Nothing of ours runs
    /// before it is `ready`; what runs without, ran, is watched by another toolstack, or is not what the record says was begun, holds a guest's memory,
    /// and is no wreckage of a creation.
    fn was_made_by_others(&self, domain: &Domain) -> bool {
        let was_begun = match self.vm_record(domain.uuid) {
            Some(Reading::Known(record)) => {
                let begun = record.here.intent.as_ref().map(|intent| intent.incarnation);
                begun.is_some() && begun == domain.mark.map(|mark| mark.incarnation)
            }
            // Nobody can say.
            Some(Reading::Unknown(_)) | None => true,
        };
        let ran = matches!(domain.state, DomainState::Running | DomainState::Shutdown(_));
        !domain.ready && (ran || domain.toolstack.is_some() || !was_begun)
    }

    /// Domains that are not ours.
    pub(crate) fn foreign_domains(&self) -> impl Iterator<Item = &'a Domain> {
        self.domains.unwrap_or_default().iter().filter(|domain| self.owner(domain).is_none())
    }

    /// The cpupool with an identity.
    pub(crate) fn cpupool(&self, uuid: Uuid) -> Option<&'a Cpupool> {
        self.cpupools?.iter().find(|pool| pool.uuid == Some(uuid) && pool.poolid != POOL0)
    }

    pub(crate) fn pool0(&self) -> Option<&'a Cpupool> {
        self.cpupools?.iter().find(|pool| pool.poolid == POOL0)
    }

    /// Domains that have a path open as a disk, each with whether it only reads it.
    pub(crate) fn openers(&self, path: &str) -> &[(&'a Domain, bool)] {
        let index = || {
            let mut open: BTreeMap<&str, Vec<(&Domain, bool)>> = BTreeMap::new();
            for domain in self.domains.unwrap_or_default() {
                for disk in &domain.disks {
                    open.entry(&disk.path).or_default().push((domain, disk.read_only));
                }
                let drives = domain.hvm.iter().flat_map(|hvm| &hvm.cdroms);
                for medium in drives.filter_map(|drive| drive.medium.as_deref()) {
                    open.entry(medium).or_default().push((domain, true));
                }
            }
            open
        };
        self.open.get_or_init(index).get(path).map_or(&[], Vec::as_slice)
    }

    /// Suspended guests whose memory relies on a path as a disk. A record that cannot be read hides which those are; its VM may still be told
    /// by its domain.
    pub(crate) fn saved_disks(&self, path: &str) -> &[SavedDisk<'a>] {
        let index = || {
            let mut saved: BTreeMap<&str, Vec<SavedDisk>> = BTreeMap::new();
            for record in self.observed.records.vms.values().filter_map(Reading::known) {
                let Some(of) = record.saved.as_ref().filter(|saved| saved.stage == SavedStage::Whole) else { continue };
                for disk in &of.config.disks {
                    let disk_of = SavedDisk { vm: record.uuid, name: &record.name, read_only: disk.read_only };
                    saved.entry(&disk.path).or_default().push(disk_of);
                }
                for medium in of.config.drives().iter().filter_map(|drive| drive.medium.as_deref()) {
                    let disk_of = SavedDisk { vm: record.uuid, name: &record.name, read_only: true };
                    saved.entry(medium).or_default().push(disk_of);
                }
            }
            saved
        };
        self.saved.get_or_init(index).get(path).map_or(&[], Vec::as_slice)
    }

    /// What stands on disk where an image is looked for.
    pub(crate) fn image(&self, image: Uuid) -> Reading<ImageState> {
        self.observed.images.get(&image).cloned().unwrap_or_else(|| {
            Reading::unknown("ImageUnknown", format!("whether its memory is on disk (image {image}) is not known"))
        })
    }

    /// Domains in a cpupool that are not being torn down.
    pub(crate) fn domains_in(&self, poolid: u32) -> impl Iterator<Item = &'a Domain> {
        self.domains
            .unwrap_or_default()
            .iter()
            .filter(move |domain| domain.poolid == Some(poolid) && domain.state != DomainState::Dying)
    }

    /// The operation that works on an object now.
    pub(crate) fn under_way(&self, object: &ObjectRef) -> Option<&'a UnderWay> {
        self.observed.operations.iter().find(|operation| {
            let same = operation.object.kind == object.kind
                && match (operation.object.uuid, object.uuid) {
                    (Some(a), Some(b)) => a == b,
                    _ => operation.object.name == object.name,
                };
            let locked = object.kind == ObjectKind::VirtualMachine
                && object.uuid.is_some_and(|uuid| {
                    operation.request.as_ref().is_some_and(|request| request.locks().contains(&Lock::Vm(uuid)))
                });
            same || locked
        })
    }

    /// The grants, when they are known; no grants are an empty list.
    pub(crate) fn grants(&self) -> Option<Grants> {
        match &self.observed.records.grants {
            None => Some(Grants { version: crate::record::RECORD_VERSION, ..Grants::default() }),
            Some(grants) => grants.known().cloned(),
        }
    }

    pub(crate) fn grant(&self, uuid: Uuid) -> Option<&'a Grant> {
        self.observed.records.grants.as_ref()?.known()?.removed.get(&uuid)
    }

    /// The budget that the accepted commit exceeds.
    pub(crate) fn over_budget(&self) -> Option<&'a OverBudget> {
        let over = self.observed.records.grants.as_ref()?.known()?.over_budget.as_ref()?;
        let accepted = self.observed.accepted.as_ref()?;
        (over.commit == accepted.id).then_some(over)
    }

    /// A person's approval of an item, while it lasts.
    pub(crate) fn approval(&self, item: &str) -> Option<&'a crate::record::Approval> {
        self.observed.records.approvals.get(item).filter(|approval| approval.is_good(self.observed.now))
    }

    /// What a domain is called in messages.
    pub(crate) fn domain_name(domain: &Domain) -> String {
        match &domain.name {
            Some(name) => format!("domain {name} (domid {})", domain.domid),
            None => format!("domain {}", domain.domid),
        }
    }
}

/// Whether a domain is more than a remainder that Xen tears down.
pub(crate) fn lives(domain: &Domain) -> bool {
    domain.state != DomainState::Dying
}
