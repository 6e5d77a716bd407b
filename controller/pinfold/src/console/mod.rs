//! `pinfold console`: a guest's text console over the daemon's admin socket, from before its boot to its end, across its reboots.
//!
//! ```text
//!  terminal ◄─► attach (command) ◄── frames over an upgraded HTTP connection ──► session (daemon) ◄─► tty ◄─► xenconsoled or QEMU
//!                                                                                   ▲
//!                                                                     target: what the last pass says of the VM
//! ```
//!
//! A console is power over the guest, so only the socket for changing has it. Deliberately absent: a program between guest and person. The
//! daemon opens the pseudo-terminal that xenstore names, and only when nobody else has it open; it never runs `xl`, a shell, or anything.

pub mod attach;
mod event;
mod frame;
mod holders;
mod keys;
mod session;
mod target;
mod tty;

pub use event::{End, Event};
pub use frame::{Frame, FrameError, Frames, MAX_FRAME_BYTES};
pub use holders::{Hold, Holders, InUse};
pub use keys::{Escape, Keys};
pub use session::{Session, run};
pub use target::{Outlook, Place, Target, look};
pub use tty::{Tty, TtyError};

/// The protocol that the HTTP connection is upgraded to.
pub const PROTOCOL: &str = "pinfold-console/1";
