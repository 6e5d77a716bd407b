//! Small values of the manifests, each impossible to hold wrong, with its JSON Schema.

use crate::units::{Mac, Name, Size, Span, YAML_WORDS};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounded<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(MIN))
    }
}

impl<const MIN: u32, const MAX: u32> Visitor<'_> for Bounded<MIN, MAX> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self, E> {
        let number = u32::try_from(value).ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Bounded<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Integer{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// A text type: its name, what keeps a text from being one, and its pattern for editors.
macro_rules! text {
    ($(#[$doc:meta])* $kind:ident, $check:expr, $title:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $kind(pub(crate) String);

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map_err(de::Error::custom)?;
                Ok(Self(text))
            }
        }

        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "title": $title, "pattern": $pattern})
            }
        }
    };
}

text!(
    /// An absolute path in dom0 that has one spelling only.
    HostPath,
    host_path,
    "absolute path",
    "^/[^/]+(/[^/]+)*$"
);

text!(
    /// A disk as the guest sees it: `xvd`, letters, and perhaps the number of a partition; or an emulated one, `hda` to `hdd`.
    DiskTarget,
    disk_target,
    "disk target",
    "^(xvd[a-z]{1,2}([1-9]|1[0-5])?|hd[a-d])$"
);

text!(
    /// A network device of Linux: at most 15 characters (IFNAMSIZ, linux/if.h).
    BridgeName,
    bridge_name,
    "bridge",
    "^[^ /:\\t]{1,15}$"
);

text!(
    /// A kernel's command line: one line.
    CommandLine,
    command_line,
    "text",
    "^[^\\n\\r]*$"
);

/// Why a text is no absolute path in dom0 with one spelling only.
pub fn host_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("a path is absolute: it starts with `/`".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("a path has no control characters".to_owned());
    }
    if text.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(
            "a path is written without `//`, `.`, `..` and a last `/`, so that each file has one spelling".to_owned()
        );
    }
    Ok(())
}

/// Whether a target is on the IDE bus that QEMU emulates for HVM guests: two drives on each of two channels.
pub(crate) fn is_emulated(target: &str) -> bool {
    matches!(target, "hda" | "hdb" | "hdc" | "hdd")
}

/// Why a text is no disk as the guest sees it.
pub fn disk_target(text: &str) -> Result<(), String> {
    if is_emulated(text) {
        return Ok(());
    }
    let form = || {
        "a disk's target is `xvda` to `xvdz`, `xvdaa` and so on, a partition such as `xvda1` (to 15), or for `hvm` also `hda` to `hdd`"
            .to_owned()
    };
    let (disk, partition) = split_target(text).ok_or_else(form)?;
    let letters = &disk[3..];
    let number: Option<u8> = if partition.is_empty() { None } else { Some(partition.parse().map_err(|_| form())?) };
    let is_good = (1..=2).contains(&letters.len()) && letters.bytes().all(|letter| letter.is_ascii_lowercase());
    if is_good && !partition.starts_with('0') && number.is_none_or(|number| number <= 15) {
        Ok(())
    } else {
        Err(form())
    }
}

/// `xvda1` is disk `xvda`, partition `1`.
pub(crate) fn split_target(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|character: char| character.is_ascii_digit()).unwrap_or(text.len());
    let (disk, partition) = text.split_at(digits);
    disk.starts_with("xvd").then_some((disk, partition))
}

/// Why a text is no network device of Linux.
pub fn bridge_name(text: &str) -> Result<(), String> {
    let is_bad =
        |character: char| character.is_whitespace() || character.is_control() || matches!(character, '/' | ':');
    if text.is_empty() || text.len() > 15 || text.contains(is_bad) || text == "." || text == ".." {
        return Err("a bridge is a network device in dom0: 1 to 15 characters without spaces, `/` and `:`".to_owned());
    }
    Ok(())
}

/// Why a text is no command line of a kernel.
pub fn command_line(text: &str) -> Result<(), String> {
    if text.contains(['\n', '\r', '\0']) { Err("a command line is one line".to_owned()) } else { Ok(()) }
}

/// The unit types of [`crate::units`] as editors see them.
macro_rules! unit_schema {
    ($($kind:ty, $name:literal, $schema:expr;)*) => {$(
        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

unit_schema! {
    Name, "Name", json_schema!({"type": "string", "title": "name", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", "not": {"enum": YAML_WORDS}});
    Size, "Size", json_schema!({"type": "string", "title": "size", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti)$"});
    Span, "Span", json_schema!({"type": "string", "title": "duration", "pattern": "^[0-9]+[smhd]$"});
    Mac, "Mac", json_schema!({"type": "string", "title": "MAC", "pattern": "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$"});
}
