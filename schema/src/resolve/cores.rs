//! Who may use which core: dom0, partitions, pins.

use super::Scene;
use crate::decode::Spanned;
use crate::document::Place;
use crate::finding::{Finding, Location};
use crate::kinds::{CoreForm, Manifest};
use crate::units::{Core, Cores, Name};
use std::collections::BTreeMap;

/// The core of pCPU 0, which Xen never takes out of Pool-0 (xen/common/sched/cpupool.c: the boot CPU belongs to cpupool0).
const BOOT_CORE: Core = Core { socket: 0, core: 0 };

type CoreList = Spanned<Vec<Spanned<CoreForm>>>;

/// The cores of a list; reports one that stands in it twice, and a list without any.
pub(super) fn unique<S>(
    scene: &Scene<'_>,
    manifest: &Manifest<S>,
    list: &CoreList,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Cores {
    if list.value.is_empty() && manifest.is_whole {
        let finding = Finding::error("no-cores", format!("{subject} at least one core"))
            .at(scene.at(manifest, list.bytes))
            .label("empty");
        findings.push(finding);
    }
    let mut first: BTreeMap<Core, &Spanned<CoreForm>> = BTreeMap::new();
    for item in &list.value {
        if let Some(earlier) = first.insert(item.value.into(), item) {
            let finding =
                Finding::error("duplicate-core", format!("core {} stands in this list twice", Core::from(item.value)))
                    .at(scene.at(manifest, item.bytes))
                    .label("again here")
                    .related("first here", scene.at(manifest, earlier.bytes));
            findings.push(finding);
        }
    }
    first.into_keys().collect()
}

/// Who has each core of each host.
type Owners<'s> = BTreeMap<(&'s Name, Core), (Owner<'s>, Place)>;

#[derive(Clone, Copy)]
enum Owner<'s> {
    Dom0,
    Partition(&'s Name),
}

/// No core has two owners, and the boot core is dom0's.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut owners = dom0(scene, findings);
    for manifest in &scene.documents.partitions {
        let (name, host) = (&manifest.name.value, &manifest.spec.host.value);
        for item in &manifest.spec.cores.value {
            let core = Core::from(item.value);
            let here = Place { text: manifest.text, bytes: item.bytes };
            match owners.get(&(host, core)) {
                Some((Owner::Dom0, place)) => {
                    findings.push(dom0_core(name, core, scene.place(here), Some(scene.place(*place))));
                }
                None if core == BOOT_CORE => findings.push(dom0_core(name, core, scene.place(here), None)),
                Some((Owner::Partition(other), _)) if *other == name => {}
                Some((Owner::Partition(other), place)) => {
                    let finding = Finding::error(
                        "shared-core",
                        format!("core {core} of `{host}` is in the partitions `{other}` and `{name}`"),
                    )
                    .at(scene.place(here))
                    .label("also here")
                    .related(format!("in `{other}`"), scene.place(*place))
                    .help("a hard partition has its cores for itself; take the core out of one of them");
                    findings.push(finding);
                }
                None => drop(owners.insert((host, core), (Owner::Partition(name), here))),
            }
        }
    }
    pins(scene, &owners, findings);
}

fn dom0<'s>(scene: &Scene<'s>, findings: &mut Vec<Finding>) -> Owners<'s> {
    let mut owners = Owners::new();
    for manifest in &scene.documents.hosts {
        let cores = &manifest.spec.dom0.cores;
        for item in &cores.value {
            owners.insert(
                (&manifest.name.value, item.value.into()),
                (Owner::Dom0, Place { text: manifest.text, bytes: item.bytes }),
            );
        }
        if manifest.is_whole && !cores.value.is_empty() && !owners.contains_key(&(&manifest.name.value, BOOT_CORE)) {
            let finding =
                Finding::error("boot-core", format!("dom0 of `{}` has to keep socket 0, core 0", manifest.name.value))
                    .at(scene.at(manifest, cores.bytes))
                    .help("add `{socket: 0, core: 0}`: Xen never takes pCPU 0 out of Pool-0, where dom0 runs");
            findings.push(finding);
        }
    }
    owners
}

fn dom0_core(partition: &Name, core: Core, here: Location, dom0: Option<Location>) -> Finding {
    let finding =
        Finding::error("dom0-core", format!("partition `{partition}` cannot have core {core}: it is dom0's")).at(here);
    match dom0 {
        Some(place) if core != BOOT_CORE => finding
            .related("dom0 keeps it", place)
            .help("take it out of the partition, or out of the host's `dom0.cores`"),
        _ => finding.help("it holds pCPU 0, which Xen never takes out of Pool-0, where dom0 runs; take another core"),
    }
}

/// A pinned VM runs in Pool-0, where no core of a partition is.
fn pins(scene: &Scene<'_>, owners: &Owners<'_>, findings: &mut Vec<Finding>) {
    for manifest in &scene.documents.vms {
        let Some(pins) = &manifest.spec.cpu.pins else { continue };
        for item in &pins.value {
            let core = Core::from(item.value);
            let Some((Owner::Partition(partition), place)) = owners.get(&(&manifest.spec.host.value, core)) else {
                continue;
            };
            let finding = Finding::error(
                "pin-in-partition",
                format!(
                    "`{}` cannot be pinned to core {core}: it belongs to the partition `{partition}`",
                    manifest.name.value
                ),
            )
            .at(scene.at(manifest, item.bytes))
            .related(format!("in `{partition}`"), scene.place(*place))
            .help(format!("pin it elsewhere, or let it join with `partition: {partition}` instead of `pins`"));
            findings.push(finding);
        }
    }
}
