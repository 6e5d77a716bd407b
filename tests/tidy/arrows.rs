//! Arrows between crates point one way (ARCHITECTURE.md, "Code map").

use cargo_metadata::{Metadata, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet};

/// What each crate of the workspace may depend on, in the workspace.
const ARROWS: [(&str, &[&str]); 13] = [
    ("pinfold-schema", &[]),
    ("pinfold-protocol", &[]),
    ("pinfold-import", &["pinfold-schema", "pinfold-protocol"]),
    ("pinfold-operation", &["pinfold-protocol"]),
    ("pinfold-planner", &["pinfold-schema", "pinfold-protocol"]),
    ("pinfold-sim", &["pinfold-operation", "pinfold-protocol"]),
    ("pinfold-host", &["pinfold-planner", "pinfold-sim", "pinfold-protocol", "pinfold-operation", "pinfold-schema"]),
    (
        "pinfold",
        &["pinfold-import", "pinfold-host", "pinfold-planner", "pinfold-sim", "pinfold-protocol", "pinfold-schema"],
    ),
    ("pinfold-libxl-sys", &[]),
    ("pinfold-xen", &["pinfold-operation", "pinfold-protocol", "pinfold-libxl-sys"]),
    ("pinfold-lab", &[]),
    (
        "pinfold-fuzz",
        &["pinfold", "pinfold-import", "pinfold-schema", "pinfold-planner", "pinfold-protocol", "pinfold-host"],
    ),
    ("pinfold-tests", &["pinfold-lab", "pinfold-protocol", "pinfold-operation", "pinfold-planner", "pinfold-schema"]),
];

/// Crates that are pure: no I/O of their own, no clock, no runtime.
const PURE: [&str; 6] =
    ["pinfold-schema", "pinfold-import", "pinfold-protocol", "pinfold-operation", "pinfold-planner", "pinfold-sim"];

/// Crates that a pure crate must not reach, by any way.
const EFFECTS: [&str; 8] = ["tokio", "git2", "libgit2-sys", "rustix", "notify", "axum", "reqwest", "rand"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(super::root().join("Cargo.toml"))
        .exec()
        .expect("`cargo metadata` answers: run this test through cargo")
}

/// Names of the packages that `id` depends on, not for tests.
fn dependencies<'a>(metadata: &'a Metadata, id: &PackageId) -> Vec<(&'a str, PackageId)> {
    let resolve = metadata.resolve.as_ref().expect("metadata was asked with dependencies");
    let node = resolve.nodes.iter().find(|node| node.id == *id).expect("every package has a node");
    let normal = |dep: &&cargo_metadata::NodeDep| {
        dep.dep_kinds.iter().any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal)
    };
    node.deps.iter().filter(normal).map(|dep| (metadata[&dep.pkg].name.as_str(), dep.pkg.clone())).collect()
}

#[test]
fn arrows_point_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let members: BTreeSet<_> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(may) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table of arrows: add it, and to ARCHITECTURE.md", package.name));
            continue;
        };
        for (dependency, _) in dependencies(&metadata, &package.id) {
            if members.contains(dependency) && !may.contains(&dependency) {
                wrong.push(format!("{} → {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the design does not have:\n{}", wrong.join("\n"));
}

#[test]
fn pure_crates_reach_no_effect() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for name in PURE {
        let package = metadata.workspace_packages().into_iter().find(|p| p.name == name).expect("a pure crate exists");
        let mut queue = vec![package.id.clone()];
        let mut seen = BTreeSet::new();
        while let Some(id) = queue.pop() {
            for (dependency, id) in dependencies(&metadata, &id) {
                if EFFECTS.contains(&dependency) {
                    wrong.push(format!("{name} reaches {dependency}"));
                }
                if seen.insert(id.clone()) {
                    queue.push(id);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a pure crate gained an effect:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_worker_links_libxl() {
    let metadata = metadata();
    let linking: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| dependencies(&metadata, &package.id).iter().any(|(name, _)| *name == "pinfold-libxl-sys"))
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(linking, ["pinfold-xen"]);
}
