//! The fields of the language as its documentation shows them, read from the JSON Schemas.

use crate::effect::Effect;
use crate::finding::Kind;
use crate::json_schema;
use crate::suggest;
use serde::Deserialize;
use serde_json::Value;

/// What a description says about a change of its field comes after this.
pub(crate) const CHANGING: &str = "Changing it: ";

/// One field of a kind, or the kind itself.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Its place in a manifest, such as `spec.disks[].path`; empty for the kind.
    pub(crate) path: String,
    /// What may stand there, in words.
    pub(crate) type_words: String,
    /// The manifest is no manifest without it.
    pub(crate) is_required: bool,
    /// What it means: one paragraph.
    pub(crate) meaning: String,
    /// What changing it does to a running VM.
    pub(crate) effect: Option<Effect>,
    /// The same in words, with what there is to add.
    pub(crate) changing: Option<String>,
    /// The words that it can be, with their meaning.
    pub(crate) words: Vec<(String, String)>,
    /// The fields below it.
    pub(crate) fields: Vec<Field>,
}

/// A kind with all its fields.
pub(crate) fn of_kind(kind: Kind) -> Field {
    let mut field = field("", json_schema::of(kind), true);
    // They are the same everywhere and said once.
    field.fields.retain(|field| field.path != "apiVersion" && field.path != "kind");
    field.fields.sort_by_key(|field| field.path != "metadata");
    field
}

impl Field {
    /// The last word of its path, without the mark of a list.
    pub(crate) fn name(&self) -> &str {
        let last = self.path.rsplit('.').next().unwrap_or_default();
        last.trim_end_matches("[]")
    }
}

fn field(path: &str, schema: &Value, is_required: bool) -> Field {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let (meaning, changing) = match text.split_once(CHANGING) {
        Some((meaning, changing)) => (meaning, Some(changing.trim().to_owned())),
        None => (text, None),
    };
    let effect = schema.get(Effect::KEY).and_then(|effect| Effect::deserialize(effect).ok());
    let is_list = schema.get("items").is_some_and(|items| json_schema::mapping(items).is_some());
    let below = if is_list { format!("{path}[]") } else { path.to_owned() };
    Field {
        path: below.clone(),
        type_words: type_words(schema),
        is_required,
        meaning: meaning.trim().replace("\n\n", " "),
        effect,
        changing,
        words: words(schema),
        fields: fields(&below, schema),
    }
}

/// The fields of a mapping, or of the mappings in a list; those that must be there first.
fn fields(path: &str, schema: &Value) -> Vec<Field> {
    let Some(mapping) = json_schema::mapping(schema.get("items").unwrap_or(schema)) else { return Vec::new() };
    let required: Vec<_> =
        mapping.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = mapping.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut fields: Vec<_> = properties
        .map(|(name, schema)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            field(&path, schema, required.contains(&name.as_str()))
        })
        .collect();
    let order = |field: &Field| required.iter().position(|name| *name == field.name()).unwrap_or(required.len());
    fields.sort_by_key(order);
    fields
}

/// A type as people say it.
fn type_words(schema: &Value) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        return choices.iter().map(type_words).collect::<Vec<_>>().join(" or ");
    }
    let string = |key: &str| schema.get(key).and_then(Value::as_str);
    match (string("type"), string("title")) {
        (Some("string"), Some(title)) => title.to_owned(),
        (Some("string"), None) => "text".to_owned(),
        (Some("integer"), _) => match (schema.get("minimum"), schema.get("maximum")) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "whole number".to_owned(),
        },
        (Some("boolean"), _) => "`true`, `false`".to_owned(),
        (Some("array"), _) => match schema.get("items").map(type_words) {
            Some(items) if items != "mapping" => format!("list of {items}s"),
            _ => "list".to_owned(),
        },
        _ => "mapping".to_owned(),
    }
}

/// The words of an enum with their meaning.
fn words(schema: &Value) -> Vec<(String, String)> {
    let variant = |variant: &Value| {
        let word = variant.get("const")?.as_str()?.to_owned();
        Some((word, variant.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()))
    };
    let variants = schema.get("oneOf").and_then(Value::as_array);
    variants.into_iter().flatten().filter_map(variant).collect()
}

/// The kind that a word names: its short name, its full one, or a plural, in any case.
pub(crate) fn kind(word: &str) -> Option<Kind> {
    let word = word.to_lowercase();
    let singular = word.strip_suffix('s').unwrap_or(&word);
    Kind::ALL.into_iter().find(|kind| {
        [kind.short().to_owned(), kind.as_str().to_lowercase()].iter().any(|name| *name == word || name == singular)
    })
}

/// Why a path names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct UnknownPath {
    message: String,
    help: String,
}

/// Finds `vm.spec.disks.path`.
pub(crate) fn find(path: &str) -> Result<(Kind, Field), UnknownPath> {
    let mut words = path.split('.').map(|word| word.trim_end_matches("[]"));
    let first = words.next().unwrap_or_default();
    let kind = kind(first).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.into_iter().flat_map(|kind| [kind.short(), kind.as_str()]).collect();
        UnknownPath { message: format!("there is no kind `{first}`"), help: suggest::help(first, &known) }
    })?;
    let mut field = of_kind(kind);
    for word in words {
        let known: Vec<_> = field.fields.iter().map(Field::name).collect();
        let found = known.iter().position(|name| *name == word).ok_or_else(|| {
            let place = if field.path.is_empty() { kind.as_str() } else { field.path.as_str() };
            UnknownPath { message: format!("`{place}` has no field `{word}`"), help: suggest::help(word, &known) }
        })?;
        field = field.fields.swap_remove(found);
    }
    Ok((kind, field))
}
