//! A Xen host in memory, which behaves like Xen and not like a friend. Pure: no I/O, no clock; time is an argument.
//!
//! ```text
//! HostFile ──► World ──► observe()          what a worker reads
//!                │  ▲
//!                │  ├── Calls               one operation (operation::run), with faults; a look at the world after every call
//!                │  ├── apply(Event)        other hands, guests, faults, reboots
//!                │  └── advance(to_ms)      time: guests boot, end, balloon; zombies go
//!                └──► laws                  what must hold at every moment
//! ```
//!
//! What it does is what xen/common/sched and tools/libs/light of Xen 4.17 do; the source is named where the behaviour is.
//! Deliberately absent: soft affinity, NUMA placement, schedulers beside credit2's two parameters, device models, migration.

mod build;
mod calls;
mod console;
mod cpupool;
mod description;
mod devices;
mod domain;
mod event;
mod fault;
mod guest;
mod hvm;
mod image;
pub mod laws;
mod memory;
mod observe;
mod steps;
mod traffic;
mod world;

pub use calls::Calls;
pub use console::Console;
pub use description::*;
pub use event::Event;
pub use fault::{CallName, FailedCall, Fault, Meanwhile, Point};
pub use image::{Image, Memory};
pub use traffic::{DiskTraffic, NicTraffic, Traffic};
pub use world::{DEFAULT_WEIGHT, Domain, Pool, Running, Store, Vcpu, World};
