//! Makes the sockets, with the right owner before the first peer can connect.

use crate::config::{Config, Group};
use rustix::fs::{Gid, Mode, chmod, chown};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The two sockets of a daemon, listening.
#[derive(Debug)]
pub struct Sockets {
    /// Answers questions.
    pub read: UnixListener,
    /// Answers questions and takes verbs.
    pub admin: UnixListener,
}

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The file system or the kernel refused.
    #[error("cannot make the socket {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `readGroup` or `adminGroup` names nobody.
    #[error("there is no group `{0}` in /etc/group: create it, or write its number")]
    NoGroup(String),
}

impl Sockets {
    /// Makes both. The caller holds the daemon's lock, so that a socket left by a dead daemon may be replaced.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let read_group = config.read_group.as_ref().map(gid).transpose()?;
        let admin_group = config.admin_group.as_ref().map(gid).transpose()?;
        Ok(Self { read: one(&config.socket, read_group)?, admin: one(&config.admin_socket(), admin_group)? })
    }
}

fn one(path: &Path, group: Option<Gid>) -> Result<UnixListener, BindError> {
    let failed = |source: io::Error| BindError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    listener(path, group).map_err(|errno| failed(errno.into()))
}

/// Nobody can connect between `bind` and `listen`, so the order here is what guards the socket.
fn listener(path: &Path, group: Option<Gid>) -> rustix::io::Result<UnixListener> {
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let mode =
        if group.is_some() { Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP } else { Mode::RUSR | Mode::WUSR };
    if group.is_some() {
        chown(path, None, group)?;
    }
    chmod(path, mode)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

fn gid(group: &Group) -> Result<Gid, BindError> {
    match group {
        Group::Id(id) => Ok(Gid::from_raw(*id)),
        Group::Name(name) => {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            find_group(&groups, name).map(Gid::from_raw).ok_or_else(|| BindError::NoGroup(name.clone()))
        }
    }
}

/// The number of a group in the text of `/etc/group`: `name:password:number:members`.
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|parts| parts.first() == Some(&name))?
        .get(2)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\npinfold-admin:x:999:\npinfold:x:998:ann,bob\n";
        assert_eq!(find_group(groups, "pinfold"), Some(998));
        assert_eq!(find_group(groups, "nobody"), None);
    }
}
