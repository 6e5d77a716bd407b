//! What of dom0's own set-up matters to pinfold, as its files say: for `pinfold check`. Nothing here is planned from.

use super::toolstacks;
use super::units::{Init, Unit};
use planner::toolstacks::OtherToolstack;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules without which no guest has a console, a disk or a NIC.
const MODULES: [&str; 6] = ["xen-evtchn", "xen-gntdev", "xen-blkback", "xen-netback", "loop", "bridge"];
/// Scripts that libxl runs for disks and NICs.
const SCRIPTS: [&str; 2] = ["block", "vif-bridge"];
/// Daemons that dom0 has.
const DAEMONS: [&str; 3] = ["xenstored", "oxenstored", "xenconsoled"];
/// Settings of a unit under which hotplug scripts, QEMU or the workers break.
const HARMFUL: [&str; 9] = [
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateUsers",
    "ProtectSystem",
    "ProtectKernelModules",
    "SystemCallFilter",
    "DynamicUser",
];

/// dom0's set-up at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dom0Health {
    /// systemd runs here.
    pub systemd: bool,
    /// `/proc/xen/capabilities`, which has `control_d` in dom0; `None` when it is not there.
    pub capabilities: Option<String>,
    /// Those of Xen's daemons that run.
    pub daemons: BTreeSet<String>,
    /// `/dev/fd` leads to a process's own descriptors.
    pub dev_fd: bool,
    /// Hotplug scripts that are not in `/etc/xen/scripts`.
    pub scripts_missing: Vec<String>,
    /// Kernel modules that are neither loaded, nor built in, nor there to be loaded.
    pub modules_missing: Vec<String>,
    /// `autoballoon` in `/etc/xen/xl.conf`, when it is set.
    pub autoballoon: Option<String>,
    /// pinfold's own units, by name.
    pub units: BTreeMap<String, UnitHealth>,
    /// Lines of drop-ins that would harm.
    pub harmful: Vec<HarmfulLine>,
    /// Other toolstacks that would act by themselves.
    pub toolstacks: Vec<OtherToolstack>,
    /// Bridges.
    pub bridges: BTreeSet<String>,
    /// Groups in `/etc/group`.
    pub groups: BTreeSet<String>,
    /// Mount point, type and options of everything that is mounted.
    pub mounts: Vec<Mount>,
}

/// A unit as systemd has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnitHealth {
    /// It starts at boot.
    pub enabled: bool,
    /// It runs, or has run and remains.
    pub active: bool,
    /// It is masked.
    pub masked: bool,
}

/// A line in a unit's drop-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HarmfulLine {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: String,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// What: `ext4`, `nfs4`, ….
    pub kind: String,
    /// It cannot be written to.
    pub read_only: bool,
}

impl Dom0Health {
    /// Looks at dom0 below `root`, which is `/` but in tests.
    pub fn look(root: &Path) -> Self {
        let init = Init::detect(root);
        let units = ["pinfold", "pinfold-guests"].map(|name| (name.to_owned(), unit(&Unit { root, name })));
        let scripts = root.join("etc/xen/scripts");
        Self {
            systemd: init == Init::Systemd,
            capabilities: fs::read_to_string(root.join("proc/xen/capabilities")).ok(),
            daemons: daemons(root),
            dev_fd: root.join("dev/fd").is_dir(),
            scripts_missing: SCRIPTS
                .iter()
                .filter(|name| !scripts.join(name).is_file())
                .map(ToString::to_string)
                .collect(),
            modules_missing: modules_missing(root),
            autoballoon: autoballoon(root),
            units: units.into(),
            harmful: harmful(root),
            toolstacks: toolstacks::look(root),
            bridges: super::bridges(root),
            groups: lines(&root.join("etc/group"))
                .iter()
                .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
                .collect(),
            mounts: lines(&root.join("proc/self/mountinfo")).iter().filter_map(|line| mount(line)).collect(),
        }
    }

    /// What a path lies on.
    pub fn mount_of(&self, path: &Path) -> Option<&Mount> {
        // The last one of a point hides those before it.
        let on = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        on.max_by_key(|mount| mount.point.components().count())
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn unit(unit: &Unit) -> UnitHealth {
    UnitHealth { enabled: unit.is_enabled(), active: unit.is_active(), masked: unit.is_masked() }
}

fn daemons(root: &Path) -> BTreeSet<String> {
    let Ok(processes) = fs::read_dir(root.join("proc")) else { return BTreeSet::new() };
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = processes.flatten().filter(|entry| is_number(&entry.file_name().to_string_lossy()));
    let names = numbers.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| DAEMONS.contains(&name.as_str())).collect()
}

fn modules_missing(root: &Path) -> Vec<String> {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let folder = root.join("lib/modules").join(release.trim());
    let known: Vec<String> =
        ["modules.dep", "modules.builtin"].iter().flat_map(|file| lines(&folder.join(file))).collect();
    let is_there = |module: &str| {
        let loaded = root.join("sys/module").join(module.replace('-', "_")).is_dir();
        let of = |line: &String| {
            let path = line.split(':').next().unwrap_or("");
            let name = path.rsplit('/').next().unwrap_or("").split(".ko").next().unwrap_or("");
            name.replace('_', "-") == module
        };
        loaded || known.iter().any(of)
    };
    MODULES.iter().filter(|module| !is_there(module)).map(ToString::to_string).collect()
}

fn autoballoon(root: &Path) -> Option<String> {
    let value = lines(&root.join("etc/xen/xl.conf")).into_iter().rev().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "autoballoon").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    value.filter(|value| !value.is_empty())
}

fn harmful(root: &Path) -> Vec<HarmfulLine> {
    let mut found = Vec::new();
    for unit in ["pinfold", "pinfold-guests"] {
        for folder in ["etc/systemd/system", "run/systemd/system"] {
            let own = root.join(folder).join(format!("{unit}.service"));
            let drop_ins = fs::read_dir(root.join(folder).join(format!("{unit}.service.d")));
            let mut files: Vec<PathBuf> = drop_ins.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in
                files.into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "conf")).chain([own])
            {
                let harms = lines(&file).into_iter().filter(|line| harms(line)).map(|line| line.trim().to_owned());
                found.extend(harms.map(|line| HarmfulLine {
                    file: Path::new("/").join(file.strip_prefix(root).unwrap_or(&file)),
                    line,
                }));
            }
        }
    }
    found
}

fn harms(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let (name, value) = (name.trim(), value.trim().to_ascii_lowercase());
    match name {
        // A worker that is killed half-way is an operation half-way.
        "KillMode" => value != "process",
        name if HARMFUL.contains(&name) => !["", "no", "false", "off", "0"].contains(&value.as_str()),
        _ => false,
    }
}

/// A line of proc(5), mountinfo.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(4);
    let point = fields.next()?.replace("\\040", " ");
    let options = fields.next()?;
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let read_only = [Some(options), after.nth(1)]
        .into_iter()
        .flatten()
        .any(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount { point: PathBuf::from(point), kind, read_only })
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
