//! What manifests may name in dom0: bridges, files and block devices, as the kernel shows them.

mod block;
mod health;
mod marks;
mod suspects;
mod toolstacks;
mod units;
mod walk;

pub(crate) use marks::mark;
pub(crate) use suspects::suspects;

use block::Blocks;
pub use health::{Dom0Health, HarmfulLine, Mount, UnitHealth};
use planner::observed::{Dom0Facts, FileFact};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How old a listing of everything below the allowed paths may be. What the accepted commit or a record names is looked at every time;
/// the rest is listed for people and for plans made elsewhere.
const LISTING: Duration = Duration::from_secs(60);

/// Looks at dom0.
pub(crate) struct Eyes {
    /// `/`, or a folder that stands in for it in a test.
    root: PathBuf,
    allow_paths: Vec<String>,
    memory_reserve_kib: u64,
    core_dump_quota_kib: u64,
    listing: Option<(Instant, walk::Listing)>,
}

impl Eyes {
    pub(crate) fn new(allow_paths: Vec<String>, memory_reserve_kib: u64, core_dump_quota_kib: u64) -> Self {
        Self { root: PathBuf::from("/"), allow_paths, memory_reserve_kib, core_dump_quota_kib, listing: None }
    }

    /// The facts now. `paths` are looked at whatever the listing holds.
    pub(crate) fn look(&mut self, paths: &BTreeSet<String>) -> Dom0Facts {
        let blocks = Blocks::read(&self.root);
        // The real paths of the allowed folders: one that is a link itself still allows what is below it.
        let allowed: Vec<PathBuf> = self.allow_paths.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        if self.listing.as_ref().is_none_or(|(at, _)| at.elapsed() >= LISTING) {
            self.listing = Some((Instant::now(), walk::list(&allowed, &self.allow_paths)));
        }
        let mut files: BTreeMap<String, FileFact> = BTreeMap::new();
        let mut complete = true;
        if let Some((_, listing)) = &self.listing {
            complete = listing.complete;
            files.extend(listing.paths.iter().map(|path| (path.clone(), fact(path, &allowed, &blocks))));
        }
        files.extend(paths.iter().map(|path| (path.clone(), raw(path, fact(path, &allowed, &blocks)))));
        Dom0Facts {
            bridges: bridges(&self.root),
            allow_paths: self.allow_paths.clone(),
            files,
            files_complete: complete,
            marks: BTreeMap::new(),
            memory_reserve_kib: self.memory_reserve_kib,
            core_dump_quota_kib: self.core_dump_quota_kib,
            toolstacks: toolstacks::look(&self.root),
        }
    }
}

/// What stands at a path, behind all links, as long as they stay below the allowed folders.
fn fact(path: &str, allowed: &[PathBuf], blocks: &Blocks) -> FileFact {
    if !path.starts_with('/') {
        return FileFact::Unusable("not an absolute path".to_owned());
    }
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => FileFact::Unusable("a link to something that does not exist".to_owned()),
                Err(_) => FileFact::Missing,
            };
        }
        Err(error) => return FileFact::Unusable(format!("cannot be read: {error}")),
    };
    if !allowed.iter().any(|allowed| real.starts_with(allowed)) {
        let where_to =
            if real == Path::new(path) { String::new() } else { format!(" leads to `{}`, which", real.display()) };
        return FileFact::Unusable(format!("{where_to} is outside of the host's allowPaths").trim_start().to_owned());
    }
    let meta = match fs::metadata(&real) {
        Ok(meta) => meta,
        Err(error) => return FileFact::Unusable(format!("cannot be read: {error}")),
    };
    let kind = meta.file_type();
    if kind.is_file() {
        match blocks.loop_mount(&real) {
            Some(device) => FileFact::Unusable(format!("mounted in dom0 through {device}: unmount it first")),
            None => FileFact::File { size: meta.size() },
        }
    } else if kind.is_block_device() {
        let (size, mounted) = blocks.device(meta.rdev());
        FileFact::Block { size, mounted }
    } else if kind.is_dir() {
        FileFact::Unusable("a directory".to_owned())
    } else {
        FileFact::Unusable("neither a regular file nor a block device".to_owned())
    }
}

