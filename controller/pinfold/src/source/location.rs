//! Where a repository is: a path or a URL, taken apart once.
//!
//! No secret can be in one: a URL with a password in it is refused, so a [`Location`] can be shown to anyone.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use url::Url;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// In this machine's file system: a plain path or `file://`.
    Local(PathBuf),
    /// Over SSH: `ssh://user@host[:port]/path` or `user@host:path`.
    Ssh(Remote),
    /// Over HTTPS.
    Https(Remote),
}

/// A repository on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The URL as it was written.
    pub url: String,
    /// The user in it; SSH always has one.
    pub user: Option<String>,
    /// The host in it.
    pub host: String,
    /// The port in it, if it is not the usual one.
    pub port: Option<u16>,
}

/// Why a text is no [`Location`]. None of them repeats the text: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing at all.
    #[error("the repository's url is empty; write a path, or a URL that starts with file://, ssh:// or https://")]
    Empty,
    /// A scheme that anyone on the way can change.
    #[error(
        "`{0}://` is not protected: whoever is on the way could change what your hosts run; use https:// or ssh://"
    )]
    Unprotected(String),
    /// Some other scheme.
    #[error("`{0}://` is no way to reach a repository; use a path, file://, ssh:// or https://")]
    Scheme(String),
    /// A password in the URL.
    #[error(
        "the url has a password in it, which everyone who sees the configuration or `pinfold status` could read; put it into a file and name that file in `https.passwordFile` or `https.tokenFile`"
    )]
    Password,
    /// SSH without a user.
    #[error("the url names no user; write it as ssh://git@HOST/PATH, with the server's user in place of `git`")]
    NoUser,
    /// A URL without a host or path.
    #[error("the url names no {0}")]
    Without(&'static str),
    /// `~` is the shell's.
    #[error("`~` is expanded by shells only; write the whole path")]
    Tilde,
    /// `file://` with something that is no path of this machine.
    #[error("file:// needs a whole path of this machine: file:///srv/xen.git")]
    FileUrl,
    /// The URL cannot be read.
    #[error("the url cannot be read: {0}")]
    Url(#[from] url::ParseError),
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return from_url(&scheme.to_ascii_lowercase(), text);
        }
        match scp_like(text) {
            Some(remote) => remote.map(Self::Ssh),
            None if text.starts_with('~') => Err(LocationError::Tilde),
            None => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

fn from_url(scheme: &str, text: &str) -> Result<Location, LocationError> {
    match scheme {
        "file" | "ssh" | "https" => {}
        "http" | "git" => return Err(LocationError::Unprotected(scheme.to_owned())),
        _ => return Err(LocationError::Scheme(scheme.to_owned())),
    }
    let url = Url::parse(text)?;
    if url.password().is_some() {
        return Err(LocationError::Password);
    }
    if scheme == "file" {
        return url.to_file_path().map(Location::Local).map_err(|()| LocationError::FileUrl);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(LocationError::Without("host"))?;
    if url.path().trim_matches('/').is_empty() {
        return Err(LocationError::Without("path"));
    }
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(str::to_owned);
    let host = host.trim_matches(['[', ']']).to_owned();
    let remote = Remote { url: text.to_owned(), user, host, port: url.port() };
    match scheme {
        "ssh" if remote.user.is_none() => Err(LocationError::NoUser),
        "ssh" => Ok(Location::Ssh(remote)),
        _ => Ok(Location::Https(remote)),
    }
}

/// `[user@]host:path`, as git reads it: the first colon comes before the first slash.
fn scp_like(text: &str) -> Option<Result<Remote, LocationError>> {
    let (user, rest) = match text.split_once('@') {
        Some((user, rest)) if !user.contains(['/', ':']) => (Some(user), rest),
        Some((user, _)) if user.contains(':') && !user.contains('/') => return Some(Err(LocationError::Password)),
        _ => (None, text),
    };
    let (host, path) = match rest.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some(parts) => parts,
        None => rest.split_once(':')?,
    };
    if host.is_empty() || host.contains('/') {
        return None;
    }
    let Some(user) = user.filter(|user| !user.is_empty()) else { return Some(Err(LocationError::NoUser)) };
    if path.is_empty() {
        return Some(Err(LocationError::Without("path")));
    }
    Some(Ok(Remote { url: text.to_owned(), user: Some(user.to_owned()), host: host.to_owned(), port: None }))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Ssh(remote) | Self::Https(remote) => f.write_str(&remote.url),
        }
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

/// A text that may quote a URL, with `***` for a password in one: from the first `:` of the part that names the user to its last `@`.
/// It need not be a URL that can be used: an error quotes what it refuses.
pub(crate) fn concealed(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    text.split_inclusive(is_end)
        .map(|word| {
            let from = word.find("://").map_or(0, |at| at + 3);
            let password = word[from..].rfind('@').and_then(|at| Some((word[from..from + at].find(':')?, at)));
            password.map_or_else(
                || word.to_owned(),
                |(colon, at)| format!("{}***{}", &word[..=from + colon], &word[from + at..]),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        match Location::try_from(text.to_owned()) {
            Ok(Location::Local(path)) => format!("local {}", path.display()),
            Ok(Location::Ssh(r)) => format!("ssh {:?} {} {:?}", r.user, r.host, r.port),
            Ok(Location::Https(r)) => format!("https {:?} {} {:?}", r.user, r.host, r.port),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn paths_and_urls_are_read_as_git_reads_them() {
        let cases = [
            ("/srv/xen.git", "local /srv/xen.git"),
            ("./xen", "local ./xen"),
            ("./odd:name", "local ./odd:name"),
            ("/srv/me@home:x", "local /srv/me@home:x"),
            ("file:///srv/a%20b.git", "local /srv/a b.git"),
            ("ssh://git@example.org/xen.git", r#"ssh Some("git") example.org None"#),
            ("ssh://git@[::1]:2222/xen.git", r#"ssh Some("git") ::1 Some(2222)"#),
            ("git@example.org:team/xen.git", r#"ssh Some("git") example.org None"#),
            ("https://example.org:8443/xen.git", "https None example.org Some(8443)"),
            ("https://me@example.org/xen.git", r#"https Some("me") example.org None"#),
        ];
        for (text, expected) in cases {
            assert_eq!(check(text), expected, "{text}");
        }
    }

    #[test]
    fn a_refused_url_says_why_and_never_shows_its_password() {
        let cases = [
            ("", LocationError::Empty),
            ("https://me:hunter2@example.org/x", LocationError::Password),
            ("me:hunter2@example.org:x", LocationError::Password),
            ("http://example.org/x", LocationError::Unprotected("http".into())),
            ("git://example.org/x", LocationError::Unprotected("git".into())),
            ("ftp://example.org/x", LocationError::Scheme("ftp".into())),
            ("ssh://example.org/x", LocationError::NoUser),
            ("example.org:x", LocationError::NoUser),
            ("https://example.org", LocationError::Without("path")),
            ("~/xen.git", LocationError::Tilde),
            ("file://elsewhere/x", LocationError::FileUrl),
        ];
        for (text, expected) in cases {
            let error = Location::try_from(text.to_owned()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{text}");
            assert_eq!(error, expected, "{text}");
        }
    }

    #[test]
    fn a_quoted_url_is_shown_without_its_password() {
        let cases = [
            ("  url: \"https://me:hunter2@example.org/x\"", "  url: \"https://me:***@example.org/x\""),
            ("{url: me:hunter:2@example.org:x}", "{url: me:***@example.org:x}"),
            ("https://me:h@nter2@example.org/x, ssh", "https://me:***@example.org/x, ssh"),
            ("ssh://git@example.org:22/x", "ssh://git@example.org:22/x"),
            ("git@example.org:x at 3:4", "git@example.org:x at 3:4"),
        ];
        for (text, expected) in cases {
            assert_eq!(concealed(text), expected);
        }
    }
}
