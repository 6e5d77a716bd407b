//! Block devices: how large they are, and whether dom0 uses them (mounted, as swap, or as part of something that is).

use rustix::fs::{major, minor};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// All block devices at one moment.
pub(crate) struct Blocks {
    /// By `major:minor`.
    devices: BTreeMap<String, Device>,
    /// `major:minor` of what is mounted or swapped to.
    used: BTreeSet<String>,
}

struct Device {
    name: String,
    /// Bytes.
    size: u64,
    /// Partitions and holders (device mapper, md, bcache), by `major:minor`.
    above: BTreeSet<String>,
    /// The file behind a loop device.
    backing: Option<PathBuf>,
}

impl Blocks {
    /// Reads `/sys/class/block`, `/proc/self/mountinfo` and `/proc/swaps`.
    pub(crate) fn read(root: &Path) -> Self {
        let class = root.join("sys/class/block");
        let names =
            fs::read_dir(&class).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
        let devices = names.filter_map(|name| read_device(&class, name)).collect();
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
        let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
        Self { devices, used: used(&mounts, &swaps) }
    }

    /// Size in bytes, and whether dom0 uses the device or a part of it. A device that the kernel does not list has no size, and counts as used.
    pub(crate) fn device(&self, rdev: u64) -> (u64, bool) {
        let number = format!("{}:{}", major(rdev), minor(rdev));
        match self.devices.get(&number) {
            Some(device) => (device.size, self.is_used(&number, &mut BTreeSet::new())),
            None => (0, true),
        }
    }

    /// The loop device through which dom0 uses a file.
    pub(crate) fn loop_mount(&self, file: &Path) -> Option<String> {
        let uses = |(number, device): &(&String, &Device)| {
            device.backing.as_deref() == Some(file) && self.is_used(number, &mut BTreeSet::new())
        };
        self.devices.iter().find(uses).map(|(_, device)| format!("/dev/{}", device.name))
    }

    fn is_used(&self, number: &str, seen: &mut BTreeSet<String>) -> bool {
        if !seen.insert(number.to_owned()) {
            return false;
        }
        self.used.contains(number)
            || self.devices.get(number).is_some_and(|device| device.above.iter().any(|above| self.is_used(above, seen)))
    }
}

fn read_device(class: &Path, name: String) -> Option<(String, Device)> {
    let folder = class.join(&name);
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok().map(|text| text.trim_end().to_owned());
    let number = read("dev")?;
    // Sysfs counts in sectors of 512 bytes, whatever the device's own are (Documentation/ABI/stable/sysfs-block).
    let size = read("size").and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0) * 512;
    let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let partitions = entries(folder.clone()).filter(|path| path.join("partition").is_file());
    let holders = entries(folder.join("holders"));
    let above = partitions
        .chain(holders)
        .filter_map(|path| Some(fs::read_to_string(path.join("dev")).ok()?.trim_end().to_owned()))
        .collect();
    let backing = read("loop/backing_file").map(PathBuf::from);
    Some((number, Device { name, size, above, backing }))
}

/// Devices in use. A file system over several devices (btrfs) shows a number of its own, so the source is looked at too (proc(5), mountinfo).
fn used(mounts: &str, swaps: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for line in mounts.lines() {
        used.extend(line.split(' ').nth(2).map(str::to_owned));
        sources.extend(line.split(" - ").nth(1).and_then(|tail| tail.split(' ').nth(1)));
    }
    sources.extend(swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()));
    for source in sources.into_iter().filter(|source| source.starts_with("/dev/")) {
        if let Ok(meta) = fs::metadata(source) {
            used.insert(format!("{}:{}", major(meta.rdev()), minor(meta.rdev())));
        }
    }
    used
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A disk with two partitions, a volume on the second, and a loop device.
    fn machine(mountinfo: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let block = "sys/class/block";
        put(&format!("{block}/sda/dev"), "8:0\n");
        put(&format!("{block}/sda/size"), "2048\n");
        for n in [1, 2] {
            for folder in [format!("{block}/sda/sda{n}"), format!("{block}/sda{n}")] {
                put(&format!("{folder}/dev"), &format!("8:{n}\n"));
                put(&format!("{folder}/size"), "1024\n");
                put(&format!("{folder}/partition"), &format!("{n}\n"));
            }
        }
        put(&format!("{block}/sda2/holders/dm-0/dev"), "253:0\n");
        put(&format!("{block}/dm-0/dev"), "253:0\n");
        put(&format!("{block}/dm-0/size"), "512\n");
        put(&format!("{block}/loop0/dev"), "7:0\n");
        put(&format!("{block}/loop0/loop/backing_file"), "/srv/root.img\n");
        put("proc/self/mountinfo", mountinfo);
        root
    }

    fn rdev(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }

    #[test]
    fn a_device_is_used_when_anything_above_it_is() {
        let root = machine("29 1 253:0 / /data rw shared:1 - ext4 /nothing rw\n");
        let blocks = Blocks::read(root.path());
        assert_eq!(blocks.device(rdev(8, 0)), (1 << 20, true), "the disk, through its second partition");
        assert_eq!(blocks.device(rdev(8, 1)), (1 << 19, false));
        assert_eq!(blocks.device(rdev(8, 2)), (1 << 19, true), "the partition, through the volume");
        assert_eq!(blocks.device(rdev(253, 0)), (1 << 18, true));
        assert_eq!(blocks.device(rdev(99, 0)), (0, true), "unknown to the kernel");
        assert_eq!(blocks.loop_mount(Path::new("/srv/root.img")), None);
    }

    #[test]
    fn a_mounted_loop_device_uses_its_file() {
        let root = machine("29 1 7:0 / /mnt rw - ext4 /nothing rw\n");
        let blocks = Blocks::read(root.path());
        assert_eq!(blocks.loop_mount(Path::new("/srv/root.img")), Some("/dev/loop0".to_owned()));
        assert_eq!(blocks.loop_mount(Path::new("/srv/other.img")), None);
    }
}
