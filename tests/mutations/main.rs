//! Whether the tests notice: each guard of `table::MUTATIONS` is broken in a copy of the tree, and the test that stands beside it must fail.
//!
//! All of them are put into one copy, each behind a switch in the environment, so that one build serves every row; with no switch set each
//! test must pass there. The copy is built into the same target directory, which shares dependencies. `PINFOLD_MUTATION=words` tries only
//! rows whose description has these words.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, reason = "tests")]

mod table;

use cargo_metadata::Message;
use ignore::WalkBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use table::{MUTATIONS, Mutation, Test};

/// Names, in the environment, the guard that is broken.
const SWITCH: &str = "PINFOLD_BROKEN_GUARD";

/// Test binaries by package and name, the library's own tests having none, each with its program and its package's folder.
type Binaries = BTreeMap<(String, String), (PathBuf, PathBuf)>;

#[test]
fn every_broken_guard_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let target = target_dir();
    let copy = target.join("mutated");
    copy_tree(&root, &copy);
    tell_apart(&copy);
    let mut wrong: Vec<String> = MUTATIONS.iter().filter_map(|mutation| switch_in(&copy, mutation).err()).collect();
    assert!(wrong.is_empty(), "correct these rows of tests/mutations/table.rs:\n{}", wrong.join("\n"));
    let tests = build(&copy, &target);
    let only = env::var("PINFOLD_MUTATION").unwrap_or_default();
    let chosen: Vec<&Mutation> = MUTATIONS.iter().filter(|mutation| mutation.breaks.contains(&only)).collect();
    assert!(!chosen.is_empty(), "no mutation is described with `{only}`");
    for mutation in chosen {
        eprintln!("{}: {:?} must fail", mutation.breaks, mutation.noticed_by);
        if let Err(said) = noticed(&tests, mutation) {
            eprintln!("    {said}");
            wrong.push(format!("{} ({}): {said}", mutation.breaks, mutation.file));
        }
    }
    assert!(wrong.is_empty(), "{} broken guards:\n{}", wrong.len(), wrong.join("\n"));
}

/// Gives the copy's packages another version: cargo would take them for the tree's own, and what it built of one for the other.
fn tell_apart(copy: &Path) {
    let path = copy.join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap();
    let version = format!("\nversion = \"{}\"\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text.matches(&version).count(), 1, "the workspace has one version");
    fs::write(&path, text.replace(&version, "\nversion = \"0.0.0\"\n")).unwrap();
}

/// Puts a row's replacement into its file of the copy.
fn switch_in(copy: &Path, mutation: &Mutation) -> Result<(), String> {
    let Mutation { breaks, file, text, replacement, .. } = mutation;
    let path = copy.join(file);
    let good = fs::read_to_string(&path).map_err(|error| format!("{breaks}: {file}: {error}"))?;
    let places = good.matches(text).count();
    if places != 1 {
        return Err(format!("{breaks}: its text stands {places} times in {file}"));
    }
    let broken = format!("std::env::var_os({SWITCH:?}).is_some_and(|row| row == {breaks:?})");
    let replacement = replacement.replace("BROKEN", &format!("({broken})"));
    fs::write(&path, good.replace(text, &replacement)).unwrap();
    Ok(())
}

/// Builds the test binaries that rows name, once for all of them; answers where each lies and the folder its package has.
fn build(copy: &Path, target: &Path) -> Binaries {
    let binaries: BTreeSet<&str> = MUTATIONS.iter().map(|mutation| mutation.noticed_by.1).collect();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The same selection as everywhere, so that dependencies have the same features and are not built again.
    cargo.args(["test", "--quiet", "--offline", "--no-run", "--workspace"]);
    cargo.arg("--message-format=json-render-diagnostics");
    for binary in binaries {
        if binary.is_empty() {
            cargo.arg("--lib")
        } else {
            cargo.args(["--test", binary])
        };
    }
    let built = cargo.env("CARGO_TARGET_DIR", target).current_dir(copy).output().unwrap();
    assert!(built.status.success(), "the copy does not compile:\n{}", String::from_utf8_lossy(&built.stderr));
    let mut tests = Binaries::new();
    for message in Message::parse_stream(&*built.stdout).map(Result::unwrap) {
        let Message::CompilerArtifact(artifact) = message else { continue };
        let Some(program) = artifact.executable.filter(|_| artifact.profile.test) else { continue };
        let binary = if artifact.target.is_test() { artifact.target.name } else { String::new() };
        let folder = artifact.manifest_path.parent().unwrap().to_owned();
        let package = artifact.package_id.repr;
        let package = package.rsplit(['/', '#']).find(|part| part.starts_with("pinfold")).unwrap_or_default();
        let package = package.split('@').next().unwrap_or_default().to_owned();
        tests.insert((package, binary), (program.into(), folder.into()));
    }
    tests
}

/// Whether a row's test passes as the tree is, and fails when the guard is broken.
fn noticed(tests: &Binaries, mutation: &Mutation) -> Result<(), String> {
    let Test(package, binary, name) = mutation.noticed_by;
    let (program, folder) =
        tests.get(&(package.to_owned(), binary.to_owned())).ok_or_else(|| format!("{package} has no `{binary}`"))?;
    let run = |broken: &str| {
        let mut test = Command::new(program);
        test.args(["--exact", name]).current_dir(folder).env(SWITCH, broken);
        // A failing property would search for its smallest case.
        test.envs([("PROPTEST_MAX_SHRINK_ITERS", "0"), ("INSTA_UPDATE", "no"), ("RUST_BACKTRACE", "0")]);
        let said = test.env("CARGO_MANIFEST_DIR", folder).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    for (broken, expected) in [("", "1 passed; 0 failed;"), (mutation.breaks, "0 passed; 1 failed;")] {
        let said = run(broken);
        if !said.contains(expected) {
            return Err(format!("with `{broken}` broken, `{name}` of {package} {binary} is not `{expected}`:\n{said}"));
        }
    }
    Ok(())
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
