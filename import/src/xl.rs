//! One configuration of xl, as a VM.
//!
//! Each function takes the keys it knows from the [`Sheet`] and reports what it cannot say in a manifest. Whatever is left is reported at the end, so that no key is
//! lost silently. To carry a key over: take it where its field is made, and strike it from [`crate::keys`].

use crate::names::{self, Networks};
use crate::report::{Sheet, Word};
use crate::syntax::Setting;
use crate::{Site, cpus, devices, hvm, keys};
use schema::desired::{Boot, Cdrom, Cpu, Disk, Memory, Nic, Restart, Vcpus, Vm, VmType};
use schema::units::{Cores, Name, Size};
use schema::{Finding, check};
use std::collections::BTreeMap;

/// Images of GRUB for Xen as Debian's package `grub-xen-host` installs them: `boot: {grub: true}` is these.
const GRUB_IMAGES: [&str; 3] = [
    "/usr/lib/grub-xen/grub-x86_64-xen.bin",
    "/usr/lib/grub-xen/grub-i386-xen.bin",
    "/usr/lib/grub-xen/grub-i386-xen_pvh.bin",
];

/// Turns one file into a VM; `None` when a finding is an error.
pub(crate) fn vm(file: &str, text: &str, site: &Site, networks: &mut Networks) -> (Option<Vm>, Vec<Finding>) {
    let mut sheet = Sheet::read(file, text);
    let name = name(&mut sheet);
    let Some(kind) = kind(&mut sheet) else {
        // What the other keys mean depends on it.
        return (None, sheet.findings);
    };
    let vcpus = vcpus(&mut sheet);
    let memory = memory(&mut sheet);
    let cpu = cpu(&mut sheet, site);
    let (disks, cdroms) = devices::disks(&mut sheet, kind);
    let nics = devices::nics(&mut sheet, kind, networks);
    let boot = match kind {
        VmType::Hvm => hvm_boot(&mut sheet, &disks, &cdroms, &nics),
        VmType::Pv | VmType::Pvh => boot(&mut sheet, !disks.is_empty()),
    };
    let hvm = (kind == VmType::Hvm).then(|| hvm::hvm(&mut sheet, cdroms));
    let restart = restart(&mut sheet);
    let uuid = uuid(&mut sheet);
    rest(&mut sheet, kind);
    let vm = match (name, memory, boot) {
        (Some(name), Some(memory), Some(boot)) if !sheet.is_refused() => Some(Vm {
            name,
            labels: BTreeMap::new(),
            host: site.host.clone(),
            kind,
            power: None,
            restart: Some(restart),
            vcpus,
            memory,
            cpu,
            boot,
            disks,
            nics,
            hvm,
            shutdown_timeout: None,
            crash_dumps: None,
            protect: false,
            formerly: Vec::new(),
            uuid,
            mode: None,
        }),
        _ => None,
    };
    let mut findings = sheet.findings;
    findings.sort_by_key(|finding| finding.location.as_ref().map(|at| (at.bytes, at.line)));
    (vm, findings)
}

fn name(sheet: &mut Sheet<'_>) -> Option<Name> {
    let Some(word) = sheet.word("name") else {
        sheet.refuse(None, "it names no VM: `name` is missing", "add `name = \"…\"`");
        return None;
    };
    let Some(name) = names::name(&word.text) else {
        let message = format!("`{}` cannot become a VM's name", word.text);
        sheet.refuse(Some(&word.bytes), &message, "a VM's name is made of a-z, 0-9 and `-`, and starts with a letter");
        return None;
    };
    if name.as_str() != word.text {
        let message = format!("`{}` becomes `{name}`: a VM's name is a DNS label", word.text);
        sheet.changed(
            &word.bytes,
            &message,
            "a domain that runs under the old name is renamed when pinfold takes it over",
        );
    }
    Some(name)
}

fn kind(sheet: &mut Sheet<'_>) -> Option<VmType> {
    // The key of old; `type` counts before it (xl_parse.c).
    let builder = sheet.word("builder");
    let word = sheet.word("type");
    let text = match (&word, &builder) {
        (Some(word), _) => word.text.as_str(),
        (None, Some(builder)) if builder.text == "hvm" => "hvm",
        _ => "pv",
    };
    let bytes = word.as_ref().or(builder.as_ref()).map(|word| word.bytes.clone());
    match text {
        "pv" => Some(VmType::Pv),
        "pvh" => Some(VmType::Pvh),
        "hvm" => Some(VmType::Hvm),
        other => {
            sheet.refuse(bytes.as_ref(), &format!("`{other}` is no type of a guest"), "write `pv`, `pvh` or `hvm`");
            None
        }
    }
}

