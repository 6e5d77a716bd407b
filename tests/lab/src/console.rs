//! The serial console's file, and words to the person who waits.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::LabError;

/// What `/usr/lib/lab/boot` in dom0 prints last.
pub(crate) const UP: &str = "lab: dom0 is up";

/// The file that QEMU writes the serial console to: Xen's lines and dom0's, over all boots of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    path: PathBuf,
}

impl Console {
    /// An empty console in the folder for logs, named after the lab.
    pub(crate) fn create(name: &str) -> Result<Self, LabError> {
        let folder = log_folder()?;
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let path = folder.join(format!("{name}.log"));
        fs::write(&path, "").map_err(LabError::io(format!("writing {}", path.display())))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All of it so far; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).replace('\r', ""))
    }

    /// Its last lines.
    pub(crate) fn tail(&self) -> String {
        tail(&self.text(), 25)
    }

    /// How many times dom0 has come up.
    pub(crate) fn boots(&self) -> usize {
        self.text().matches(UP).count()
    }

    /// Whether the hypervisor has panicked.
    pub(crate) fn panicked(&self) -> bool {
        self.text().contains("(XEN) Panic on CPU")
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A line on stderr for the person who waits.
pub(crate) fn say(words: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(io::stderr(), "lab: {words}");
}

/// `$PINFOLD_LAB_LOGS`, else `lab-logs` in cargo's target folder, in which this program was built.
fn log_folder() -> Result<PathBuf, LabError> {
    let folder = match std::env::var_os("PINFOLD_LAB_LOGS") {
        Some(folder) => PathBuf::from(folder),
        None => target_folder().unwrap_or_else(std::env::temp_dir).join("lab-logs"),
    };
    std::path::absolute(&folder).map_err(LabError::io(format!("finding {}", folder.display())))
}

fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).map(Path::to_path_buf)
}
