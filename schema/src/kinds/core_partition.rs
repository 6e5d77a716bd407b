//! `kind: CorePartition`.

use super::CoreForm;
use crate::decode::Spanned;
use crate::effect::Effect;
use crate::units::Name;
use schemars::JsonSchema;
use serde::Deserialize;

/// A hard partition: whole physical cores of one host, exclusive, named, and shared by the VMs that join it. On the host it is a cpupool of the same name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `host` and `cores`")]
pub(crate) struct CorePartitionSpec {
    /// The host whose cores these are.
    #[schemars(extend("x-pinfold-effect" = Effect::Refused))]
    pub(crate) host: Spanned<Name>,
    /// The cores, at least one. No core is in two partitions, and none of dom0's cores in any.
    ///
    /// Changing it: its VMs stay on cores of the partition, old or new, at every moment.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[schemars(length(min = 1))]
    pub(crate) cores: Spanned<Vec<Spanned<CoreForm>>>,
    /// Names it had before, oldest first: the partition is renamed instead of removed and made again. Default: none.
    ///
    /// Changing it: the cpupool is renamed.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) formerly: Vec<Spanned<Name>>,
}
