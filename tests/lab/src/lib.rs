//! Real Xen in QEMU, as a test fixture: real hypervisor, real dom0, real libxl, real guests, no KVM.
//!
//! ```no_run
//! use std::time::Duration;
//! use lab::{Lab, Topology};
//!
//! # fn main() -> Result<(), lab::LabError> {
//! let mut lab = Lab::builder().topology(Topology::TenCores).boot()?;      // about 15 s on an idle machine
//! lab.copy_in("target/debug/pinfold", "/usr/local/bin/pinfold")?;
//! let version = lab.run("xl info xen_version")?;                          // must succeed; gives its stdout
//! let refused = lab.sh("xl destroy no-such-domain")?;                     // any outcome: code, stdout, stderr
//! assert!(!refused.success());
//!
//! lab.run("xl create /srv/guests/pv.cfg")?;
//! lab.wait_for_guest("pv1", 1, Duration::from_secs(600))?;                // its first boot; takes seconds
//! lab.type_in_guest("pv1", "reboot")?;                                    // the guest ends by itself
//!
//! lab.spawn("pinfold run", "/var/log/pinfold.log")?;                      // something that keeps running
//! lab.reboot()?;                                                          // of the host; its disk stays
//! lab.power_loss()?;                                                      // the same without any goodbye
//! # Ok(()) }                                                              // drop: QEMU and its files are gone
//! ```
//!
//! # What a lab is
//!
//! One QEMU under software emulation with a disk of its own: a qcow2 overlay over the image's root disk, so a host reboot
//! and a power loss keep what was written and every lab starts clean. Commands go over ssh on one kept connection (about
//! 0.1 s each), files through a shared folder (`/run/lab` in dom0). dom0 has two vCPUs, 900 MiB, Debian's Xen 4.17 tools
//! with oxenstored, no systemd (busybox init, `/usr/lib/lab/boot`) unless [`Builder::systemd`] asks for it, and no pinfold: copy it in.
//! The QEMU is the one that is installed, unless [`Builder::on_debian11`] asks for an older one.
//! `xenbr0` is a bridge inside the lab, 192.168.77.1/24. dom0 reaches nothing outside, except what
//! [`Builder::forward_to_host`] opens.
//!
//! # The image
//!
//! `cargo run -p pinfold-lab -- build` makes it once (about a minute; needs root and Debian 12), from `image/` in this
//! crate, in `$PINFOLD_LAB_CACHE`, else `$XDG_CACHE_HOME/pinfold/lab`, else `~/.cache/pinfold/lab`. [`Builder::boot`]
//! does it too if there is none yet. It is keyed by the recipe and by the versions of Debian's packages.
//!
//! # Guests
//!
//! In dom0, `/srv/guests` has `vmlinuz` and `initrd.gz` (Linux with busybox as PV or PVH; 96 MiB are enough), and `pv.cfg`
//! and `pvh.cfg` to try them with `xl create`; `/usr/lib/grub-xen` has Debian's tiny grub kernels. A guest prints
//! `pinfold-guest up` on its console once per boot ([`Lab::guest_boots`]), then idles with a root shell on that console:
//! whatever is typed there ([`Lab::type_in_guest`], or `guest-type DOMAIN LINE` in dom0) happens inside, so `reboot`,
//! `poweroff`, `crash` (a panic) and `watchdog-fires` end it from within. Its kernel command line sets its behaviour:
//!
//! | option | the guest |
//! |---|---|
//! | *(none)* | idles, obeys shutdown and reboot requests at once |
//! | `pf.ignore-shutdown` | acknowledges requests, then ignores them |
//! | `pf.shutdown-takes=20` | obeys after that many seconds |
//! | `pf.do=poweroff` `reboot` `crash` | does that by itself |
//! | `pf.after=10` | … this many seconds after it is up, instead of at once |
//! | `pf.once` | … only if its disk `xvda` was never booted with `pf.once` before (marks the disk's start) |
//! | `pf.ip=192.168.77.11/24` | configures `eth0` |
//!
//! `pc.img` is a disk for an HVM guest: a boot sector that says `pinfold-guest up` on the serial port every five seconds, obeys the power button,
//! and is powered off or reset by typing `poweroff` or `reboot` there. `pc-kernel` is the same guest as a Linux kernel that QEMU starts, and says
//! its command line too.
//!
//! # Invariants
//!
//! - Nothing outlives the process that booted a lab, however it ends, SIGKILL included: `guard.rs` says how.
//! - At most cores ÷ 2 labs run at once on a machine; further ones wait for their turn (`PINFOLD_LAB_LIMIT` changes it).
//! - An emulator that has frozen is killed and told, and the test begins again where [`steadily`] runs it.
//! - Deadlines count only time in which the lab had a processor, so a busy machine makes tests slow, not red.
//! - A lab that cannot be had is an error that says what to do, never a skipped test.
//! - The serial console of every lab is kept in `$PINFOLD_LAB_LOGS`, else in `lab-logs` in cargo's target folder.

mod channel;
mod command;
mod console;
mod emulator;
mod error;
mod freeze;
mod guard;
mod image;
mod machine;
mod patience;
mod running;
mod slot;

pub use command::Output;
pub use emulator::debian11;
pub use error::LabError;
pub use freeze::steadily;
pub use image::build;
pub use machine::{Builder, QUICK_LINUX, Topology};
pub use running::Lab;
