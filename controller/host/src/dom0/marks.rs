//! What tells a disk from another one in its place: which file or device it is, how large, and what its beginning says.

use jiff::Timestamp;
use planner::trash::DiskMark;
use protocol::Reading;
use rustix::fs::{major, minor};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Bytes at the beginning that are looked at: as far as the superblock of btrfs, which lies furthest in.
const HEAD: u64 = 128 << 10;

/// Reads a disk's mark; `root` is `/`, or a folder that stands in for it in a test.
pub(crate) fn mark(root: &Path, path: &Path) -> Reading<DiskMark> {
    read(root, path).unwrap_or_else(|error| {
        Reading::unknown("DiskUnreadable", format!("`{}` cannot be read: {error}", path.display()))
    })
}

fn read(root: &Path, path: &Path) -> io::Result<Reading<DiskMark>> {
    let meta = fs::metadata(path)?;
    let kind = meta.file_type();
    let (kind, id) = if kind.is_block_device() {
        ("block device", device_id(root, meta.rdev()))
    } else if kind.is_file() {
        ("file", Some(file_id(&meta)))
    } else {
        let why = format!("`{}` is neither a file nor a block device", path.display());
        return Ok(Reading::unknown("DiskUnreadable", why));
    };
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let size = file.seek(SeekFrom::End(0))?;
    Ok(Reading::Known(DiskMark { kind: kind.to_owned(), size, id, content: Some(content(&head)) }))
}

/// Its inode, and when that was made: the number alone goes to the next file once this one is gone.
fn file_id(meta: &fs::Metadata) -> String {
    let made = meta.created().ok().and_then(|at| Timestamp::try_from(at).ok());
    let made = made.map_or_else(String::new, |at| format!(" of {at}"));
    format!("inode {}{made}", meta.ino())
}

/// A device's own name for itself: the device mapper's, or the disk's world-wide one. Numbers change from boot to boot.
fn device_id(root: &Path, rdev: u64) -> Option<String> {
    let folder = root.join(format!("sys/dev/block/{}:{}", major(rdev), minor(rdev)));
    let names = [("dm", "dm/uuid"), ("wwid", "wwid"), ("wwid", "device/wwid"), ("part of wwid", "../wwid")];
    let name = names.into_iter().find_map(|(what, file)| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        (!text.trim().is_empty()).then(|| format!("{what} {}", text.trim()))
    })?;
    let partition = fs::read_to_string(folder.join("partition")).ok();
    Some(partition.map_or(name.clone(), |number| format!("{name} partition {}", number.trim())))
}

/// What the beginning of a disk says it is. Offsets: UEFI 2.10 §5.3.2 (GPT), ext4's and XFS's disk layout and btrfs's on-disk format in the
/// kernel's documentation, `struct swap_header` in include/linux/swap.h, the MBR's disk signature at 440.
fn content(head: &[u8]) -> String {
    let at = |offset: usize, length: usize| head.get(offset..offset + length).unwrap_or_default();
    let known = [
        ("gpt", at(512, 8) == b"EFI PART", at(568, 16)),
        ("ext", at(0x438, 2) == [0x53, 0xef], at(0x468, 16)),
        ("xfs", at(0, 4) == b"XFSB", at(32, 16)),
        ("btrfs", at(0x1_0040, 8) == b"_BHRfS_M", at(0x1_0020, 16)),
        ("swap", at(4086, 10) == b"SWAPSPACE2", at(1036, 16)),
        ("mbr", at(510, 2) == [0x55, 0xaa] && at(440, 4) != [0; 4], at(440, 4)),
    ];
    match known.into_iter().find(|(_, is, _)| *is) {
        Some((what, _, id)) => format!("{what} {}", hex(id)),
        None if head.iter().all(|byte| *byte == 0) => "zeros".to_owned(),
        None => format!("sha256 {}", hex(&Sha256::digest(head))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_says_what_it_is_and_use_does_not_change_it() {
        let with = |parts: &[(usize, &[u8])]| {
            let mut head = vec![0; 128 << 10];
            for (at, bytes) in parts {
                head[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            content(&head)
        };
        assert_eq!(with(&[]), "zeros");
        let ext = |mounts: u8| with(&[(0x438, &[0x53, 0xef]), (0x468, &[7; 16]), (0x434, &[mounts])]);
        assert_eq!(ext(1), "ext 07070707070707070707070707070707");
        assert_eq!(ext(1), ext(2), "mounted once more");
        assert_eq!(with(&[(0, b"XFSB"), (32, &[1; 16])]), "xfs 01010101010101010101010101010101");
        assert_eq!(with(&[(510, &[0x55, 0xaa]), (440, &[1, 2, 3, 4])]), "mbr 01020304");
        assert_eq!(
            with(&[(510, &[0x55, 0xaa]), (440, &[1, 2, 3, 4]), (512, b"EFI PART")]).split(' ').next(),
            Some("gpt")
        );
        assert!(with(&[(9, b"x")]).starts_with("sha256 "));
        assert!(content(b"short").starts_with("sha256 "));
    }

    #[test]
    fn another_file_in_its_place_has_another_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.img");
        fs::write(&path, vec![0; 4096]).unwrap();
        let first = mark(dir.path(), &path);
        assert_eq!(mark(dir.path(), &path), first);
        fs::write(dir.path().join("copy"), vec![0; 4096]).unwrap();
        fs::rename(dir.path().join("copy"), &path).unwrap();
        let copy = mark(dir.path(), &path);
        assert_ne!(copy, first);
        assert_eq!(copy.known().unwrap().content, first.known().unwrap().content);
        // The inode's number may come up again, the moment does not.
        let made = fs::metadata(&path).unwrap().created().is_ok();
        assert_eq!(copy.known().unwrap().id.as_ref().unwrap().contains(" of 20"), made);
        assert!(matches!(mark(dir.path(), Path::new("/nowhere")), Reading::Unknown(_)));
    }
}
