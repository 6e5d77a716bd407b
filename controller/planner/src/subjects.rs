//! The VMs of this host: those the commit declares, those that have a record, and what is wanted of each.

use crate::config::{Defaults, Power, VmConfig};
use crate::consent::{Fate, fate};
use crate::overrides::{self, Standing};
use crate::record::{Here, RECORD_VERSION, VmRecord};
use crate::world::{World, lives};
use crate::{ObjectKind, ObjectRef, RecordEdit, digest, resolve};
use protocol::{Domain, Reading};
use schema::desired::Vm;
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A VM with everything that planning it takes.
#[derive(Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) object: ObjectRef,
    pub(crate) uuid: Uuid,
    /// The name it should have.
    pub(crate) name: Name,
    pub(crate) fate: Fate,
    /// Written with the first step of a removal that a person approved.
    pub(crate) consent: Vec<RecordEdit>,
    /// What it should be, whole.
    pub(crate) config: VmConfig,
    pub(crate) defaults: Defaults,
    pub(crate) manifest: String,
    pub(crate) record: Option<&'a VmRecord>,
    /// Its live domains: one, or none, or something went wrong.
    pub(crate) domains: Vec<&'a Domain>,
    /// What Xen still tears down.
    pub(crate) dying: Vec<&'a Domain>,
    /// What a person wants of its power; it is in `config` already.
    pub(crate) overridden: Option<Standing>,
    /// What its manifest says of its power, where that is something else.
    pub(crate) declared_power: Option<Power>,
}

/// A VM that nothing can be planned for.
pub(crate) struct Blocked {
    pub(crate) object: ObjectRef,
    /// Nobody can say what it is; otherwise somebody must act.
    pub(crate) unknown: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// All VMs of the host.
pub(crate) fn subjects<'a>(world: &World<'a>) -> (Vec<Subject<'a>>, Vec<Blocked>) {
    let mut subjects = Vec::new();
    let mut blocked = Vec::new();
    let mut seen = BTreeSet::new();
    let owned = Owned::new(world);
    for (uuid, vm) in declared(world) {
        seen.insert(uuid);
        match declared_subject(world, &owned, uuid, vm) {
            Ok(subject) => subjects.push(subject),
            Err(reason) => blocked.push(reason),
        }
    }
    let elsewhere = declared_elsewhere(world);
    for (&uuid, reading) in &world.observed.records.vms {
        if !seen.insert(uuid) {
            continue;
        }
        match recorded_subject(world, &owned, uuid, reading, elsewhere.get(&uuid)) {
            Ok(subject) => subjects.push(subject),
            Err(reason) => blocked.push(reason),
        }
    }
    blocked.extend(strays(world, &seen));
    subjects.sort_by(|a, b| a.object.cmp(&b.object));
    (subjects, blocked)
}

/// VMs of this host in the commit, each with its identity: the one in its record, when it has one under this or a former name.
fn declared<'a>(world: &World<'a>) -> Vec<(Uuid, &'a Vm)> {
    let Some(desired) = world.desired else { return Vec::new() };
    let here: Vec<&Vm> = desired.vms.values().filter(|vm| vm.host == world.observed.host).collect();
    let derived: BTreeSet<Uuid> = here.iter().map(|vm| vm.uuid(world.pool_id)).collect();
    here.into_iter()
        .map(|vm| {
            let uuid = vm.uuid(world.pool_id);
            if world.vm_record(uuid).is_some() {
                return (uuid, vm);
            }
            let recorded = world.observed.records.vms.iter().find(|(other, record)| {
                !derived.contains(other)
                    && record.known().is_some_and(|record| {
                        record.pool_id == world.pool_id
                            && (record.name == vm.name || vm.formerly.contains(&record.name))
                    })
            });
            (recorded.map_or(uuid, |(other, _)| *other), vm)
        })
        .collect()
}

fn declared_elsewhere(world: &World) -> BTreeMap<Uuid, Name> {
    let vms = world.desired.into_iter().flat_map(|desired| desired.vms.values());
    vms.filter(|vm| vm.host != world.observed.host).map(|vm| (vm.uuid(world.pool_id), vm.host.clone())).collect()
}

fn vm_object(uuid: Uuid, name: String) -> ObjectRef {
    ObjectRef { kind: ObjectKind::VirtualMachine, name, uuid: Some(uuid) }
}

fn declared_subject<'a>(world: &World<'a>, owned: &Owned<'a>, uuid: Uuid, vm: &'a Vm) -> Result<Subject<'a>, Blocked> {
    let object = vm_object(uuid, vm.name.to_string());
    let record = usable(world, &object, world.vm_record(uuid))?;
    let networks = world.desired.map(|desired| &desired.networks);
    let empty = BTreeMap::new();
    let last = record.map_or(&[][..], |record| &record.wanted.nics);
    let (config, defaults) =
        resolve::resolve(vm, uuid, networks.unwrap_or(&empty), record.map(|record| &record.defaults), last);
    let manifest = digest::manifest_digest(vm);
    let (domains, dying) = owned.by(uuid);
    let name = vm.name.clone();
    let overridden = overrides::of(world, uuid);
    let (power, declared_power) = power(overridden.as_ref(), config.power, record);
    let config = VmConfig { power, ..config };
    Ok(Subject {
        overridden,
        declared_power,
        object,
        uuid,
        name,
        fate: Fate::Declared,
        consent: Vec::new(),
        config,
        defaults,
        manifest,
        record,
        domains,
        dying,
    })
}

