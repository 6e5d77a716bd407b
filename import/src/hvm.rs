//! What only HVM guests have: firmware, what it boots from, a screen, a serial port.

use crate::report::{Sheet, Word};
use schema::desired::{Boot, BootDevice, Cdrom, Disk, Firmware, Hvm, Nic};
use std::ops::Range;

/// libxl shows these to an HVM guest on its IDE bus too, as the drive of the same letter: that is how their firmware finds them (libxl_dm.c).
const PV_NAMES: [(&str, &str); 4] = [("xvda", "hda"), ("xvdb", "hdb"), ("xvdc", "hdc"), ("xvdd", "hdd")];

/// The name of old configurations for Xen's own loader of firmware: xl ignores it (xl_parse.c).
const LOADER: &str = "hvmloader";

/// The emulated drive that xl makes of a PV name, if it is writable: an emulated disk cannot be read-only.
pub(crate) fn drive(vdev: &str, read_only: bool) -> Option<&'static str> {
    PV_NAMES.iter().find(|(name, _)| *name == vdev && !read_only).map(|(_, drive)| *drive)
}

/// Whether a kernel is none, but the loader that every HVM guest starts with.
pub(crate) fn is_loader(kernel: &str) -> bool {
    kernel.rsplit('/').next() == Some(LOADER)
}

/// The fields of an HVM guest that are nothing else's.
pub(crate) fn hvm(sheet: &mut Sheet<'_>, cdroms: Vec<Cdrom>) -> Hvm {
    let firmware = firmware(sheet);
    // xl's default for an HVM guest is a screen.
    let vnc = sheet.number("vnc").is_none_or(|(number, _)| number != 0);
    serial(sheet);
    Hvm { firmware, vnc, cdroms }
}

fn firmware(sheet: &mut Sheet<'_>) -> Firmware {
    let Some(word) = sheet.word("bios") else { return Firmware::Bios };
    match word.text.as_str() {
        "ovmf" => Firmware::Uefi,
        "seabios" => Firmware::Bios,
        other => {
            let message = format!("`bios = {other}` becomes `firmware: bios`, which is SeaBIOS");
            sheet.changed(&word.bytes, &message, "see that the guest starts with it");
            Firmware::Bios
        }
    }
}

/// pinfold's only serial port is the text console, as `pty` is xl's.
fn serial(sheet: &mut Sheet<'_>) {
    let Some(setting) = sheet.take("serial") else { return };
    if setting.value.words() != ["pty"] {
        let why = "an HVM guest of pinfold has one serial port, which is its console";
        sheet.lost(&setting.bytes, "`serial`", why, "read it with `pinfold console`");
    }
}

/// What the firmware looks on; xl: the disk, then the CD-ROM drive, unless `boot` says otherwise.
pub(crate) fn order(sheet: &mut Sheet<'_>, disks: &[Disk], cdroms: &[Cdrom], nics: &[Nic]) -> Option<Boot> {
    let has = |device: BootDevice| match device {
        BootDevice::Disk => disks.iter().any(|disk| disk.target.starts_with("hd")),
        BootDevice::Cdrom => !cdroms.is_empty(),
        BootDevice::Network => !nics.is_empty(),
    };
    let word = sheet.word("boot");
    let mut order = Vec::new();
    for letter in word.as_ref().map_or("cd", |word| &word.text).chars() {
        match device(letter) {
            Some(device) if has(device) && !order.contains(&device) => order.push(device),
            Some(device) if has(device) => {}
            known => without(sheet, word.as_ref(), letter, known.is_some()),
        }
    }
    if order.is_empty() {
        let bytes: Option<Range<usize>> = word.map(|word| word.bytes);
        let next = "add a disk `hda`, a CD-ROM drive or a NIC, or boot a `kernel`";
        sheet.refuse(bytes.as_ref(), "its firmware finds nothing to boot from among what is carried over", next);
        return None;
    }
    Some(Boot::Devices(order))
}

/// A letter that the configuration itself wrote, and that has no device behind it.
fn without(sheet: &mut Sheet<'_>, word: Option<&Word>, letter: char, is_known: bool) {
    let Some(word) = word else { return };
    let why = if is_known { "this VM has no such device" } else { "pinfold's firmware boots from `c`, `d` and `n`" };
    sheet.lost(&word.bytes, &format!("`{letter}` of `boot`"), why, "leave it out");
}

/// Letters of `boot` (xl.cfg(5)).
fn device(letter: char) -> Option<BootDevice> {
    match letter {
        'c' => Some(BootDevice::Disk),
        'd' => Some(BootDevice::Cdrom),
        'n' => Some(BootDevice::Network),
        _ => None,
    }
}
