//! Where screens are served: a folder that only root may enter, before any QEMU makes a socket in it.
//!
//! QEMU makes its socket as its umask says, so the folder is what keeps others out. Whoever comes in may see and type: there is no password,
//! because Debian 12's QEMU for Xen has no cipher for one (its VNC knows DES only), and because none can then be found in an argument list.

use crate::libxl::io_failure;
use protocol::{DomainConfig, Failure, FailureKind, VNC_FOLDER};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes the folder, when this domain has a screen to be served.
pub(crate) fn prepare(config: &DomainConfig) -> Result<(), Failure> {
    if config.hvm.as_ref().is_some_and(|hvm| hvm.vnc) { private_folder(Path::new(VNC_FOLDER)) } else { Ok(()) }
}

fn private_folder(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| io_failure(&format!("mkdir {}", folder.display()), &error);
    if let Some(parent) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Somebody else's folder, or a link to one, is not ours to open or to close.
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("{} is no folder of root's; remove it", folder.display());
        return Err(Failure::new(FailureKind::Refused, "mkdir", message));
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_roots_alone_and_no_link() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run/vnc");
        private_folder(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        private_folder(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(private_folder(&link).unwrap_err().message.contains("is no folder of root's"));
    }
}
