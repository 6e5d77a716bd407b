//! How a guest is asked to power off, and how that is said.

use protocol::{Domain, Request, Target};
use serde::{Deserialize, Serialize};

/// How a guest is asked to power off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedBy {
    /// By a request in xenstore, which its PV drivers see.
    #[default]
    Request,
    /// By its ACPI power button: an HVM guest without PV drivers hears nothing else.
    PowerButton,
}

impl AskedBy {
    /// How the guest of a domain can be asked now.
    pub(crate) fn of(domain: &Domain) -> Self {
        match &domain.hvm {
            Some(hvm) if !hvm.pv_drivers => Self::PowerButton,
            _ => Self::Request,
        }
    }

    /// What asks it.
    pub(crate) fn operation(self, target: Target) -> Request {
        match self {
            Self::Request => Request::ShutdownDomain { target },
            Self::PowerButton => Request::PressPowerButton { target },
        }
    }

    /// What a person should know of it, beside why it is asked.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Request => "",
            Self::PowerButton => "; it has no PV drivers, so its ACPI power button is pressed",
        }
    }

    /// What it is waited for.
    pub(crate) fn waits(self) -> &'static str {
        match self {
            Self::Request => "the guest powers off",
            Self::PowerButton => "the guest powers off, whose ACPI power button was pressed (it has no PV drivers)",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    pub(crate) fn is_request(&self) -> bool {
        *self == Self::Request
    }
}
