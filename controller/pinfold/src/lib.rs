//! pinfold: the daemon and the command line.
//!
//! A library with a thin `main`, so that tests reach every part without starting a process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod console;
pub mod daemon;
pub mod exit;
#[cfg(test)]
mod fixture;
pub mod folder;
mod front;
pub mod guests;
pub mod host_facts;
pub mod metrics;
pub mod preview;
pub mod reconcile;
pub mod report;
pub mod sim_control;
pub mod source;
pub mod ui;
