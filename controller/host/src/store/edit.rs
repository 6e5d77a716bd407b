//! Applying a plan's edits to the records. Every edit is absolute, so applying it again changes nothing.

use super::{Store, StoreError};
use jiff::Timestamp;
use planner::RecordEdit;
use planner::freeze::{Freeze, Frozen};
use planner::mode::LastModes;
use planner::overrides::Override;
use planner::record::{Approval, Backoff, Grants, PartitionRecord, VmRecord};
use protocol::Reading;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A failure that edits speak of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed<'a> {
    /// What failed, in libxl's own words.
    pub(crate) message: &'a str,
    /// When it was seen.
    pub(crate) at: Timestamp,
}

impl Store {
    /// Applies edits in their order. The first refusal ends it; what was applied before stays, and may be applied again.
    pub(crate) fn apply(&self, edits: &[RecordEdit], failed: Option<Failed<'_>>) -> Result<(), StoreError> {
        edits.iter().try_for_each(|edit| self.apply_one(edit, failed))
    }

    /// Writes the grants: before the accepted ref moves.
    pub fn write_grants(&self, grants: &Grants) -> Result<(), StoreError> {
        let path = self.grants_path();
        readable(self.read_file::<Grants>(&path), &path)?;
        self.replace(&path, grants)
    }

    /// Keeps a person's approval of a held item.
    pub fn write_approval(&self, item: &str, approval: &Approval) -> Result<(), StoreError> {
        self.replace(&self.approval_path(item)?, approval)
    }

    /// Takes an approval back, or uses it up.
    pub fn forget_approval(&self, item: &str) -> Result<(), StoreError> {
        self.forget(&self.approval_path(item)?)
    }

    /// Keeps an object as it is.
    pub fn write_freeze(&self, frozen: Frozen, freeze: &Freeze) -> Result<(), StoreError> {
        self.replace(&self.freeze_path(frozen), freeze)
    }

    /// Ends a freeze.
    pub fn forget_freeze(&self, frozen: Frozen) -> Result<(), StoreError> {
        self.forget(&self.freeze_path(frozen))
    }

    /// Keeps what a person wants of a VM's power.
    pub fn write_override(&self, vm: Uuid, one: &Override) -> Result<(), StoreError> {
        self.replace(&self.override_path(vm), one)
    }

    /// Ends that.
    pub fn forget_override(&self, vm: Uuid) -> Result<(), StoreError> {
        self.forget(&self.override_path(vm))
    }

    fn override_path(&self, vm: Uuid) -> PathBuf {
        self.place.state.join("overrides").join(format!("{vm}.json"))
    }

    fn freeze_path(&self, frozen: Frozen) -> PathBuf {
        self.place.state.join("freezes").join(format!("{}.json", frozen.key()))
    }

    /// Writes a VM's record; its folder comes into being together with the first one.
    pub fn write_vm(&self, record: &VmRecord) -> Result<(), StoreError> {
        self.must_be_locked()?;
        let path = self.record_path(record.uuid);
        let before = match self.vm(record.uuid) {
            Some(reading) => readable(Some(reading), &path)?,
            None => None,
        };
        if before.as_ref() == Some(record) {
            // Written by a try that could not synchronise it, perhaps: what follows relies on it.
            self.sync_parent(&path)?;
            return self.sync_parent(&self.vm_folder(record.uuid));
        }
        match before {
            Some(_) => self.replace(&path, record)?,
            None => self.noticed(&path, self.make_folder(record))?,
        }
        let former = before.map(|before| before.name).filter(|name| *name != record.name);
        self.link_name(record, former.as_ref());
        Ok(())
    }

    fn apply_one(&self, edit: &RecordEdit, failed: Option<Failed<'_>>) -> Result<(), StoreError> {
        match edit {
            RecordEdit::Vm(record) => self.write_vm(record),
            RecordEdit::Partition(record) => self.write_partition(record),
            RecordEdit::ForgetPartition(uuid) => self.forget(&self.partition_path(*uuid)),
            RecordEdit::Grants(grants) => self.write_grants(grants),
            RecordEdit::UseApproval(item) => self.forget_approval(item),
            RecordEdit::Modes(modes) => {
                let path = self.modes_path();
                readable(self.read_file::<LastModes>(&path), &path)?;
                self.replace(&path, modes)
            }
            RecordEdit::Drift(key, None) => self.forget(&self.drift_path(key)),
            RecordEdit::Drift(key, Some(record)) => self.replace(&self.drift_path(key), record),
            RecordEdit::Approve(item, approval) => self.write_approval(item, approval),
            RecordEdit::VmFailed(uuid, backoff) => match self.vm(*uuid) {
                Some(Reading::Known(mut record)) => {
                    record.here.backoff = Some(told(backoff, failed));
                    self.write_vm(&record)
                }
                // Without a record, or with one that cannot be read, nothing is tried again anyway.
                _ => Ok(()),
            },
            RecordEdit::PartitionFailed(uuid, backoff) => match self.partition(*uuid) {
                Some(Reading::Known(mut record)) => {
                    record.backoff = Some(told(backoff, failed));
                    self.write_partition(&record)
                }
                _ => Ok(()),
            },
        }
    }

