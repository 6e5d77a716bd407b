//! JSON Schemas of the kinds, made from the types that read them: for editors, and for tools that know Kubernetes.

use crate::effect::Effect;
use crate::field::CHANGING;
use crate::finding::Kind;
use crate::kinds::core_partition::CorePartitionSpec;
use crate::kinds::host::HostSpec;
use crate::kinds::network::NetworkSpec;
use crate::kinds::pool::PoolSpec;
use crate::kinds::virtual_machine::VirtualMachineSpec;
use crate::kinds::{API_VERSION, Form};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Every schema with the name of its file: one for each kind, and one for all of them.
pub fn files() -> Vec<(String, String)> {
    let text = |schema: &Value| format!("{schema:#}\n");
    let each = Kind::ALL.into_iter().map(|kind| (file_name(kind), text(of(kind))));
    each.chain([("pinfold.schema.json".to_owned(), text(&combined()))]).collect()
}

/// The file of a kind's schema. Its form is what `kubeconform -schema-location '…/{{.ResourceKind}}.schema.json'` asks for.
pub fn file_name(kind: Kind) -> String {
    format!("{}.schema.json", kind.as_str().to_lowercase())
}

/// The schema of a kind.
pub fn of(kind: Kind) -> &'static Value {
    static SCHEMAS: OnceLock<BTreeMap<Kind, Value>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| Kind::ALL.into_iter().map(|kind| (kind, generate(kind))).collect());
    schemas.get(&kind).unwrap_or(&Value::Null)
}

fn generate(kind: Kind) -> Value {
    match kind {
        Kind::Pool => schema::<PoolSpec>(kind),
        Kind::Host => schema::<HostSpec>(kind),
        Kind::Network => schema::<NetworkSpec>(kind),
        Kind::CorePartition => schema::<CorePartitionSpec>(kind),
        Kind::VirtualMachine => schema::<VirtualMachineSpec>(kind),
    }
}

fn schema<S: JsonSchema>(kind: Kind) -> Value {
    // Draft 7 is what editors know best. Without references a description stands beside each field, where they show it.
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let meaning = settings.clone().into_generator().into_root_schema_for::<S>().get("description").cloned();
    let mut schema = settings.into_generator().into_root_schema_for::<Form<S>>().to_value();
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!(kind.as_str()));
        root.extend(meaning.map(|meaning| ("description".to_owned(), meaning)));
        let name = json!([{"group": group, "version": version, "kind": kind.as_str()}]);
        root.insert("x-kubernetes-group-version-kind".to_owned(), name);
    }
    for (field, word) in [("apiVersion", API_VERSION), ("kind", kind.as_str())] {
        if let Some(property) = schema.pointer_mut(&format!("/properties/{field}")).and_then(Value::as_object_mut) {
            property.insert("const".to_owned(), json!(word));
        }
    }
    tidy(&mut schema);
    schema
}

/// What the generator cannot know: no field takes `null`, and a paragraph is one line, so that a reader may break it where it likes.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy);
            without_null(fields);
            say_effect(fields);
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let line = |paragraph: &str| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                *text = text.split("\n\n").map(line).collect::<Vec<_>>().join("\n\n");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Ends the description of a field with what changing it does, and what its doc comment adds to that, so that editors show it.
fn say_effect(fields: &mut Map<String, Value>) {
    let Some(effect) = fields.get(Effect::KEY).and_then(|effect| Effect::deserialize(effect).ok()) else { return };
    let Some(Value::String(text)) = fields.get_mut("description") else { return };
    let words = effect.words();
    *text = match text.split_once(CHANGING) {
        None => format!("{text}\n\n{CHANGING}{words}."),
        Some((meaning, note)) => format!("{meaning}{CHANGING}{words}; {note}"),
    };
}

/// `Option` makes a type nullable; here it means only that a field may be left out.
fn without_null(fields: &mut Map<String, Value>) {
    let null = json!({"type": "null"});
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|word| word != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            fields.insert("type".to_owned(), one);
        }
    }
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    let Some(Value::Array(choices)) = fields.get_mut("anyOf") else { return };
    choices.retain(|choice| *choice != null);
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        fields.remove("anyOf");
        for (key, value) in only {
            fields.entry(key).or_insert(value);
        }
    }
}

/// One schema for a folder of any manifests.
fn combined() -> Value {
    let one = |kind: Kind| json!({"if": {"properties": {"kind": {"const": kind.as_str()}}}, "then": {"$ref": file_name(kind)}});
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pinfold manifest",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"enum": Kind::ALL.map(Kind::as_str)},
        },
        "allOf": Kind::ALL.map(one),
    })
}

/// The fields that a mapping must have, by its place in a manifest such as `spec.disks[0]`.
pub(crate) fn required(kind: Kind, place: &str) -> Vec<String> {
    let fields = place.split('.').filter(|field| !field.is_empty());
    let mut schema = Some(of(kind));
    for field in fields {
        let (name, index) = field.split_once('[').map_or((field, false), |(name, _)| (name, true));
        schema = schema.and_then(mapping).and_then(|mapping| mapping.get("properties")?.get(name));
        if index {
            schema = schema.and_then(|list| list.get("items"));
        }
    }
    let names = schema.and_then(mapping).and_then(|mapping| mapping.get("required")?.as_array());
    names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The part of a schema that describes a mapping: all of it, or its long form.
pub(crate) fn mapping(schema: &Value) -> Option<&Map<String, Value>> {
    if schema.get("properties").is_some() {
        return schema.as_object();
    }
    schema.get("anyOf")?.as_array()?.iter().find_map(mapping)
}
