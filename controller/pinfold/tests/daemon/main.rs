//! The daemon as a black box: the real process on a simulated host, a real repository, the real sockets and the real command line.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod adoption;
mod console;
mod deletion;
#[path = "../common/entry.rs"]
mod entry;
mod first_start;
mod freeze;
mod git_fails;
mod host_shutdown;
#[path = "../common/https_server.rs"]
mod https_server;
mod life;
mod manifests;
mod offline;
mod overrides;
mod reconcile;
mod reload;
mod secrets;
mod sight;
mod site;
mod systemd;
