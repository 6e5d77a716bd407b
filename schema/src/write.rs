//! Manifests as text: the way back from [`crate::desired`] to YAML, for what pinfold writes itself (`import`, `adopt`).
//!
//! What is written reads back as the same object. Structs are unpacked fully: a field that is new in the language does not compile until somebody says how it is written.
//! MACs, identities, paths and command lines are quoted always (readers of YAML 1.1 take some of them for numbers).

use crate::desired::{
    Boot, BootDevice, Cdrom, Cpu, Disk, Firmware, Hvm, Memory, Mode, Network, Nic, Power, Restart, Vcpus, Vm, VmType,
};
use crate::kinds::API_VERSION;
use crate::units::{Core, Cores};
use std::fmt::Write as _;

/// A VM's manifest. Fields that the VM leaves to their default are left out.
pub fn vm(vm: &Vm) -> String {
    let Vm {
        name,
        labels,
        host,
        kind,
        power,
        restart,
        vcpus,
        memory,
        cpu,
        boot,
        disks,
        nics,
        hvm,
        shutdown_timeout,
        crash_dumps,
        protect,
        formerly,
        uuid,
        mode,
    } = vm;
    let mut text = format!("apiVersion: {API_VERSION}\nkind: VirtualMachine\nmetadata:\n  name: {name}\n");
    if !labels.is_empty() {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))).collect();
        let _ = writeln!(text, "  labels: {{{}}}", labels.join(", "));
    }
    let _ = writeln!(text, "spec:\n  host: {host}");
    if let Some(uuid) = uuid {
        let _ = writeln!(text, "  uuid: \"{uuid}\"");
    }
    if !formerly.is_empty() {
        let names: Vec<_> = formerly.iter().map(crate::units::Name::as_str).collect();
        let _ = writeln!(text, "  formerly: [{}]", names.join(", "));
    }
    let _ = writeln!(text, "  type: {}", type_word(*kind));
    if hvm.as_ref().is_some_and(|hvm| hvm.firmware == Firmware::Uefi) {
        text.push_str("  firmware: uefi\n");
    }
    if let Some(power) = power {
        let _ = writeln!(text, "  power: {}", power_word(*power));
    }
    if let Some(restart) = restart {
        let _ = writeln!(text, "  restart: {}", restart_word(*restart));
    }
    text.push_str(&numbers(*vcpus, *memory));
    text.push_str(&self::cpu(cpu));
    text.push_str(&self::boot(boot));
    text.push_str(&list("disks", disks.iter().map(disk)));
    if let Some(Hvm { firmware: _, vnc, cdroms }) = hvm {
        text.push_str(&list("cdroms", cdroms.iter().map(cdrom)));
        text.push_str(if *vnc { "  vnc: true\n" } else { "" });
    }
    text.push_str(&list("nics", nics.iter().map(nic)));
    if let Some(timeout) = shutdown_timeout {
        let _ = writeln!(text, "  shutdown: {{timeout: {timeout}}}");
    }
    if let Some(dumps) = crash_dumps {
        let _ = writeln!(text, "  crashDumps: {dumps}");
    }
    if let Some(mode) = mode {
        let _ = writeln!(text, "  mode: {}", mode_word(*mode));
    }
    if *protect {
        text.push_str("  protect: true\n");
    }
    text
}

/// A network's manifest.
pub fn network(network: &Network) -> String {
    let Network { name, bridge } = network;
    format!(
        "apiVersion: {API_VERSION}\nkind: Network\nmetadata:\n  name: {name}\nspec:\n  bridge: {}\n",
        quoted(bridge)
    )
}

fn type_word(kind: VmType) -> &'static str {
    match kind {
        VmType::Pv => "pv",
        VmType::Pvh => "pvh",
        VmType::Hvm => "hvm",
    }
}

fn power_word(power: Power) -> &'static str {
    match power {
        Power::Running => "running",
        Power::Paused => "paused",
        Power::Suspended => "suspended",
        Power::Stopped => "stopped",
    }
}

fn restart_word(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    }
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Plan => "plan",
        Mode::Enforce => "enforce",
    }
}

fn numbers(Vcpus { online, max }: Vcpus, Memory { target, max: memory_max }: Memory) -> String {
    let vcpus = max.map_or_else(|| online.to_string(), |max| format!("{{online: {online}, max: {max}}}"));
    let memory = memory_max.map_or_else(|| target.to_string(), |max| format!("{{target: {target}, max: {max}}}"));
    format!("  vcpus: {vcpus}\n  memory: {memory}\n")
}

fn cpu(Cpu { partition, pins, soft_pins, weight, cap }: &Cpu) -> String {
    let mut text = String::new();
    if let Some(partition) = partition {
        let _ = writeln!(text, "    partition: {partition}");
    }
    if let Some(pins) = pins {
        let _ = writeln!(text, "    pins: [{}]", cores(pins));
    }
    if let Some(pins) = soft_pins {
        let _ = writeln!(text, "    softPins: [{}]", cores(pins));
    }
    if let Some(weight) = weight {
        let _ = writeln!(text, "    weight: {weight}");
    }
    if let Some(cap) = cap {
        let _ = writeln!(text, "    cap: {cap}");
    }
    if text.is_empty() { text } else { format!("  cpu:\n{text}") }
}

fn cores(cores: &Cores) -> String {
    let cores: Vec<_> =
        cores.iter().map(|Core { socket, core }| format!("{{socket: {socket}, core: {core}}}")).collect();
    cores.join(", ")
}

fn boot(boot: &Boot) -> String {
    let (kernel, ramdisk, cmdline) = match boot {
        Boot::Kernel { kernel, ramdisk, cmdline } => (kernel, ramdisk, cmdline),
        Boot::Grub => return "  boot: {grub: true}\n".to_owned(),
        Boot::Devices(order) => {
            let words: Vec<_> = order.iter().copied().map(device_word).collect();
            return format!("  boot: {{order: [{}]}}\n", words.join(", "));
        }
    };
    let mut text = format!("  boot:\n    kernel: {}\n", quoted(kernel));
    for (field, value) in [("ramdisk", ramdisk), ("cmdline", cmdline)] {
        if let Some(value) = value {
            let _ = writeln!(text, "    {field}: {}", quoted(value));
        }
    }
    text
}

fn disk(Disk { name, target, path, read_only }: &Disk) -> String {
    let read_only = if *read_only { ", readOnly: true" } else { "" };
    format!("{{name: {name}, target: {target}, path: {}{read_only}}}", quoted(path))
}

fn device_word(device: BootDevice) -> &'static str {
    match device {
        BootDevice::Disk => "disk",
        BootDevice::Cdrom => "cdrom",
        BootDevice::Network => "network",
    }
}

fn cdrom(Cdrom { name, target, medium }: &Cdrom) -> String {
    let medium = medium.as_ref().map(|medium| format!(", medium: {}", quoted(medium))).unwrap_or_default();
    format!("{{name: {name}, target: {target}{medium}}}")
}

fn nic(Nic { name, network, mac }: &Nic) -> String {
    let mac = mac.map(|mac| format!(", mac: \"{mac}\"")).unwrap_or_default();
    format!("{{name: {name}, network: {network}{mac}}}")
}

fn list(field: &str, items: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for item in items {
        let _ = writeln!(text, "    - {item}");
    }
    if text.is_empty() { text } else { format!("  {field}:\n{text}") }
}

/// A double-quoted scalar of YAML: JSON's escapes are among YAML's (YAML 1.2 §5.7, §7.3.1).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // YAML takes these out of the set of printable characters (§5.1) or for line breaks of old readers.
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
