//! Reads a folder the way a commit is read: the same files, the same limits, links as links.
//!
//! Entry point: [`read`]. What is a manifest and what is wrong with it is decided by the schema crate, not here.

use schema::tree::{self, Content, IGNORE_FILE, MAX_FILE_BYTES, MAX_FILES, SourceFile, Tree};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How deep folders are followed. Git itself has no limit; a configuration needs five.
const MAX_DEPTH: usize = 64;

/// Why a folder could not be read. What could be read is not used either: half a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path is not UTF-8, so that no finding could name it.
    #[error("the path {} is not UTF-8: rename the file, or move it out of the configuration", .0.display())]
    NotUtf8(PathBuf),
    /// Folders are nested too deep.
    #[error("{} lies more than {MAX_DEPTH} folders deep: give the folder that holds the configuration", .0.display())]
    TooDeep(PathBuf),
}

/// Reads a configuration: a folder, or a single manifest file.
pub fn read(root: &Path) -> Result<Tree, FolderError> {
    let mut tree = Tree::default();
    let metadata = fs::metadata(root).map_err(|source| FolderError::Read { path: root.to_owned(), source })?;
    if metadata.is_dir() {
        walk(root, "", 0, &mut tree)?;
        let ignore = root.join(IGNORE_FILE);
        if ignore.is_file() {
            tree.ignore = Some(fs::read(&ignore).map_err(|source| FolderError::Read { path: ignore, source })?);
        }
    } else {
        let name =
            root.file_name().and_then(|name| name.to_str()).ok_or_else(|| FolderError::NotUtf8(root.to_owned()))?;
        tree.files.push(SourceFile { path: name.to_owned(), content: text(root, metadata.len())? });
    }
    tree.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

fn walk(folder: &Path, prefix: &str, depth: usize, tree: &mut Tree) -> Result<(), FolderError> {
    if depth > MAX_DEPTH {
        return Err(FolderError::TooDeep(folder.to_owned()));
    }
    let failed = |source| FolderError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(FolderError::NotUtf8(path));
        };
        // One more than the limit is enough for the schema crate to refuse them all.
        if name.starts_with('.') || tree.files.len() > MAX_FILES {
            continue;
        }
        let relative = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(|source| FolderError::Read { path: path.clone(), source })?;
        if kind.is_dir() {
            walk(&path, &format!("{relative}/"), depth + 1, tree)?;
        } else if let Some(content) = content(&path, &relative, kind)? {
            tree.files.push(SourceFile { path: relative, content });
        }
    }
    Ok(())
}

/// What the tree holds of one entry: text only of manifests, targets of links, nothing of sockets and the like.
fn content(path: &Path, relative: &str, kind: fs::FileType) -> Result<Option<Content>, FolderError> {
    let failed = |source| FolderError::Read { path: path.to_owned(), source };
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        return Ok(Some(Content::Symlink(target.to_string_lossy().into_owned())));
    }
    if !kind.is_file() {
        return Ok(None);
    }
    if !tree::is_manifest_path(relative) {
        // The name alone is handed over, for a finding about `.YML` and the like.
        return Ok(Some(Content::Text(Vec::new())));
    }
    let size = fs::metadata(path).map_err(failed)?.len();
    text(path, size).map(Some)
}

/// The bytes of a file that may grow while it is read.
fn text(path: &Path, size: u64) -> Result<Content, FolderError> {
    if size > MAX_FILE_BYTES {
        return Ok(Content::TooLarge(size));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(count) if count as u64 > MAX_FILE_BYTES => Ok(Content::TooLarge(count as u64)),
        Ok(_) => Ok(Content::Text(bytes)),
        Err(source) => Err(FolderError::Read { path: path.to_owned(), source }),
    }
}
