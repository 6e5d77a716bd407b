//! `kind: Host`.

use super::CoreForm;
use super::mode::Mode;
use crate::decode::Spanned;
use crate::effect::Effect;
use crate::units::Name;
use schemars::JsonSchema;
use serde::Deserialize;

/// A Xen host. Its name is the one in the daemon's own configuration there (`host:`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `pool` and `dom0`")]
pub(crate) struct HostSpec {
    /// The server pool that the host belongs to.
    ///
    /// Changing it: there is only one pool.
    #[schemars(extend("x-pinfold-effect" = Effect::Refused))]
    pub(crate) pool: Spanned<Name>,
    /// What pinfold may do on this host: `enforce`, all that the commit asks for; `plan`, nothing of it before `pinfold approve`, item by item, while
    /// guests come back as they were last recorded and drift waits too; `observe`, nothing at all: it shows what differs and what it would do. When
    /// the host goes down its guests are stopped gracefully in each of them. Default: `enforce`.
    ///
    /// Changing it: it counts from the next pass on.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) mode: Option<Mode>,
    /// What dom0 keeps.
    pub(crate) dom0: Dom0,
}

/// What dom0 keeps.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `cores`")]
pub(crate) struct Dom0 {
    /// Cores that no partition may use. They stay in Pool-0, which dom0 shares with the VMs that have no partition; dom0 itself is not pinned.
    /// Socket 0, core 0 is always one of them, because Xen keeps pCPU 0 in Pool-0.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[schemars(length(min = 1))]
    pub(crate) cores: Spanned<Vec<Spanned<CoreForm>>>,
}
