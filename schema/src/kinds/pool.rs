//! `kind: Pool`.

use crate::desired;
use crate::effect::Effect;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;

/// A server pool: hosts that share work and rules. A configuration has exactly one. It is no cpupool.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `id`")]
pub(crate) struct PoolSpec {
    /// The identity of everything in the pool, written once by `pinfold init`: a UUID. It is the same on every host and in every clone of the repository.
    ///
    /// Changing it: every VM would become another VM.
    #[schemars(extend("x-pinfold-effect" = Effect::Refused))]
    pub(crate) id: PoolId,
    /// What may happen without a person.
    #[serde(default)]
    pub(crate) changes: Changes,
}

/// What may happen without a person.
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `maxDeletions` and `restarts`")]
pub(crate) struct Changes {
    /// How many VMs and partitions one commit may remove: a number, or a share such as `"10%"` of those that there are (rounded down, at least 1).
    /// A commit that removes more is accepted, and all its removals wait for `pinfold approve`. Default: `"5%"`.
    ///
    /// Changing it: it counts from the next commit on.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) max_deletions: Option<MaxDeletions>,
    /// What a change that needs a restart of the guest does: `at-next-start` waits for the next start of the VM, whoever starts it;
    /// `hold` waits for `pinfold approve`; `allow` lets pinfold restart the guest, and take a disk from it that it can write to, without asking a
    /// person whether it is unmounted. Default: `at-next-start`.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) restarts: Option<Restarts>,
}

/// What a change that needs a restart of the guest does.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restarts {
    /// It waits for the next start of the VM, whoever starts it.
    AtNextStart,
    /// It waits for a person.
    Hold,
    /// pinfold restarts the guest.
    Allow,
}

/// A UUID that is not nil.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolId(pub(crate) Uuid);

impl<'de> Deserialize<'de> for PoolId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        read_uuid(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a UUID in its hyphenated form.
pub(crate) fn read_uuid(text: &str) -> Result<Uuid, &'static str> {
    match Uuid::try_parse(text) {
        Ok(id) if id.is_nil() => Err("this UUID is nil; take a random one, such as `uuidgen` prints"),
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err("a UUID has the form `1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11`, such as `uuidgen` prints"),
    }
}

impl JsonSchema for PoolId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Uuid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "title": "UUID", "format": "uuid"})
    }
}

/// A number of objects, or a share in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxDeletions(pub(crate) desired::MaxDeletions);

impl<'de> Deserialize<'de> for MaxDeletions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaxDeletionsVisitor)
    }
}

struct MaxDeletionsVisitor;

impl Visitor<'_> for MaxDeletionsVisitor {
    type Value = MaxDeletions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1000000, or a share from \"1%\" to \"100%\"")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<MaxDeletions, E> {
        let count = u32::try_from(value).ok().filter(|count| *count <= 1_000_000);
        let count = count.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))?;
        Ok(MaxDeletions(desired::MaxDeletions::Count(count)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxDeletions, E> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let percent = digits.and_then(|digits| digits.parse().ok()).filter(|percent| (1..=100).contains(percent));
        let percent = percent.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(MaxDeletions(desired::MaxDeletions::Percent(percent)))
    }
}

impl JsonSchema for MaxDeletions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxDeletions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 1_000_000},
            {"type": "string", "title": "percentage", "pattern": "^([1-9][0-9]?|100)%$"},
        ]})
    }
}

impl From<Restarts> for desired::Restarts {
    fn from(restarts: Restarts) -> Self {
        match restarts {
            Restarts::AtNextStart => Self::AtNextStart,
            Restarts::Hold => Self::Hold,
            Restarts::Allow => Self::Allow,
        }
    }
}
