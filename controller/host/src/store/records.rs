//! Reading records: present, absent and unknown are three different answers.

use super::{Disk, Stamp, Store, StoreError, disk_error, held, sum};
use planner::drift::DriftRecord;
use planner::freeze::{Freeze, Frozen};
use planner::overrides::Override;
use planner::record::{Approval, PartitionRecord, RECORD_VERSION, Records, VmRecord};
use protocol::{Cause, Reading};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// VM records as they were read, with what would have changed if they had changed since. A thousand small files are parsed in as much time as
/// a whole pass may take; comparing a thousand stamps costs a twentieth of it.
pub(super) type Cache = BTreeMap<Uuid, (Stamp, VmRecord)>;

impl Store {
    /// All records, or why their directories cannot be listed. A single record that cannot be read is unknown within the answer.
    pub fn records(&self) -> Reading<Records> {
        let read = || -> Result<Records, StoreError> {
            Ok(Records {
                vms: self.vms()?,
                partitions: self.partitions()?,
                grants: self.read_file(&self.grants_path()),
                approvals: self.approvals()?,
                trash: self.trashed()?,
                freezes: self.freezes()?,
                overrides: self.overrides()?,
                modes: self.read_file(&self.modes_path()),
                drift: self.drift()?,
            })
        };
        match read() {
            Ok(records) => Reading::Known(records),
            Err(error) => Reading::unknown("RecordsUnreadable", error.chain()),
        }
    }

    /// The record of one VM; `None` when there is none.
    pub fn vm(&self, uuid: Uuid) -> Option<Reading<VmRecord>> {
        let folder = self.vm_folder(uuid);
        match self.disk.stamp(&folder) {
            Ok(_) => Some(self.vm_in(uuid)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Reading::unknown("RecordUnreadable", disk_error("read", &folder, error).chain())),
        }
    }

    /// The record of one partition; `None` when there is none.
    pub fn partition(&self, uuid: Uuid) -> Option<Reading<PartitionRecord>> {
        let path = self.partition_path(uuid);
        let reading = self.read_file::<PartitionRecord>(&path)?;
        Some(placed(reading, |record| record.uuid, uuid, &path))
    }

    fn vms(&self) -> Result<BTreeMap<Uuid, Reading<VmRecord>>, StoreError> {
        let uuids: BTreeSet<Uuid> =
            self.names(&self.place.storage)?.iter().filter_map(|name| name.parse().ok()).collect();
        held(&self.cache).retain(|uuid, _| uuids.contains(uuid));
        Ok(uuids.into_iter().map(|uuid| (uuid, self.vm_in(uuid))).collect())
    }

    /// The record in a VM's folder, which exists: a folder comes into being together with its record, so one without is not new but damaged.
    fn vm_in(&self, uuid: Uuid) -> Reading<VmRecord> {
        let path = self.record_path(uuid);
        let stamp = self.disk.stamp(&path).ok();
        if let (Some(stamp), Some((seen, record))) = (stamp, held(&self.cache).get(&uuid))
            && stamp == *seen
        {
            return Reading::Known(record.clone());
        }
        let Some(reading) = self.read_file::<VmRecord>(&path) else {
            return Reading::unknown(
                "RecordMissing",
                format!("`{}` is missing: put it back from a backup, or move the folder away", path.display()),
            );
        };
        let reading = placed(reading, |record| record.uuid, uuid, &path);
        if let (Some(stamp), Reading::Known(record)) = (stamp, &reading) {
            held(&self.cache).insert(uuid, (stamp, record.clone()));
        }
        reading
    }

    fn partitions(&self) -> Result<BTreeMap<Uuid, Reading<PartitionRecord>>, StoreError> {
        let names = self.names(&self.place.state.join("partitions"))?;
        let uuids = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
        Ok(uuids.filter_map(|uuid| Some((uuid, self.partition(uuid)?))).collect())
    }

    /// Approvals that can be read: one that cannot is no approval, which is the safe side.
    fn approvals(&self) -> Result<BTreeMap<String, Approval>, StoreError> {
        let dir = self.place.state.join("approvals");
        let mut approvals = BTreeMap::new();
        for name in self.names(&dir)? {
            let Some(id) = name.strip_suffix(".json").filter(|_| !name.starts_with('.')) else { continue };
            match self.read_file::<Approval>(&dir.join(&name)) {
                Some(Reading::Known(approval)) => drop(approvals.insert(id.to_owned(), approval)),
                Some(Reading::Unknown(cause)) => tracing::warn!(item = id, "an approval is void: {}", cause.message),
                None => {}
            }
        }
        Ok(approvals)
    }

    /// Freezes. One that cannot be read is in force: its file's name says what it freezes.
    fn freezes(&self) -> Result<BTreeMap<String, Reading<Freeze>>, StoreError> {
        self.of_people("freezes", |key| Frozen::parse(key).map(|_| key.to_owned()))
    }

