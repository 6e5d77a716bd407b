//! Taking a VM's folder away: into the trash, whole, in one step. Nothing here ever purges it.

use super::{Store, StoreError, disk_error, held};
use jiff::{Timestamp, tz::TimeZone};
use schema::units::Name;
use std::io;
use uuid::Uuid;

impl Store {
    /// Moves a VM's folder to `trash/<date>--<name>--<uuid>`; the date is the first on which it may be purged (UTC). That the folder is
    /// gone already is no error: an earlier try got this far.
    pub(crate) fn trash(&self, uuid: Uuid, name: &Name, purge_after: Timestamp) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let folder = self.vm_folder(uuid);
        if let Err(error) = self.disk.stamp(&folder)
            && error.kind() == io::ErrorKind::NotFound
        {
            return Ok(());
        }
        let trash = self.place.storage.join("trash");
        self.make_dirs(&trash)?;
        let date = purge_after.to_zoned(TimeZone::UTC).date();
        let taken = self.disk.list(&trash).map_err(|source| disk_error("list", &trash, source))?;
        let plain = format!("{date}--{name}--{uuid}");
        let fresh = std::iter::once(plain.clone())
            .chain((2..=u32::MAX).map(|n| format!("{plain}--{n}")))
            .find(|name| !taken.contains(name))
            .unwrap_or(plain);
        // The link first: one that points nowhere would remain if we died after the folder went.
        let _ = self.disk.remove(&self.place.storage.join("by-name").join(name.as_str()));
        self.disk.rename(&folder, &trash.join(fresh)).map_err(|source| disk_error("trash", &folder, source))?;
        self.disk.sync_dir(&trash).map_err(|source| disk_error("synchronise", &trash, source))?;
        held(&self.cache).remove(&uuid);
        self.sync_parent(&folder)
    }
}
