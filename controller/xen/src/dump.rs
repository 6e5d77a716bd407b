//! Core dumps on dom0's disk: written under another name until all of it is durable.

use crate::libxl::io_failure;
use protocol::{Dump, Failure, FailureKind};
use rustix::fs::statvfs;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use uuid::Uuid;

/// What stays free for everybody else when a dump is written, in KiB.
const LEFT_FREE_KIB: u64 = 64 * 1024;

/// The dumps of a host's VMs.
pub(crate) struct Dumps {
    storage: PathBuf,
}

impl Dumps {
    /// Those below the folder of the VMs' folders.
    pub(crate) fn below(storage: impl Into<PathBuf>) -> Self {
        Self { storage: storage.into() }
    }

    /// All whole ones, the oldest first.
    pub(crate) fn list(&self) -> Result<Vec<Dump>, Failure> {
        let look = || -> io::Result<Vec<(SystemTime, Dump)>> {
            let mut all = Vec::new();
            for vm in entries(&self.storage)?.iter().filter_map(|name| name.parse::<Uuid>().ok()) {
                let folder = Dump::folder(&self.storage, vm);
                for file in entries(&folder)? {
                    let Some(incarnation) = Dump::incarnation_of(&file) else { continue };
                    let meta = fs::metadata(folder.join(&file))?;
                    all.push((meta.modified()?, Dump { vm, incarnation, kib: meta.len().div_ceil(1024) }));
                }
            }
            all.sort_by_key(|(written, dump)| (*written, dump.vm, dump.incarnation));
            Ok(all)
        };
        let all = look().map_err(|error| failure("list", &self.storage, &error))?;
        Ok(all.into_iter().map(|(_, dump)| dump).collect())
    }

    /// Where a dump is written to, with room for it. What an earlier try left there, of this or another incarnation, is removed.
    pub(crate) fn begin(&self, dump: Dump) -> Result<PathBuf, Failure> {
        let folder = Dump::folder(&self.storage, dump.vm);
        let make = || -> io::Result<()> {
            // A VM whose folder is gone has nobody who would look for the dump.
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            for part in entries(&folder)?.iter().filter(|name| name.strip_suffix(".part").is_some()) {
                fs::remove_file(folder.join(part))?;
            }
            Ok(())
        };
        make().map_err(|error| failure("mkdir", &folder, &error))?;
        let system = statvfs(&folder).map_err(|error| failure("statvfs", &folder, &error.into()))?;
        let free_kib = system.f_bavail.saturating_mul(system.f_frsize) / 1024;
        if free_kib < dump.kib + LEFT_FREE_KIB {
            let message = format!(
                "{}: a dump takes {} MiB, and {} MiB are free: make room there",
                folder.display(),
                dump.kib.div_ceil(1024),
                free_kib / 1024
            );
            return Err(Failure::new(FailureKind::Refused, "statvfs", message));
        }
        Ok(dump.unfinished(&self.storage))
    }

    /// Gives a dump that is written its name, when all of it is durable.
    pub(crate) fn finish(&self, dump: Dump) -> Result<(), Failure> {
        let (part, file) = (dump.unfinished(&self.storage), dump.file(&self.storage));
        let folder = Dump::folder(&self.storage, dump.vm);
        let make = || -> io::Result<()> {
            File::open(&part)?.sync_all()?;
            fs::rename(&part, &file)?;
            sync(&folder)?;
            // The folder may be as new as the dump.
            sync(&self.storage.join(dump.vm.to_string()))
        };
        make().map_err(|error| failure("write", &file, &error))
    }

    /// Removes a dump. That it is gone already is no error.
    pub(crate) fn remove(&self, dump: Dump) -> Result<(), Failure> {
        let file = dump.file(&self.storage);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure("remove", &file, &error)),
            _ => sync(&Dump::folder(&self.storage, dump.vm)).map_err(|error| failure("fsync", &file, &error)),
        }
    }
}

/// The names in a folder; none when it is not there.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failure(call: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = io_failure(call, error);
    Failure { kind: FailureKind::Refused, message: format!("{}: {}", path.display(), failure.message), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_becomes_whole_and_goes() {
        let storage = tempfile::tempdir().unwrap();
        let dumps = Dumps::below(storage.path());
        let dump =
            |vm, incarnation, kib| Dump { vm: Uuid::from_u128(vm), incarnation: Uuid::from_u128(incarnation), kib };
        assert_eq!(dumps.list().unwrap(), []);
        assert!(dumps.begin(dump(1, 7, 1)).is_err(), "a VM without a folder");
        fs::create_dir(storage.path().join(Uuid::from_u128(1).to_string())).unwrap();
        fs::create_dir(storage.path().join("trash")).unwrap();

        let part = dumps.begin(dump(1, 7, 1)).unwrap();
        fs::write(&part, [0; 1500]).unwrap();
        assert_eq!(dumps.list().unwrap(), [], "one that is written");
        // Its worker died, and so did the next one.
        let other = dumps.begin(dump(1, 8, 1)).unwrap();
        assert!(!part.exists(), "nothing that was begun stays");
        fs::write(&other, [0; 1500]).unwrap();
        dumps.finish(dump(1, 8, 1)).unwrap();
        assert_eq!(dumps.list().unwrap(), [dump(1, 8, 2)]);
        dumps.remove(dump(1, 8, 2)).unwrap();
        dumps.remove(dump(1, 8, 2)).unwrap();
        assert_eq!(dumps.list().unwrap(), []);
    }

    #[test]
    fn no_disk_is_filled() {
        let storage = tempfile::tempdir().unwrap();
        fs::create_dir(storage.path().join(Uuid::from_u128(1).to_string())).unwrap();
        let dump = Dump { vm: Uuid::from_u128(1), incarnation: Uuid::from_u128(7), kib: 1 << 40 };
        let refused = Dumps::below(storage.path()).begin(dump).unwrap_err();
        assert!(refused.message.contains("make room there"), "{refused}");
    }
}
