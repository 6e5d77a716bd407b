//! Which server an SSH repository is on: OpenSSH's `known_hosts`, read by libssh2.
//!
//! A server that the file does not name is refused: nobody is there to be asked. `@cert-authority` lines are not supported and are
//! passed over, so a server known only by them is refused; `@revoked` keys are refused wherever else they stand.

use crate::source::message::{FetchError, FetchErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ssh2::{CheckResult, KnownHostFileKind, KnownHosts, Session};
use std::path::Path;

/// A server's public key as it showed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostKey<'k> {
    /// The key's sort, as OpenSSH spells it.
    pub(super) algorithm: &'k str,
    /// The key in SSH's wire form.
    pub(super) key: &'k [u8],
    /// Its SHA-256 digest.
    pub(super) sha256: &'k [u8; 32],
}

impl HostKey<'_> {
    /// As `ssh-keygen -l` prints it.
    fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(self.sha256))
    }
}

/// Whether the file names this key for this server.
pub(super) fn check(file: &Path, host: &str, port: u16, shown: HostKey) -> Result<(), FetchError> {
    let text = read(file)?;
    let (fingerprint, algorithm) = (shown.fingerprint(), shown.algorithm);
    let place = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let refuse = |message: String| Err(FetchError::new(FetchErrorKind::HostKey, message));
    let revoked = text.lines().filter_map(|line| line.trim_start().strip_prefix("@revoked"));
    if check_lines(revoked, host, port, shown.key)? == Some(true) {
        return refuse(format!(
            "{place} showed the {algorithm} key {fingerprint}, which {} marks as revoked; the server needs a new key",
            file.display()
        ));
    }
    match check_lines(plain_lines(&text), host, port, shown.key)? {
        Some(true) => Ok(()),
        Some(false) => refuse(format!(
            "{place} showed the {algorithm} key {fingerprint}, but {} names another one for it: either the server was given a new key, or someone \
             stands in between; ask whoever runs it, and put the new key into the file only when it is theirs",
            file.display()
        )),
        None => refuse(format!(
            "{place} is not in {}; it showed the {algorithm} key {fingerprint}; compare that with what `ssh-keygen -lf` prints for the key on the \
             server itself, then add the server's line from `ssh-keyscan -p {port} {host}` to the file",
            file.display()
        )),
    }
}

/// The lines that libssh2 can read: it gives up a whole file at the first one that it cannot.
pub(super) fn readable(file: &Path) -> Result<String, FetchError> {
    let text = read(file)?;
    let session = Session::new().map_err(|error| internal(&error))?;
    let mut hosts = session.known_hosts().map_err(|error| internal(&error))?;
    let mut readable = String::new();
    for line in plain_lines(&text).filter(|line| hosts.read_str(line, KnownHostFileKind::OpenSSH).is_ok()) {
        readable.push_str(line);
        readable.push('\n');
    }
    Ok(readable)
}

fn read(file: &Path) -> Result<String, FetchError> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!(
            "cannot read `ssh.knownHosts: {}`: {error}; without it no SSH server can be trusted",
            file.display()
        );
        FetchError::new(FetchErrorKind::HostKey, message)
    })
}

fn plain_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '@']))
}

/// `Some(true)`: these lines name the key; `Some(false)`: another key; `None`: they do not name the server.
fn check_lines<'l>(
    lines: impl Iterator<Item = &'l str>,
    host: &str,
    port: u16,
    key: &[u8],
) -> Result<Option<bool>, FetchError> {
    let session = Session::new().map_err(|error| internal(&error))?;
    let mut hosts: KnownHosts = session.known_hosts().map_err(|error| internal(&error))?;
    for line in lines {
        // A line of a sort that libssh2 does not know names no key that the server could have shown it.
        hosts.read_str(line.trim(), KnownHostFileKind::OpenSSH).ok();
    }
    match hosts.check_port(host, port, key) {
        CheckResult::Match => Ok(Some(true)),
        CheckResult::Mismatch => Ok(Some(false)),
        CheckResult::NotFound => Ok(None),
        CheckResult::Failure => {
            Err(FetchError::new(FetchErrorKind::Other, "libssh2 could not compare the server's key with known_hosts"))
        }
    }
}

fn internal(error: &ssh2::Error) -> FetchError {
    FetchError::new(FetchErrorKind::Other, format!("libssh2 could not be started: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ";
    const B: &str = "AAAAC3NzaC1lZDI1NTE5AAAAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg";

    /// What is said of a server `example.org` that shows key A at a port.
    fn say(file: &str, port: u16) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        std::fs::write(&path, file.replace("KEY-A", A).replace("KEY-B", B)).unwrap();
        let key = base64::engine::general_purpose::STANDARD.decode(A).unwrap();
        let shown = HostKey { algorithm: "ssh-ed25519", key: &key, sha256: &[0; 32] };
        check(&path, "example.org", port, shown).map_err(|error| error.message.replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn a_server_is_known_only_by_its_own_line() {
        assert_eq!(say("example.org ssh-ed25519 KEY-A\n", 22), Ok(()));
        assert_eq!(say("other,example.org ssh-ed25519 KEY-A comment\n", 22), Ok(()));
        assert_eq!(say("[example.org]:2222 ssh-ed25519 KEY-A\n", 2222), Ok(()));
        assert_eq!(
            say("# a note\n\n@cert-authority *.org ssh-ed25519 KEY-B\nexample.org ssh-ed25519 KEY-A\n", 22),
            Ok(())
        );
        assert_eq!(say("x sk-ssh-unheard-of@openssh.com KEY-B\nexample.org ssh-ed25519 KEY-A\n", 22), Ok(()));
        assert!(say("other.org ssh-ed25519 KEY-A\n", 22).unwrap_err().starts_with("example.org is not in FILE"));
        assert!(say("[example.org]:2222 ssh-ed25519 KEY-A\n", 22).unwrap_err().contains("is not in FILE"));
        assert!(say("@cert-authority example.org ssh-ed25519 KEY-A\n", 22).unwrap_err().contains("is not in FILE"));
        assert!(say("example.org ssh-ed25519 KEY-B\n", 22).unwrap_err().contains("names another one"));
        let revoked = "example.org ssh-ed25519 KEY-A\n@revoked example.org ssh-ed25519 KEY-A\n";
        assert!(say(revoked, 22).unwrap_err().contains("revoked"));
        assert!(say("", 22).unwrap_err().contains("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    }

    #[test]
    fn a_hashed_name_is_recognised() {
        // `ssh-keygen -H` of `example.org ssh-ed25519 …`, with a salt of 20 bytes `s`.
        let line = "|1|c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=|Kt9I60RdC3OZmiw5HbppAMbjazw= ssh-ed25519 KEY-A\n";
        assert_eq!(say(line, 22), Ok(()));
    }
}
