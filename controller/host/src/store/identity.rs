//! Which host and which Pool a state directory belongs to, and which storage belongs to it.
//!
//! A state directory that was copied from another host, or a storage that is not mounted, must not look like a host on which nothing was
//! ever made.

use super::{Place, Store, StoreError};
use planner::record::RECORD_VERSION;
use protocol::Reading;
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::path::Path;
use uuid::Uuid;

/// What `<state>/identity.json` pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The host's name.
    pub host: Name,
    /// The Pool; `None` before the first commit is accepted.
    pub pool_id: Option<Uuid>,
    /// Names the storage: the same value stands in `<storage>/identity.json`.
    pub storage: Uuid,
}

/// What `<storage>/identity.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Storage {
    version: u32,
    storage: Uuid,
}

impl Store {
    /// Who this host is, checked against its name and its storage. `None`: no daemon ever ran here.
    pub fn identity(&self) -> Option<Reading<Identity>> {
        let path = self.place.state.join("identity.json");
        let identity = match self.read_file::<Identity>(&path)? {
            Reading::Known(identity) => identity,
            unknown @ Reading::Unknown(_) => return Some(unknown),
        };
        Some(match check(&identity, &self.place, self.read_file::<Storage>(&self.storage_path()), &path) {
            Ok(()) => Reading::Known(identity),
            Err((reason, message)) => Reading::unknown(reason, message),
        })
    }

    /// Pins the Pool, before the first commit of it is accepted.
    ///
    /// # Errors
    /// [`StoreError::Identity`] when the state belongs to another Pool or host.
    pub fn pin_pool(&self, pool_id: Uuid) -> Result<(), StoreError> {
        let path = self.place.state.join("identity.json");
        let identity = match self.identity() {
            Some(Reading::Known(identity)) => identity,
            Some(Reading::Unknown(cause)) => return Err(StoreError::Identity(cause.message)),
            None => return Err(StoreError::NotLocked { state: self.place.state.clone() }),
        };
        match identity.pool_id {
            Some(pinned) if pinned == pool_id => Ok(()),
            Some(pinned) => Err(StoreError::Identity(format!(
                "the state directory belongs to the Pool {pinned}, and the repository declares the Pool {pool_id}: \
                 point the daemon at the right repository (the record is in `{}`)",
                path.display()
            ))),
            None => self.replace(&path, &Identity { pool_id: Some(pool_id), ..identity }),
        }
    }

    /// Pins the host and its storage where nothing is pinned yet.
    pub(super) fn pin_host(&self) -> Result<(), StoreError> {
        let path = self.place.state.join("identity.json");
        if self.read_file::<Identity>(&path).is_some() {
            return Ok(());
        }
        self.make_dirs(&self.place.storage)?;
        // A storage that was used before keeps its name: the state directory may have been lost alone.
        let storage = match self.read_file::<Storage>(&self.storage_path()) {
            Some(Reading::Known(known)) => known.storage,
            Some(Reading::Unknown(cause)) => return Err(StoreError::Identity(cause.message)),
            None => {
                let storage = Uuid::new_v4();
                self.replace(&self.storage_path(), &Storage { version: RECORD_VERSION, storage })?;
                storage
            }
        };
        self.replace(
            &path,
            &Identity { version: RECORD_VERSION, host: self.place.host.clone(), pool_id: None, storage },
        )
    }

    fn storage_path(&self) -> std::path::PathBuf {
        self.place.storage.join("identity.json")
    }
}

fn check(
    identity: &Identity,
    place: &Place,
    storage: Option<Reading<Storage>>,
    path: &Path,
) -> Result<(), (&'static str, String)> {
    if identity.host != place.host {
        return Err((
            "IdentityMismatch",
            format!(
                "the state directory belongs to host `{}`, and the daemon is configured as `{}`: set `host: {}`, or give this host a \
                 state directory of its own (the record is in `{}`)",
                identity.host,
                place.host,
                identity.host,
                path.display()
            ),
        ));
    }
    let folder = place.storage.display();
    match storage {
        Some(Reading::Known(found)) if found.storage == identity.storage => Ok(()),
        Some(Reading::Known(_)) => Err((
            "StorageMismatch",
            format!(
                "`{folder}` is not the storage that this host used before: mount the right one, or set `storage:` to it"
            ),
        )),
        Some(Reading::Unknown(cause)) => Err(("StorageUnreadable", cause.message)),
        None => Err((
            "StorageMissing",
            format!(
                "the VMs' records should be in `{folder}`, which has no `identity.json`: mount the storage, or put the folder back"
            ),
        )),
    }
}
