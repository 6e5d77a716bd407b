//! The files of one commit, and which of them are manifests.
//!
//! Whoever reads a commit or a folder (an effect, elsewhere) hands every file over as it is; this module decides. A file is a manifest
//! when its name ends in `.yaml` or `.yml`, no part of its path starts with a dot, and `.pinfoldignore` does not name it.

use crate::finding::{Finding, Location};
use crate::text::Text;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::path::Path;

/// The largest manifest file that is read. A thousand VMs fit in.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most manifest files of one configuration.
pub const MAX_FILES: usize = 100_000;
/// The most bytes of all manifests together.
pub const MAX_TOTAL_BYTES: u64 = 256 * 1024 * 1024;
/// The file in the root of the configuration that lists what is no manifest, in the syntax of `.gitignore`.
pub const IGNORE_FILE: &str = ".pinfoldignore";

/// One file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the root of the configuration, with `/` between its parts.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its bytes as read.
    Text(Vec<u8>),
    /// It is a symbolic link with this target.
    Symlink(String),
    /// It is larger than [`MAX_FILE_BYTES`] and was not read; its size in bytes.
    TooLarge(u64),
}

/// Every file of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The files, in any order. Files that are no manifests may be left out.
    pub files: Vec<SourceFile>,
    /// The content of [`IGNORE_FILE`] in the root of the configuration.
    pub ignore: Option<Vec<u8>>,
}

/// Whether a path can be a manifest by its name alone: whoever collects files needs to read only these.
pub fn is_manifest_path(path: &str) -> bool {
    has_manifest_ending(path) && !path.split('/').any(|part| part.starts_with('.'))
}

fn has_manifest_ending(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// The manifests of a tree by path, and what keeps others from being read.
pub(crate) fn manifests<'t>(tree: &'t Tree, findings: &mut Vec<Finding>) -> Vec<Text<'t>> {
    let ignore = ignore_rules(tree, findings);
    let mut files: Vec<&SourceFile> = tree.files.iter().filter(|file| is_wanted(file, &ignore)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(finding) = too_much(&files) {
        findings.push(finding.help("split the configuration, or list folders in `.pinfoldignore`"));
        return Vec::new();
    }
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        if !has_manifest_ending(&file.path) {
            findings.extend(not_read(file));
            continue;
        }
        match decode(file) {
            Ok(text) => texts.push(text),
            Err(finding) => findings.push(*finding),
        }
    }
    texts
}

/// More than is read, counted before anything is.
fn too_much(files: &[&SourceFile]) -> Option<Finding> {
    if files.len() > MAX_FILES {
        let message =
            format!("the configuration has {} manifest files; pinfold reads at most {MAX_FILES}", files.len());
        return Some(Finding::error("too-many-files", message));
    }
    let size = |file: &&SourceFile| match &file.content {
        Content::Text(bytes) => bytes.len() as u64,
        Content::Symlink(_) | Content::TooLarge(_) => 0,
    };
    let total: u64 = files.iter().map(size).sum();
    let message = format!("the manifests have {total} bytes together; pinfold reads at most {MAX_TOTAL_BYTES}");
    (total > MAX_TOTAL_BYTES).then(|| Finding::error("too-large", message))
}

/// Manifests, and files whose author may take them for manifests.
fn is_wanted(file: &SourceFile, ignore: &Gitignore) -> bool {
    let hidden = file.path.split('/').any(|part| part.starts_with('.'));
    let looks_wanted = has_manifest_ending(&file.path) || not_read(file).is_some();
    !hidden && looks_wanted && !ignore.matched_path_or_any_parents(file.path.trim_start_matches('/'), false).is_ignore()
}

/// A warning for a file whose manifests would otherwise be left out silently.
fn not_read(file: &SourceFile) -> Option<Finding> {
    let path = Path::new(&file.path);
    let finding = match &file.content {
        Content::Symlink(target) if path.extension().is_none() => Finding::warning(
            "symlink",
            format!("`{}` is a symbolic link to `{target}`; nothing behind it is read", file.path),
        )
        .help("put the files themselves below the configuration, or list the link in `.pinfoldignore`"),
        Content::Text(_) | Content::TooLarge(_) => {
            let ending = path.extension()?.to_str()?.to_ascii_lowercase();
            if ending != "yaml" && ending != "yml" || has_manifest_ending(&file.path) {
                return None;
            }
            Finding::warning(
                "file-name",
                format!("`{}` is not read: a manifest's name ends in `.yaml` or `.yml`, in lower case", file.path),
            )
            .help("rename the file, or list it in `.pinfoldignore`")
        }
        Content::Symlink(_) => return None,
    };
    Some(finding.at(Location::of_file(&file.path)))
}

fn decode(file: &SourceFile) -> Result<Text<'_>, Box<Finding>> {
    let here = || Location::of_file(&file.path);
    let finding = match &file.content {
        Content::TooLarge(size) => too_large(*size).at(here()),
        Content::Symlink(target) => symlink(&file.path, target).at(here()),
        Content::Text(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => too_large(bytes.len() as u64).at(here()),
        Content::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Text::new(&file.path, text)),
            Err(error) => not_utf8(&file.path, bytes, error.valid_up_to()),
        },
    };
    Err(Box::new(finding))
}

fn too_large(size: u64) -> Finding {
    Finding::error("too-large", format!("this file has {size} bytes; a manifest has at most {MAX_FILE_BYTES}"))
        .help("split it into several files, or list it in `.pinfoldignore` if it is no manifest")
}

fn not_utf8(path: &str, bytes: &[u8], valid: usize) -> Finding {
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let before = &bytes[..valid];
    let line = 1 + before.split(|byte| *byte == b'\n').count().saturating_sub(1);
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let (line, column) = (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX));
    let location = Location { line, column, end_line: line, end_column: column, ..Location::of_file(path) };
    let message =
        format!("this file is not UTF-8: byte 0x{:02x} in line {line}", bytes.get(valid).copied().unwrap_or_default());
    let help = if utf16 { "it is UTF-16; save it as UTF-8" } else { "save it as UTF-8" };
    Finding::error("not-utf8", message).at(location).help(help)
}

fn symlink(path: &str, target: &str) -> Finding {
    if leaves_tree(path, target) {
        Finding::error("symlink-leaves-tree", format!("this symbolic link to `{target}` leaves the configuration"))
            .help("a commit has to hold everything that it says; put the file itself here")
    } else {
        Finding::error("symlink", format!("this manifest is a symbolic link to `{target}`"))
            .help("pinfold reads files, not links: the same object would stand in two places; put the file itself here")
    }
}

/// Whether a link's target is outside the configuration, by its text alone.
fn leaves_tree(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn ignore_rules(tree: &Tree, findings: &mut Vec<Finding>) -> Gitignore {
    let Some(bytes) = &tree.ignore else { return Gitignore::empty() };
    let mut rules = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(bytes);
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(&text).lines().enumerate() {
        if let Err(error) = rules.add_line(None, line) {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let location = Location { line, end_line: line, ..Location::of_file(IGNORE_FILE) };
            findings.push(
                Finding::error("bad-ignore-pattern", format!("this pattern cannot be read: {error}")).at(location),
            );
        }
    }
    rules.build().unwrap_or_else(|error| {
        findings.push(
            Finding::error("bad-ignore-pattern", format!("the patterns cannot be used together: {error}"))
                .at(Location::of_file(IGNORE_FILE)),
        );
        Gitignore::empty()
    })
}
