//! What is wrong (or odd) in a configuration, as plain data. [`crate::render`] turns it into text for people and for CI systems.

use crate::text::Text;
use crate::units::Name;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// One thing to tell the author of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// A stable word for this sort of finding, such as `unknown-field`.
    pub code: &'static str,
    /// Whether it stops the commit.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where, if it stands in a file.
    pub location: Option<Location>,
    /// A few words beside the place: what was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do next, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<String>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// Whether a finding stops the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The commit is refused.
    Error,
    /// The commit is accepted.
    Warning,
}

/// Another place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// What stands there.
    pub message: String,
    /// Where.
    pub location: Location,
}

/// A range of text in one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// The file, relative to the root of the configuration.
    pub file: String,
    /// First line, from 1.
    pub line: u32,
    /// First column, from 1, in characters.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// The column after the last character.
    pub end_column: u32,
    /// The same range in bytes, counted after a byte order mark.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// A range of bytes. It orders, which [`Range`] does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl From<Bytes> for Range<usize> {
    fn from(bytes: Bytes) -> Self {
        bytes.start..bytes.end
    }
}

impl Location {
    /// A range of bytes of a text, as people count. The bytes count after a byte order mark.
    pub fn within(file: &str, text: &str, bytes: Range<usize>) -> Self {
        Text::new(file, text).location(Bytes { start: bytes.start, end: bytes.end })
    }

    /// A whole file, when no place in it can be named.
    pub fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, end_line: 1, end_column: 1, bytes: Bytes::default() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Finding {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity: Severity::Error,
            message,
            location: None,
            label: None,
            help: Vec::new(),
            related: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// A few words beside the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn related(mut self, message: impl Into<String>, location: Location) -> Self {
        self.related.push(Related { message: message.into(), location });
        self
    }

    /// The order in which findings are shown: by file and place; those without a place first.
    pub(crate) fn order(&self) -> impl Ord + '_ {
        (self.location.as_ref().map(|at| (&at.file, at.bytes, at.line)), self.severity, self.code, &self.message)
    }
}

/// The kinds of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// A server pool.
    Pool,
    /// A Xen host.
    Host,
    /// A bridge that NICs attach to.
    Network,
    /// A hard partition of physical cores.
    CorePartition,
    /// A virtual machine.
    VirtualMachine,
}

impl Kind {
    /// Every kind, in the order in which people meet them.
    pub const ALL: [Self; 5] = [Self::Pool, Self::Host, Self::Network, Self::CorePartition, Self::VirtualMachine];

    /// The word in `kind:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "Pool",
            Self::Host => "Host",
            Self::Network => "Network",
            Self::CorePartition => "CorePartition",
            Self::VirtualMachine => "VirtualMachine",
        }
    }

    /// The short name on the command line.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Host => "host",
            Self::Network => "net",
            Self::CorePartition => "cp",
            Self::VirtualMachine => "vm",
        }
    }

    /// What people call it in a sentence.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Host => "host",
            Self::Network => "network",
            Self::CorePartition => "partition",
            Self::VirtualMachine => "VM",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where each object of a configuration stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    objects: BTreeMap<(Kind, Name), BTreeMap<&'static str, Location>>,
}

impl Sources {
    /// The place of an object's `metadata.name`.
    pub fn get(&self, kind: Kind, name: &Name) -> Option<&Location> {
        self.field(kind, name, "metadata.name")
    }

    /// The place of one field's value: `metadata.name`, `spec.host`, or one of the others that rules about change and hosts point at.
    pub fn field(&self, kind: Kind, name: &Name, field: &str) -> Option<&Location> {
        self.objects.get(&(kind, name.clone()))?.get(field)
    }

    /// Every object with the place of its name.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Name, &Location)> {
        self.objects.iter().filter_map(|((kind, name), fields)| Some((*kind, name, fields.get("metadata.name")?)))
    }

    pub(crate) fn insert(&mut self, kind: Kind, name: &Name, field: &'static str, location: Location) {
        self.objects.entry((kind, name.clone())).or_default().insert(field, location);
    }
}
