//! Manifests that pinfold writes itself, for `import` and `adopt`: checked together with the configuration they belong to, then printed or written.

use super::{CommandError, inventory, output};
use crate::api::view::Head;
use crate::cli::{Destination, WriteOutput};
use crate::exit::Exit;
use crate::folder;
use crate::ui::Ui;
use ::schema::desired::{Desired, Network, Vm};
use ::schema::render::{self, Colour};
use ::schema::units::{Cores, Name};
use ::schema::{Content, Finding, Severity, SourceFile, Start, Tree, write};
use import::Site;
use planner::Observed;
use serde::Serialize;
use std::fs;
use std::path::Path;
use uuid::Uuid;

/// What the manifests belong to.
pub(super) struct Around {
    pub(super) site: Site,
    /// The configuration's own files, or a pool and a host for the sake of checking.
    tree: Tree,
}

/// Manifests to be, and what is said about them.
pub(super) struct Batch {
    pub(super) networks: Vec<Network>,
    pub(super) vms: Vec<Vm>,
    pub(super) findings: Vec<Finding>,
    /// The files that the findings speak of.
    pub(super) sources: Tree,
}

/// `-o json`.
#[derive(Serialize)]
struct Document<'b> {
    #[serde(flatten)]
    head: Head,
    items: Vec<Item<'b>>,
    findings: &'b [Finding],
}

#[derive(Serialize)]
struct Item<'b> {
    path: &'b str,
    manifest: &'b str,
}

/// Reads the configuration that the destination names, if there is one, and the facts of the host.
pub(super) fn around(destination: &Destination, observed: Option<&Observed>) -> Result<Around, CommandError> {
    let read_here = match (&destination.inventory, observed) {
        (Some(path), None) => Some(inventory::read(path)?),
        _ => None,
    };
    let observed = observed.or(read_here.as_ref());
    let named = destination.host.as_deref().map(|text| super::init::name("--host", text)).transpose()?;
    let named = named.or_else(|| observed.map(|observed| observed.host.clone()));
    let pcpus = observed.and_then(|observed| Some(observed.xen.known()?.hypervisor.pcpus.clone()));
    let existing = destination.write.as_deref().filter(|folder| folder.exists()).map(read).transpose()?;
    if let Some((tree, desired)) = existing.flatten() {
        let host = host(named, &desired)?;
        let partitions = desired.partitions.values().filter(|partition| partition.host == host);
        let site = Site {
            partitions: partitions.map(|partition| partition.name.clone()).collect(),
            networks: desired.networks.values().cloned().collect(),
            vms: desired.vms.keys().cloned().collect(),
            host,
            pcpus,
        };
        return Ok(Around { site, tree });
    }
    let host = named.map_or_else(|| super::init::host(None), Ok)?;
    let tree = stand_in(&host);
    let site = Site { host, networks: Vec::new(), partitions: [].into(), vms: [].into(), pcpus };
    Ok(Around { site, tree })
}

/// The configuration in a folder; `None` when it holds no manifest yet.
fn read(folder: &Path) -> Result<Option<(Tree, Desired)>, CommandError> {
    let tree = folder::read(folder).map_err(|error| CommandError::from_error(&error))?;
    if !tree.files.iter().any(|file| ::schema::tree::is_manifest_path(&file.path)) {
        return Ok(None);
    }
    let reading = ::schema::read(&tree);
    match reading.desired {
        Some(desired) => Ok(Some((tree, desired))),
        None => Err(CommandError::new(format!("the configuration in {} has errors", folder.display()))
            .next("`pinfold validate` shows them; correct them first")
            .exits(Exit::Negative)),
    }
}

fn host(named: Option<Name>, desired: &Desired) -> Result<Name, CommandError> {
    let declared: Vec<&Name> = desired.hosts.keys().collect();
    let list = || declared.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (named, declared.as_slice()) {
        (Some(named), _) if declared.contains(&&named) => Ok(named),
        (Some(named), _) => Err(CommandError::new(format!("the configuration has no host `{named}`"))
            .next(format!("choose one with `--host`: {}", list()))
            .exits(Exit::Usage)),
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(CommandError::new("the configuration has several hosts")
            .next(format!("choose one with `--host`: {}", list()))
            .exits(Exit::Usage)),
    }
}