fn vcpus(sheet: &mut Sheet<'_>) -> Vcpus {
    let mut number = |key| {
        let (number, bytes) = sheet.number(key)?;
        let number = u32::try_from(number).ok().filter(|number| (1..=8192).contains(number));
        if number.is_none() {
            sheet.refuse(Some(&bytes), &format!("`{key}` is out of range"), "a VM has 1 to 8192 vCPUs");
        }
        number
    };
    let online = number("vcpus").unwrap_or(1);
    let max = number("maxvcpus").filter(|max| *max > online);
    Vcpus { online, max }
}

/// MiB.
fn memory(sheet: &mut Sheet<'_>) -> Option<Memory> {
    let mut size = |key| {
        let (mib, bytes) = sheet.number(key)?;
        // Less than a pebibyte, so that no product overflows.
        if (4..1 << 30).contains(&mib) {
            return Some((Size::from_mib(mib), bytes));
        }
        sheet.refuse(Some(&bytes), &format!("`{key}` is out of range"), "it counts MiB, and a VM has at least 4");
        None
    };
    let (target, max) = (size("memory"), size("maxmem"));
    match (target, max) {
        (Some((target, _)), Some((max, bytes))) if max < target => {
            sheet.refuse(Some(&bytes), "`maxmem` is less than `memory`", "raise it, or remove it");
            None
        }
        (Some((target, _)), max) => Some(Memory { target, max: max.map(|(max, _)| max).filter(|max| *max > target) }),
        (None, Some((max, _))) => Some(Memory { target: max, max: None }),
        (None, None) => {
            if !sheet.is_refused() {
                sheet.refuse(None, "it gives the VM no memory: `memory` is missing", "add `memory = …`, in MiB");
            }
            None
        }
    }
}

fn cpu(sheet: &mut Sheet<'_>, site: &Site) -> Cpu {
    let mut share = |key: &str, least: u16| {
        let (number, bytes) = sheet.number(key)?;
        let share = u16::try_from(number).ok().filter(|share| *share >= least);
        if share.is_none() {
            sheet.lost(&bytes, &format!("`{key}`"), &format!("it is no number from {least} to 65535"), "correct it");
        }
        share
    };
    let (weight, cap) = (share("cpu_weight", 1), share("cap", 0));
    let partition = partition(sheet, site);
    let pins = pins(sheet, site, partition.is_some());
    let soft_pins = soft_pins(sheet, site, pins.as_ref());
    Cpu { partition, pins, soft_pins, weight, cap }
}

fn partition(sheet: &mut Sheet<'_>, site: &Site) -> Option<Name> {
    let pool = sheet.word("pool").filter(|pool| pool.text != "Pool-0")?;
    let partition = pool.text.parse().ok().filter(|name| site.partitions.contains(name));
    if partition.is_none() {
        let why = format!("the configuration declares no partition `{}`", pool.text);
        sheet.lost(
            &pool.bytes,
            "`pool`",
            &why,
            "declare a `CorePartition`, then let the VM join it with `spec.cpu.partition`",
        );
    }
    partition
}

fn pins(sheet: &mut Sheet<'_>, site: &Site, has_partition: bool) -> Option<Cores> {
    let setting = sheet.take("cpus")?;
    if has_partition {
        sheet.lost(&setting.bytes, "`cpus`", "a VM in a partition runs on all of its cores", "leave it out");
        return None;
    }
    cores(sheet, site, &setting, "`cpus`", "spec.cpu.pins")
}

fn soft_pins(sheet: &mut Sheet<'_>, site: &Site, pins: Option<&Cores>) -> Option<Cores> {
    let setting = sheet.take("cpus_soft")?;
    let cores = cores(sheet, site, &setting, "`cpus_soft`", "spec.cpu.softPins")?;
    if pins.is_some_and(|pins| !cores.is_subset(pins)) {
        let next = "name cores of `cpus` only: the scheduler ignores the others";
        sheet.lost(&setting.bytes, "`cpus_soft`", "it prefers cores on which `cpus` lets none of its vCPUs run", next);
        return None;
    }
    Some(cores)
}

