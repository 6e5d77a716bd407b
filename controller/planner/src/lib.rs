//! What should be, and what is, make a plan. Pure: no I/O, no clock, no randomness.
//!
//! Entry point: [`plan`]. Same input, same plan, byte for byte. Deliberately absent: any memory between two calls; what must outlive a pass is in
//! [`record::Records`], which is part of the observation.

pub mod config;
pub mod observed;
mod plan;
pub mod record;

pub use observed::Observed;
pub use plan::*;