/// A file is of no use when it holds a disk image that is not raw: the guest would see the format instead of its disk, and what it writes would
/// destroy the image. Only of what a manifest names: a listing may be long.
fn raw(path: &str, fact: FileFact) -> FileFact {
    let is_file = matches!(fact, FileFact::File { .. });
    match is_file.then(|| packed(Path::new(path))).flatten() {
        Some(format) => FileFact::Unusable(format!(
            "it holds an image in {format}, and a guest is given what stands in the file as it is; make a raw one: `qemu-img convert -O raw`"
        )),
        None => fact,
    }
}

/// The format of a disk image, by how such files begin (QEMU's docs/interop and block/). A file that cannot be read is left to whoever opens it.
fn packed(path: &Path) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 6] = [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK"),
        (b"conectix", "VHD"),
        (b"vhdxfile", "VHDX"),
        (b"<<< ", "VDI"),
    ];
    let mut begin = Vec::new();
    fs::File::open(path).and_then(|file| file.take(32).read_to_end(&mut begin)).ok()?;
    FORMATS.iter().find(|(magic, _)| begin.starts_with(magic)).map(|(_, format)| *format)
}

/// Network devices that are bridges.
fn bridges(root: &Path) -> BTreeSet<String> {
    let Ok(devices) = fs::read_dir(root.join("sys/class/net")) else { return BTreeSet::new() };
    let bridges = devices.flatten().filter(|device| device.path().join("bridge").is_dir());
    bridges.filter_map(|bridge| bridge.file_name().into_string().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_only_inside_the_allowed_folders() {
        let dir = tempfile::tempdir().unwrap();
        let srv = dir.path().join("srv");
        fs::create_dir_all(srv.join("vm")).unwrap();
        fs::write(srv.join("vm/root.img"), [0; 512]).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        symlink(srv.join("vm/root.img"), srv.join("inside")).unwrap();
        symlink(dir.path().join("secret"), srv.join("outside")).unwrap();
        symlink("/nowhere/at/all", srv.join("dangling")).unwrap();
        let srv_text = srv.to_str().unwrap().to_owned();
        let mut eyes = Eyes::new(vec![srv_text.clone()], 0, 0);
        let asked =
            ["inside", "outside", "dangling", "vm", "none", "../secret"].map(|name| format!("{srv_text}/{name}"));
        let facts = eyes.look(&asked.iter().cloned().collect());
        let said: Vec<String> = asked.iter().map(|path| format!("{:?}", facts.files[path])).collect();
        let said = said.join("\n").replace(dir.path().canonicalize().unwrap().to_str().unwrap(), "DIR");
        assert_eq!(
            said,
            "File { size: 512 }\n\
             Unusable(\"leads to `DIR/secret`, which is outside of the host's allowPaths\")\n\
             Unusable(\"a link to something that does not exist\")\n\
             Unusable(\"a directory\")\n\
             Missing\n\
             Unusable(\"leads to `DIR/secret`, which is outside of the host's allowPaths\")"
        );
        assert!(facts.files_complete);
        assert_eq!(facts.files[&format!("{srv_text}/vm/root.img")], FileFact::File { size: 512 });
    }

    #[test]
    fn an_image_in_another_format_is_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap().to_owned();
        let fact = |begin: &[u8]| {
            let path = format!("{folder}/a.img");
            fs::write(&path, [begin, &[0; 64]].concat()).unwrap();
            let facts = Eyes::new(vec![folder.clone()], 0, 0).look(&[path.clone()].into());
            facts.files[&path].clone()
        };
        let FileFact::Unusable(why) = fact(b"QFI\xfb\0\0\0\x03") else { panic!("a guest would write over it") };
        assert_eq!(
            why,
            "it holds an image in qcow2, and a guest is given what stands in the file as it is; make a raw one: `qemu-img convert -O raw`"
        );
        for begin in [&b"KDMV\x01"[..], b"conectix", b"vhdxfile", b"<<< Oracle VM VirtualBox Disk Image >>>\n"] {
            assert!(matches!(fact(begin), FileFact::Unusable(_)), "{begin:?}");
        }
        for begin in [&b""[..], b"\xeb\x63\x90", b"QFI"] {
            assert!(matches!(fact(begin), FileFact::File { .. }), "{begin:?}");
        }
    }
}