/// A pool and a host that exist for checking only.
fn stand_in(host: &Name) -> Tree {
    let start = Start {
        // Names of kinds do not meet: the pool may have the host's.
        pool: host.clone(),
        pool_id: Uuid::from_u128(1),
        host: host.clone(),
        dom0_cores: Cores::new(),
        bridge: "xenbr0".to_owned(),
        schemas: String::new(),
    };
    let files = ::schema::init(&start).into_iter().filter(|(path, _)| path != "networks.yaml");
    Tree { files: files.map(|(path, text)| file(path, &text)).collect(), ignore: None }
}

fn file(path: String, text: &str) -> SourceFile {
    SourceFile { path, content: Content::Text(text.as_bytes().to_vec()) }
}

/// Checks the manifests beside what is there, and prints or writes them. Nothing is written when anything does not validate.
pub(super) fn deliver(
    around: Around,
    batch: &Batch,
    destination: &Destination,
    ui: &mut Ui,
) -> Result<Exit, CommandError> {
    let networks = batch.networks.iter().map(|one| (format!("networks/{}.yaml", one.name), write::network(one)));
    let vms = batch.vms.iter().map(|one| (format!("vms/{}.yaml", one.name), write::vm(one)));
    let manifests: Vec<(String, String)> = networks.chain(vms).collect();
    let is_json = destination.output == WriteOutput::Json;
    if !is_json {
        report(&batch.findings, &batch.sources, ui);
    }
    let mut tree = around.tree;
    tree.files.extend(manifests.iter().map(|(path, text)| file(path.clone(), text)));
    let reading = ::schema::read(&tree);
    if reading.desired.is_none() {
        report(&reading.findings, &tree, ui);
        return Err(CommandError::new("these manifests do not validate together; nothing was written")
            .next("correct what is named above, or take fewer at once")
            .exits(Exit::Negative));
    }
    if is_json {
        let items = manifests.iter().map(|(path, manifest)| Item { path, manifest }).collect();
        output::json(ui, &Document { head: Head::of("ManifestList"), items, findings: &batch.findings })?;
    }
    match &destination.write {
        Some(folder) => write_files(folder, &manifests, ui)?,
        None if is_json => {}
        None => ui.data(&manifests.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n")),
    }
    let is_refused = batch.findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if is_refused { Exit::Negative } else { Exit::Ok })
}

fn report(findings: &[Finding], tree: &Tree, ui: &mut Ui) {
    if !findings.is_empty() {
        let colour = if ui.colour() { Colour::Always } else { Colour::Never };
        ui.talk(render::human_with(findings, tree, colour).trim_end());
        ui.talk(&render::summary(findings));
    }
}

/// Writes every file, or none when one is there already.
fn write_files(folder: &Path, manifests: &[(String, String)], ui: &mut Ui) -> Result<(), CommandError> {
    super::init::refuse_to_overwrite(folder, manifests)?;
    for (path, text) in manifests {
        super::init::write(&folder.join(path), text)?;
        ui.talk(&format!("wrote {}", folder.join(path).display()));
    }
    Ok(())
}

/// The text of a file that is no manifest: small, and UTF-8.
pub(super) fn text(path: &Path) -> Result<String, CommandError> {
    /// The longest configuration that is read; real ones have some KiB.
    const MAX_BYTES: u64 = 1024 * 1024;
    let failed =
        |error: &dyn std::error::Error| CommandError::new(format!("cannot read {}", path.display())).because(error);
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > MAX_BYTES {
        return Err(CommandError::new(format!("{} has {size} bytes; at most {MAX_BYTES} are read", path.display())));
    }
    fs::read_to_string(path).map_err(|error| failed(&error))
}
