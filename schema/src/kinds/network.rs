//! `kind: Network`.

use super::scalars::BridgeName;
use crate::effect::Effect;
use schemars::JsonSchema;
use serde::Deserialize;

/// A bridge that NICs attach to. The same name means the same network on every host of the pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `bridge`")]
pub(crate) struct NetworkSpec {
    /// The bridge device in dom0 of every host that uses the network, such as `xenbr0`. pinfold does not create it.
    ///
    /// Changing it: for each VM that has a NIC on it.
    #[schemars(extend("x-pinfold-effect" = Effect::Restart))]
    pub(crate) bridge: BridgeName,
}
