//! What a VM names in dom0's file system: allowed, there, of the right kind, and open to nobody else.

use crate::config::{Disk, Drive, VmConfig};
use crate::observed::FileFact;
use crate::place::Problem;
use crate::vms::Planning;
use crate::world::{SavedDisk, World};
use protocol::{BootConfig, Domain};

/// Everything that is wrong with the files of a configuration.
pub(crate) fn problems(planning: &Planning, config: &VmConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let BootConfig::Kernel { kernel, ramdisk, .. } = &config.boot {
        problems.extend(kernel_problem(planning.world, "kernel", kernel));
        problems.extend(ramdisk.as_ref().and_then(|path| kernel_problem(planning.world, "ramdisk", path)));
    }
    problems.extend(all_disk_problems(planning, config));
    problems
}

/// Everything that is wrong with its disks: what a guest that goes on from its memory needs of dom0's files.
pub(crate) fn all_disk_problems(planning: &Planning, config: &VmConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for disk in &config.disks {
        problems.extend(disk_problems(planning, disk));
    }
    for drive in config.drives() {
        problems.extend(medium_problems(planning, drive));
    }
    problems
}

/// Everything that is wrong with what is to be in a CD-ROM drive: QEMU only reads it, so nobody may write it.
pub(crate) fn medium_problems(planning: &Planning, Drive { name, medium, .. }: &Drive) -> Vec<Problem> {
    let Some(path) = medium else { return Vec::new() };
    let what = format!("medium of drive {name}:");
    let writer = || {
        let openers = planning.world.openers(path);
        openers.iter().find(|(_, only_reads)| !only_reads).map(|(domain, _)| *domain)
    };
    let found = match fact(planning.world, &what, path) {
        Err(problem) => Some(problem),
        Ok(_) => writer().map(|domain| {
            let name = World::domain_name(domain);
            let message = format!("{what} {name} writes to {path}; take another file, or end that domain");
            Problem::Stalled("DiskInUse", message)
        }),
    };
    found.into_iter().collect()
}

/// Everything that is wrong with one disk.
pub(crate) fn disk_problems(planning: &Planning, disk: &Disk) -> Vec<Problem> {
    let own = disk_problem(planning.world, disk).into_iter();
    own.chain(open_problem(planning, disk)).chain(saved_problem(planning, disk)).collect()
}

/// Whether a path lies in a folder that manifests may name files in.
fn allowed(world: &World, path: &str) -> bool {
    let dotted = path.split('/').any(|part| part == "..");
    let below = |folder: &String| {
        let folder = folder.trim_end_matches('/');
        path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    !dotted && world.observed.dom0.allow_paths.iter().any(below)
}

fn fact<'a>(world: &World<'a>, what: &str, path: &str) -> Result<&'a FileFact, Problem> {
    let dom0 = &world.observed.dom0;
    if !allowed(world, path) {
        let folders = dom0.allow_paths.join(", ");
        let message = format!(
            "{what} {path} is in no folder that manifests may name on this host ({folders}); move it, or extend `allowPaths` in the host's configuration"
        );
        return Err(Problem::Stalled("PathNotAllowed", message));
    }
    match dom0.files.get(path) {
        Some(FileFact::Missing) => Err(missing(what, path)),
        Some(FileFact::Unusable(why)) => {
            Err(Problem::Stalled("FileUnusable", format!("{what} {path} cannot be used: {why}")))
        }
        Some(fact) => Ok(fact),
        None if dom0.files_complete => Err(missing(what, path)),
        None => Err(Problem::Unknown("FileUnknown", format!("whether {what} {path} exists is not known"))),
    }
}

fn missing(what: &str, path: &str) -> Problem {
    Problem::Stalled("FileMissing", format!("{what} {path} does not exist; create it, or correct the path"))
}

fn kernel_problem(world: &World, what: &str, path: &str) -> Option<Problem> {
    match fact(world, what, path) {
        Ok(FileFact::File { .. }) => None,
        Ok(_) => Some(Problem::Stalled("FileUnusable", format!("{what} {path} is not a regular file"))),
        Err(problem) => Some(problem),
    }
}

fn disk_problem(world: &World, Disk { name, path, read_only, .. }: &Disk) -> Option<Problem> {
    match fact(world, &format!("disk {name}:"), path) {
        Ok(FileFact::Block { mounted: true, .. }) if !read_only => Some(Problem::Stalled(
            "DiskMounted",
            format!("disk {name}: {path} is mounted in dom0, and two writers destroy a file system; unmount it first"),
        )),
        Ok(_) => None,
        Err(problem) => Some(problem),
    }
}

/// What a suspended guest has in its memory of a disk must stay true until it goes on.
fn saved_problem(planning: &Planning, disk: &Disk) -> Option<Problem> {
    let own = planning.subject.uuid;
    let clashes = |theirs: &&SavedDisk| theirs.vm != own && !(theirs.read_only && disk.read_only);
    let theirs = planning.world.saved_disks(&disk.path).iter().find(clashes)?;
    let message = format!(
        "disk {}: vm/{} is suspended, and its memory relies on {}; let it go on and stop it, or name another disk",
        disk.name, theirs.name, disk.path
    );
    Some(Problem::Stalled("DiskOfSuspended", message))
}

/// A disk that somebody writes must be open to nobody else.
fn open_problem(planning: &Planning, disk: &Disk) -> Option<Problem> {
    let world = planning.world;
    let clashes = |(domain, only_reads): &&(&Domain, bool)| {
        !(*only_reads && disk.read_only) && world.owner(domain) != Some(planning.subject.uuid)
    };
    let (other, _) = world.openers(&disk.path).iter().find(clashes)?;
    let name = World::domain_name(other);
    Some(match world.owner(other) {
        Some(_) => Problem::Waiting(format!("{name}, another VM of this Pool, closes {}", disk.path)),
        None => Problem::Stalled(
            "DiskInUse",
            format!(
                "disk {}: {name}, which is not pinfold's, has {} open; end that domain, or name another disk",
                disk.name, disk.path
            ),
        ),
    })
}
