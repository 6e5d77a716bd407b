//! Reads YAML text into [`Node`]s. The only module that knows the YAML library.
//!
//! The library's own typed reading stops at the first error and hides how a scalar was written. We want every finding of a document, and quotes
//! around MACs, so it only builds the tree; [`crate::decode`] reads types from it. Every limit is named here: no input makes this slow or deep.

use crate::finding::Bytes;
use crate::node::{Entry, Node, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error, Location, Options, Spanned};
use std::fmt;

/// Nested lists and mappings. The language itself needs seven.
const MAX_DEPTH: usize = 24;
/// Documents in one file.
const MAX_DOCUMENTS: usize = 10_000;
/// Aliases (`*name`) in one file.
const MAX_ALIASES: usize = 1_000;
/// Values that aliases may add to one file.
const MAX_ALIASED_EVENTS: usize = 20_000;

/// Why a text is no YAML that we read.
#[derive(Debug, PartialEq)]
pub(crate) struct YamlError {
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
    pub(crate) bytes: Option<Bytes>,
}

/// The documents of one file; empty ones are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let documents: Vec<Spanned<Raw>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(&error, text))?;
    Ok(documents.into_iter().map(|document| node(document, text)).collect())
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_ALIASED_EVENTS,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_EVENTS,
            max_replay_stack_depth: 8,
        },
        emit_comments: false,
        // The tree keeps both entries, so that each duplicate is a finding of its own.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// Says the library's error in the words of an author of manifests.
fn explain(error: &Error, text: &str) -> YamlError {
    let error = error.without_snippet();
    let bytes = error.location().and_then(|at| bytes_of(at, text).or_else(|| point(text, at.line(), at.column())));
    let (message, help) = match cause(error) {
        Error::MergeKeyNotAllowed { .. } => (
            "merge keys (`<<`) are not read".to_owned(),
            Some("write the fields out; merge keys are no part of YAML 1.2"),
        ),
        Error::UnsupportedTag { .. } => (sentence(error), Some("manifests need no tags; remove it")),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            (format!("this file has more than {MAX_DOCUMENTS} documents"), Some("split it into several files"))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            "the aliases (`*name`) of this file grow it beyond measure".to_owned(),
            Some("write the values out, or use fewer aliases"),
        ),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("this alias stands within the value that it repeats".to_owned(), Some("write the value out"))
        }
        Error::UnknownAnchor { .. } => {
            ("this alias has no anchor".to_owned(), Some("a text that starts with `*` needs quotes"))
        }
        Error::NonFiniteFloat { value, .. } => (format!("`{value}` is no number that any field takes"), None),
        _ => syntax(&sentence(error)),
    };
    YamlError { message, help, bytes }
}

fn too_deep() -> (String, Option<&'static str>) {
    (
        format!("lists and mappings are nested more than {MAX_DEPTH} deep"),
        Some("no manifest needs that; look for a bracket too many"),
    )
}

/// What went wrong where an alias was repeated.
fn cause(mut error: &Error) -> &Error {
    while let Error::AliasError { error: cause, .. } = error {
        error = cause.without_snippet();
    }
    error
}

/// The parser's errors have only a text.
fn syntax(text: &str) -> (String, Option<&'static str>) {
    if text.starts_with("tabs disallowed") || text.ends_with("found a tab") {
        return ("a tab cannot indent YAML".to_owned(), Some("indent with spaces"));
    }
    if text.starts_with("recursion limit") {
        return too_deep();
    }
    let help = if text.starts_with("mapping values are not allowed") {
        Some("check the indentation; a text that holds `: ` needs quotes")
    } else if text.starts_with("unexpected character") {
        Some("a text that starts with this character needs quotes")
    } else if text.starts_with("alias references unknown anchor") {
        return ("this alias has no anchor".to_owned(), Some("a text that starts with `*` needs quotes"));
    } else {
        None
    };
    (format!("this is no YAML: {text}"), help)
}

/// The library's message without its own place, which we show ourselves.
fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let text = text.split(" at line ").next().unwrap_or(text);
    text.replace('\'', "`").trim_end_matches('.').to_owned()
}

/// The character at a line and column, both from 1.
fn point(text: &str, line: u64, column: u64) -> Option<Bytes> {
    let before = usize::try_from(line.checked_sub(1)?).ok()?;
    let skipped = usize::try_from(column.saturating_sub(1)).ok()?;
    let mut start = 0;
    for _ in 0..before {
        start += text[start..].find('\n')? + 1;
    }
    let rest = text[start..].split(['\r', '\n']).next().unwrap_or_default();
    let start = start + rest.char_indices().nth(skipped).map_or(rest.len(), |(offset, _)| offset);
    let end = start + rest.char_indices().nth(skipped).map_or(0, |(_, character)| character.len_utf8());
    Some(Bytes { start, end })
}

