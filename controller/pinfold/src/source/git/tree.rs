//! The files of one commit, read out of the mirror within bounds.

use super::mirror::find_commit;
use super::{CommitId, Mirror, MirrorError};
use crate::source::settings::SubPath;
use git2::{ErrorClass, ErrorCode, FileMode, ObjectType, Repository, Tree as GitTree, TreeEntry};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use schema::finding::{Finding, Location, Severity};
use schema::tree::{
    Content, IGNORE_FILE, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, SourceFile, Tree, is_manifest_path,
};

/// How deep folders may nest. git itself has no bound; a person needs a dozen.
const MAX_DEPTH: usize = 64;
/// The most entries of all folders that are looked at.
const MAX_ENTRIES: usize = 1_000_000;
/// The longest target of a symbolic link that is shown.
const MAX_LINK_BYTES: usize = 4096;

/// The configuration in one commit, as far as git goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeAt {
    /// Its files, for [`schema`] to read.
    pub tree: Tree,
    /// What git alone shows to be wrong.
    pub findings: Vec<Finding>,
    /// git's name for the folder and all in it: equal names mean equal files. `None` if there is no such folder.
    pub digest: Option<String>,
}

impl Mirror {
    /// The files below the configured folder in one commit.
    ///
    /// # Errors
    /// The commit or something in it is missing from the mirror or damaged. What the author did wrong is a finding.
    pub fn tree_at(&self, commit: &CommitId, path: &SubPath) -> Result<TreeAt, MirrorError> {
        let repository = self.existing()?;
        let Some(folder) = folder(&repository, commit, path)? else {
            let message =
                format!("the commit has no folder `{}`, where the manifests of this configuration are", path.as_str());
            let help = "move the manifests there, or change `repository.path` in the host's own configuration first";
            let finding = error("no-such-folder", message, None, help);
            return Ok(TreeAt { tree: Tree::default(), findings: vec![finding], digest: None });
        };
        let mut walk = Walk::new(&repository, &folder)?;
        walk.folder(&folder, "", 0)?;
        Ok(TreeAt { tree: walk.tree, findings: walk.findings, digest: Some(folder.id().to_string()) })
    }

    /// git's name for the folder of the configuration in one commit.
    pub(in crate::source) fn digest_at(
        &self,
        commit: &CommitId,
        path: &SubPath,
    ) -> Result<Option<String>, MirrorError> {
        let repository = self.existing()?;
        let folder = folder(&repository, commit, path)?;
        Ok(folder.map(|folder| folder.id().to_string()))
    }
}

fn folder<'r>(
    repository: &'r Repository,
    commit: &CommitId,
    path: &SubPath,
) -> Result<Option<GitTree<'r>>, MirrorError> {
    let failed = || MirrorError::read("read a commit of", repository);
    let root = find_commit(repository, commit)?.tree().map_err(failed())?;
    if path.as_str().is_empty() {
        return Ok(Some(root));
    }
    match root.get_path(path.as_str().as_ref()) {
        Ok(entry) if entry.kind() == Some(ObjectType::Tree) => {
            repository.find_tree(entry.id()).map(Some).map_err(failed())
        }
        Ok(_) => Ok(None),
        Err(error) if error.code() == ErrorCode::NotFound && error.class() == ErrorClass::Tree => Ok(None),
        Err(error) => Err(failed()(error)),
    }
}

struct Walk<'r> {
    repository: &'r Repository,
    ignore: Gitignore,
    tree: Tree,
    findings: Vec<Finding>,
    entries: usize,
    bytes: u64,
    /// A bound was reached: the rest is left out, and the commit cannot be accepted.
    full: bool,
}

impl<'r> Walk<'r> {
    fn new(repository: &'r Repository, root: &GitTree) -> Result<Self, MirrorError> {
        let mut walk = Self {
            repository,
            ignore: Gitignore::empty(),
            tree: Tree::default(),
            findings: Vec::new(),
            entries: 0,
            bytes: 0,
            full: false,
        };
        if let Some(entry) = root.get_name(IGNORE_FILE).filter(|entry| entry.kind() == Some(ObjectType::Blob)) {
            match walk.blob(&entry)? {
                Content::Text(text) => {
                    walk.ignore = rules(&text);
                    walk.tree.ignore = Some(text);
                }
                // The schema never sees such a file: a link here would be read by nobody.
                Content::Symlink(_) | Content::TooLarge(_) => {
                    let message = format!("`{IGNORE_FILE}` must be a file of at most {MAX_FILE_BYTES} bytes");
                    walk.findings.push(error(
                        "bad-ignore-file",
                        message,
                        Some(IGNORE_FILE),
                        "write the patterns into the file itself",
                    ));
                }
            }
        }
        Ok(walk)
    }

