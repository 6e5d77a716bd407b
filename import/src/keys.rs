//! Keys of xl.cfg(5) that manifests have no field for, and what to say about each.
//!
//! A key that is not here is reported too, with [`GENERAL`]. A value that says what is so anyway (`sdl = 0`) loses nothing.

use schema::desired::VmType;

/// A key without a field.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Values that lose nothing, because the domain is so without the key.
    pub(crate) harmless: &'static [&'static str],
    /// Why it is not carried over.
    pub(crate) why: &'static str,
    /// What to do.
    pub(crate) next: &'static str,
}

/// What is said of any other key.
pub(crate) const GENERAL: Key = Key {
    name: "",
    harmless: &[],
    why: "manifests have no field for it",
    next: "`pinfold explain vm.spec` lists the fields; if the guest needs this, leave its domain to `xl`",
};

/// Says what is known about a key of such a guest.
pub(crate) fn about(name: &str, kind: VmType) -> &'static Key {
    let own = if kind == VmType::Hvm { HVM } else { OTHERS };
    own.iter().chain(KEYS).find(|key| key.name == name).unwrap_or(&GENERAL)
}

const OFF: &[&str] = &["0"];
const ON: &[&str] = &["1"];
const SCREEN: &str = "a PV or PVH guest of pinfold has a console and no screen";
const SCREEN_NEXT: &str = "reach the guest over the network, or with `xl console`";
const VNC: &str = "the screen of an HVM guest is served on a Unix socket in dom0, and nowhere else";
const VNC_NEXT: &str = "`pinfold describe` says how to reach it";
const CARD: &str = "an HVM guest of pinfold has the standard VGA card with 16 MiB";
const USB: &str = "an HVM guest of pinfold has no USB";
const USB_NEXT: &str = "its keyboard and mouse are PS/2";
const HVM_ONLY: &str = "it is for HVM guests, and this is none";
const LEAVE_OUT: &str = "leave it out";
const PASSED: &str = "pinfold passes no device of the host through";
const PASSED_NEXT: &str = "if the guest needs the device, leave its domain to `xl`";

const fn key(name: &'static str, harmless: &'static [&'static str], why: &'static str, next: &'static str) -> Key {
    Key { name, harmless, why, next }
}

/// Of HVM guests.
const HVM: &[Key] = &[
    key("sdl", OFF, VNC, VNC_NEXT),
    key("spice", OFF, VNC, VNC_NEXT),
    key("vnclisten", &[], VNC, VNC_NEXT),
    key("vncdisplay", &[], VNC, VNC_NEXT),
    key("vncunused", &[], VNC, VNC_NEXT),
    key(
        "vncpasswd",
        &[],
        VNC,
        "do not commit it: whoever may use the socket is root in dom0, and no password is asked for",
    ),
    key("keymap", &[], VNC, "set the keyboard in the guest"),
    key("opengl", OFF, VNC, VNC_NEXT),
    key("nographic", OFF, VNC, VNC_NEXT),
    key("stdvga", ON, CARD, LEAVE_OUT),
    key("vga", &["stdvga"], CARD, LEAVE_OUT),
    key("videoram", &["16"], CARD, LEAVE_OUT),
    key("usb", OFF, USB, USB_NEXT),
    key("usbversion", &[], USB, USB_NEXT),
    key("usbdevice", &[], USB, USB_NEXT),
    key("soundhw", &[], "an HVM guest of pinfold has no sound", LEAVE_OUT),
    key("hap", ON, "pinfold leaves it to Xen", LEAVE_OUT),
    key("acpi", ON, "an HVM guest of pinfold has ACPI: its power button is how it is stopped", LEAVE_OUT),
    key("apic", ON, "an HVM guest of pinfold has an APIC", LEAVE_OUT),
    key("pae", ON, "an HVM guest of pinfold has PAE", LEAVE_OUT),
    key("viridian", OFF, "pinfold shows no interfaces of Hyper-V", "see that Windows keeps its time without them"),
    key("localtime", OFF, "pinfold keeps a guest's clock in UTC", "tell the guest that its clock is UTC"),
    key("device_model_version", &["qemu-xen"], "its device model is Debian's `qemu-system-xen`", LEAVE_OUT),
];

/// Of PV and PVH guests.
const OTHERS: &[Key] = &[
    key("sdl", OFF, SCREEN, SCREEN_NEXT),
    key("vnc", OFF, SCREEN, SCREEN_NEXT),
    key("vfb", &[], SCREEN, SCREEN_NEXT),
    key("spice", OFF, SCREEN, SCREEN_NEXT),
    key("vnclisten", &[], SCREEN, SCREEN_NEXT),
    key("vncdisplay", &[], SCREEN, SCREEN_NEXT),
    key("vncunused", &[], SCREEN, SCREEN_NEXT),
    key("vncpasswd", &[], SCREEN, "do not commit it: a repository is no place for passwords"),
    key("keymap", &[], SCREEN, SCREEN_NEXT),
    key("opengl", OFF, SCREEN, SCREEN_NEXT),
    key("nographic", ON, SCREEN, SCREEN_NEXT),
    key("serial", &[], HVM_ONLY, "its console is `hvc0`"),
    key("usb", OFF, HVM_ONLY, LEAVE_OUT),
    key("usbdevice", &[], HVM_ONLY, LEAVE_OUT),
    key("boot", &[], HVM_ONLY, LEAVE_OUT),
    key("bios", &[], HVM_ONLY, LEAVE_OUT),
    key("hap", ON, HVM_ONLY, LEAVE_OUT),
    key("acpi", ON, HVM_ONLY, LEAVE_OUT),
    key("apic", ON, HVM_ONLY, LEAVE_OUT),
    key("pae", ON, HVM_ONLY, LEAVE_OUT),
    key("viridian", OFF, HVM_ONLY, LEAVE_OUT),
    key("stdvga", OFF, HVM_ONLY, LEAVE_OUT),
    key("device_model_version", &["qemu-xen"], HVM_ONLY, LEAVE_OUT),
    key("localtime", OFF, "a PV or PVH guest keeps its own clock", "set the time zone in the guest"),
];

/// Of every guest.
const KEYS: &[Key] = &[
    key("pci", &[], PASSED, PASSED_NEXT),
    key("usbdev", &[], PASSED, PASSED_NEXT),
    key("usbctrl", &[], PASSED, PASSED_NEXT),
    key("dtdev", &[], PASSED, PASSED_NEXT),
    key("irqs", &[], PASSED, PASSED_NEXT),
    key("ioports", &[], PASSED, PASSED_NEXT),
    key("iomem", &[], PASSED, PASSED_NEXT),
    key("vnuma", &[], "pinfold shows a guest one NUMA node", LEAVE_OUT),
    key("claim_mode", ON, "pinfold always claims a domain's memory before it builds it", LEAVE_OUT),
    key("bootloader_args", &[], "GRUB for Xen takes no arguments", "put them into the guest's own GRUB configuration"),
    key("seclabel", &[], "pinfold sets no XSM label", "if the host relies on XSM, leave this domain to `xl`"),
    key("init_seclabel", &[], "pinfold sets no XSM label", "if the host relies on XSM, leave this domain to `xl`"),
    key("driver_domain", OFF, "pinfold's backends are in dom0", "leave a driver domain to `xl`"),
    key("autoballoon", &[], "pinfold never takes memory from dom0", "set `dom0_mem=…,max:…` on Xen's command line"),
    key("on_soft_reset", &["soft-reset"], "pinfold has no soft reset", LEAVE_OUT),
];
