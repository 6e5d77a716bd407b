//! Examples on a simulated host: that of the scenario of the same name.

use crate::format::read;
use crate::stage::{Stage, tree};
use std::collections::BTreeMap;
use std::path::Path;

/// An example's host with its manifests committed, before the first pass, and the files.
pub fn begin(folder: &Path) -> (Stage, BTreeMap<String, Vec<u8>>) {
    let name = folder.file_name().unwrap();
    let host = folder.join("../../tests/scenarios").join(name).join("host.yaml");
    let mut files = BTreeMap::new();
    gather(folder, folder, &mut files);
    let mut stage = Stage::new(read(&host).unwrap());
    stage.commit(schema::read(&tree(&files)).desired.expect("an example is valid"));
    (stage, files)
}

fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
}
