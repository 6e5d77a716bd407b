//! How `pinfold` ends: one table for all commands (design §6).

use std::process::ExitCode;

/// An exit code with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; or nothing to report.
    Ok = 0,
    /// `validate`, `check`: findings. `get`, `describe`, `why`: no such object. `plan`: it could not be made. `run --once`: stalled or unknown. `guests stop`: some are left.
    Negative = 1,
    /// `plan --detailed-exitcode`: there are changes, and none of them is held.
    Changes = 2,
    /// `plan --detailed-exitcode`: some changes are held. `run --once`: settled, with held items.
    Held = 3,
    /// The command line is wrong.
    Usage = 64,
    /// It could not run: a file cannot be read, the daemon cannot be reached.
    Unable = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
