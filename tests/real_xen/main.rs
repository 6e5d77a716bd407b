//! `pinfold-xen` on real Xen: what it sees, does, refuses and leaves behind when it is killed.
//!
//! A boot of the lab is most of a test's time, so each test is one boot and one story.

#![allow(clippy::unwrap_used)]

mod failures;
mod host;
mod hvm;
mod kills;
mod life;
mod memory;
mod suspend;
mod uefi;
