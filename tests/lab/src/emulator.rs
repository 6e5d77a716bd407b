//! Which QEMU emulates a lab: the one that is installed, or Debian 11's, which `image-debian11/build.sh` unpacks.

use std::path::{Path, PathBuf};

use crate::LabError;
use crate::image::{cache_folder, lock, make, prepare_machine, recipe_hash, run_script};

/// What makes the folder of [`debian11`].
const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image-debian11");

/// A QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emulator {
    /// This machine's.
    Installed,
    /// See [`debian11`].
    Debian11,
}

impl Emulator {
    /// The program, with what it needs to find its libraries and firmware.
    pub(crate) fn command(self) -> Result<Vec<String>, LabError> {
        if self == Self::Installed {
            return Ok(vec!["qemu-system-x86_64".to_owned()]);
        }
        let folder = debian11()?;
        let at = |name: &str| folder.join(name).display().to_string();
        Ok(vec![
            at("ld.so"),
            "--library-path".to_owned(),
            at("lib"),
            at("qemu-system-x86_64"),
            "-L".to_owned(),
            at("share"),
        ])
    }
}

/// The folder with Debian 11's QEMU 5.2 and its `OVMF.fd`; unpacked now if it is not there, which needs root and Debian 12.
pub fn debian11() -> Result<PathBuf, LabError> {
    let cache = cache_folder()?;
    let finished = cache.join("images").join(format!("debian11-{}", recipe_hash(RECIPE)?));
    if finished.is_dir() {
        return Ok(finished);
    }
    let _lock = lock(&cache)?;
    if !finished.is_dir() {
        prepare_machine()?;
        make(&cache, &finished, |out| run_script(&cache, RECIPE, &[Path::new(RECIPE), out]))?;
    }
    Ok(finished)
}
