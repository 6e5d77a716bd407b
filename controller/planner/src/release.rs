//! Partitions that wait for each other's cores: who gives way by itself, and who cannot before a person acts.

use crate::consent::Fate;
use crate::partitions::Partition;
use crate::shape::{Draft, Shape};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Where the domains of our VMs belong: a partition, or none (Pool-0, or nowhere any more). Domains that are not in it stay where they are.
pub(crate) type Homes = BTreeMap<u32, Option<Uuid>>;

/// Partitions that get on without a person.
#[derive(Default)]
struct Progress {
    /// They give up cores.
    gives: BTreeSet<Uuid>,
    /// They get the cores they want.
    ready: BTreeSet<Uuid>,
}

/// Settles what depends on others: waiting for somebody who gives way, or held, with the name of who must stop.
pub(crate) fn resolve(world: &World, partitions: &[Partition], homes: &Homes, drafts: Vec<Draft>) -> Vec<Shape> {
    let progress = progress(world, partitions, homes, &drafts);
    partitions
        .iter()
        .zip(drafts)
        .map(|(partition, draft)| match draft {
            Draft::Decided(shape) => shape,
            Draft::Stuck(on) if on.is_disjoint(&progress.gives) => {
                Shape::Held(stuck(world, partition, others(partitions, &on)))
            }
            Draft::Stuck(on) => {
                let names: Vec<String> = others(partitions, &on).map(|other| other.object.to_string()).collect();
                Shape::Waiting(format!("{} gives up its cores", names.join(", ")))
            }
            Draft::Dissolving if inside(world, partition).is_empty() => {
                Shape::Waiting("nobody is in its cpupool".to_owned())
            }
            Draft::Dissolving if progress.gives.contains(&partition.uuid) => {
                Shape::Waiting(format!("{} leaves its cpupool", inside(world, partition)[0]))
            }
            Draft::Dissolving if !kept(world, partition, homes).is_empty() => Shape::Waiting(format!(
                "{} runs in its cpupool, and the removal of that VM is held",
                kept(world, partition, homes).join(" and ")
            )),
            Draft::Dissolving => Shape::Held(format!(
                "{} in its cpupool would move to a partition that waits for these very cores; stop it for the time of the change",
                inside(world, partition).join(" or ")
            )),
        })
        .collect()
}

/// The least fixpoint: whoever can act gives and gets; whoever waits for such a one, or is left by everybody, follows.
fn progress(world: &World, partitions: &[Partition], homes: &Homes, drafts: &[Draft]) -> Progress {
    let mut progress = Progress::default();
    for (partition, draft) in partitions.iter().zip(drafts) {
        let Draft::Decided(shape) = draft else { continue };
        if matches!(shape, Shape::Step(_) | Shape::Waiting(_)) {
            progress.gives.insert(partition.uuid);
        }
        if partition.fate != Fate::Removed && matches!(shape, Shape::Step(_) | Shape::Waiting(_) | Shape::Fits(_)) {
            progress.ready.insert(partition.uuid);
        }
    }
    loop {
        let mut changed = false;
        for (partition, draft) in partitions.iter().zip(drafts) {
            match draft {
                Draft::Decided(_) => continue,
                Draft::Stuck(on) if !on.is_disjoint(&progress.gives) => {
                    changed |= progress.ready.insert(partition.uuid);
                }
                Draft::Stuck(_) | Draft::Dissolving => {}
            }
            if progress.ready.contains(&partition.uuid) || is_left(world, partition, homes, &progress.ready) {
                changed |= progress.gives.insert(partition.uuid);
            }
        }
        if !changed {
            return progress;
        }
    }
}

/// Whether every domain in its cpupool goes elsewhere without a person.
fn is_left(world: &World, partition: &Partition, homes: &Homes, ready: &BTreeSet<Uuid>) -> bool {
    let mut domains = partition.pool.into_iter().flat_map(|pool| world.domains_in(pool.poolid));
    domains.all(|domain| match homes.get(&domain.domid) {
        None => false,
        Some(None) => true,
        Some(Some(home)) => *home != partition.uuid && ready.contains(home),
    })
}

/// Domains in its cpupool that stay there: their VMs are not declared any more either, and nobody allowed to remove them.
fn kept(world: &World, partition: &Partition, homes: &Homes) -> Vec<String> {
    let domains = partition.pool.into_iter().flat_map(|pool| world.domains_in(pool.poolid));
    domains.filter(|domain| homes.get(&domain.domid) == Some(&Some(partition.uuid))).map(World::domain_name).collect()
}

fn inside(world: &World, partition: &Partition) -> Vec<String> {
    partition.pool.into_iter().flat_map(|pool| world.domains_in(pool.poolid)).map(World::domain_name).collect()
}

fn others<'a>(partitions: &'a [Partition<'a>], on: &BTreeSet<Uuid>) -> impl Iterator<Item = &'a Partition<'a>> {
    partitions.iter().filter(|other| on.contains(&other.uuid))
}

fn stuck<'a>(world: &World, partition: &Partition, on: impl Iterator<Item = &'a Partition<'a>>) -> String {
    let mut names = Vec::new();
    let mut stop = inside(world, partition);
    for other in on {
        if let Fate::Orphaned { .. } = other.fate {
            return format!(
                "{} still has its cores and has no manifest; approve its removal, or restore its file",
                other.object
            );
        }
        names.push(other.object.to_string());
        stop.extend(inside(world, other));
    }
    format!(
        "{} cannot give up its cores, and no core is free to swap through; stop {} for the time of the change, or leave one of the cores in place",
        names.join(", "),
        stop.join(" or ")
    )
}
