//! The daemon's own configuration: what belongs to this host and not to the repository.
//!
//! Entry point: [`Config::read`]. `deploy/pinfold.yaml` is the commented example; a test reads it, so that it cannot drift from the types here.

use crate::source::concealed;
use schema::units::{Name, Size, Span};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/pinfold/pinfold.yaml";

/// The configuration of one daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Which `Host` of the repository this machine is.
    pub host: Name,
    /// The repository that is followed.
    pub repository: crate::source::Settings,
    /// Folder for the git mirror, records, locks and journal. Default: `/var/lib/pinfold`.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// Folder of the VMs' own folders, and of the trash. Must be one file system. Default: `storage` below `state`.
    #[serde(default)]
    pub storage: Option<PathBuf>,
    /// The socket for reading. The one for changing lies beside it, with `-admin` before the ending. Default: `/run/pinfold/pinfold.sock`.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Group (name or number) that may read through `socket`. Default: only root.
    #[serde(default)]
    pub read_group: Option<Group>,
    /// Group (name or number) that may use verbs, such as `approve`. Default: only root.
    #[serde(default)]
    pub admin_group: Option<Group>,
    /// Folders of dom0 that manifests may name files and devices in. Default: none.
    #[serde(default)]
    pub allow_paths: Vec<String>,
    /// Memory of the host that is never given to guests. Default: `256Mi`.
    #[serde(default)]
    pub memory_reserve: Option<Size>,
    /// Room in `storage` for the core dumps of all VMs together (`spec.crashDumps`). Default: `8Gi`.
    #[serde(default)]
    pub core_dump_quota: Option<Size>,
    /// How the host is looked at.
    #[serde(default)]
    pub observe: Observe,
    /// Path of `pinfold-xen`. Default: `/usr/lib/pinfold/pinfold-xen`.
    #[serde(default = "default_worker")]
    pub worker: PathBuf,
}

/// How the host is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observe {
    /// How often cpupools, masks and weights are read, which raise no event in Xen; less often, up to a tenth as often, where a look
    /// takes more than a quarter of that. Default: `1s`.
    #[serde(default)]
    pub interval: Option<Span>,
}

/// A Unix group by number or name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Group {
    /// Its number.
    Id(u32),
    /// Its name in `/etc/group`.
    Name(String),
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the daemon's configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no valid configuration; the text has line, column and snippet.
    #[error("the daemon's configuration {} is not valid\n{message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        message: String,
    },
    /// A value that no daemon can work with.
    #[error("the daemon's configuration {} cannot be used:{message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Field, problem, and what to write instead.
        message: String,
    },
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// What a host without a configuration is looked at with: every default, and no repository.
    pub(crate) fn assumed() -> Self {
        Self::parse("host: unnamed\nrepository: {url: /nonexistent}\n", Path::new("(none)"))
            .expect("every field that it leaves out has a default")
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = serde_saphyr::from_str(text)
            // The snippet quotes the lines around, and a password that somebody wrote into the url.
            .map_err(|error| ConfigError::Invalid { path: path.to_owned(), message: concealed(&error.to_string()) })?;
        match config.problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError::Value { path: path.to_owned(), message: problems }),
        }
    }

    /// Everything that is wrong with values that can be read, one a line.
    fn problems(&self) -> String {
        let mut text = String::new();
        let storage = self.storage();
        let absolute =
            [("state", &self.state), ("storage", &storage), ("socket", &self.socket), ("worker", &self.worker)];
        for (field, path) in absolute.into_iter().filter(|(_, path)| !path.is_absolute()) {
            let _ = write!(text, "\n  `{field}: {}` is relative: write the whole path, from `/`", path.display());
        }
        for path in
            self.allow_paths.iter().filter(|path| !path.starts_with('/') || path.split('/').any(|part| part == ".."))
        {
            let _ = write!(text, "\n  `allowPaths` has `{path}`: write a whole path, from `/` and without `..`");
        }
        if let Err(error) = self.repository.check() {
            let _ = write!(text, "\n  `repository`: {error}");
        }
        if self.observe_interval() < Duration::from_millis(100) {
            text.push_str(
                "\n  `observe.interval` is less than a tenth of a second, which would keep a core busy: write `1s`",
            );
        }
        text
    }

    /// Folder of the VMs' folders.
    pub fn storage(&self) -> PathBuf {
        self.storage.clone().unwrap_or_else(|| self.state.join("storage"))
    }

    /// The socket for changing: beside the one for reading.
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.socket)
    }

    /// Memory that guests never get, in KiB.
    pub fn memory_reserve_kib(&self) -> u64 {
        self.memory_reserve.map_or(256 * 1024, Size::kib)
    }

    /// Room for core dumps, in KiB.
    pub fn core_dump_quota_kib(&self) -> u64 {
        self.core_dump_quota.map_or(8 * 1024 * 1024, Size::kib)
    }

    /// How often the host is looked at.
    pub fn observe_interval(&self) -> Duration {
        self.observe.interval.map_or(Duration::from_secs(1), Span::duration)
    }
}

/// The socket for changing that belongs to a socket for reading: `pinfold.sock` → `pinfold-admin.sock`.
pub fn admin_socket(socket: &Path) -> PathBuf {
    let stem = socket.file_stem().unwrap_or_default().to_string_lossy();
    let ending = socket.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    socket.with_file_name(format!("{stem}-admin{ending}"))
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/pinfold")
}

fn default_socket() -> PathBuf {
    PathBuf::from("/run/pinfold/pinfold.sock")
}

fn default_worker() -> PathBuf {
    PathBuf::from("/usr/lib/pinfold/pinfold-xen")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_that_is_shipped_is_read() {
        let text = include_str!("../../../deploy/pinfold.yaml");
        let config = Config::parse(text, Path::new("deploy/pinfold.yaml")).unwrap();
        assert_eq!(config.worker, Path::new("/usr/lib/pinfold/pinfold-xen"));
        assert_eq!(config.admin_socket(), Path::new("/run/pinfold/pinfold-admin.sock"));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str| Config::parse(text, Path::new("/etc/pinfold/pinfold.yaml")).unwrap_err().to_string();
        let unknown = refused("host: xen1\nrepository: {url: /srv/x.git}\nallowPath: [/srv]\n");
        assert!(unknown.contains("allowPath") && unknown.contains("line 3"), "{unknown}");
        let values = "host: xen1\nrepository: {url: /srv/x.git}\nstate: var\nallowPaths: [srv, /srv/../etc]\n";
        insta::assert_snapshot!(refused(values), @"
        the daemon's configuration /etc/pinfold/pinfold.yaml cannot be used:
          `state: var` is relative: write the whole path, from `/`
          `storage: var/storage` is relative: write the whole path, from `/`
          `allowPaths` has `srv`: write a whole path, from `/` and without `..`
          `allowPaths` has `/srv/../etc`: write a whole path, from `/` and without `..`
        ");
    }
}
