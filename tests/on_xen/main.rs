//! The daemon on real Xen: what must hold when guests, disks, Xen, the network or pinfold itself fail.
//!
//! A boot is most of a test's time, so each test is one boot and everything that can be seen in it.

mod adoption;
mod console;
mod crashes;
mod disk;
mod dom0;
mod events;
mod faults;
#[path = "../scenarios/script.rs"]
mod format;
mod host_day;
mod killer;
mod kills;
mod losses;
mod manifests;
mod player;
mod restored;
mod scenarios;
#[path = "../scenarios/summary.rs"]
mod summary;
mod systemd;
mod waits;