fn recorded_subject<'a>(
    world: &World<'a>,
    owned: &Owned<'a>,
    uuid: Uuid,
    reading: &'a Reading<VmRecord>,
    elsewhere: Option<&Name>,
) -> Result<Subject<'a>, Blocked> {
    let name = reading.known().map_or_else(|| uuid.to_string(), |record| record.name.to_string());
    let object = vm_object(uuid, name);
    if let Some(host) = elsewhere {
        return Err(Blocked {
            object,
            unknown: false,
            reason: "HostChanged",
            message: format!(
                "its manifest names host {host}, but it lives on this one; pinfold does not move VMs between hosts. Set `host` back, or move it by hand"
            ),
        });
    }
    let Some(record) = usable(world, &object, Some(reading))? else {
        // `usable` answers a record for `Some`; an object without one is no subject.
        return Err(Blocked { object, unknown: true, reason: "RecordMissing", message: String::new() });
    };
    let (fate, consent) = fate(world, &object, uuid, &record.name);
    let (domains, dying) = owned.by(uuid);
    let overridden = overrides::of(world, uuid).filter(|_| fate != Fate::Removed);
    let declared = record.declared_power.unwrap_or(record.wanted.power);
    let (power, declared_power) = power(overridden.as_ref(), declared, Some(record));
    Ok(Subject {
        overridden,
        declared_power,
        object,
        uuid,
        name: record.name.clone(),
        fate,
        consent,
        config: VmConfig { power, ..record.wanted.clone() },
        defaults: record.defaults.clone(),
        manifest: record.manifest.clone(),
        record: Some(record),
        domains,
        dying,
    })
}

/// The power that counts, and what the manifest says where that is another.
fn power(overridden: Option<&Standing>, declared: Power, record: Option<&VmRecord>) -> (Power, Option<Power>) {
    let power = overridden.map_or(declared, |one| one.power(declared, record));
    (power, Some(declared).filter(|declared| *declared != power))
}

/// The record, if planning may rely on it.
fn usable<'a>(
    world: &World<'a>,
    object: &ObjectRef,
    reading: Option<&'a Reading<VmRecord>>,
) -> Result<Option<&'a VmRecord>, Blocked> {
    let blocked = |unknown, reason, message| Blocked { object: object.clone(), unknown, reason, message };
    match reading {
        None => Ok(None),
        Some(Reading::Unknown(cause)) => {
            Err(blocked(true, "RecordUnknown", format!("its record cannot be read: {}", cause.message)))
        }
        Some(Reading::Known(record)) if record.pool_id != world.pool_id => Err(blocked(
            true,
            "OtherPool",
            format!("its record belongs to the Pool with id {}, not to this one", record.pool_id),
        )),
        Some(Reading::Known(record)) if record.here.host != world.observed.host => Err(blocked(
            false,
            "OtherHost",
            format!(
                "its record was last in use on host {}, not on this one; nothing is done until that is settled",
                record.here.host
            ),
        )),
        Some(Reading::Known(record)) => Ok(Some(record)),
    }
}

/// The domains that are ours, by the VM that they are incarnations of.
struct Owned<'a>(BTreeMap<Uuid, Vec<&'a Domain>>);

impl<'a> Owned<'a> {
    fn new(world: &World<'a>) -> Self {
        let mut owned: BTreeMap<Uuid, Vec<&Domain>> = BTreeMap::new();
        for domain in world.domains.unwrap_or_default() {
            if let Some(uuid) = world.owner(domain) {
                owned.entry(uuid).or_default().push(domain);
            }
        }
        Self(owned)
    }

    /// The live ones of a VM, and those that Xen tears down.
    fn by(&self, uuid: Uuid) -> (Vec<&'a Domain>, Vec<&'a Domain>) {
        self.0.get(&uuid).into_iter().flatten().partition(|domain| lives(domain))
    }
}

/// Live domains with our mark, but with neither record nor manifest.
fn strays(world: &World, seen: &BTreeSet<Uuid>) -> Vec<Blocked> {
    let all = world.domains.unwrap_or_default().iter().filter(|domain| lives(domain));
    all.filter(|domain| world.owner(domain).is_some_and(|uuid| !seen.contains(&uuid)))
        .map(|domain| Blocked {
            object: vm_object(domain.uuid, domain.name.clone().unwrap_or_else(|| format!("domid-{}", domain.domid))),
            unknown: false,
            reason: "NoRecord",
            message: format!(
                "{} bears this Pool's mark, but has neither a manifest nor a record; restore its manifest or the state directory, or end it with `xl destroy {}`",
                World::domain_name(domain),
                domain.domid
            ),
        })
        .collect()
}

impl Subject<'_> {
    /// Its record, or the one it will get.
    pub(crate) fn base_record(&self, world: &World) -> VmRecord {
        self.record.cloned().unwrap_or_else(|| VmRecord {
            version: RECORD_VERSION,
            pool_id: world.pool_id,
            uuid: self.uuid,
            name: self.name.clone(),
            defaults: self.defaults.clone(),
            wanted: self.config.clone(),
            manifest: self.manifest.clone(),
            off_by_guest: None,
            declared_power: self.declared_power,
            saved: None,
            here: Here::fresh(world.observed.host.clone()),
        })
    }

    /// Whether the incarnation that a domain bears is the one that the record describes.
    pub(crate) fn describes(&self, domain: &Domain) -> Option<&crate::record::Intent> {
        let intent = self.record?.here.intent.as_ref()?;
        domain.mark.filter(|mark| mark.incarnation == intent.incarnation).map(|_| intent)
    }
}
