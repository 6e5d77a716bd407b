//! Listing what lies below the allowed folders, up to a bound.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

/// Entries that are looked at. More than this, and the listing says that it is not complete.
const BOUND: usize = 10_000;

/// Files, links and devices below the allowed folders.
pub(crate) struct Listing {
    /// Absolute paths, as a manifest would name them.
    pub(crate) paths: Vec<String>,
    /// Everything was listed.
    pub(crate) complete: bool,
}

/// Lists breadth first, so that a deep folder does not hide the others. Links to folders are not entered: they could lead in a circle.
pub(crate) fn list(allowed: &[PathBuf], named: &[String]) -> Listing {
    let mut listing = Listing { paths: Vec::new(), complete: allowed.len() == named.len() };
    let mut folders: VecDeque<PathBuf> = named.iter().map(PathBuf::from).collect();
    let mut seen = 0;
    while let Some(folder) = folders.pop_front() {
        // A single file or device may be allowed by its own path.
        if !folder.is_dir() {
            listing.paths.extend(folder.to_str().map(str::to_owned));
            continue;
        }
        let Ok(entries) = fs::read_dir(&folder) else {
            listing.complete = false;
            continue;
        };
        for entry in entries {
            seen += 1;
            let (true, Ok(entry)) = (seen <= BOUND, entry) else {
                listing.complete = false;
                if seen > BOUND {
                    return listing;
                }
                continue;
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push_back(entry.path()),
                // What is not UTF-8 cannot be named by a manifest.
                Ok(_) => listing.paths.extend(entry.path().into_os_string().into_string()),
                Err(_) => listing.complete = false,
            }
        }
    }
    listing
}
