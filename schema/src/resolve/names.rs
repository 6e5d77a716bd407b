//! Names: each object's own, the ones it had, and the ones it refers to.

use super::Scene;
use crate::decode::Spanned;
use crate::desired::Vm;
use crate::document::Place;
use crate::finding::{Finding, Kind};
use crate::kinds::Manifest;
use crate::kinds::virtual_machine::VirtualMachineSpec;
use crate::suggest;
use crate::units::Name;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Duplicate names, and former names that are in use.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for ((kind, name), places) in &scene.documents.declared {
        // Any second pool is one too many, whatever its name.
        let Some((first, others)) = places.split_first().filter(|_| *kind != Kind::Pool) else { continue };
        for other in others {
            let finding = Finding::error("duplicate-name", format!("there are two {}s `{name}`", kind.noun()))
                .at(scene.place(*other))
                .label("again here")
                .related("first here", scene.place(*first));
            findings.push(finding);
        }
    }
    let loose = scene.documents.loose.iter();
    findings.extend(loose.filter_map(|loose| unknown(scene, &loose.from, loose.kind, &loose.name, loose.place)));
    let partitions = scene.documents.partitions.iter().map(|manifest| Former::new(manifest, &manifest.spec.formerly));
    former_names(scene, Kind::CorePartition, partitions, findings);
    let vms = scene.documents.vms.iter().map(|manifest| Former::new(manifest, &manifest.spec.formerly));
    former_names(scene, Kind::VirtualMachine, vms, findings);
}

/// Reports a reference to something that no manifest declares.
pub(super) fn reference<S>(
    scene: &Scene<'_>,
    from: &Manifest<S>,
    kind: Kind,
    name: &Spanned<Name>,
    findings: &mut Vec<Finding>,
) {
    let place = Place { text: from.text, bytes: name.bytes };
    findings.extend(unknown(scene, &from.name.value, kind, &name.value, place));
}

fn unknown(scene: &Scene<'_>, from: &Name, kind: Kind, name: &Name, place: Place) -> Option<Finding> {
    let declared = &scene.documents.declared;
    // Without any pool, that is the finding, and not every host's reference to it.
    let is_told = kind == Kind::Pool && !declared.keys().any(|(kind, _)| *kind == Kind::Pool);
    if is_told || declared.contains_key(&(kind, name.clone())) || scene.documents.may_be_declared(name.as_str()) {
        return None;
    }
    let known: Vec<_> = declared.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str()).collect();
    let code = match kind {
        Kind::Pool => "unknown-pool",
        Kind::Host => "unknown-host",
        Kind::Network => "unknown-network",
        Kind::CorePartition => "unknown-partition",
        Kind::VirtualMachine => "unknown-vm",
    };
    let all_are_known = scene.documents.broken_words.is_empty();
    // A long list of names helps nobody; the nearest one does.
    let help = match suggest::nearest(name.as_str(), known.iter().copied()).as_slice() {
        [] if known.len() > 10 || known.is_empty() && !all_are_known => {
            format!("declare the {}, or correct the name", kind.noun())
        }
        _ => suggest::help(name.as_str(), &known),
    };
    let finding = Finding::error(code, format!("`{from}` uses {} `{name}`, which no manifest declares", kind.noun()));
    Some(finding.at(scene.place(place)).label("not found").help(help))
}

/// Two VMs with one identity would be one domain. Names are compared elsewhere; here at least one has its UUID from the manifest.
pub(super) fn identities(scene: &Scene<'_>, pool_id: Uuid, findings: &mut Vec<Finding>) {
    let identity = |manifest: &Manifest<VirtualMachineSpec>| match &manifest.spec.uuid {
        Some(uuid) => uuid.value.0,
        None => {
            Vm::first_uuid(pool_id, manifest.spec.formerly.first().map_or(&manifest.name.value, |first| &first.value))
        }
    };
    let mut seen: BTreeMap<Uuid, &Manifest<VirtualMachineSpec>> = BTreeMap::new();
    for manifest in &scene.documents.vms {
        let uuid = identity(manifest);
        let Some(other) = seen.insert(uuid, manifest) else { continue };
        let place = |manifest: &Manifest<VirtualMachineSpec>| {
            scene.at(manifest, manifest.spec.uuid.as_ref().map_or(manifest.name.bytes, |uuid| uuid.bytes))
        };
        if manifest.name.value == other.name.value || manifest.spec.uuid.is_none() && other.spec.uuid.is_none() {
            continue;
        }
        let message = format!("VMs `{}` and `{}` have the same UUID {uuid}", other.name.value, manifest.name.value);
        let finding = Finding::error("duplicate-uuid", message)
            .at(place(manifest))
            .label("again here")
            .related("first here", place(other))
            .help("leave `uuid` out, unless the domain existed before pinfold");
        findings.push(finding);
    }
}

/// An object with the names it had.
struct Former<'s> {
    text: usize,
    name: &'s Spanned<Name>,
    formerly: &'s [Spanned<Name>],
}

impl<'s> Former<'s> {
    fn new<S>(manifest: &'s Manifest<S>, formerly: &'s [Spanned<Name>]) -> Self {
        Self { text: manifest.text, name: &manifest.name, formerly }
    }
}

/// A name that one object had cannot be another's: now, or formerly too. Its identity would be taken.
fn former_names<'s>(
    scene: &Scene<'_>,
    kind: Kind,
    objects: impl Iterator<Item = Former<'s>>,
    findings: &mut Vec<Finding>,
) {
    let noun = kind.noun();
    let mut taken: BTreeMap<&Name, (&Name, Place)> = BTreeMap::new();
    for Former { text, name, formerly } in objects {
        for former in formerly {
            let here = Place { text, bytes: former.bytes };
            let in_use = scene.documents.declared.get(&(kind, former.value.clone())).and_then(|places| places.first());
            if let Some(place) = in_use.filter(|_| former.value != name.value) {
                let finding = Finding::error(
                    "name-in-formerly",
                    format!(
                        "{noun} `{}` was formerly `{}`, and another {noun} has that name now",
                        name.value, former.value
                    ),
                )
                .at(scene.place(*place))
                .label("this name is taken")
                .related(format!("`{}` had it", name.value), scene.place(here))
                .help(format!("give this {noun} another name; `formerly` keeps the identity of the first one"));
                findings.push(finding);
            }
            if let Some((other, place)) = taken.insert(&former.value, (&name.value, here)) {
                let finding =
                    Finding::error("duplicate-formerly", format!("`{}` stands in `formerly` twice", former.value))
                        .at(scene.place(here))
                        .label("again here")
                        .related(format!("first for `{other}`"), scene.place(place))
                        .help("a name was one object's only; remove it from the other");
                findings.push(finding);
            }
        }
    }
}
