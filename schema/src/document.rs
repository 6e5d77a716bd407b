//! From one file to its manifests: which kind each document is, then its typed content, with every finding of both.

mod faults;

use crate::decode::{self, Decoded};
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
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

/// Files that are worth a thread.
const FILES_OF_A_THREAD: usize = 250;
/// The most threads that read at once, whatever the machine.
const MAX_THREADS: usize = 8;

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
    /// References of documents that could not be read as a whole.
    pub(crate) loose: Vec<Reference>,
    /// Some file could not be read at all: what it declares is unknown, so nothing can be said to be missing.
    pub(crate) has_unreadable: bool,
    /// Every word of files that are text and no YAML: what such a file declares stands in it somewhere.
    pub(crate) broken_words: BTreeSet<String>,
}

impl Documents {
    /// Whether a file whose documents are not known may be where this name, or this kind, is declared.
    pub(crate) fn may_be_declared(&self, word: &str) -> bool {
        self.has_unreadable || self.broken_words.contains(word)
    }

    fn count(&self) -> usize {
        let Self { pools, hosts, networks, partitions, vms, .. } = self;
        pools.len() + hosts.len() + networks.len() + partitions.len() + vms.len()
    }

    /// Adds those of later files.
    fn append(&mut self, later: Self) {
        let Self { pools, hosts, networks, partitions, vms, declared, loose, has_unreadable, broken_words } = later;
        self.pools.extend(pools);
        self.hosts.extend(hosts);
        self.networks.extend(networks);
        self.partitions.extend(partitions);
        self.vms.extend(vms);
        for (object, places) in declared {
            self.declared.entry(object).or_default().extend(places);
        }
        self.loose.extend(loose);
        self.has_unreadable |= has_unreadable;
        self.broken_words.extend(broken_words);
    }
}

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) text: usize,
    pub(crate) bytes: Bytes,
}

/// A reference by name.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Who refers.
    pub(crate) from: Name,
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) place: Place,
}

/// Reads all files, many of them in several threads. Everything comes in the order of the files, however many threads there are.
pub(crate) fn read_all(texts: &[Text<'_>], findings: &mut Vec<Finding>) -> Documents {
    let threads = (texts.len() / FILES_OF_A_THREAD).clamp(1, MAX_THREADS);
    let size = texts.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = (0..)
            .step_by(size)
            .zip(texts.chunks(size))
            .map(|(first, part)| {
                let read = move || read_part(first, part);
                // Without another thread, later and in this one.
                let spawned = thread::Builder::new().spawn_scoped(scope, read).ok();
                move || spawned.map_or_else(read, |spawned| spawned.join().unwrap_or_else(|panic| resume_unwind(panic)))
            })
            .collect();
        let mut all = Documents::default();
        for part in parts {
            let (documents, found) = part();
            all.append(documents);
            findings.extend(found);
        }
        all
    })
}

