//! From facts to findings. Pure; the order is that in which somebody would set a host up.

use super::{Facts, Finding};
use crate::check::{ConfigFacts, XenFacts};
use host::Dom0Health;
use jiff::Timestamp;
use planner::toolstacks;
use protocol::Reading;
use std::path::Path;

/// File systems whose files other hosts can change, or whose locks other hosts cannot see.
const REMOTE: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "ocfs2"];
/// File systems that a boot empties.
const FLEETING: [&str; 2] = ["tmpfs", "ramfs"];
/// 2026-01-01: no clock that goes right shows a time before this program was written.
const WRITTEN_S: i64 = 1_767_225_600;
/// With fewer pCPUs than this, dom0 needs all of them.
const SMALL: usize = 4;

/// Everything about a host that should be otherwise.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if !facts.is_root {
        found.push(Finding {
            reason: "NotRoot",
            what: "this does not run as root".to_owned(),
            why: "Xen cannot be asked, and what root alone can read is not known".to_owned(),
            fix: "sudo pinfold check".to_owned(),
        });
    }
    hypervisor(facts, &mut found);
    others(&facts.dom0, &mut found);
    kernel_and_scripts(&facts.dom0, &mut found);
    match &facts.config {
        Ok(config) => configuration(config, &facts.dom0, &mut found),
        Err(why) => found.push(Finding {
            reason: "NoConfiguration",
            what: why.clone(),
            why: "the daemon does not run without it".to_owned(),
            fix: "write it after the example /usr/share/pinfold/pinfold.yaml".to_owned(),
        }),
    }
    clock(facts.now, &mut found);
    units(&facts.dom0, &mut found);
    found
}

fn hypervisor(facts: &Facts, found: &mut Vec<Finding>) {
    let is_dom0 = facts.dom0.capabilities.as_ref().is_some_and(|capabilities| capabilities.contains("control_d"));
    if !is_dom0 {
        found.push(Finding {
            reason: "NoXen",
            what: "this is not Xen's control domain: /proc/xen/capabilities does not say `control_d`".to_owned(),
            why: "there is nothing here that pinfold could run".to_owned(),
            fix: "boot the Xen entry of GRUB; `/etc/init.d/xen start` mounts /proc/xen".to_owned(),
        });
        return;
    }
    match &facts.xen {
        Reading::Known(xen) => hosts(xen, found),
        Reading::Unknown(cause) if facts.is_root => found.push(Finding {
            reason: "XenUnreadable",
            what: format!("{}: {}", cause.reason, cause.message),
            why: "what runs here is unknown, and nothing is done from what is unknown".to_owned(),
            fix: match cause.reason.as_str() {
                "XenstoreLost" => "reboot: xenstored cannot be started again without losing what it knew".to_owned(),
                "WorkerDied" => {
                    "install the pinfold-xen of the Xen release that runs (`xl info xen_version`)".to_owned()
                }
                _ => "journalctl -u pinfold".to_owned(),
            },
        }),
        Reading::Unknown(_) => {}
    }
    if !facts.dom0.daemons.contains("xenconsoled") {
        found.push(Finding {
            reason: "NoXenconsoled",
            what: "xenconsoled does not run".to_owned(),
            why: "no guest has a console, and creating one waits for it in vain".to_owned(),
            fix: "/etc/init.d/xen start".to_owned(),
        });
    }
}

