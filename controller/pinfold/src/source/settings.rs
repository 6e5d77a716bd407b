//! The part of the daemon's own configuration that says where manifests come from: `repository:`.

use crate::source::location::Location;
use schema::units::Span;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `repository:` of the daemon's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// A path or URL.
    pub url: Location,
    /// The one branch that is watched.
    #[serde(default = "main_branch")]
    pub branch: String,
    /// The folder of the manifests within the repository.
    #[serde(default)]
    pub path: SubPath,
    /// How to log in over SSH; needed for SSH and used for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// How to log in over HTTPS; used for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<Https>,
    /// How often a repository is asked that cannot be watched, ± 10 %. Default: `60s`.
    #[serde(default = "one_minute", with = "span")]
    pub poll: Duration,
    /// How long one fetch may take before its process is killed. Default: `60s`.
    #[serde(default = "one_minute", with = "span")]
    pub deadline: Duration,
}

/// How to log in over SSH. Nothing is taken from the user's own SSH configuration or agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ssh {
    /// File with the private key, without a passphrase.
    pub key: PathBuf,
    /// File with the server's public keys in OpenSSH's `known_hosts` format. A server that it does not name is refused.
    pub known_hosts: PathBuf,
}

/// How to log in over HTTPS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Https {
    /// File with an access token; its first line is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The user, for servers that want one; with a token most servers take any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password; its first line is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities that are trusted, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// A folder within a repository: relative, with `/` between its parts, never leaving it. Empty: the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubPath(String);

/// What is wrong with the settings as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The sub-path leaves the repository.
    #[error("`path: {0}` must be a folder within the repository, such as `hosts/lab`, without `..`")]
    SubPath(String),
    /// git does not allow this name.
    #[error("`branch: {0}` is no name of a branch")]
    Branch(String),
    /// An SSH repository without a key.
    #[error(
        "a repository over SSH needs `ssh.key` and `ssh.knownHosts`; `ssh-keygen -t ed25519` makes a key, `ssh-keyscan {host}` lists what to compare with the server's fingerprint and then to put into knownHosts"
    )]
    NoSsh {
        /// The server.
        host: String,
    },
    /// Two ways to log in.
    #[error("`https` has both `tokenFile` and `passwordFile`; keep one")]
    TwoSecrets,
    /// A password without a user.
    #[error("`https.passwordFile` needs `https.user`")]
    NoUser,
    /// A time that cannot work.
    #[error("`{field}` must be at least one second")]
    TooShort {
        /// Which setting.
        field: &'static str,
    },
}

impl Settings {
    /// Settings for a repository that needs no login, with every default.
    pub fn new(url: Location) -> Self {
        Self {
            url,
            branch: main_branch(),
            path: SubPath::default(),
            ssh: None,
            https: None,
            poll: one_minute(),
            deadline: one_minute(),
        }
    }

    /// Whether the settings fit together.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !super::git::is_branch_name(&self.branch) {
            return Err(SettingsError::Branch(self.branch.clone()));
        }
        if let (Location::Ssh(remote), None) = (&self.url, &self.ssh) {
            return Err(SettingsError::NoSsh { host: remote.host.clone() });
        }
        let https = self.https.clone().unwrap_or_default();
        if https.token_file.is_some() && https.password_file.is_some() {
            return Err(SettingsError::TwoSecrets);
        }
        let url_user = match &self.url {
            Location::Https(remote) => remote.user.clone(),
            Location::Local(_) | Location::Ssh(_) => None,
        };
        if https.password_file.is_some() && https.user.or(url_user).is_none() {
            return Err(SettingsError::NoUser);
        }
        let times = [("poll", self.poll), ("deadline", self.deadline)];
        match times.into_iter().find(|(_, time)| *time < Duration::from_secs(1)) {
            Some((field, _)) => Err(SettingsError::TooShort { field }),
            None => Ok(()),
        }
    }
}

impl SubPath {
    /// The folder as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SubPath {
    type Error = SettingsError;

    fn try_from(text: String) -> Result<Self, SettingsError> {
        let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if Path::new(&text).is_absolute() || parts.contains(&"..") {
            return Err(SettingsError::SubPath(text));
        }
        Ok(Self(parts.join("/")))
    }
}

impl From<SubPath> for String {
    fn from(path: SubPath) -> Self {
        if path.0.is_empty() { ".".to_owned() } else { path.0 }
    }
}

fn main_branch() -> String {
    "main".to_owned()
}

const fn one_minute() -> Duration {
    Duration::from_secs(60)
}

mod span {
    use super::{Deserialize, Deserializer, Duration, Serializer, Span};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Span::from_secs(time.as_secs()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Span>().map(Span::duration).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_stays_within_the_repository() {
        for (text, expected) in [(".", ""), ("", ""), ("hosts/lab/", "hosts/lab"), ("./a//b", "a/b")] {
            assert_eq!(SubPath::try_from(text.to_owned()).unwrap().as_str(), expected);
        }
        for text in ["/etc", "../x", "a/../../x", "a/.."] {
            assert!(SubPath::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_that_cannot_work_say_why() {
        let read = |text: &str| serde_json::from_str::<Settings>(text).map(|settings| settings.check());
        assert_eq!(read(r#"{"url": "/srv/xen.git"}"#).unwrap(), Ok(()));
        assert_eq!(read(r#"{"url": "git@h:x"}"#).unwrap(), Err(SettingsError::NoSsh { host: "h".into() }));
        assert_eq!(read(r#"{"url": "/x", "branch": "a..b"}"#).unwrap(), Err(SettingsError::Branch("a..b".into())));
        let both = r#"{"url": "https://h/x", "https": {"tokenFile": "/t", "passwordFile": "/p"}}"#;
        assert_eq!(read(both).unwrap(), Err(SettingsError::TwoSecrets));
        let no_user = r#"{"url": "https://h/x", "https": {"passwordFile": "/p"}}"#;
        assert_eq!(read(no_user).unwrap(), Err(SettingsError::NoUser));
        assert!(read(r#"{"url": "/x", "pol": "5s"}"#).is_err());
        assert_eq!(read(r#"{"url": "/x", "poll": "90s"}"#).unwrap(), Ok(()));
    }
}
