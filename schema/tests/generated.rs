//! What is generated from the types of the language is committed, and is what the types say.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// `PINFOLD_GENERATE=1 cargo test -p pinfold-schema --test generated` writes the files anew.
fn check(path: &Path, text: &str) {
    if std::env::var_os("PINFOLD_GENERATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is not what the types say; run: PINFOLD_GENERATE=1 cargo test -p pinfold-schema --test generated",
        path.display()
    );
}

#[test]
fn json_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("v1alpha1");
    let files = schema::json_schema::files();
    for (name, text) in &files {
        check(&folder.join(name), text);
    }
    let committed = fs::read_dir(folder).unwrap().count();
    assert_eq!(committed, files.len(), "a file in schema/v1alpha1 is no longer generated; remove it");
}

#[test]
fn language_reference() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language.md"), &schema::reference::markdown());
}
