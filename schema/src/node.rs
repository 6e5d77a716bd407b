//! A YAML document as a tree in which every value knows its place. It is the seam between the YAML library and the language.

use crate::finding::Bytes;

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// The bytes of a scalar; of a list or a mapping, its first character.
    pub(crate) bytes: Bytes,
    pub(crate) value: Value,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text {
        text: String,
        /// Written without quotes, and not as a block: another YAML reader may see something else than text.
        plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// It was faulty; the fault is reported, and readers pass over it. It stays so that its neighbours keep their positions.
    Taken,
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_bytes: Bytes,
    pub(crate) value: Node,
}

/// One step from a value to one that it holds, by position.
pub(crate) type Step = usize;

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The keys of a mapping.
    pub(crate) fn keys(&self) -> Vec<String> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().map(|entry| entry.key.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// The text of a plain or quoted scalar that is text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What the path leads to. The path comes from this very tree.
    pub(crate) fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, step| match &mut node.value {
            Value::List(items) => items.get_mut(*step),
            Value::Mapping(entries) => entries.get_mut(*step).map(|entry| &mut entry.value),
            _ => None,
        })
    }

    /// What the value is, in words: `a list`, `the number 5`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null | Value::Taken => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Integer(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text { text, .. } if text.chars().count() > 40 => "text".to_owned(),
            Value::Text { text, .. } => format!("the text {text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }
}