    /// Overrides of VMs' power. One that cannot be read is in force, too.
    fn overrides(&self) -> Result<BTreeMap<Uuid, Reading<Override>>, StoreError> {
        self.of_people("overrides", |key| key.parse().ok())
    }

    /// What differs although it was so. One that cannot be read has no past: what differs counts as seen for the first time.
    fn drift(&self) -> Result<BTreeMap<String, DriftRecord>, StoreError> {
        let known = |(key, reading): (String, Reading<DriftRecord>)| match reading {
            Reading::Known(record) => Some((key, record)),
            Reading::Unknown(cause) => {
                tracing::warn!(object = key, "the history of a drift is lost: {}", cause.message);
                None
            }
        };
        let all = self.of_people("drift", |key| Frozen::parse(key).map(|_| key.to_owned()))?;
        Ok(all.into_iter().filter_map(known).collect())
    }

    /// What people have asked for, by the names of their files.
    fn of_people<K: Ord, T: DeserializeOwned>(
        &self,
        folder: &str,
        key: impl Fn(&str) -> Option<K>,
    ) -> Result<BTreeMap<K, Reading<T>>, StoreError> {
        let dir = self.place.state.join(folder);
        let names = match self.disk.list(&dir) {
            Ok(names) => names,
            // An older pinfold made none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(disk_error("list", &dir, source)),
        };
        let read = |name: &String| Some((key(name.strip_suffix(".json")?)?, self.read_file::<T>(&dir.join(name))?));
        Ok(names.iter().filter_map(read).collect())
    }

    /// Names in a directory of ours. Before the first daemon ran there is no directory, and nothing in it; afterwards its absence is damage.
    pub(super) fn names(&self, dir: &Path) -> Result<Vec<String>, StoreError> {
        match self.disk.list(dir) {
            Ok(names) => Ok(names),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.identity().is_none() => Ok(Vec::new()),
            Err(source) => Err(disk_error("list", dir, source)),
        }
    }

    /// What a file of ours holds; `None` when there is none.
    pub(super) fn read_file<T: DeserializeOwned>(&self, path: &Path) -> Option<Reading<T>> {
        read_versioned(&*self.disk, path)
    }

    pub(super) fn vm_folder(&self, uuid: Uuid) -> PathBuf {
        self.place.storage.join(uuid.to_string())
    }

    pub(super) fn record_path(&self, uuid: Uuid) -> PathBuf {
        self.vm_folder(uuid).join("record.json")
    }

    pub(super) fn partition_path(&self, uuid: Uuid) -> PathBuf {
        self.place.state.join("partitions").join(format!("{uuid}.json"))
    }

    pub(super) fn modes_path(&self) -> PathBuf {
        self.place.state.join("modes.json")
    }

    pub(super) fn drift_path(&self, key: &str) -> PathBuf {
        self.place.state.join("drift").join(format!("{key}.json"))
    }

    pub(super) fn grants_path(&self) -> PathBuf {
        self.place.state.join("grants.json")
    }
}

/// Reads a file that may carry a `version`, which is looked at before anything else in it.
fn read_versioned<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> Option<Reading<T>> {
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<u32>,
    }
    let shown = path.display();
    let text = match disk.read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(source) => return Some(Reading::unknown("RecordUnreadable", disk_error("read", path, source).chain())),
    };
    let parsed = serde_json::from_slice::<T>(&text);
    // The version says better than a missing field what is the matter.
    let version = serde_json::from_slice::<Versioned>(&text).ok().and_then(|file| file.version);
    Some(match (version, parsed) {
        (Some(version), _) if version > RECORD_VERSION => Reading::unknown(
            "RecordNewer",
            format!(
                "`{shown}` was written by a newer pinfold (version {version}, this one reads {RECORD_VERSION}): install the newer one"
            ),
        ),
        (_, Ok(_)) if !sum::is_whole(&text) => Reading::unknown(
            "RecordTorn",
            format!(
                "`{shown}` is not as it was written (its `sha256` differs): restore it from a backup; whoever changed it by hand takes that line out"
            ),
        ),
        (_, Ok(parsed)) => Reading::Known(parsed),
        (_, Err(error)) => Reading::unknown(
            "RecordTorn",
            format!("`{shown}` cannot be understood ({error}): restore it from a backup, or move it away"),
        ),
    })
}

/// A record that lies where another one belongs is unknown: somebody copied it.
fn placed<T>(reading: Reading<T>, uuid_of: impl Fn(&T) -> Uuid, uuid: Uuid, path: &Path) -> Reading<T> {
    match reading {
        Reading::Known(record) if uuid_of(&record) != uuid => Reading::Unknown(Cause {
            reason: "RecordMisplaced".to_owned(),
            message: format!("`{}` is the record of {}: move it to its own folder", path.display(), uuid_of(&record)),
        }),
        reading => reading,
    }
}
