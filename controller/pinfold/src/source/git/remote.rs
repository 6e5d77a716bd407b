//! Fetching from a repository on another machine, over SSH or HTTPS.
//!
//! Who we are comes from the files that the settings name, and from nowhere else: no agent, no credential helper, no configuration of
//! git or ssh. Each secret is offered once; a server that does not take it will not take it the second time either.

use super::CANDIDATE;
use super::error::{Step, explain};
use super::local::no_branch;
use crate::source::known_hosts::{self, HostKey};
use crate::source::location::{Location, Remote};
use crate::source::message::{FetchError, FetchErrorKind, Progress, Stage};
use crate::source::settings::Settings;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, Error, ErrorClass, ErrorCode, FetchOptions,
    Oid, RemoteCallbacks, Repository,
};
use std::cell::{Cell, RefCell};
use std::path::Path;

/// Receives everything that the branch reaches and `mirror` does not have, and says where its head is.
pub(super) fn receive(
    settings: &Settings,
    remote: &Remote,
    mirror: &Repository,
    say: &mut dyn FnMut(Progress),
) -> Result<Oid, FetchError> {
    let session = Session { settings, remote, offered: Cell::new(false), refused: RefCell::new(None) };
    session.check_files()?;
    let explain = |error: Error, step| session.refused.take().unwrap_or_else(|| explain(&error, step, &remote.url));
    let say = RefCell::new(say);

    let mut git = mirror.remote_anonymous(&remote.url).map_err(|error| explain(error, Step::Mirror))?;
    if git.url().is_ok_and(|url| url != remote.url) {
        let message = format!(
            "/etc/gitconfig rewrites {} (`url.….insteadOf`); the daemon fetches only from where its own configuration says: take that out, or write \
             the rewritten url into `repository.url`",
            remote.url
        );
        return Err(FetchError::new(FetchErrorKind::Other, message));
    }
    let mut connection = git
        .connect_auth(Direction::Fetch, Some(session.callbacks(&say)), None)
        .map_err(|error| explain(error, Step::Connect))?;
    let wanted = format!("refs/heads/{}", settings.branch);
    let heads = connection.list().map_err(|error| explain(error, Step::Connect))?;
    let Some(head) = heads.iter().find(|head| head.name() == wanted).map(git2::RemoteHead::oid) else {
        let others: Vec<_> =
            heads.iter().filter_map(|head| head.name().strip_prefix("refs/heads/")).map(str::to_owned).collect();
        return Err(no_branch(&remote.url, &settings.branch, &others));
    };
    let mut options = FetchOptions::new();
    options.remote_callbacks(session.callbacks(&say)).download_tags(AutotagOption::None).update_fetchhead(false);
    let refspec = format!("+{wanted}:{CANDIDATE}");
    let received = connection.remote().download(&[refspec.as_str()], Some(&mut options));
    received.map_err(|error| explain(error, Step::Receive))?;
    Ok(head)
}

/// One attempt to get in.
struct Session<'s> {
    settings: &'s Settings,
    remote: &'s Remote,
    /// The secret was offered already.
    offered: Cell<bool>,
    /// What we ourselves refused, in words that libgit2 has no room for.
    refused: RefCell<Option<FetchError>>,
}

