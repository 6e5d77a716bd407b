//! From manifests as written to [`Desired`]: every reference points at something, every rule across objects holds.
//!
//! Each rule looks at all manifests and reports all that break it. What it returns is complete only when no finding is an error; [`crate::read`] sees to that.

mod cores;
mod devices;
mod hvm;
mod names;
mod vms;

use crate::desired::{ChangeRules, CorePartition, Desired, Host, MaxDeletions, Network, Pool, Restarts};
use crate::document::{Documents, Place};
use crate::finding::{Bytes, Finding, Kind, Location, Sources};
use crate::kinds::Manifest;
use crate::kinds::core_partition::CorePartitionSpec;
use crate::kinds::host::HostSpec;
use crate::kinds::pool::PoolSpec;
use crate::text::Text;
use crate::units::Name;
use std::collections::BTreeMap;

/// One removal, or this share of all: enough for daily work, too little for an accident.
const DEFAULT_MAX_DELETIONS: MaxDeletions = MaxDeletions::Percent(5);

/// What the rules look at.
pub(crate) struct Scene<'s> {
    pub(crate) texts: &'s [Text<'s>],
    pub(crate) documents: &'s Documents,
}

/// What all manifests say together.
pub(crate) struct Resolved {
    /// `None` without a pool.
    pub(crate) desired: Option<Desired>,
    pub(crate) sources: Sources,
}

/// Resolves all manifests of a configuration.
pub(crate) fn resolve(scene: &Scene<'_>, findings: &mut Vec<Finding>) -> Resolved {
    names::check(scene, findings);
    let pool = the_pool(scene, findings);
    let hosts: BTreeMap<_, _> = scene.documents.hosts.iter().map(|manifest| host(scene, manifest, findings)).collect();
    let networks = scene.documents.networks.iter().map(|manifest| {
        let name = manifest.name.value.clone();
        (name.clone(), Network { name, bridge: manifest.spec.bridge.0.clone() })
    });
    let networks = networks.collect();
    let partitions = scene.documents.partitions.iter().map(|manifest| partition(scene, manifest, findings)).collect();
    let vms = scene.documents.vms.iter().map(|manifest| vms::vm(scene, manifest, findings)).collect();
    cores::check(scene, findings);
    devices::check(scene, findings);
    if let Some(pool) = &pool {
        names::identities(scene, pool.id, findings);
    }
    let desired = pool.map(|pool| Desired { pool, hosts, networks, partitions, vms });
    Resolved { desired, sources: sources(scene) }
}

impl Scene<'_> {
    /// A place in the file of a manifest.
    pub(crate) fn at<S>(&self, manifest: &Manifest<S>, bytes: Bytes) -> Location {
        self.place(Place { text: manifest.text, bytes })
    }

    /// Where a manifest's name stands.
    pub(crate) fn name_of<S>(&self, manifest: &Manifest<S>) -> Location {
        self.at(manifest, manifest.name.bytes)
    }

    pub(crate) fn place(&self, place: Place) -> Location {
        self.texts.get(place.text).map_or_else(|| Location::of_file(""), |text| text.location(place.bytes))
    }
}

fn the_pool(scene: &Scene<'_>, findings: &mut Vec<Finding>) -> Option<Pool> {
    let declared = scene.documents.declared.iter().filter(|((kind, _), _)| *kind == Kind::Pool);
    let mut declared: Vec<_> =
        declared.flat_map(|((_, name), places)| places.iter().map(move |place| (*place, name))).collect();
    declared.sort_by_key(|(place, _)| (place.text, place.bytes));
    if declared.is_empty() && !scene.documents.may_be_declared(Kind::Pool.as_str()) {
        let finding = Finding::error("no-pool", "the configuration has no Pool; it needs exactly one");
        findings.push(finding.help("`pinfold init` writes a first configuration"));
    }
    let ((first, _), others) = declared.split_first()?;
    for (other, name) in others {
        let finding =
            Finding::error("second-pool", format!("a configuration has exactly one Pool, and `{name}` is another"))
                .at(scene.place(*other))
                .related("the first", scene.place(*first))
                .help("keep each pool in a configuration of its own");
        findings.push(finding);
    }
    scene.documents.pools.first().map(pool)
}

fn pool(manifest: &Manifest<PoolSpec>) -> Pool {
    let PoolSpec { id, changes } = &manifest.spec;
    let changes = ChangeRules {
        max_deletions: changes.max_deletions.map_or(DEFAULT_MAX_DELETIONS, |max| max.0),
        restarts: changes.restarts.map_or(Restarts::AtNextStart, Restarts::from),
    };
    Pool { name: manifest.name.value.clone(), id: id.0, changes }
}

fn host(scene: &Scene<'_>, manifest: &Manifest<HostSpec>, findings: &mut Vec<Finding>) -> (Name, Host) {
    let HostSpec { pool, mode, dom0 } = &manifest.spec;
    names::reference(scene, manifest, Kind::Pool, pool, findings);
    let name = manifest.name.value.clone();
    let dom0_cores = cores::unique(scene, manifest, &dom0.cores, "dom0 keeps", findings);
    (name.clone(), Host { name, dom0_cores, mode: mode.map(Into::into) })
}

fn partition(
    scene: &Scene<'_>,
    manifest: &Manifest<CorePartitionSpec>,
    findings: &mut Vec<Finding>,
) -> (Name, CorePartition) {
    let CorePartitionSpec { host, cores, formerly } = &manifest.spec;
    names::reference(scene, manifest, Kind::Host, host, findings);
    let name = manifest.name.value.clone();
    let cores = cores::unique(scene, manifest, cores, "a partition has", findings);
    let formerly = formerly.iter().map(|name| name.value.clone()).collect();
    (name.clone(), CorePartition { name, host: host.value.clone(), cores, formerly })
}

fn sources(scene: &Scene<'_>) -> Sources {
    let Documents { pools, hosts, networks, partitions, vms, .. } = scene.documents;
    let mut sources = Sources::default();
    for manifest in pools {
        add(scene, &mut sources, Kind::Pool, manifest);
    }
    for manifest in hosts {
        add(scene, &mut sources, Kind::Host, manifest);
        sources.insert(
            Kind::Host,
            &manifest.name.value,
            "spec.dom0.cores",
            scene.at(manifest, manifest.spec.dom0.cores.bytes),
        );
    }
    for manifest in networks {
        add(scene, &mut sources, Kind::Network, manifest);
    }
    for manifest in partitions {
        add(scene, &mut sources, Kind::CorePartition, manifest);
        sources.insert(
            Kind::CorePartition,
            &manifest.name.value,
            "spec.host",
            scene.at(manifest, manifest.spec.host.bytes),
        );
        sources.insert(
            Kind::CorePartition,
            &manifest.name.value,
            "spec.cores",
            scene.at(manifest, manifest.spec.cores.bytes),
        );
    }
    for manifest in vms {
        add(scene, &mut sources, Kind::VirtualMachine, manifest);
        for (field, bytes) in vms::places(&manifest.spec) {
            sources.insert(Kind::VirtualMachine, &manifest.name.value, field, scene.at(manifest, bytes));
        }
    }
    sources
}

fn add<S>(scene: &Scene<'_>, sources: &mut Sources, kind: Kind, manifest: &Manifest<S>) {
    sources.insert(kind, &manifest.name.value, "metadata.name", scene.name_of(manifest));
}
