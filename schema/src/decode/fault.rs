//! What is wrong with one value, and where it stands.

use crate::finding::Bytes;
use crate::node::{Node, Step, Value};
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// One thing wrong with one value.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    /// From the value up to the root of the document.
    path: Vec<Segment>,
    pub(crate) bytes: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) enum Problem {
    UnknownField {
        field: String,
        known: &'static [&'static str],
    },
    UnknownValue {
        found: String,
        known: &'static [&'static str],
    },
    /// The first missing field, and the fields that are there.
    MissingField {
        field: &'static str,
        present: Vec<String>,
    },
    WrongType {
        expected: String,
        found: String,
    },
    Invalid(String),
}

#[derive(Debug)]
enum Segment {
    Key(Step, String),
    Item(Step),
}

impl Fault {
    fn new(problem: Problem) -> Self {
        Self { problem, path: Vec::new(), bytes: None }
    }

    /// Positions from the root to the value.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let step = |segment: &Segment| match segment {
            Segment::Key(step, _) | Segment::Item(step) => *step,
        };
        self.path.iter().rev().map(step).collect()
    }

    /// The value's place in words, such as `spec.disks[0].path`; empty for the document.
    pub(crate) fn place(&self) -> String {
        render(&self.path)
    }

    /// The place of the mapping that holds the value.
    pub(crate) fn parent(&self) -> String {
        render(self.path.get(1..).unwrap_or_default())
    }

    /// The fault is in this very value, unless a part of it has claimed it already.
    pub(super) fn in_value(mut self, node: &Node) -> Self {
        if self.bytes.is_none() && !matches!(self.problem, Problem::MissingField { .. }) {
            if let Problem::WrongType { found, .. } = &mut self.problem {
                *found = node.describe();
            }
            self.bytes = Some(node.bytes);
        }
        self
    }

    /// The fault is in the value of this key.
    pub(super) fn in_key(mut self, step: Step, key: &str, key_bytes: Bytes) -> Self {
        self.bytes.get_or_insert(key_bytes);
        self.path.push(Segment::Key(step, key.to_owned()));
        self
    }

    /// The fault is in this item of a list.
    pub(super) fn in_item(mut self, step: Step, item: &Node) -> Self {
        self.bytes.get_or_insert(first_key(item));
        self.path.push(Segment::Item(step));
        self
    }

    /// The fault is in this document.
    pub(super) fn in_document(mut self, node: &Node) -> Self {
        self.bytes.get_or_insert(first_key(node));
        self
    }
}

/// Where to point for something that a mapping lacks.
fn first_key(node: &Node) -> Bytes {
    match &node.value {
        Value::Mapping(entries) => entries.first().map_or(node.bytes, |entry| entry.key_bytes),
        _ => node.bytes,
    }
}

fn render(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path.iter().rev() {
        match segment {
            Segment::Key(_, key) if text.is_empty() => text.push_str(key),
            Segment::Key(_, key) => {
                text.push('.');
                text.push_str(key);
            }
            Segment::Item(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Invalid(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::WrongType { expected: expected.to_string(), found: unexpected.to_string() })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownValue { found: variant.to_owned(), known: expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownField { field: field.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::MissingField { field, present: Vec::new() })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.place(), self.problem)
    }
}

impl std::error::Error for Fault {}
