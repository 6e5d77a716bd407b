//! What should be, and what is, make a plan. Pure: no I/O, no clock, no randomness.
//!
//! Entry point: [`plan`]. Same input, same plan, byte for byte. Deliberately absent: any memory between two calls; what must outlive a pass is in
//! [`record::Records`], which is part of the observation.
//!
//! The way through: `world` indexes the observation, `subjects` and `partitions` say what is wanted of each VM and partition, `shape` finds the next step of every
//! cpupool, `vms` that of every VM; every step is a draft, and `claims` decides which of them go now. `classify` is the one place that knows what a changed field means.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod asked;
mod claim;
mod claims;
pub mod classify;
pub mod config;
mod consent;
mod cores;
mod cpupools;
mod create;
mod devices;
mod digest;
mod draft;
pub mod drift;
mod files;
pub mod freeze;
mod gate;
mod gates;
mod guest_ends;
mod host_shutdown;
mod intentions;
pub mod laws;
mod live;
pub mod memory;
pub mod mode;
pub mod observed;
pub mod overrides;
mod partitions;
mod patience;
mod pause;
mod place;
mod plan;
mod planning;
mod power;
pub mod record;
mod release;
pub mod render;
mod requests;
pub mod resolve;
mod restore;
mod shape;
mod status;
mod stop;
mod subjects;
mod suspend;
pub mod toolstacks;
pub mod trash;
mod unknown;
mod vms;
mod why;
mod world;

pub use digest::{derive_mac, item_id, manifest_digest};
pub use host_shutdown::{Remaining, remaining};
pub use observed::Observed;
pub use plan::*;
pub use planning::plan;
pub use why::why;
