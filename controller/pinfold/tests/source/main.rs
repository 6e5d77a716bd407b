//! The source, as a black box: real repositories, real transports on 127.0.0.1, the real `pinfold fetch`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/entry.rs"]
mod entry;
mod faults;
mod fixture;
mod https;
#[path = "../common/https_server.rs"]
mod https_server;
mod judge;
mod local;
mod ssh;
mod watch;
