//! The terminals behind the consoles of simulated guests: what xenconsoled is on a real host.
//!
//! Real pseudo-terminals, so that whoever attaches does what he does on Xen. They live as long as this process; the guests' words wait in
//! the world until somebody takes them.

use protocol::{Observation, Reading};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use sim::World;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use uuid::Uuid;

/// Bytes that wait for a reader; what a guest prints beyond them is lost, as with xenconsoled.
const WAITING: usize = 1024 * 1024;

/// All terminals of a machine.
#[derive(Debug, Default)]
pub(super) struct Terminals {
    /// Which boot of the host they are of: it numbers its domains afresh.
    boot: Uuid,
    by_domid: BTreeMap<u32, Terminal>,
}

#[derive(Debug)]
struct Terminal {
    /// What xenstore says, also when nobody is behind it any more.
    path: String,
    /// Gone when xenconsoled died.
    pair: Option<Pair>,
}

#[derive(Debug)]
struct Pair {
    master: OwnedFd,
    /// Held open, as xenconsoled does: otherwise the last reader's end would end the terminal.
    _slave: OwnedFd,
    waiting: Vec<u8>,
}

impl Terminals {
    /// Gives consoles to the domains that should have one, takes them from the others, and carries what is printed and typed.
    pub(super) fn serve(&mut self, world: &mut World) {
        if self.boot != world.boot_id() {
            self.by_domid.clear();
            self.boot = world.boot_id();
        }
        let wanted = world.consoles();
        self.by_domid.retain(|domid, _| wanted.contains(domid));
        if !world.has_xenconsoled() {
            self.by_domid.values_mut().for_each(|terminal| terminal.pair = None);
            return;
        }
        for domid in wanted {
            if self.by_domid.get(&domid).is_none_or(|terminal| terminal.pair.is_none()) {
                match terminal() {
                    Ok(terminal) => drop(self.by_domid.insert(domid, terminal)),
                    Err(errno) => {
                        tracing::error!(%errno, domid, "a simulated guest has no console: no terminal can be made");
                        continue;
                    }
                }
            }
            if let Some(pair) = self.by_domid.get_mut(&domid).and_then(|terminal| terminal.pair.as_mut()) {
                carry(pair, domid, world);
            }
        }
    }

    /// Writes into an observation where the consoles of our domains are.
    pub(super) fn tell(&self, observation: &mut Observation) {
        let Reading::Known(domains) = &mut observation.domains else { return };
        for domain in domains.iter_mut().filter(|domain| domain.mark.is_some()) {
            domain.console = self.by_domid.get(&domain.domid).map(|terminal| terminal.path.clone());
        }
    }
}

/// A raw terminal: the guest echoes what is typed, nobody else.
fn terminal() -> rustix::io::Result<Terminal> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    fcntl_setfl(&master, OFlags::NONBLOCK)?;
    let path = ptsname(&master, Vec::new())?.into_string().map_err(|_| Errno::ILSEQ)?;
    let slave = open(path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok(Terminal { path, pair: Some(Pair { master, _slave: slave, waiting: Vec::new() }) })
}

fn carry(pair: &mut Pair, domid: u32, world: &mut World) {
    let mut typed = [0; 4096];
    while world.takes_typing(domid) {
        match rustix::io::read(&pair.master, &mut typed) {
            Ok(count) if count > 0 => world.type_in(domid, &String::from_utf8_lossy(&typed[..count])),
            _ => break,
        }
    }
    pair.waiting.extend(world.take_printed(domid).into_bytes());
    while let Ok(count) = rustix::io::write(&pair.master, &pair.waiting) {
        pair.waiting.drain(..count);
        if pair.waiting.is_empty() {
            break;
        }
    }
    pair.waiting.truncate(WAITING);
}
