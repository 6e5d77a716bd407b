//! Disks and NICs of a configuration of xl.

use crate::names::{self, Networks};
use crate::report::{Sheet, Word};
use crate::{disk, hvm};
use schema::check;
use schema::desired::{Cdrom, Disk, Nic, VmType};
use schema::units::Mac;

/// The bridge that xl takes when none is named (xl-network-configuration(5)).
const DEFAULT_BRIDGE: &str = "xenbr0";

/// What one line of `disk` is.
enum Drive {
    Disk(Disk),
    Cdrom(Cdrom),
}

/// The NIC that QEMU shows to a guest for which none is named (xl-network-configuration(5), `model`).
const EMULATED_NIC: &str = "rtl8139";

/// The disks and CD-ROM drives that manifests can say.
pub(crate) fn disks(sheet: &mut Sheet<'_>, kind: VmType) -> (Vec<Disk>, Vec<Cdrom>) {
    let (mut disks, mut cdroms) = (Vec::new(), Vec::new());
    for word in sheet.words("disk") {
        match drive(sheet, &word, kind) {
            Some(Drive::Disk(disk)) => disks.push(disk),
            Some(Drive::Cdrom(drive)) => cdroms.push(drive),
            None => {}
        }
    }
    (disks, cdroms)
}

fn drive(sheet: &mut Sheet<'_>, word: &Word, kind: VmType) -> Option<Drive> {
    let is_hvm = kind == VmType::Hvm;
    let disk = match understood(&word.text, is_hvm) {
        Ok(disk) => disk,
        Err((why, next)) => {
            sheet.lost(&word.bytes, "this disk", &why, next);
            return None;
        }
    };
    let Understood { vdev, path, read_only, is_cdrom, lossy } = disk;
    let vdev = match hvm::drive(&vdev, read_only && !is_cdrom).filter(|_| is_hvm) {
        Some(drive) => {
            let message = format!("`{vdev}` becomes `{drive}`: that is where the guest's firmware finds it");
            sheet.changed(&word.bytes, &message, "a guest with PV drivers goes on to see it under the old name");
            drive.to_owned()
        }
        None => vdev,
    };
    for other in lossy {
        sheet.lost(
            &word.bytes,
            &format!("`{other}` of disk `{vdev}`"),
            "manifests have no field for it",
            "leave it out; the disk itself is carried over",
        );
    }
    let name = vdev.parse().ok()?;
    if is_cdrom {
        return Some(Drive::Cdrom(Cdrom { name, target: vdev, medium: path }));
    }
    Some(Drive::Disk(Disk { name, target: vdev, path: path?, read_only }))
}

/// What manifests can say of a line of `disk`.
struct Understood {
    vdev: String,
    /// A CD-ROM drive may be empty.
    path: Option<String>,
    read_only: bool,
    is_cdrom: bool,
    /// Words that are not carried over.
    lossy: Vec<String>,
}

