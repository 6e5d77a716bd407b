//! From one file to its manifests: which kind each document is, then its typed content, with every finding of both.

use crate::decode::{self, Decoded, Fault, Problem};
use crate::finding::{Bytes, Finding, Kind};
use crate::kinds::core_partition::CorePartitionSpec;
use crate::kinds::host::HostSpec;
use crate::kinds::network::NetworkSpec;
use crate::kinds::pool::PoolSpec;
use crate::kinds::virtual_machine::VirtualMachineSpec;
use crate::kinds::{API_VERSION, Form, Manifest};
use crate::node::{Entry, Node, Value};
use crate::suggest;
use crate::text::Text;
use crate::units::Name;
use crate::yaml;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Every manifest of a configuration, as written.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) pools: Vec<Manifest<PoolSpec>>,
    pub(crate) hosts: Vec<Manifest<HostSpec>>,
    pub(crate) networks: Vec<Manifest<NetworkSpec>>,
    pub(crate) partitions: Vec<Manifest<CorePartitionSpec>>,
    pub(crate) vms: Vec<Manifest<VirtualMachineSpec>>,
    /// Every object that some document names, also when the rest of the document cannot be read: a reference to it is no second error.
    pub(crate) declared: BTreeMap<(Kind, Name), Vec<Place>>,
    /// Some file could not be read at all: what it declares is unknown, so nothing can be said to be missing.
    pub(crate) has_unreadable: bool,
}

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) text: usize,
    pub(crate) bytes: Bytes,
}

/// Reads one file.
pub(crate) fn read(index: usize, text: &Text<'_>, documents: &mut Documents, findings: &mut Vec<Finding>) {
    let nodes = match yaml::parse(text.content) {
        Ok(nodes) => nodes,
        Err(error) => {
            documents.has_unreadable = true;
            let mut finding = Finding::error("yaml", error.message).at(text.location(error.bytes.unwrap_or_default()));
            finding.help.extend(error.help.map(str::to_owned));
            findings.push(finding);
            return;
        }
    };
    for mut node in nodes {
        duplicate_keys(&mut node, text, findings);
        match head(&node, text) {
            Ok(kind) => read_document(kind, node, index, text, documents, findings),
            Err(NoKind { guess, finding }) => {
                if let Some(kind) = guess {
                    declare(kind, &node, index, documents);
                }
                findings.push(*finding);
            }
        }
    }
}

fn read_document(
    kind: Kind,
    node: Node,
    index: usize,
    text: &Text<'_>,
    documents: &mut Documents,
    findings: &mut Vec<Finding>,
) {
    declare(kind, &node, index, documents);
    match kind {
        Kind::Pool => documents.pools.extend(read_form(node, index, text, findings)),
        Kind::Host => documents.hosts.extend(read_form(node, index, text, findings)),
        Kind::Network => documents.networks.extend(read_form(node, index, text, findings)),
        Kind::CorePartition => documents.partitions.extend(read_form(node, index, text, findings)),
        Kind::VirtualMachine => documents.vms.extend(read_form(node, index, text, findings)),
    }
}

