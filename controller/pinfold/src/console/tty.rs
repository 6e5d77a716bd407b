//! The pseudo-terminal in dom0 behind which xenconsoled, or a guest's QEMU, stands.
//!
//! What xenstore names may be stale: when xenconsoled was killed, the number may by now be another guest's, or a login of an administrator in
//! dom0. So only a pseudo-terminal that nobody else has open is taken, and whoever opened it looks at xenstore once more before a byte
//! passes ([`super::session`]).

use rustix::fs::{FileType, Mode, OFlags, fstat, major, open};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// Majors of pseudo-terminals (Documentation/admin-guide/devices.txt, "Unix98 PTY slaves").
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// Who may have a console's terminal open beside us: its own maker holds it open.
const MAKER: &str = "xenconsoled";

/// A terminal, open and raw.
#[derive(Debug)]
pub struct Tty(AsyncFd<OwnedFd>);

/// Why a console's terminal is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtyError {
    /// What xenstore names is no pseudo-terminal.
    #[error("its console is at `{0}`, which is no pseudo-terminal of dom0")]
    Strange(String),
    /// Nobody is behind it.
    #[error("its terminal {path} cannot be opened ({why}): is xenconsoled running? `pgrep -a xenconsoled`")]
    Dead {
        /// The terminal.
        path: String,
        /// Why.
        why: String,
    },
    /// Somebody else has it open.
    #[error(
        "its terminal {path} is open in process {pid} (`{program}`): of two readers each would get half of it; end that one first"
    )]
    Shared {
        /// The terminal.
        path: String,
        /// The process.
        pid: u32,
        /// Its name.
        program: String,
    },
}

impl Tty {
    /// Opens a terminal. Looks through `/proc`: not for the thread that serves everybody. Needs a runtime to be entered.
    pub fn open(path: &str) -> Result<Self, TtyError> {
        let number = path.strip_prefix("/dev/pts/").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if number.is_none_or(str::is_empty) {
            return Err(TtyError::Strange(path.to_owned()));
        }
        let dead = |errno: Errno| TtyError::Dead { path: path.to_owned(), why: errno.to_string() };
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let tty = open(path, flags, Mode::empty()).map_err(dead)?;
        let stat = fstat(&tty).map_err(dead)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
            || !PSEUDO_TERMINALS.contains(&major(stat.st_rdev))
        {
            return Err(TtyError::Strange(path.to_owned()));
        }
        if let Some((pid, program)) = other_holder(Path::new("/proc"), path) {
            return Err(TtyError::Shared { path: path.to_owned(), pid, program });
        }
        let mut settings = tcgetattr(&tty).map_err(dead)?;
        settings.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &settings).map_err(dead)?;
        #[allow(
            deprecated,
            reason = "what it warns of cannot happen: an OwnedFd keeps its descriptor; its successor is unsafe"
        )]
        let tty = AsyncFd::new(tty);
        tty.map(Self).map_err(|error| TtyError::Dead { path: path.to_owned(), why: error.to_string() })
    }

    /// Reads what the guest printed; 0 when nobody is behind the terminal any more.
    pub async fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return 0 };
            match ready.try_io(|tty| rustix::io::read(tty, &mut *buffer).map_err(io::Error::from)) {
                // A hang-up reads as EIO.
                Ok(read) => return read.unwrap_or(0),
                Err(_would_block) => {}
            }
        }
    }

    /// Types some of it; how much went.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.writable().await?;
            if let Ok(written) = ready.try_io(|tty| rustix::io::write(tty, bytes).map_err(io::Error::from)) {
                return written;
            }
        }
    }
}

/// A process that has the terminal open and is neither this one nor the console's maker.
fn other_holder(proc: &Path, tty: &str) -> Option<(u32, String)> {
    let own = std::process::id();
    let processes = fs::read_dir(proc).ok()?.flatten();
    let processes =
        processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    processes.filter(|(pid, _)| *pid != own).find_map(|(pid, folder)| {
        let files = fs::read_dir(folder.join("fd")).ok()?.flatten();
        let has_it = files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(tty)));
        let program = has_it.then(|| fs::read_to_string(folder.join("comm")).unwrap_or_default())?;
        let program = program.trim().to_owned();
        (program != MAKER).then_some((pid, program))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::process::{Command, Stdio};

    fn pair() -> (OwnedFd, String) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        (master, path)
    }

    #[tokio::test]
    async fn only_pseudo_terminals_are_consoles() {
        for path in ["/dev/null", "/dev/tty1", "/dev/pts/", "/dev/pts/../null", "/dev/pts/ptmx", "/etc/passwd", ""] {
            assert_eq!(Tty::open(path).unwrap_err(), TtyError::Strange(path.to_owned()));
        }
        assert!(matches!(Tty::open("/dev/pts/9999999"), Err(TtyError::Dead { .. })));
    }

    #[tokio::test]
    async fn a_terminal_that_somebody_else_has_is_not_taken() {
        let (_master, path) = pair();
        let stdin = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut other = Command::new("sleep").arg("1000").stdin(Stdio::from(stdin)).spawn().unwrap();
        let said = Tty::open(&path);
        other.kill().unwrap();
        other.wait().unwrap();
        let pid = other.id();
        assert_eq!(said.unwrap_err(), TtyError::Shared { path: path.clone(), pid, program: "sleep".to_owned() });
        Tty::open(&path).unwrap();
    }

    #[tokio::test]
    async fn bytes_pass_as_they_are_until_the_other_end_goes() {
        let (master, path) = pair();
        let tty = Tty::open(&path).unwrap();
        let mut buffer = [0; 64];
        rustix::io::write(&master, b"login:\x03\r\n").unwrap();
        let count = tty.read(&mut buffer).await;
        assert_eq!(&buffer[..count], b"login:\x03\r\n");
        assert_eq!(tty.write(b"root\r\x04").await.unwrap(), 6);
        let count = rustix::io::read(&master, &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"root\r\x04");
        drop(master);
        assert_eq!(tty.read(&mut buffer).await, 0);
    }
}