/// Reads some of the files; `first` is the index of the first of them among all.
fn read_part(first: usize, texts: &[Text<'_>]) -> (Documents, Vec<Finding>) {
    let (mut documents, mut findings) = (Documents::default(), Vec::new());
    for (index, text) in (first..).zip(texts) {
        read(index, text, &mut documents, &mut findings);
    }
    (documents, findings)
}

/// Reads one file.
fn read(index: usize, text: &Text<'_>, documents: &mut Documents, findings: &mut Vec<Finding>) {
    let nodes = match yaml::parse(text.content) {
        Ok(nodes) => nodes,
        Err(error) => {
            let words = text.content.split(|char: char| !char.is_alphanumeric() && char != '-');
            documents.broken_words.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
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
    let references = references(kind, &node, index);
    let before = documents.count();
    match kind {
        Kind::Pool => documents.pools.extend(read_form(node, kind, index, text, findings)),
        Kind::Host => documents.hosts.extend(read_form(node, kind, index, text, findings)),
        Kind::Network => documents.networks.extend(read_form(node, kind, index, text, findings)),
        Kind::CorePartition => documents.partitions.extend(read_form(node, kind, index, text, findings)),
        Kind::VirtualMachine => documents.vms.extend(read_form(node, kind, index, text, findings)),
    }
    if documents.count() == before {
        documents.loose.extend(references);
    }
}

fn read_form<S: DeserializeOwned>(
    node: Node,
    kind: Kind,
    index: usize,
    text: &Text<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Manifest<S>> {
    let Decoded { value, faults } = decode::decode::<Form<S>>(node);
    let is_whole = faults.is_empty();
    findings.extend(faults.into_iter().map(|fault| faults::finding(fault, kind, text)));
    let form = value?;
    let Form { metadata, spec, .. } = form;
    Some(Manifest { text: index, name: metadata.name, labels: metadata.labels, spec, is_whole })
}

/// The references of a document that is not whole, so that one that points nowhere is found in the same run.
fn references(kind: Kind, node: &Node, index: usize) -> Vec<Reference> {
    let Some(from) = node.get("metadata").and_then(|metadata| name_in(&metadata.value, "name")) else {
        return Vec::new();
    };
    let Some(Entry { value: spec, .. }) = node.get("spec") else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |kind: Kind, name: Option<(Name, Bytes)>| {
        let reference =
            |(name, bytes)| Reference { from: from.0.clone(), kind, name, place: Place { text: index, bytes } };
        found.extend(name.map(reference));
    };
    match kind {
        Kind::Pool | Kind::Network => {}
        Kind::Host => add(Kind::Pool, name_in(spec, "pool")),
        Kind::CorePartition => add(Kind::Host, name_in(spec, "host")),
        Kind::VirtualMachine => {
            add(Kind::Host, name_in(spec, "host"));
            add(Kind::CorePartition, spec.get("cpu").and_then(|cpu| name_in(&cpu.value, "partition")));
            if let Some(Entry { value: Node { value: Value::List(nics), .. }, .. }) = spec.get("nics") {
                for nic in nics {
                    add(Kind::Network, name_in(nic, "network"));
                }
            }
        }
    }
    found
}

/// The name in a field, if there is one.
fn name_in(node: &Node, field: &str) -> Option<(Name, Bytes)> {
    let Entry { value, .. } = node.get(field)?;
    Some((value.text()?.parse().ok()?, value.bytes))
}

fn declare(kind: Kind, node: &Node, index: usize, documents: &mut Documents) {
    let name = node.get("metadata").and_then(|metadata| name_in(&metadata.value, "name"));
    let Some((name, bytes)) = name else { return };
    documents.declared.entry((kind, name)).or_default().push(Place { text: index, bytes });
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
        .is_some_and(|version| version.starts_with("pinfold") || !suggest::nearest(version, [API_VERSION]).is_empty());
    if !version_is_ours {
        return foreign(version.value.bytes, &format!("its `apiVersion` is {}", quoted(&version.value)));
    }
    let Some(kind) = node.get("kind") else { return foreign(first, "it has no `kind`") };
    let word = kind.value.text().unwrap_or_default();
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    match found {
        Some(found) if version.value.text() == Some(API_VERSION) => Ok(found),
        Some(found) => Err(NoKind::new(Some(found), unknown_version(version, text))),
        None => Err(unknown_kind(&kind.value, version, text)),
    }
}

fn unknown_kind(kind: &Node, version: &Entry, text: &Text<'_>) -> NoKind {
    let known = Kind::ALL.map(Kind::as_str);
    let word = kind.text().unwrap_or_default();
    let near = suggest::nearest(word, known).first().copied();
    let guess = Kind::ALL.into_iter().find(|kind| Some(kind.as_str()) == near);
    if version.value.text() != Some(API_VERSION) {
        return NoKind::new(guess, unknown_version(version, text));
    }
    let finding = Finding::error("unknown-kind", format!("there is no kind {}", quoted(kind)));
    NoKind::new(guess, finding.at(text.location(kind.bytes)).help(suggest::help(word, &known)))
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