fn read_form<S: DeserializeOwned>(
    node: Node,
    index: usize,
    text: &Text<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Manifest<S>> {
    let Decoded { value, faults } = decode::decode::<Form<S>>(node);
    findings.extend(faults.into_iter().map(|fault| finding(fault, text)));
    let form = value?;
    Some(Manifest { text: index, name: form.metadata.name, labels: form.metadata.labels, spec: form.spec })
}

fn declare(kind: Kind, node: &Node, index: usize, documents: &mut Documents) {
    let name = node.get("metadata").and_then(|metadata| metadata.value.get("name"));
    let Some((entry, Ok(name))) = name.and_then(|entry| Some((entry, entry.value.text()?.parse()))) else { return };
    documents.declared.entry((kind, name)).or_default().push(Place { text: index, bytes: entry.value.bytes });
}

/// A document that is none of our kinds.
struct NoKind {
    /// The kind that was probably meant.
    guess: Option<Kind>,
    finding: Box<Finding>,
}

impl NoKind {
    fn new(guess: Option<Kind>, finding: Finding) -> Self {
        Self { guess, finding: Box::new(finding) }
    }
}

/// What the document says it is.
fn head(node: &Node, text: &Text<'_>) -> Result<Kind, NoKind> {
    let foreign = |bytes: Bytes, why: &str| {
        let finding = Finding::error(
            "foreign-document",
            format!("`{}` holds a document that is no pinfold manifest: {why}", text.file),
        )
        .at(text.location(bytes))
        .help("move the file out of the configuration, or list it in `.pinfoldignore`");
        Err(NoKind::new(None, finding))
    };
    let Value::Mapping(entries) = &node.value else {
        return foreign(node.bytes, &format!("it is {}", node.describe()));
    };
    let first = entries.first().map_or(node.bytes, |entry| entry.key_bytes);
    let Some(version) = node.get("apiVersion") else { return foreign(first, "it has no `apiVersion`") };
    let version_is_ours = version
        .value
        .text()
        .is_some_and(|version| version.starts_with("pinfold") || suggest::nearest(version, [API_VERSION]).is_some());
    if !version_is_ours {
        return foreign(version.value.bytes, &format!("its `apiVersion` is {}", version.value.describe()));
    }
    let Some(kind) = node.get("kind") else { return foreign(first, "it has no `kind`") };
    let known = Kind::ALL.map(Kind::as_str);
    let word = kind.value.text().unwrap_or_default();
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    let guess = suggest::nearest(word, known).and_then(|near| Kind::ALL.into_iter().find(|kind| kind.as_str() == near));
    if version.value.text() != Some(API_VERSION) {
        return Err(NoKind::new(found.or(guess), unknown_version(version, text)));
    }
    found.ok_or_else(|| {
        let finding = Finding::error("unknown-kind", format!("there is no kind {}", quoted(&kind.value)))
            .at(text.location(kind.value.bytes));
        NoKind::new(guess, finding.help(suggest::help(word, &known)))
    })
}

fn unknown_version(version: &Entry, text: &Text<'_>) -> Finding {
    Finding::error("unknown-api-version", format!("there is no apiVersion {}", quoted(&version.value)))
        .at(text.location(version.value.bytes))
        .help(format!("write `apiVersion: {API_VERSION}`"))
}

fn quoted(node: &Node) -> String {
    node.text().map_or_else(|| node.describe(), |text| format!("`{text}`"))
}

/// Reports each key that stands in a mapping before, and takes the later one out.
fn duplicate_keys(node: &mut Node, text: &Text<'_>, findings: &mut Vec<Finding>) {
    match &mut node.value {
        Value::List(items) => {
            for item in items {
                duplicate_keys(item, text, findings);
            }
        }
        Value::Mapping(entries) => {
            let mut first: BTreeMap<String, Bytes> = BTreeMap::new();
            entries.retain(|entry| {
                let Some(earlier) = first.get(&entry.key) else {
                    first.insert(entry.key.clone(), entry.key_bytes);
                    return true;
                };
                let finding =
                    Finding::error("duplicate-key", format!("the key `{}` stands twice in this mapping", entry.key))
                        .at(text.location(entry.key_bytes))
                        .label("again here")
                        .related("first here", text.location(*earlier));
                findings.push(finding);
                false
            });
            for entry in entries {
                duplicate_keys(&mut entry.value, text, findings);
            }
        }
        _ => {}
    }
}

/// Says a fault in the words of an author of manifests.
fn finding(fault: Fault, text: &Text<'_>) -> Finding {
    let (place, parent) = (fault.place(), fault.parent());
    let bytes = fault.bytes.unwrap_or_default();
    let finding = match fault.problem {
        Problem::UnknownField { field, known } => {
            let message = format!(
                "{} no field `{field}`",
                if parent.is_empty() { "a manifest has".to_owned() } else { format!("`{parent}` has") }
            );
            Finding::error("unknown-field", message).label("unknown").help(suggest::help(&field, known))
        }
        Problem::UnknownValue { found, known } => {
            let finding = Finding::error("unknown-value", format!("`{place}` cannot be `{found}`")).label("unknown");
            match not_yet(&place, &found) {
                Some(help) => finding.help(help).help(suggest::help("", known)),
                None => finding.help(suggest::help(&found, known)),
            }
        }
        Problem::MissingField(field) => {
            let whole = if place.is_empty() { "the manifest".to_owned() } else { format!("`{place}`") };
            Finding::error("missing-field", format!("{whole} lacks `{field}`")).label(format!("has no `{field}`"))
        }
        Problem::WrongType { expected, found } => wrong_type(&place, &expected, &found),
        Problem::Invalid(message) => Finding::error("invalid-value", format!("`{place}`: {message}")),
    };
    finding.at(text.location(bytes))
}

fn wrong_type(place: &str, expected: &str, found: &str) -> Finding {
    let (expected, help) = match expected {
        "a string" if found.starts_with("the number") || found.starts_with('`') => ("text", Some("put it in quotes")),
        "a string" => ("text", None),
        "a boolean" => ("`true` or `false`", Some("write `true` or `false`, without quotes")),
        "a sequence" => ("a list", None),
        "a map" => ("a mapping", None),
        other => (other, None),
    };
    let mut finding =
        Finding::error("wrong-type", format!("`{place}` takes {expected}")).label(format!("found {found}"));
    finding.help.extend(help.map(str::to_owned));
    finding
}

/// Words of the language that Xen knows and this version does not handle.
fn not_yet(place: &str, found: &str) -> Option<&'static str> {
    match (place, found) {
        ("spec.type", "hvm") => Some("HVM guests are not handled by this version"),
        ("spec.power", "paused") => Some("paused VMs are not handled by this version"),
        _ => None,
    }
}