fn hosts(xen: &XenFacts, found: &mut Vec<Finding>) {
    if !xen.hvm.can_be_built {
        found.push(Finding {
            reason: "NoHardwareVirtualisation",
            what: "Xen can build PV guests only".to_owned(),
            why: "VMs of type pvh and hvm cannot start".to_owned(),
            fix: "switch VT-x or AMD-V on in the machine's firmware".to_owned(),
        });
    }
    if xen.hvm.lacks_qemu {
        found.push(Finding {
            reason: "NoDeviceModel",
            what: "dom0 has no QEMU for Xen".to_owned(),
            why: "VMs of type hvm cannot start".to_owned(),
            fix: "apt-get install qemu-system-xen ovmf".to_owned(),
        });
    }
    if xen.hvm.doubtful_uefi {
        found.push(Finding {
            reason: "FirmwareNotForXen",
            what: "/usr/share/ovmf/OVMF.fd was not built for Xen alone".to_owned(),
            why: "edk2's OvmfPkgX64 knows nothing of Xen since 2021: guests with `firmware: uefi` would run and never boot"
                .to_owned(),
            fix: "see one of them boot, or put edk2's OvmfXen there (docs/hvm.md)".to_owned(),
        });
    }
    if !xen.dom0_is_limited {
        found.push(Finding {
            reason: "Dom0OwnsMemory",
            what: format!("dom0 has {} MiB and no limit", xen.dom0_kib / 1024),
            why: "guests take their memory from what dom0 does not have".to_owned(),
            fix: "put `dom0_mem=2048M,max:2048M` into GRUB_CMDLINE_XEN in /etc/default/grub, then `update-grub` and reboot".to_owned(),
        });
    }
    if xen.pcpus > SMALL && usize::try_from(xen.dom0_vcpus).is_ok_and(|vcpus| vcpus >= xen.pcpus) {
        found.push(Finding {
            reason: "Dom0ManyVcpus",
            what: format!("dom0 has {} vCPUs, as many as the host has pCPUs", xen.dom0_vcpus),
            why: "dom0 shares the few pCPUs that partitions leave; with more vCPUs than these they wait for each other".to_owned(),
            fix: "put `dom0_max_vcpus=` with the number of dom0's threads into GRUB_CMDLINE_XEN in /etc/default/grub, then `update-grub` and reboot".to_owned(),
        });
    }
}

fn others(dom0: &Dom0Health, found: &mut Vec<Finding>) {
    for other in &dom0.toolstacks {
        let more =
            if other.name == "xendomains" { ". Do not stop it: its stop is what saves every domain" } else { "" };
        found.push(Finding {
            reason: "OtherToolstack",
            what: toolstacks::sentence(other),
            why: format!("it would undo what the repository says, so pinfold changes nothing while it can{more}"),
            fix: other.fix.clone(),
        });
    }
    if let Some(value) = dom0.autoballoon.as_ref().filter(|value| ["1", "on", "yes", "true"].contains(&value.as_str()))
    {
        found.push(Finding {
            reason: "Autoballoon",
            what: format!("`autoballoon={value}` in /etc/xen/xl.conf"),
            why: "an `xl create` by hand takes memory from dom0, below what it needs".to_owned(),
            fix: "write `autoballoon=\"off\"` in /etc/xen/xl.conf".to_owned(),
        });
    }
}

fn kernel_and_scripts(dom0: &Dom0Health, found: &mut Vec<Finding>) {
    if !dom0.dev_fd {
        found.push(Finding {
            reason: "NoDevFd",
            what: "/dev/fd does not lead to /proc/self/fd".to_owned(),
            why: "Xen's script for disks locks through it: every disk fails after 40 s".to_owned(),
            fix: "ln -s /proc/self/fd /dev/fd".to_owned(),
        });
    }
    if !dom0.modules_missing.is_empty() {
        found.push(Finding {
            reason: "ModulesMissing",
            what: format!("the kernel has no module {}", dom0.modules_missing.join(", ")),
            why: "guests get no disks, NICs or consoles without".to_owned(),
            fix: "boot a kernel that has them, such as Debian's linux-image-amd64".to_owned(),
        });
    }
    if !dom0.scripts_missing.is_empty() {
        found.push(Finding {
            reason: "ScriptsMissing",
            what: format!("/etc/xen/scripts has no {}", dom0.scripts_missing.join(", ")),
            why: "libxl runs them for each disk and NIC".to_owned(),
            fix: "apt-get install --reinstall xen-utils-common".to_owned(),
        });
    }
    if dom0.bridges.is_empty() {
        found.push(Finding {
            reason: "NoBridge",
            what: "dom0 has no bridge".to_owned(),
            why: "a VM with a NIC cannot start".to_owned(),
            fix: "declare one in /etc/network/interfaces (bridge-utils-interfaces(5)); Networks name it".to_owned(),
        });
    }
}

