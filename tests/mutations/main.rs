//! Whether the tests notice: each guard of `table::MUTATIONS` is broken in a copy of the tree, and the test that stands beside it must fail.
//!
//! `PINFOLD_MUTATION=words` tries only those whose description has these words. The copy is built into the same target directory, so that
//! dependencies are shared; a mutation compiles its crate, those between, and one test binary.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, reason = "tests")]

mod table;

use ignore::WalkBuilder;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use table::{MUTATIONS, Mutation, Test};

#[test]
fn every_broken_guard_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let target = target_dir();
    let copy = target.join("mutated");
    copy_tree(&root, &copy);
    let only = env::var("PINFOLD_MUTATION").unwrap_or_default();
    let chosen: Vec<&Mutation> = MUTATIONS.iter().filter(|mutation| mutation.breaks.contains(&only)).collect();
    assert!(!chosen.is_empty(), "no mutation is described with `{only}`");
    let mut wrong = Vec::new();
    for mutation in chosen {
        eprintln!("{}: {:?} must fail", mutation.breaks, mutation.noticed_by);
        if let Err(said) = noticed(&copy, &target, mutation) {
            eprintln!("    {said}");
            wrong.push(format!("{} ({}): {said}", mutation.breaks, mutation.file));
        }
    }
    assert!(wrong.is_empty(), "{} broken guards:\n{}", wrong.len(), wrong.join("\n"));
}

/// Breaks one guard, runs its test, and mends it again.
fn noticed(copy: &Path, target: &Path, mutation: &Mutation) -> Result<(), String> {
    let file = copy.join(mutation.file);
    let good =
        fs::read_to_string(&file).map_err(|error| format!("{error}: move its row in tests/mutations/table.rs"))?;
    let places = good.matches(mutation.text).count();
    if places != 1 {
        return Err(format!("its text stands {places} times in the file: correct its row in tests/mutations/table.rs"));
    }
    fs::write(&file, good.replace(mutation.text, mutation.replacement)).unwrap();
    let outcome = fails(copy, target, mutation.noticed_by);
    fs::write(&file, good).unwrap();
    outcome
}

/// Whether this very test runs and fails. One that does not compile, or is not there, notices nothing.
fn fails(copy: &Path, target: &Path, Test(package, binary, name): Test) -> Result<(), String> {
    let which = if binary.is_empty() { vec!["--lib"] } else { vec!["--test", binary] };
    let cargo = |more: &[&str]| {
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["test", "--quiet", "--offline", "--package", package])
            .args(&which)
            .args(more)
            .env("CARGO_TARGET_DIR", target)
            .current_dir(copy)
            // A failing property would search for its smallest case.
            .envs([("PROPTEST_MAX_SHRINK_ITERS", "0"), ("INSTA_UPDATE", "no"), ("RUST_BACKTRACE", "0")])
            .output()
            .unwrap()
    };
    let built = cargo(&["--no-run"]);
    if !built.status.success() {
        return Err(format!("it does not compile:\n{}", String::from_utf8_lossy(&built.stderr)));
    }
    let said = cargo(&["--", "--exact", name]);
    let text = String::from_utf8_lossy(&said.stdout);
    if text.contains("0 passed; 1 failed;") {
        return Ok(());
    }
    let line = text.lines().find(|line| line.starts_with("test result")).map_or_else(
        || format!("it ended with {}: {text}{}", said.status, String::from_utf8_lossy(&said.stderr)),
        str::to_owned,
    );
    Err(format!("`{name}` of {package} {binary} did not fail: {line}"))
}

/// The files that git would take, and none that are no longer there. Times are kept, so that cargo builds only what differs.
fn copy_tree(root: &Path, copy: &Path) {
    let mut kept = Vec::new();
    let walk = WalkBuilder::new(root).hidden(false).filter_entry(|entry| entry.file_name() != ".git").build();
    for entry in walk.filter_map(Result::ok) {
        let from = entry.path();
        let to = copy.join(from.strip_prefix(root).unwrap());
        kept.push(to.clone());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs::create_dir_all(&to).unwrap();
        } else if kind.is_symlink() {
            let _ = fs::remove_file(&to);
            std::os::unix::fs::symlink(fs::read_link(from).unwrap(), &to).unwrap();
        } else if fs::read(from).ok() != fs::read(&to).ok() {
            fs::copy(from, &to).unwrap();
        }
    }
    kept.sort();
    for entry in WalkBuilder::new(copy).standard_filters(false).build().filter_map(Result::ok) {
        if entry.file_type().is_some_and(|kind| !kind.is_dir()) && kept.binary_search(&entry.path().to_owned()).is_err()
        {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Where cargo puts what it builds: this test lies in `<target>/<profile>/deps`.
fn target_dir() -> PathBuf {
    env::current_exe().unwrap().ancestors().nth(3).expect("a test of cargo's lies three folders down").to_owned()
}