impl Session<'_> {
    fn callbacks<'c>(&'c self, say: &'c RefCell<&mut dyn FnMut(Progress)>) -> RemoteCallbacks<'c> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.certificate_check(|certificate, host| {
            let Some(key) = certificate.as_hostkey() else { return Ok(CertificateCheckStatus::CertificatePassthrough) };
            self.check_host_key(key, host)
                .map(|()| CertificateCheckStatus::CertificateOk)
                .map_err(|error| self.refuse(error))
        });
        callbacks.credentials(|url, user, allowed| self.login(url, user, allowed).map_err(|error| self.refuse(error)));
        callbacks.transfer_progress(|progress| {
            let (received, total) = (progress.received_objects(), progress.total_objects());
            (say.borrow_mut())(Progress { stage: Stage::Receiving, received, total, bytes: progress.received_bytes() });
            true
        });
        callbacks
    }

    /// Whether the files with the secrets are there, before anybody is asked anything.
    fn check_files(&self) -> Result<(), FetchError> {
        match (&self.settings.url, &self.settings.ssh) {
            (Location::Ssh(_), Some(ssh)) => read_secret("ssh.key", &ssh.key).map(drop),
            (Location::Ssh(_), None) => {
                Err(FetchError::new(FetchErrorKind::Auth, "a repository over SSH needs `repository.ssh`"))
            }
            _ => self.https_login().map(drop),
        }
    }

    fn check_host_key(&self, key: &git2::cert::CertHostkey, host: &str) -> Result<(), FetchError> {
        let Some(ssh) = &self.settings.ssh else {
            return Err(FetchError::new(
                FetchErrorKind::HostKey,
                format!("{host} speaks SSH, but there is no `ssh.knownHosts`"),
            ));
        };
        let (Some(bytes), Some(sha256)) = (key.hostkey(), key.hash_sha256()) else {
            return Err(FetchError::new(FetchErrorKind::HostKey, format!("{host} showed no key")));
        };
        let algorithm = key.hostkey_type().map_or("unknown", |kind| kind.name());
        let port = self.remote.port.unwrap_or(22);
        known_hosts::check(&ssh.known_hosts, host, port, HostKey { algorithm, key: bytes, sha256 })
    }

    fn login(&self, url: &str, user: Option<&str>, allowed: CredentialType) -> Result<Cred, FetchError> {
        let other = |error: Error| FetchError::new(FetchErrorKind::Auth, format!("cannot log in: {}", error.message()));
        let user = user.or(self.remote.user.as_deref());
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user.unwrap_or("git")).map_err(other);
        }
        if self.offered.replace(true) {
            return Err(self.not_taken());
        }
        if allowed.contains(CredentialType::SSH_KEY) {
            let Some(ssh) = &self.settings.ssh else { return Err(self.not_taken()) };
            return Cred::ssh_key(user.unwrap_or("git"), None, &ssh.key, None).map_err(other);
        }
        if !self.same_host(url) {
            let message = format!(
                "{} sends us on to {url}; our secret is for the first only: write the final url into `repository.url`",
                self.remote.url
            );
            return Err(FetchError::new(FetchErrorKind::Auth, message));
        }
        if let Some((user, secret)) = self.https_login()? {
            return Cred::userpass_plaintext(&user, &secret).map_err(other);
        }
        let message = format!(
            "{} wants a login; set `https.tokenFile`, or `https.user` and `https.passwordFile`",
            self.remote.url
        );
        Err(FetchError::new(FetchErrorKind::Auth, message))
    }

    /// User and secret. Servers that take tokens take any user beside them; this one is GitHub's own for its apps.
    fn https_login(&self) -> Result<Option<(String, String)>, FetchError> {
        let Some(https) = &self.settings.https else { return Ok(None) };
        let user = https.user.clone().or_else(|| self.remote.user.clone());
        if let Some(file) = &https.token_file {
            let token = first_line("https.tokenFile", file)?;
            return Ok(Some((user.unwrap_or_else(|| "x-access-token".to_owned()), token)));
        }
        let Some(file) = &https.password_file else { return Ok(None) };
        Ok(Some((user.unwrap_or_default(), first_line("https.passwordFile", file)?)))
    }

    fn same_host(&self, url: &str) -> bool {
        url::Url::parse(url).is_ok_and(|url| {
            let host = url.host_str().map(|host| host.trim_matches(['[', ']']));
            url.scheme() == "https" && host == Some(&self.remote.host) && url.port() == self.remote.port
        })
    }

    fn not_taken(&self) -> FetchError {
        let (what, file) = match (&self.settings.url, &self.settings.ssh, &self.settings.https) {
            (Location::Ssh(_), Some(ssh), _) => ("the key", ssh.key.display().to_string()),
            (_, _, Some(https)) => {
                let file = https.token_file.as_ref().or(https.password_file.as_ref());
                ("the secret", file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string()))
            }
            _ => ("no login", "no file".to_owned()),
        };
        let message = format!(
            "{} does not take {what} in {file}; check that it is the right one, has not expired, and may read this repository",
            self.remote.url
        );
        FetchError::new(FetchErrorKind::Auth, message)
    }

    /// Keeps our own words, and gives libgit2 an error that makes it stop.
    fn refuse(&self, error: FetchError) -> Error {
        let code = if error.kind == FetchErrorKind::HostKey { ErrorCode::Certificate } else { ErrorCode::Auth };
        let told = Error::new(code, ErrorClass::Callback, &error.message);
        *self.refused.borrow_mut() = Some(error);
        told
    }
}

fn first_line(setting: &str, file: &Path) -> Result<String, FetchError> {
    let text = read_secret(setting, file)?;
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if line.is_empty() {
        let message = format!("`{setting}: {}` is empty; its first line must be the secret", file.display());
        return Err(FetchError::new(FetchErrorKind::Auth, message));
    }
    Ok(line)
}

fn read_secret(setting: &str, file: &Path) -> Result<String, FetchError> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!(
            "cannot read `{setting}: {}`: {error}; put the secret there, readable by the daemon's user",
            file.display()
        );
        FetchError::new(FetchErrorKind::Auth, message)
    })
}