fn configuration(config: &ConfigFacts, dom0: &Dom0Health, found: &mut Vec<Finding>) {
    for group in config.groups.iter().filter(|group| !dom0.groups.contains(*group)) {
        found.push(Finding {
            reason: "GroupMissing",
            what: format!("the configuration names the group {group}, which /etc/group does not have"),
            why: "the daemon cannot give its socket to it, and does not start".to_owned(),
            fix: format!("addgroup --system {group}"),
        });
    }
    for (path, mode) in config.sockets.iter().filter(|(_, mode)| mode & 0o007 != 0) {
        found.push(Finding {
            reason: "SocketOpen",
            what: format!("{} has mode {mode:03o}", path.display()),
            why: "everybody on this host may use it".to_owned(),
            fix: "systemctl restart pinfold".to_owned(),
        });
    }
    let folders = [("state", config.state.as_path()), ("storage", config.storage.as_path())];
    found.extend(folders.into_iter().filter_map(|(name, path)| folder(name, path, dom0)));
}

fn folder(name: &str, path: &Path, dom0: &Dom0Health) -> Option<Finding> {
    let mount = dom0.mount_of(path)?;
    let (point, kind) = (mount.point.display(), &mount.kind);
    let on = format!("`{name}`, {}, lies on {point} ({kind})", path.display());
    let (reason, what, why, fix) = if mount.read_only {
        (
            "FolderReadOnly",
            format!("{on}, which is mounted read-only"),
            "nothing can be recorded, so nothing is done",
            format!("mount -o remount,rw {point}"),
        )
    } else if REMOTE.contains(&kind.as_str()) {
        (
            "FolderNotLocal",
            on,
            "another host can change it, and when the network is away nothing is known",
            format!("set `{name}:` to a folder of a local file system"),
        )
    } else if FLEETING.contains(&kind.as_str()) {
        (
            "FolderFleeting",
            on,
            "a boot empties it, and VMs would be made anew",
            format!("set `{name}:` to a folder that stays"),
        )
    } else {
        return None;
    };
    Some(Finding { reason, what, why: why.to_owned(), fix })
}

fn clock(now: Timestamp, found: &mut Vec<Finding>) {
    if now.as_second() < WRITTEN_S {
        found.push(Finding {
            reason: "ClockWrong",
            what: format!("the clock says {now:.0}"),
            why: "deadlines, back-offs and approvals are moments".to_owned(),
            fix: "timedatectl set-ntp true".to_owned(),
        });
    }
}

fn units(dom0: &Dom0Health, found: &mut Vec<Finding>) {
    for harmful in &dom0.harmful {
        found.push(Finding {
            reason: "HarmfulDropIn",
            what: format!("{} says `{}`", harmful.file.display(), harmful.line),
            why: "workers, hotplug scripts or QEMU break under it, or die with the daemon".to_owned(),
            fix: "take the line out, then `systemctl daemon-reload && systemctl restart pinfold`".to_owned(),
        });
    }
    if !dom0.systemd {
        return;
    }
    for (name, unit) in &dom0.units {
        let why = if name == "pinfold" {
            "nobody brings guests back after a boot"
        } else {
            "nobody stops the guests when the host goes down"
        };
        if unit.masked || !unit.enabled {
            let state = if unit.masked { "masked" } else { "not enabled" };
            found.push(Finding {
                reason: "UnitNotEnabled",
                what: format!("{name}.service is {state}"),
                why: why.to_owned(),
                fix: format!(
                    "{}systemctl enable --now {name}",
                    if unit.masked { format!("systemctl unmask {name} && ") } else { String::new() }
                ),
            });
        } else if !unit.active {
            found.push(Finding {
                reason: "UnitNotActive",
                what: format!("{name}.service does not run"),
                why: why.to_owned(),
                fix: format!("systemctl start {name}"),
            });
        }
    }
}
