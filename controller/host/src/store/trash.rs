//! The trash: a VM's folder goes there whole, comes back whole, and is purged with nothing but what pinfold has put in it.
//!
//! ```text
//! trash/<date>--<name>--<uuid>/record.json     the VM
//! trash/<date>--<name>--<uuid>/removed.json    how it came there, and what its disks were
//! trash/.purged--…/                            being purged: whatever stops that, it goes on at the next daemon's start
//! ```
//!
//! The date is the first on which it may be purged (UTC).

use super::{Store, StoreError, disk_error, held};
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use planner::record::VmRecord;
use planner::trash::{Removal, Trashed};
use protocol::Reading;
use schema::units::Name;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What pinfold puts into a VM's folder.
const OURS: [&str; 4] = ["record.json", "removed.json", ".record.json.new", ".removed.json.new"];
/// Folders in it that are pinfold's with all that is in them: images of memory ([`protocol::ImageRef`]) and core dumps ([`protocol::Dump`]).
const OUR_FOLDERS: [&str; 2] = ["state", "crashes"];
/// How a folder is called while it is purged.
const PURGED: &str = ".purged--";
/// Levels of folders whose files are counted.
const DEPTH: u32 = 8;

impl Store {
    /// Moves a VM's folder to `trash/<date>--<name>--<uuid>`, with a note of how and why. That the folder is gone already is no error: an
    /// earlier try got this far.
    pub(crate) fn trash(&self, name: &Name, removal: &Removal) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let uuid = removal.uuid;
        let folder = self.vm_folder(uuid);
        if self.is_absent(&folder) {
            return Ok(());
        }
        let trash = self.place.storage.join("trash");
        self.make_dirs(&trash)?;
        let date = removal.purge_after.to_zoned(TimeZone::UTC).date();
        let taken = self.disk.list(&trash).map_err(|source| disk_error("list", &trash, source))?;
        let plain = format!("{date}--{name}--{uuid}");
        let fresh = std::iter::once(plain.clone())
            .chain((2..=u32::MAX).map(|n| format!("{plain}--{n}")))
            .find(|name| !taken.contains(name))
            .unwrap_or(plain);
        self.replace(&folder.join("removed.json"), removal)?;
        // The link first: one that points nowhere would remain if we died after the folder went.
        let _ = self.disk.remove(&self.place.storage.join("by-name").join(name.as_str()));
        self.disk.rename(&folder, &trash.join(fresh)).map_err(|source| disk_error("trash", &folder, source))?;
        self.disk.sync_dir(&trash).map_err(|source| disk_error("synchronise", &trash, source))?;
        held(&self.cache).remove(&uuid);
        self.sync_parent(&folder)
    }

    /// Moves a folder back from the trash. That it is back already is no error.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] when a folder of this VM is there, and the one in the trash is another: neither is touched.
    pub fn restore(&self, uuid: Uuid, folder: &str) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let (from, to) = (self.trashed_path(folder)?, self.vm_folder(uuid));
        if !self.is_absent(&to) {
            if !self.is_absent(&from) {
                return Err(StoreError::Occupied { path: to, trashed: from });
            }
            // What tells of its removal may have stayed with it.
            return self.forget(&to.join("removed.json"));
        }
        let moved = self.disk.rename(&from, &to).map_err(|source| disk_error("restore", &from, source));
        self.noticed(&to, moved)?;
        self.sync_parent(&to)?;
        self.sync_parent(&from)?;
        if let Some(Reading::Known(record)) = self.vm(uuid) {
            self.link_name(&record, None);
        }
        self.forget(&to.join("removed.json"))
    }

    /// Takes a folder in the trash away for good. That it is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError::NotOurs`] when anything lies in it that pinfold did not put there: nothing is removed then.
    pub fn purge(&self, folder: &str) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let from = self.trashed_path(folder)?;
        if self.is_absent(&from) {
            return self.end_purges();
        }
        let others = self.others(&from)?;
        if !others.is_empty() {
            return Err(StoreError::NotOurs { path: from, what: others.join(", ") });
        }
        let gone = self.place.storage.join("trash").join(format!("{PURGED}{folder}"));
        let moved = self.disk.rename(&from, &gone).map_err(|source| disk_error("purge", &from, source));
        self.noticed(&gone, moved)?;
        self.sync_parent(&gone)?;
        self.end_purges()
    }

    /// Ends purges that were cut off.
    pub(super) fn end_purges(&self) -> Result<(), StoreError> {
        let trash = self.place.storage.join("trash");
        let names = self.disk.list(&trash).unwrap_or_default();
        for folder in names.iter().filter(|name| name.starts_with(PURGED)).map(|name| trash.join(name)) {
            for name in OURS {
                self.forget(&folder.join(name))?;
            }
            for name in OUR_FOLDERS {
                self.remove_all(&folder.join(name), DEPTH)?;
            }
            let removed = self.disk.remove_dir(&folder).map_err(|source| disk_error("purge", &folder, source));
            self.noticed(&folder, removed)?;
            self.sync_parent(&folder)?;
        }
        Ok(())
    }

    /// Everything in the trash, by the folder's name.
    pub(super) fn trashed(&self) -> Result<BTreeMap<String, Trashed>, StoreError> {
        let trash = self.place.storage.join("trash");
        let names = match self.disk.list(&trash) {
            Ok(names) => names,
            // There is none before something was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(disk_error("list", &trash, source)),
        };
        let mut all = BTreeMap::new();
        for folder in names {
            let Some((date, name, uuid)) = parse(&folder) else { continue };
            let path = trash.join(&folder);
            let removal = self.read_file::<Removal>(&path.join("removed.json"));
            let record = self.read_file::<VmRecord>(&path.join("record.json")).unwrap_or_else(|| {
                Reading::unknown("RecordMissing", format!("`{}` has no `record.json`", path.display()))
            });
            // The name says the day, the note the moment. Both must have come.
            let day = date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |day| day.timestamp());
            let purge_after =
                removal.as_ref().and_then(Reading::known).map_or(day, |removal| removal.purge_after.max(day));
            // One that cannot be listed says nothing of the host's other VMs.
            let (record, others) = match self.others(&path) {
                Ok(others) => (record, others),
                Err(error) => (Reading::unknown("TrashUnreadable", error.chain()), Vec::new()),
            };
            let size = self.size_of(&path, DEPTH);
            all.insert(folder, Trashed { uuid, name, purge_after, record, removal, others, size });
        }
        Ok(all)
    }

    fn others(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let names = self.disk.list(folder).map_err(|source| disk_error("list", folder, source))?;
        let is_ours = |name: &str| OURS.contains(&name) || OUR_FOLDERS.contains(&name);
        Ok(names.into_iter().filter(|name| !is_ours(name)).collect())
    }

    /// Removes a folder with all that is in it, or a file. That it is gone already is no error.
    fn remove_all(&self, path: &Path, depth: u32) -> Result<(), StoreError> {
        let names = match self.disk.list(path) {
            Ok(names) if depth > 0 => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(_) | Err(_) => return self.forget(path),
        };
        for name in names {
            self.remove_all(&path.join(name), depth - 1)?;
        }
        let removed = self.disk.remove_dir(path).map_err(|source| disk_error("purge", path, source));
        self.noticed(path, removed)?;
        self.sync_parent(path)
    }

    fn size_of(&self, path: &Path, depth: u32) -> u64 {
        match self.disk.list(path) {
            Ok(names) if depth > 0 => names.iter().map(|name| self.size_of(&path.join(name), depth - 1)).sum(),
            Ok(_) => 0,
            Err(_) => self.disk.stamp(path).map_or(0, |stamp| stamp.size),
        }
    }

    fn is_absent(&self, path: &Path) -> bool {
        self.disk.stamp(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn trashed_path(&self, folder: &str) -> Result<PathBuf, StoreError> {
        match parse(folder) {
            Some(_) => Ok(self.place.storage.join("trash").join(folder)),
            None => Err(StoreError::ItemId(folder.to_owned())),
        }
    }
}

/// Date, name and UUID of a folder in the trash.
fn parse(folder: &str) -> Option<(Date, Name, Uuid)> {
    let mut parts = folder.split("--");
    let (date, name, uuid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_ours =
        !folder.contains('/') && parts.next().is_none_or(|n| n.parse::<u32>().is_ok()) && parts.next().is_none();
    is_ours.then_some((date.parse().ok()?, name.parse().ok()?, uuid.parse().ok()?))
}
