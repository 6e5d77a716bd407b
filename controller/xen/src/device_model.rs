//! What must be there before a QEMU starts, the folder of its screen's socket and a blank medium; and whether one still runs.
//!
//! A drive that is empty when QEMU starts gets no `qdisk` backend from it ("Could not stat file ''"), and when a medium is put into it later QEMU
//! dies (7.2 in Debian 12, tried with `xl cd-insert`). So an empty drive begins with a blank medium, which is ejected before its guest runs.
//!
//! The folder of the sockets may be entered by root only, before any QEMU makes one there. QEMU makes its socket as its umask says, so the folder is what keeps others out. Whoever comes in may see and type: there is no password,
//! because Debian 12's QEMU for Xen has no cipher for one (its VNC knows DES only), and because none can then be found in an argument list.

use crate::libxl::io_failure;
use protocol::{DomainConfig, Failure, FailureKind, VNC_FOLDER};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What is in an empty drive until it is ejected.
pub(crate) const BLANK: &str = "/run/pinfold/blank.iso";

/// Bytes of it: a sector of a CD-ROM.
const BLANK_BYTES: u64 = 2048;

/// Makes what the QEMU of this domain needs.
pub(crate) fn prepare(config: &DomainConfig) -> Result<(), Failure> {
    let Some(hvm) = &config.hvm else { return Ok(()) };
    if hvm.vnc {
        private_folder(Path::new(VNC_FOLDER))?;
    }
    if hvm.cdroms.iter().any(|drive| drive.medium.is_none()) {
        let failed = |error: io::Error| io_failure(&format!("open {BLANK}"), &error);
        let blank = Path::new(BLANK);
        blank.parent().map_or(Ok(()), public_folder)?;
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(blank).map_err(failed)?;
        file.set_len(BLANK_BYTES).map_err(failed)?;
    }
    Ok(())
}

/// Whether the process that was this domain's QEMU has ended. A number that another process has by now, and a process that nobody has waited for,
/// are ended ones; a process that cannot be read is none.
pub(crate) fn is_gone(proc: &Path, pid: u32, domid: u32) -> bool {
    match fs::read(proc.join(pid.to_string()).join("cmdline")) {
        // libxl starts every QEMU with these words (libxl_dm.c, `libxl__build_device_model_args_new`).
        Ok(arguments) => {
            let words: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
            !words.windows(2).any(|pair| pair == [b"-xen-domid".as_slice(), domid.to_string().as_bytes()])
        }
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// The daemon's own folder of sockets, when a worker comes before it.
fn public_folder(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| io_failure(&format!("mkdir {}", folder.display()), &error);
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)
}

fn private_folder(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| io_failure(&format!("mkdir {}", folder.display()), &error);
    folder.parent().map_or(Ok(()), public_folder)?;
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
    fn a_qemu_is_known_by_its_domain() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: u32, arguments: &str| {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("cmdline"), arguments).unwrap();
        };
        process(10, "/usr/libexec/xen-qemu-system-i386\0-xen-domid\x007\0-no-shutdown\0");
        process(11, "vi\0-xen-domid\x0070\0");
        process(12, "");
        fs::create_dir_all(proc.path().join("14/cmdline")).unwrap();
        let gone = |pid| is_gone(proc.path(), pid, 7);
        assert_eq!([10, 11, 12, 13, 14].map(gone), [false, true, true, true, false]);
    }

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