    fn folder(&mut self, folder: &GitTree, prefix: &str, depth: usize) -> Result<(), MirrorError> {
        for entry in folder {
            self.entries += 1;
            if self.full {
                return Ok(());
            }
            if entry.name_bytes().starts_with(b".") {
                continue;
            }
            let name = String::from_utf8_lossy(entry.name_bytes());
            let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
            let is_folder = entry.kind() == Some(ObjectType::Tree);
            if self.ignore.matched_path_or_any_parents(&path, is_folder).is_ignore() {
                continue;
            }
            if is_folder {
                self.enter(&entry, &path, depth)?;
            } else {
                self.file(&entry, path)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, entry: &TreeEntry, path: &str, depth: usize) -> Result<(), MirrorError> {
        if depth >= MAX_DEPTH || self.entries > MAX_ENTRIES {
            let message =
                format!("there are more than {MAX_DEPTH} folders in one another, or {MAX_ENTRIES} files in all");
            self.stop("too-many-files", message, path);
            return Ok(());
        }
        let tree =
            self.repository.find_tree(entry.id()).map_err(MirrorError::read("read a folder of", self.repository))?;
        self.folder(&tree, path, depth + 1)
    }

    fn file(&mut self, entry: &TreeEntry, path: String) -> Result<(), MirrorError> {
        if entry.kind() == Some(ObjectType::Commit) {
            let message = format!("`{path}` is a submodule; nothing in it is read");
            let help = "put the files themselves here, or list the folder in `.pinfoldignore`";
            self.findings.push(error("submodule", message, Some(&path), help));
            return Ok(());
        }
        if std::str::from_utf8(entry.name_bytes()).is_err() && is_manifest_path(&path) {
            let message = format!("the name of `{path}` is not UTF-8, here shown with `\u{fffd}`");
            self.findings.push(error("file-name", message, Some(&path), "rename the file"));
            return Ok(());
        }
        let is_link = entry.filemode() == i32::from(FileMode::Link);
        // Of other files the name alone may be worth a warning.
        let is_read = is_manifest_path(&path) || is_link;
        let content = if is_read { self.blob(entry)? } else { Content::Text(Vec::new()) };
        if let Content::Text(text) = &content {
            self.bytes += text.len() as u64;
        }
        if self.bytes > MAX_TOTAL_BYTES {
            let message = format!("the manifests have more than {MAX_TOTAL_BYTES} bytes together");
            self.stop("too-large", message, &path);
            return Ok(());
        }
        if is_read || looks_like_manifest(&path) {
            self.tree.files.push(SourceFile { path, content });
        }
        if self.tree.files.len() > 2 * MAX_FILES {
            let message = format!("there are more than {MAX_FILES} manifests");
            self.stop("too-many-files", message, "");
            return Ok(());
        }
        Ok(())
    }

    /// A file's content, not loaded when it is too large.
    fn blob(&self, entry: &TreeEntry) -> Result<Content, MirrorError> {
        let failed = || MirrorError::read("read a file of", self.repository);
        let odb = self.repository.odb().map_err(failed())?;
        let (size, _) = odb.read_header(entry.id()).map_err(failed())?;
        let is_link = entry.filemode() == i32::from(FileMode::Link);
        if size as u64 > MAX_FILE_BYTES || is_link && size > MAX_LINK_BYTES {
            return Ok(Content::TooLarge(size as u64));
        }
        let blob = self.repository.find_blob(entry.id()).map_err(failed())?;
        if is_link {
            return Ok(Content::Symlink(String::from_utf8_lossy(blob.content()).into_owned()));
        }
        Ok(Content::Text(blob.content().to_vec()))
    }

    fn stop(&mut self, code: &'static str, message: String, path: &str) {
        self.full = true;
        let help = "split the configuration, or list folders in `.pinfoldignore`";
        self.findings.push(error(code, message, Some(path).filter(|path| !path.is_empty()), help));
    }
}

/// Whether the schema may have something to say of a file that is no manifest by its name, such as `web.YAML`.
fn looks_like_manifest(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default();
    ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml")
}

/// The patterns that can be read; the schema reports the others.
fn rules(text: &[u8]) -> Gitignore {
    let mut rules = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(text);
    for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
        rules.add_line(None, line).ok();
    }
    rules.build().unwrap_or_else(|_| Gitignore::empty())
}

fn error(code: &'static str, message: String, file: Option<&str>, help: &str) -> Finding {
    Finding {
        code,
        severity: Severity::Error,
        message,
        location: file.map(Location::of_file),
        label: None,
        help: vec![help.to_owned()],
        related: Vec::new(),
    }
}