/// The cores of an affinity that all vCPUs share; `None` for all, and for what manifests cannot say.
fn cores(sheet: &mut Sheet<'_>, site: &Site, setting: &Setting, what: &str, field: &str) -> Option<Cores> {
    let mut lost = |why: &str, next: &str| {
        sheet.lost(&setting.bytes, what, why, next);
        None
    };
    let words = setting.value.words();
    if words == ["all"] {
        return None;
    }
    let Some((first, others)) = words.split_first() else { return lost("it is empty", "leave it out") };
    let Some(pcpus) = &site.pcpus else {
        let next = format!(
            "give the host's facts with `--inventory FILE` (`pinfold inventory` writes them), or write `{field}`"
        );
        return lost(
            "manifests name cores by socket and core, and without a host nobody knows where these pCPUs are",
            &next,
        );
    };
    if others.iter().any(|other| other != first) {
        let next = format!("write `{field}` with the cores of all");
        return lost("each vCPU has pCPUs of its own here, and manifests name cores for all of a VM's", &next);
    }
    match cpus::parse(first, pcpus).and_then(|cpus| cpus::cores(&cpus, pcpus)) {
        Ok(cores) => Some(cores),
        Err(why) => lost(&why, &format!("write `{field}`")),
    }
}

fn boot(sheet: &mut Sheet<'_>, has_disks: bool) -> Option<Boot> {
    let kernel = sheet.word("kernel");
    let cmdline = cmdline(sheet);
    let ramdisk = sheet.word("ramdisk").filter(|ramdisk| !ramdisk.text.is_empty());
    if let Some(loader) = sheet.word("bootloader") {
        let message = format!(
            "`bootloader = {}` becomes `boot: {{grub: true}}`: GRUB for Xen runs in the guest, not in dom0",
            loader.text
        );
        sheet.changed(&loader.bytes, &message, "see that the guest's disk has a `/boot/grub/grub.cfg`");
        return grub(sheet, has_disks, &loader, [kernel, ramdisk, cmdline]);
    }
    let Some(kernel) = kernel else {
        sheet.refuse(None, "it boots nothing: `kernel` is missing", "add `kernel`, or `bootloader`");
        return None;
    };
    if GRUB_IMAGES.contains(&kernel.text.as_str()) {
        return grub(sheet, has_disks, &kernel, [None, ramdisk, cmdline]);
    }
    direct(sheet, &kernel, ramdisk, cmdline)
}

/// An HVM guest's firmware finds what to boot, unless QEMU is given a kernel.
fn hvm_boot(sheet: &mut Sheet<'_>, disks: &[Disk], cdroms: &[Cdrom], nics: &[Nic]) -> Option<Boot> {
    match sheet.word("kernel").filter(|kernel| !hvm::is_loader(&kernel.text)) {
        Some(kernel) => {
            let cmdline = cmdline(sheet);
            let ramdisk = sheet.word("ramdisk").filter(|ramdisk| !ramdisk.text.is_empty());
            direct(sheet, &kernel, ramdisk, cmdline)
        }
        None => hvm::order(sheet, disks, cdroms, nics),
    }
}

/// A kernel of dom0's.
fn direct(sheet: &mut Sheet<'_>, kernel: &Word, ramdisk: Option<Word>, cmdline: Option<Word>) -> Option<Boot> {
    let kernel = path(sheet, kernel, "kernel")?;
    let ramdisk = match ramdisk {
        Some(ramdisk) => Some(path(sheet, &ramdisk, "ramdisk")?),
        None => None,
    };
    if let Some((cmdline, Err(why))) = cmdline.as_ref().map(|cmdline| (cmdline, check::command_line(&cmdline.text))) {
        sheet.refuse(Some(&cmdline.bytes), "the kernel's command line cannot be carried over", &why);
    }
    Some(Boot::Kernel { kernel, ramdisk, cmdline: cmdline.map(|cmdline| cmdline.text) })
}

