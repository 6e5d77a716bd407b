//! What is said beside the guest's own words.

use jiff::Timestamp;
use protocol::ShutdownReason;
use serde::{Deserialize, Serialize};

/// Something that happened to the console. One JSON line each with `-o json`; fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// From here on come the guest's words.
    Attached {
        /// When.
        at: Timestamp,
        /// The domain.
        domid: u32,
    },
    /// There is no domain now, and one is expected without anybody's doing.
    Waiting {
        /// When.
        at: Timestamp,
        /// What for.
        why: String,
    },
    /// There is no domain, and nothing will start one.
    Off {
        /// When.
        at: Timestamp,
        /// Why, and what would start it.
        why: String,
    },
    /// The domain ended.
    Ended {
        /// When it was seen.
        at: Timestamp,
        /// The domain.
        domid: u32,
        /// How.
        how: End,
        /// What is known about it, in a sentence; may be empty.
        why: String,
    },
    /// The domain runs on, but nobody is behind its terminal any more.
    Lost {
        /// When.
        at: Timestamp,
        /// The domain.
        domid: u32,
        /// Why, and what to do.
        why: String,
    },
    /// Somebody took this console over. Nothing comes after this.
    Taken {
        /// When.
        at: Timestamp,
        /// Who.
        by: String,
    },
    /// The VM is no longer in the configuration, and has no domain. Nothing comes after this.
    Gone {
        /// When.
        at: Timestamp,
    },
}

/// How a domain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its guest switched it off, by itself or because it was asked.
    Poweroff,
    /// Its guest wants to be started again.
    Reboot,
    /// Its guest suspended itself.
    Suspend,
    /// Its guest crashed.
    Crash,
    /// Its watchdog fired.
    Watchdog,
    /// Its guest wants a reset that keeps its memory.
    SoftReset,
    /// It was destroyed while its guest ran.
    Destroyed,
}

impl From<ShutdownReason> for End {
    fn from(reason: ShutdownReason) -> Self {
        match reason {
            ShutdownReason::Poweroff => Self::Poweroff,
            ShutdownReason::Reboot => Self::Reboot,
            ShutdownReason::Suspend => Self::Suspend,
            ShutdownReason::Crash => Self::Crash,
            ShutdownReason::Watchdog => Self::Watchdog,
            ShutdownReason::SoftReset => Self::SoftReset,
        }
    }
}

impl End {
    /// As a person reads it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Suspend => "suspend",
            Self::Crash => "crash",
            Self::Watchdog => "watchdog",
            Self::SoftReset => "soft reset",
            Self::Destroyed => "destroyed",
        }
    }
}

impl Event {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Gone { .. })
    }
}