    fn write_partition(&self, record: &PartitionRecord) -> Result<(), StoreError> {
        let path = self.partition_path(record.uuid);
        if readable(self.partition(record.uuid), &path)?.as_ref() == Some(record) {
            return self.sync_parent(&path);
        }
        self.replace(&path, record)
    }

    /// A new folder with a record in it, under another name until both are durable: there is never a folder without its record.
    fn make_folder(&self, record: &VmRecord) -> Result<(), StoreError> {
        let storage = &self.place.storage;
        let fresh = storage.join(format!(".{}.new", record.uuid));
        self.make_dirs(&fresh)?;
        let inside = fresh.join("record.json");
        self.write_fresh(&inside, record)?;
        self.sync_parent(&inside)?;
        let folder = self.vm_folder(record.uuid);
        self.disk.rename(&fresh, &folder).map_err(|source| super::disk_error("make", &folder, source))?;
        self.sync_parent(&folder)
    }

    /// Makes the links in `by-name/` agree with the records: a daemon may have died between the two.
    pub(super) fn mend_links(&self) -> Result<(), StoreError> {
        let links = self.place.storage.join("by-name");
        let there = self.disk.list(&links).unwrap_or_default();
        let records = match self.records() {
            Reading::Known(records) => records,
            // It is told with every observation.
            Reading::Unknown(_) => return Ok(()),
        };
        let known: Vec<&VmRecord> = records.vms.values().filter_map(Reading::known).collect();
        // A record that cannot be read keeps its link, whichever that is.
        if known.len() == records.vms.len() {
            for name in there.iter().filter(|name| known.iter().all(|record| record.name.as_str() != *name)) {
                self.forget(&links.join(name))?;
            }
        }
        for record in known.into_iter().filter(|record| there.iter().all(|name| record.name.as_str() != name)) {
            self.link_name(record, None);
        }
        Ok(())
    }

    /// Keeps `by-name/` right. For people only, so a failure is no reason to stop.
    pub(super) fn link_name(&self, record: &VmRecord, former: Option<&schema::units::Name>) {
        let links = self.place.storage.join("by-name");
        let _ = self.make_dirs(&links);
        if let Some(former) = former {
            let _ = self.disk.remove(&links.join(former.as_str()));
        }
        let link = links.join(record.name.as_str());
        let _ = self.disk.remove(&link);
        let target = Path::new("..").join(record.uuid.to_string());
        if let Err(error) = self.disk.link(&target, &link) {
            tracing::warn!("cannot make the link `{}`: {error}", link.display());
        }
    }

    fn approval_path(&self, item: &str) -> Result<PathBuf, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if item.is_empty() || item.len() > 128 || !item.chars().all(plain) {
            return Err(StoreError::ItemId(item.to_owned()));
        }
        Ok(self.place.state.join("approvals").join(format!("{item}.json")))
    }
}

/// The planner decided how long to wait; the wait begins when the failure is seen.
fn told(backoff: &Backoff, failed: Option<Failed<'_>>) -> Backoff {
    let Some(failed) = failed else { return backoff.clone() };
    let wait = backoff.until.duration_since(backoff.since);
    let until = failed.at.checked_add(wait).unwrap_or(backoff.until);
    Backoff { since: failed.at, until, message: failed.message.to_owned(), ..backoff.clone() }
}

/// What is there may be replaced only when it could be read.
fn readable<T>(reading: Option<Reading<T>>, path: &Path) -> Result<Option<T>, StoreError> {
    match reading {
        None => Ok(None),
        Some(Reading::Known(record)) => Ok(Some(record)),
        Some(Reading::Unknown(cause)) => Err(StoreError::Unreadable { path: path.to_owned(), why: cause.message }),
    }
}
