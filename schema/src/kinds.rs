//! The kinds of the language as they are written. One file each: its fields with their meaning, unit, range, default and effect.
//!
//! The doc comments of these types are the language's documentation: JSON Schemas, `pinfold explain` and the reference are made from them.
//! Each ends by saying what changing the field does to a running VM.

pub(crate) mod core_partition;
pub(crate) mod host;
pub(crate) mod hvm;
pub(crate) mod mode;
pub(crate) mod network;
pub(crate) mod pool;
pub(crate) mod scalars;
pub(crate) mod shorthand;
pub(crate) mod virtual_machine;

use crate::decode::Spanned;
use crate::effect::Effect;
use crate::units::{Core, Name};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The only version of the language.
pub const API_VERSION: &str = "pinfold.dev/v1alpha1";

/// A manifest as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "a mapping with `apiVersion`, `kind`, `metadata` and `spec`"
)]
pub(crate) struct Form<S> {
    /// The version of the language: `pinfold.dev/v1alpha1`.
    #[serde(rename = "apiVersion")]
    #[expect(dead_code, reason = "the dispatch on it has happened; it is here to be a known field")]
    api_version: String,
    /// The kind of the object.
    #[expect(dead_code, reason = "the dispatch on it has happened; it is here to be a known field")]
    kind: String,
    /// What names the object.
    pub(crate) metadata: Metadata,
    /// What the object is.
    pub(crate) spec: S,
}

/// What names an object.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a mapping with `name`")]
pub(crate) struct Metadata {
    /// The name, unique among the objects of its kind in the pool: a DNS-1123 label of at most 63 characters that starts with a letter and is no YAML word
    /// such as `on` or `no`.
    ///
    /// Changing it: the old one counts as removed, unless the new one lists the old name in `spec.formerly`.
    #[schemars(extend("x-pinfold-effect" = Effect::Recreate))]
    pub(crate) name: Spanned<Name>,
    /// Words for people and selectors, as `key: "value"`. Default: none.
    #[schemars(extend("x-pinfold-effect" = Effect::Live))]
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// A physical core, named by where it sits. pCPU numbers change with SMT and firmware settings; these do not.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", expecting = "a core, such as `{socket: 0, core: 2}`")]
pub(crate) struct CoreForm {
    /// The socket, from 0, as `xenpm get-cpu-topology` shows it.
    pub(crate) socket: scalars::Bounded<0, 4095>,
    /// The core within its socket, from 0, as `xenpm get-cpu-topology` shows it. All its threads belong to it.
    pub(crate) core: scalars::Bounded<0, 4095>,
}

impl From<CoreForm> for Core {
    fn from(form: CoreForm) -> Self {
        Self { socket: form.socket.0, core: form.core.0 }
    }
}

/// A manifest that was read, and the file it stands in.
#[derive(Debug)]
pub(crate) struct Manifest<S> {
    /// Index of its text.
    pub(crate) text: usize,
    pub(crate) name: Spanned<Name>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) spec: S,
    /// Nothing was wrong with it by itself. What it lacks otherwise may be what was faulty, so its absence is no second finding.
    pub(crate) is_whole: bool,
}