/// Reads a line of `disk`; an error is why there is nothing to carry over, and what to do about that.
fn understood(text: &str, is_hvm: bool) -> Result<Understood, (String, &'static str)> {
    let parsed = disk::parse(text).map_err(|why| (why, "xl-disk-configuration(5) says how a disk is written"))?;
    let disk::Disk { target, format, vdev, read_only, cdrom, backend, backend_type, script, others } = parsed;
    if cdrom && !is_hvm {
        return Err(("a PV or PVH guest has no CD drive".to_owned(), "give the image as a disk with access `r`"));
    }
    let target = target.filter(|target| !target.is_empty());
    // A drive without a medium is written so.
    let is_empty = cdrom && (target.is_none() || format.as_deref() == Some("empty"));
    if let Some(format) = format.filter(|format| format != "raw" && !is_empty) {
        return Err((
            format!("its format is `{format}`, and disks are raw"),
            "convert it with `qemu-img convert -O raw`",
        ));
    }
    if let Some(script) = script {
        let why = format!("`{script}` prepares it, and disks are files and devices of dom0");
        return Err((why, "attach it to dom0, and name the device"));
    }
    if let Some(backend) = backend.filter(|backend| !matches!(backend.as_str(), "0" | "Domain-0")) {
        let why = format!("domain `{backend}` serves it, and pinfold's backends are in dom0");
        return Err((why, "leave this domain to `xl`"));
    }
    let vdev = vdev.unwrap_or_default();
    let known = if is_hvm { check::disk_target(&vdev) } else { names::pv_disk_target(&vdev) };
    known.map_err(|why| (why, "name it so here, see how the guest finds it then, and import again"))?;
    let path = match target.filter(|_| !is_empty) {
        None if is_empty => None,
        None => return Err(("it has no file or device".to_owned(), "name one")),
        // xl puts `/dev/` before a path that does not start with `/` (xl-disk-configuration(5), "target").
        Some(target) => Some(names::path(&if target.starts_with('/') { target } else { format!("/dev/{target}") })),
    };
    if let Some(Err(why)) = path.as_deref().map(check::host_path) {
        return Err((why, "write the whole path"));
    }
    let lossy = others.into_iter().filter(|other| !matches!(other.as_str(), "discard" | "direct-io-safe"));
    let lossy = lossy.chain(backend_type.filter(|kind| kind != "phy").map(|kind| format!("backendtype={kind}")));
    let lossy = if is_empty { Vec::new() } else { lossy.collect() };
    Ok(Understood { vdev, path, read_only: read_only.unwrap_or(false), is_cdrom: cdrom, lossy })
}

/// The NICs that manifests can say.
pub(crate) fn nics(sheet: &mut Sheet<'_>, kind: VmType, networks: &mut Networks) -> Vec<Nic> {
    let words = sheet.words("vif");
    let nics = words.into_iter().enumerate().filter_map(|(index, word)| nic(sheet, &word, index, kind, networks));
    nics.collect()
}

/// One NIC (xl-network-configuration(5)).
fn nic(sheet: &mut Sheet<'_>, word: &Word, index: usize, kind: VmType, networks: &mut Networks) -> Option<Nic> {
    let (mut mac, mut bridge) = (None, DEFAULT_BRIDGE.to_owned());
    for part in word.text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "mac" => {
                let parsed: Result<Mac, _> = value.parse();
                match parsed {
                    Ok(parsed) => mac = Some(parsed),
                    Err(error) => sheet.lost(
                        &word.bytes,
                        "this NIC's `mac`",
                        &error.to_string(),
                        "correct it, or pinfold makes one",
                    ),
                }
            }
            "bridge" => value.clone_into(&mut bridge),
            "type" if value == "vif" => {}
            "script" if matches!(value, "vif-bridge" | "/etc/xen/scripts/vif-bridge") => {}
            "type" if value == "ioemu" && kind == VmType::Hvm => {}
            "model" if value == EMULATED_NIC && kind == VmType::Hvm => {}
            "type" | "model" if kind == VmType::Hvm => sheet.lost(
                &word.bytes,
                &format!("`{part}` of this NIC"),
                "an HVM guest of pinfold sees a PV NIC, and a Realtek 8139 until its PV drivers run",
                "see that the guest has a driver for either",
            ),
            "type" | "model" => sheet.lost(
                &word.bytes,
                &format!("`{key}` of this NIC"),
                "it is for HVM guests, and this is none",
                "leave it out",
            ),
            "backend" if matches!(value, "0" | "Domain-0") => {}
            "backend" => {
                sheet.lost(
                    &word.bytes,
                    "this NIC",
                    "its backend is in another domain than dom0",
                    "leave this domain to `xl`",
                );
                return None;
            }
            _ => sheet.lost(
                &word.bytes,
                &format!("`{key}` of this NIC"),
                "manifests have no field for it",
                "leave it out; the NIC itself is carried over",
            ),
        }
    }
    if let Err(why) = check::bridge_name(&bridge) {
        sheet.lost(&word.bytes, "this NIC", &why, "name a bridge");
        return None;
    }
    let name = format!("nic{index}").parse().ok()?;
    Some(Nic { name, network: networks.of_bridge(&bridge), mac })
}
