//! What a reader finds in the tree.

use ignore::WalkBuilder;
use std::path::{Path, PathBuf};

/// Lines after which a source file asks to be two. Tests and tables may be longer: they are read one case at a time.
const MAX_LINES: usize = 400;

/// Every file of the tree that git would take, with its text. Files that are no text are left out.
fn texts() -> Vec<(PathBuf, String)> {
    let root = super::root();
    let mut files: Vec<_> = WalkBuilder::new(&root)
        .hidden(false)
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != "target")
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((entry.path().strip_prefix(&root).ok()?.to_owned(), text))
        })
        .collect();
    files.sort();
    assert!(files.len() > 20, "the walk found almost nothing in {}", root.display());
    files
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn source_files_are_short() {
    let long: Vec<_> = texts()
        .into_iter()
        .filter(|(path, _)| is_rust(path) && !is_test(path))
        .map(|(path, text)| (path, text.lines().take_while(|line| *line != "mod tests {").count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "files of more than {MAX_LINES} lines before their tests:\n{}", long.join("\n"));
}

#[test]
fn modules_say_what_they_are_for() {
    let silent: Vec<_> = texts()
        .into_iter()
        .filter(|(path, text)| is_rust(path) && !text.trim_start_matches("#![no_main]\n").starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "files that do not open with `//!`:\n{}", silent.join("\n"));
}

#[test]
fn unsafe_stands_in_two_crates() {
    let word = concat!("un", "safe ");
    let outside: Vec<_> = texts()
        .into_iter()
        .filter(|(path, _)| {
            is_rust(path) && !path.starts_with("controller/xen") && !path.starts_with("controller/libxl-sys")
        })
        .filter(|(_, text)| {
            text.lines().any(|line| !line.trim_start().starts_with("//") && !line.contains('"') && line.contains(word))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(outside.is_empty(), "{word}outside controller/xen and controller/libxl-sys:\n{}", outside.join("\n"));
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // Each in two parts, so that this file does not find itself.
    let marks = [("todo", "!("), ("unimpl", "emented!("), ("#[ign", "ore"), ("FIX", "ME"), ("dbg", "!(")];
    let found: Vec<_> = texts()
        .into_iter()
        .filter(|(path, _)| is_rust(path))
        .flat_map(|(path, text)| {
            let path = path.display().to_string();
            text.lines()
                .enumerate()
                .filter(|(_, line)| marks.iter().any(|(a, b)| line.contains(&format!("{a}{b}"))))
                .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "unfinished or switched off:\n{}", found.join("\n"));
}

#[test]
fn examples_of_the_language_carry_a_modeline() {
    let without: Vec<_> = texts()
        .into_iter()
        .filter(|(path, text)| {
            path.starts_with("examples")
                && path.extension().is_some_and(|e| e == "yaml")
                && !text.starts_with("# yaml-language-server: $schema=")
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(without.is_empty(), "examples without an editor modeline:\n{}", without.join("\n"));
}
