//! `kind: Host`.

use super::CoreForm;
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
