//! What guests print on their consoles, and what is typed there. Terminals are effects: whoever runs the world live connects them.
//!
//! A guest greets with its first instruction, has a shell once it has booted, and says how it ends, as Linux does. The shell knows three
//! commands, as that of the lab's guests does: `poweroff`, `reboot` and `crash`.

use crate::world::World;
use protocol::{DomainKind, ShutdownReason};
use serde::{Deserialize, Serialize};

/// Bytes that are kept while nobody reads; the oldest go first.
const KEPT: usize = 64 * 1024;

/// The console of one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Printed and not yet taken.
    printed: String,
    /// The line that is being typed.
    typed: String,
}

impl World {
    /// Domains that have a text console: xenconsoled gives one to each PV and PVH domain that is introduced, QEMU one to each HVM domain of
    /// ours, whose serial port is its console.
    pub fn consoles(&self) -> Vec<u32> {
        let has = |domain: &crate::world::Domain| {
            !domain.is_dying()
                && domain.store.as_ref().is_some_and(|store| store.kind != DomainKind::Hvm || domain.ours)
        };
        self.domains().filter(|(_, domain)| has(domain)).map(|(domid, _)| domid).collect()
    }

    /// Whether xenconsoled runs.
    pub fn has_xenconsoled(&self) -> bool {
        self.xenconsoled
    }

    /// What a guest has printed since this was last asked.
    pub fn take_printed(&mut self, domid: u32) -> String {
        let domain = self.domains.get_mut(&domid);
        domain.map(|domain| std::mem::take(&mut domain.guest.console.printed)).unwrap_or_default()
    }

    /// Whether a guest would take what is typed: otherwise it stays in the terminal.
    pub fn takes_typing(&self, domid: u32) -> bool {
        self.domains.get(&domid).is_some_and(|domain| domain.guest.booted && domain.is_runnable())
    }

    /// Types on a guest's console.
    pub fn type_in(&mut self, domid: u32, text: &str) {
        for typed in text.chars() {
            if typed == '\r' || typed == '\n' {
                self.run_line(domid);
            } else if let Some(domain) = self.domains.get_mut(&domid).filter(|d| d.guest.console.typed.len() < KEPT) {
                domain.guest.console.typed.push(typed);
                self.print(domid, &typed.to_string());
            }
        }
    }

    fn run_line(&mut self, domid: u32) {
        let Some(domain) = self.domains.get_mut(&domid) else { return };
        let line = std::mem::take(&mut domain.guest.console.typed);
        self.print(domid, "\r\n");
        match line.trim() {
            "poweroff" => self.end_guest(domid, ShutdownReason::Poweroff),
            "reboot" => self.end_guest(domid, ShutdownReason::Reboot),
            "crash" => self.end_guest(domid, ShutdownReason::Crash),
            "" => self.print(domid, "# "),
            other => self.print(domid, &format!("sh: {other}: not found\r\n# ")),
        }
    }

    /// The first instruction ran.
    pub(crate) fn print_start(&mut self, domid: u32) {
        self.print(domid, "Linux version 6.1.0 (simulated)\r\n");
    }

    /// The shell is there.
    pub(crate) fn print_booted(&mut self, domid: u32) {
        self.print(domid, "pinfold-guest up\r\n# ");
    }

    /// The kernel's last words.
    pub(crate) fn print_end(&mut self, domid: u32, reason: ShutdownReason) {
        self.print(
            domid,
            match reason {
                ShutdownReason::Poweroff => "reboot: Power down\r\n",
                ShutdownReason::Reboot => "reboot: Restarting system\r\n",
                ShutdownReason::Crash => "Kernel panic - not syncing\r\n",
                ShutdownReason::Suspend | ShutdownReason::Watchdog | ShutdownReason::SoftReset => "",
            },
        );
    }

    fn print(&mut self, domid: u32, text: &str) {
        let Some(domain) = self.domains.get_mut(&domid) else { return };
        let printed = &mut domain.guest.console.printed;
        printed.push_str(text);
        if printed.len() > KEPT {
            let over = printed.len() - KEPT;
            let from = (over..printed.len()).find(|at| printed.is_char_boundary(*at)).unwrap_or(printed.len());
            printed.drain(..from);
        }
    }
}
