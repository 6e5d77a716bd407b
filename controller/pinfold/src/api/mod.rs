//! What the daemon tells and is told, over two Unix sockets, as versioned JSON.
//!
//! Reading and changing are two sockets rather than one with rules inside, because the kernel then checks the groups, supplementary ones included:
//! `SO_PEERCRED` shows a peer's primary group only. Whoever may change may also read.

mod access;
pub mod client;
mod console;
pub mod documents;
pub mod server;
pub mod stream;
pub mod usage;
pub mod view;
pub mod watch;

pub use access::{BindError, Sockets};
