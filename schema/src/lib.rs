//! The language of pinfold: kinds, units, diagnostics, YAML reading, resolving, generated JSON Schemas.
//!
//! Pure: text in, [`desired::Desired`] or findings out. No I/O, no clock.

pub mod desired;
pub mod units;