/// A value as the library gives it; its place is in the [`Spanned`] around it.
enum Raw {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let mut bytes = bytes_of(raw.referenced, text).unwrap_or_default();
    if matches!(raw.value, Raw::List(_) | Raw::Mapping(_)) {
        bytes.end = bytes.start + text[bytes.start..].chars().next().map_or(0, char::len_utf8);
    }
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Integer(value) => Value::Integer(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(value) => Value::Text { text: value, plain: is_plain(text, bytes) },
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Mapping(entries) => {
            Value::Mapping(entries.into_iter().map(|(key, value)| entry(key, value, text)).collect())
        }
    };
    Node { bytes, value }
}

fn entry(key: Spanned<Raw>, value: Spanned<Raw>, text: &str) -> Entry {
    let key = node(key, text);
    let key_bytes = key.bytes;
    let key = match key.value {
        Value::Text { text, .. } => text,
        _ => text.get(key_bytes.start..key_bytes.end).unwrap_or_default().trim().to_owned(),
    };
    Entry { key, key_bytes, value: node(value, text) }
}

/// Whether the scalar there has neither quotes nor the mark of a block.
fn is_plain(text: &str, bytes: Bytes) -> bool {
    !matches!(text.as_bytes().get(bytes.start), Some(b'"' | b'\'' | b'|' | b'>' | b'!' | b'&' | b'*'))
}

/// The library's place as bytes of the text, without trailing line ends; always within the text and on character boundaries.
fn bytes_of(location: Location, text: &str) -> Option<Bytes> {
    let span = location.span();
    let (start, len) = (span.byte_offset()?, span.byte_len()?);
    let start = usize::try_from(start).ok()?.min(text.len());
    let end = start.saturating_add(usize::try_from(len).ok()?).min(text.len());
    let found = text.get(start..end)?;
    Some(Bytes { start, end: start + found.trim_end().len() })
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = mapping.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_quotes() {
        let text = "a: 1\nb: \"x\"\nc: [y, null, {d: 00:16:3e:00:00:01}]\n? e\n: |\n  block\nh: é # x\ni: 'a\n  b'\nj:\n  - k: l\n---\nf: !!str 1\n";
        insta::assert_snapshot!(show(text), @r#"
        a=1@`1` b="x"@`"x"` c=["y"(plain)@`y` null@`null` {d="00:16:3e:00:00:01"(plain)@`00:16:3e:00:00:01`}] e="block\n"(plain)@`block` h="é"(plain)@`é` i="a b"@`'a
          b'` j=[{k="l"(plain)@`l`}]
        f="1"(plain)@`1`
        "#);
    }

    #[test]
    fn aliases() {
        insta::assert_snapshot!(show("a: &x {b: [c]}\nd: *x\n"), @r#"a={b=["c"(plain)@`c`]} d={b=["c"@`*x`]"#);
    }

    #[test]
    fn limits() {
        insta::assert_snapshot!(show(&"- ".repeat(500)), @"lists and mappings are nested more than 24 deep");
        insta::assert_snapshot!(show(&"[".repeat(500)), @"lists and mappings are nested more than 24 deep");
        let bomb: Vec<_> = (1..40).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
        insta::assert_snapshot!(show(&format!("a0: &a0 [x, x]\n{}", bomb.concat())), @"the aliases (`*name`) of this file grow it beyond measure");
    }

    fn show(text: &str) -> String {
        match parse(text) {
            Ok(documents) => documents
                .iter()
                .map(|document| show_node(document, text).trim_matches(['{', '}']).to_owned())
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.message,
        }
    }

    fn show_node(node: &Node, text: &str) -> String {
        let at = &text[node.bytes.start..node.bytes.end];
        let all = |parts: Vec<String>| parts.join(" ");
        match &node.value {
            Value::List(items) => format!("[{}]", all(items.iter().map(|item| show_node(item, text)).collect())),
            Value::Mapping(entries) => {
                format!(
                    "{{{}}}",
                    all(entries
                        .iter()
                        .map(|entry| format!("{}={}", entry.key, show_node(&entry.value, text)))
                        .collect())
                )
            }
            Value::Text { text, plain } => format!("{text:?}{}@`{at}`", if *plain { "(plain)" } else { "" }),
            Value::Null | Value::Taken => format!("null@`{at}`"),
            Value::Bool(value) => format!("{value}@`{at}`"),
            Value::Integer(value) => format!("{value}@`{at}`"),
            Value::Float(value) => format!("{value}@`{at}`"),
        }
    }
}
