//! Disks and NICs of a configuration of xl.

use crate::disk;
use crate::names::{self, Networks};
use crate::report::{Sheet, Word};
use schema::check;
use schema::desired::{Disk, Nic};
use schema::units::Mac;

/// The bridge that xl takes when none is named (xl-network-configuration(5)).
const DEFAULT_BRIDGE: &str = "xenbr0";

/// The disks that manifests can say.
pub(crate) fn disks(sheet: &mut Sheet<'_>) -> Vec<Disk> {
    let words = sheet.words("disk");
    words.into_iter().filter_map(|word| self::disk(sheet, &word)).collect()
}

fn disk(sheet: &mut Sheet<'_>, word: &Word) -> Option<Disk> {
    let mut lost = |why: &str, next: &str| {
        sheet.lost(&word.bytes, "this disk", why, next);
        None
    };
    let parsed = match disk::parse(&word.text) {
        Ok(parsed) => parsed,
        Err(why) => return lost(&why, "xl-disk-configuration(5) says how a disk is written"),
    };
    let disk::Disk { target, format, vdev, read_only, cdrom, backend, backend_type, script, others } = parsed;
    if cdrom {
        return lost("a PV or PVH guest has no CD drive", "give the image as a disk with access `r`");
    }
    if let Some(format) = format.filter(|format| format != "raw") {
        return lost(
            &format!("its format is `{format}`, and disks are raw"),
            "convert it with `qemu-img convert -O raw`",
        );
    }
    if let Some(script) = script {
        return lost(
            &format!("`{script}` prepares it, and disks are files and devices of dom0"),
            "attach it to dom0, and name the device",
        );
    }
    if let Some(backend) = backend.filter(|backend| !matches!(backend.as_str(), "0" | "Domain-0")) {
        return lost(
            &format!("domain `{backend}` serves it, and pinfold's backends are in dom0"),
            "leave this domain to `xl`",
        );
    }
    let (Some(target), Some(vdev)) = (target, vdev) else { return lost("it has no file or device", "name one") };
    if let Err(why) = names::pv_disk_target(&vdev) {
        return lost(&why, "name it so here, see how the guest finds it then, and import again");
    }
    // xl puts `/dev/` before a path that does not start with `/` (xl-disk-configuration(5), "target").
    let path = names::path(&if target.starts_with('/') { target } else { format!("/dev/{target}") });
    if let Err(why) = check::host_path(&path) {
        return lost(&why, "write the whole path");
    }
    let name = vdev.parse().ok()?;
    let lossy = others.iter().filter(|other| !matches!(other.as_str(), "discard" | "direct-io-safe"));
    let lossy =
        lossy.cloned().chain(backend_type.filter(|kind| kind != "phy").map(|kind| format!("backendtype={kind}")));
    for other in lossy {
        sheet.lost(
            &word.bytes,
            &format!("`{other}` of disk `{vdev}`"),
            "manifests have no field for it",
            "leave it out; the disk itself is carried over",
        );
    }
    Some(Disk { name, target: vdev, path, read_only: read_only.unwrap_or(false) })
}

/// The NICs that manifests can say.
pub(crate) fn nics(sheet: &mut Sheet<'_>, networks: &mut Networks) -> Vec<Nic> {
    let words = sheet.words("vif");
    let nics = words.into_iter().enumerate().filter_map(|(index, word)| nic(sheet, &word, index, networks));
    nics.collect()
}

/// One NIC (xl-network-configuration(5)).
fn nic(sheet: &mut Sheet<'_>, word: &Word, index: usize, networks: &mut Networks) -> Option<Nic> {
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
