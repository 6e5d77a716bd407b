//! Every file and folder of `corpus/bad` with the message that its author gets, and every one of `corpus/good` and `examples/` without any.
//!
//! `bad/NAME.yaml` is read together with `corpus/base.yaml`; `bad/NAME/` is a whole configuration (named by its file `case`, which says what is wrong).
//! The message is `NAME.snap` beside it; `INSTA_UPDATE=always cargo test -p pinfold-schema --test corpus` writes it anew.

#![allow(clippy::unwrap_used, clippy::unnecessary_wraps, reason = "the harness asks for results; a test panics")]

use schema::{Content, SourceFile, Tree, render};
use std::fs;
use std::path::Path;

fn bad_file(path: &Path) -> datatest_stable::Result<()> {
    let tree = with_base(path);
    check_bad(path, path.file_stem().unwrap().to_str().unwrap(), &tree);
    Ok(())
}

fn bad_folder(case: &Path) -> datatest_stable::Result<()> {
    let folder = case.parent().unwrap();
    check_bad(folder, folder.file_name().unwrap().to_str().unwrap(), &tree(folder));
    Ok(())
}

fn good_file(path: &Path) -> datatest_stable::Result<()> {
    check_good(&with_base(path));
    Ok(())
}

fn example(pool: &Path) -> datatest_stable::Result<()> {
    check_good(&tree(pool.parent().unwrap()));
    Ok(())
}

fn check_bad(path: &Path, name: &str, tree: &Tree) {
    let reading = schema::read(tree);
    let is_refused = reading.findings.iter().any(|finding| finding.severity == schema::Severity::Error);
    assert_eq!(reading.desired.is_none(), is_refused, "desired exists exactly when nothing is an error");
    assert!(!reading.findings.is_empty(), "nothing was found wrong");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(fs::canonicalize(path.parent().unwrap()).unwrap());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, render::human(&reading.findings, tree)));
}

fn check_good(tree: &Tree) {
    let reading = schema::read(tree);
    assert_eq!(render::human(&reading.findings, tree), "");
    assert!(reading.desired.is_some());
}

fn with_base(path: &Path) -> Tree {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/base.yaml");
    let file =
        |name: &str, path: &Path| SourceFile { path: name.to_owned(), content: Content::Text(fs::read(path).unwrap()) };
    Tree {
        files: vec![file("base.yaml", &base), file(path.file_name().unwrap().to_str().unwrap(), path)],
        ignore: None,
    }
}

fn tree(root: &Path) -> Tree {
    let mut tree = Tree { files: Vec::new(), ignore: fs::read(root.join(".pinfoldignore")).ok() };
    collect(root, "", &mut tree.files);
    tree
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            files.push(SourceFile { path, content: Content::Symlink(target.to_str().unwrap().to_owned()) });
        } else {
            files.push(SourceFile { path, content: Content::Text(fs::read(entry.path()).unwrap()) });
        }
    }
}

datatest_stable::harness! {
    { test = bad_file, root = "tests/corpus/bad", pattern = r"^[^/]*[.]yaml$" },
    { test = bad_folder, root = "tests/corpus/bad", pattern = r"^[^/]*/case$" },
    { test = good_file, root = "tests/corpus/good", pattern = r"^[^/]*[.]yaml$" },
    { test = example, root = "../examples", pattern = r"/pool[.]yaml$" },
}