/// GRUB takes kernel, RAM disk and command line from the guest's disk.
fn grub(sheet: &mut Sheet<'_>, has_disks: bool, by: &Word, unused: [Option<Word>; 3]) -> Option<Boot> {
    for (word, key) in unused.into_iter().zip(["kernel", "ramdisk", "the command line"]) {
        if let Some(word) = word {
            sheet.lost(
                &word.bytes,
                key,
                "GRUB takes it from the guest's disk",
                "set it in the guest's own GRUB configuration",
            );
        }
    }
    if !has_disks {
        sheet.refuse(
            Some(&by.bytes),
            "GRUB reads the guest's disks, and this VM has none that is carried over",
            "add a disk, or boot a `kernel`",
        );
        return None;
    }
    Some(Boot::Grub)
}

/// `cmdline`, or what xl makes of `root` and `extra` (xl_parse.c, parse_cmdline).
fn cmdline(sheet: &mut Sheet<'_>) -> Option<Word> {
    let (whole, root, extra) = (sheet.word("cmdline"), sheet.word("root"), sheet.word("extra"));
    if let Some(whole) = whole {
        for (word, key) in [(root, "`root`"), (extra, "`extra`")] {
            if let Some(word) = word {
                sheet.lost(
                    &word.bytes,
                    key,
                    "`cmdline` is the whole command line, for `xl` too",
                    "add it to `cmdline`",
                );
            }
        }
        return Some(whole);
    }
    match (root, extra) {
        (Some(root), Some(extra)) => Some(Word { text: format!("root={} {}", root.text, extra.text), ..root }),
        (Some(root), None) => Some(Word { text: format!("root={}", root.text), ..root }),
        (None, extra) => extra,
    }
}

fn path(sheet: &mut Sheet<'_>, word: &Word, key: &str) -> Option<String> {
    let path = names::path(&word.text);
    if let Err(why) = check::host_path(&path) {
        sheet.refuse(Some(&word.bytes), &format!("`{key}` cannot be carried over: {why}"), "write the whole path");
        return None;
    }
    Some(path)
}

/// xl: `on_reboot` is `restart` unless it says otherwise, all others are `destroy` (xl.cfg(5)). In pinfold a reboot always brings the guest back.
fn restart(sheet: &mut Sheet<'_>) -> Restart {
    let mut action = |key: &str, usual: &str, known: &[&str]| {
        let Some(word) = sheet.word(key) else { return usual.to_owned() };
        if !known.contains(&word.text.as_str()) {
            let why = format!("pinfold does not `{}`", word.text);
            sheet.lost(&word.bytes, &format!("`{key}`"), &why, "`pinfold explain vm.spec.restart` says what there is");
        }
        word.text
    };
    action("on_reboot", "restart", &["restart"]);
    let (poweroff, crash) = (
        action("on_poweroff", "destroy", &["destroy", "restart"]),
        action("on_crash", "destroy", &["destroy", "restart"]),
    );
    if let Some(watchdog) = sheet.word("on_watchdog").filter(|watchdog| watchdog.text != crash) {
        sheet.lost(&watchdog.bytes, "`on_watchdog`", "pinfold treats a watchdog as a crash", "leave it out");
    }
    restart_of(&poweroff, &crash)
}

/// `spec.restart` for what `on_poweroff` and `on_crash` say.
pub(crate) fn restart_of(poweroff: &str, crash: &str) -> Restart {
    match (poweroff, crash) {
        ("restart", _) => Restart::Always,
        (_, "restart" | "coredump-restart" | "coredump_restart" | "rename-restart" | "restart_rename") => {
            Restart::OnFailure
        }
        _ => Restart::Never,
    }
}

fn uuid(sheet: &mut Sheet<'_>) -> Option<uuid::Uuid> {
    let word = sheet.word("uuid")?;
    let uuid = word.text.parse::<uuid::Uuid>().ok().filter(|uuid| !uuid.is_nil());
    if uuid.is_none() {
        sheet.refuse(Some(&word.bytes), "`uuid` is no UUID", "correct it, or leave it out: pinfold makes one");
    }
    uuid
}

/// Everything that no field was made of.
fn rest(sheet: &mut Sheet<'_>, kind: VmType) {
    while let Some(setting) = sheet.take_any() {
        let key = keys::about(&setting.key, kind);
        let is_harmless = matches!(setting.value.words().as_slice(), [word] if key.harmless.contains(&word.as_str()));
        if !is_harmless {
            sheet.lost(&setting.bytes, &format!("`{}`", setting.key), key.why, key.next);
        }
    }
}
