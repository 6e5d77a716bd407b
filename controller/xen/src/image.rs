//! Images of memory on dom0's disk: written under another name until all of it is durable, marked when used, moved aside or removed.

use crate::libxl::io_failure;
use protocol::{Failure, FailureKind, ImageFiles, ImageRef, ImageState, ImageUse, SavedImage};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What a stream needs beyond the guest's pages, in KiB per page of 4 KiB: Xen's page tables and headers are far less.
const OVERHEAD: u64 = 16;

/// The images of a host's VMs.
pub(crate) struct Images {
    storage: PathBuf,
}

/// An image while it is written.
pub(crate) struct Begun {
    folder: PathBuf,
    /// Where the stream goes.
    pub(crate) memory: File,
}

impl Images {
    /// Those below the folder of the VMs' folders.
    pub(crate) fn below(storage: impl Into<PathBuf>) -> Self {
        Self { storage: storage.into() }
    }

    /// What stands where an image is looked for.
    pub(crate) fn state(&self, image: ImageRef) -> Result<ImageState, Failure> {
        let folder = image.folder(&self.storage);
        let look = || -> io::Result<ImageState> {
            let files = ImageFiles {
                saved: read(&folder.join("image.json"))?.unwrap_or_else(|| Err("it is not there".to_owned())),
                bytes: existing(fs::metadata(folder.join("memory")))?.map(|meta| meta.len()),
                used: read(&folder.join("used.json"))?,
            };
            let begun = fs::exists(image.unfinished(&self.storage))?;
            Ok(ImageState::of_files(image.image, fs::exists(&folder)?, begun, &files))
        };
        look().map_err(|error| failure("stat", &folder, &error))
    }

    /// Makes the folder that an image is written in, with room for so much memory: before a guest is asked, it is known that there is.
    pub(crate) fn begin(&self, image: ImageRef, memory_kib: u64) -> Result<Begun, Failure> {
        let folder = image.unfinished(&self.storage);
        let make = || -> io::Result<File> {
            fs::create_dir_all(&folder)?;
            let memory = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("memory"))?;
            Ok(memory)
        };
        let memory = make().map_err(|error| failure("mkdir", &folder, &error))?;
        let bytes = (memory_kib + memory_kib / OVERHEAD + 1024) * 1024;
        let begun = Begun { folder, memory };
        match fallocate(&begun.memory, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(begun),
            // A file system that cannot set space aside says at least how much it has.
            Err(rustix::io::Errno::OPNOTSUPP) if has_room(&begun.memory, bytes) => Ok(begun),
            Err(error) => {
                let error = match error {
                    rustix::io::Errno::OPNOTSUPP => io::Error::from(io::ErrorKind::StorageFull),
                    error => error.into(),
                };
                let refused = failure("fallocate", &begun.folder, &error);
                // Nothing is in it yet.
                let _ = fs::remove_dir_all(&begun.folder);
                let needed = format!("{} MiB are needed for the guest's memory; make room there", bytes >> 20);
                Err(Failure { message: format!("{}: {needed}", refused.message), ..refused })
            }
        }
    }

    /// Makes an image whole whose stream is written: all of it is durable before it has its name, and its name before this returns.
    pub(crate) fn finish(&self, image: ImageRef, mut begun: Begun, saved: &SavedImage) -> Result<(), Failure> {
        let folder = image.folder(&self.storage);
        let mut make = || -> io::Result<()> {
            let bytes = begun.memory.stream_position()?;
            begun.memory.set_len(bytes)?;
            begun.memory.sync_all()?;
            write(&begun.folder.join("image.json"), &SavedImage { bytes, ..saved.clone() })?;
            sync(&begun.folder)?;
            // The folder `state` may be as new as the image.
            for parent in [image.state_folder(&self.storage).as_path(), &self.storage.join(image.vm.to_string())] {
                sync(parent)?;
            }
            fs::rename(&begun.folder, &folder)?;
            sync(&image.state_folder(&self.storage))
        };
        make().map_err(|error| failure("write", &folder, &error))
    }

    /// The memory of a whole image, from its beginning.
    pub(crate) fn open(&self, image: ImageRef) -> Result<File, Failure> {
        let path = image.folder(&self.storage).join("memory");
        File::open(&path).map_err(|error| failure("open", &path, &error))
    }

    /// Marks an image used. After this it is never restored again.
    pub(crate) fn mark_used(&self, image: ImageRef, by: Uuid) -> Result<(), Failure> {
        let folder = image.folder(&self.storage);
        let mark = || -> io::Result<()> {
            let fresh = folder.join("used.json.new");
            write(&fresh, &ImageUse { by })?;
            fs::rename(&fresh, folder.join("used.json"))?;
            sync(&folder)
        };
        mark().map_err(|error| failure("write", &folder, &error))
    }

    /// Removes an image and what was begun of it, or moves a whole one aside.
    pub(crate) fn discard(&self, image: ImageRef, keep: bool) -> Result<(), Failure> {
        let (folder, unfinished) = (image.folder(&self.storage), image.unfinished(&self.storage));
        let gone = || -> io::Result<()> {
            existing(fs::remove_dir_all(&unfinished))?;
            if keep {
                existing(fs::rename(&folder, image.discarded(&self.storage)))?;
            } else if existing(fs::rename(&folder, &unfinished))?.is_some() {
                // Half-removed it must not look whole.
                sync(&image.state_folder(&self.storage))?;
                fs::remove_dir_all(&unfinished)?;
            }
            existing(sync(&image.state_folder(&self.storage))).map(|_| ())
        };
        gone().map_err(|error| failure("remove", &folder, &error))
    }
}

fn has_room(file: &File, bytes: u64) -> bool {
    fstatvfs(file).is_ok_and(|system| system.f_bavail.saturating_mul(system.f_frsize) > bytes)
}

fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<Result<T, String>>> {
    let text = existing(fs::read(path))?;
    Ok(text.map(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())))
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failure(call: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = io_failure(call, error);
    Failure { kind: FailureKind::Refused, message: format!("{}: {}", path.display(), failure.message), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{IMAGE_VERSION, Mark};

    fn saved(image: Uuid) -> SavedImage {
        let mark = Mark { pool_id: Uuid::nil(), uuid: Uuid::from_u128(1), incarnation: Uuid::from_u128(2) };
        SavedImage { version: IMAGE_VERSION, image, mark, xen: "4.17.5".to_owned(), worker: "0".to_owned(), bytes: 0 }
    }

    #[test]
    fn an_image_becomes_whole_is_used_once_and_goes() {
        let storage = tempfile::tempdir().unwrap();
        let images = Images::below(storage.path());
        let image = ImageRef { vm: Uuid::from_u128(1), image: Uuid::from_u128(7) };
        assert_eq!(images.state(image).unwrap(), ImageState::Missing);
        images.discard(image, false).unwrap();

        let mut begun = images.begin(image, 64).unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Unfinished);
        assert!(images.begin(image, 64).is_err(), "nobody writes into what another has begun");
        begun.memory.write_all(b"memory").unwrap();
        images.finish(image, begun, &saved(image.image)).unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Whole(SavedImage { bytes: 6, ..saved(image.image) }));

        let memory = image.folder(storage.path()).join("memory");
        fs::write(&memory, b"memo").unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Torn("its memory has 4 bytes of 6".to_owned()));
        fs::write(&memory, b"memory").unwrap();
        images.mark_used(image, Uuid::from_u128(9)).unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Used { by: Uuid::from_u128(9) });
        fs::write(image.folder(storage.path()).join("used.json"), b"{").unwrap();
        assert!(matches!(images.state(image).unwrap(), ImageState::Torn(_)), "a mark that is torn is a mark");
        images.discard(image, false).unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Missing);
        assert_eq!(fs::read_dir(image.state_folder(storage.path())).unwrap().count(), 0);
    }

    #[test]
    fn what_a_person_throws_away_is_kept_aside() {
        let storage = tempfile::tempdir().unwrap();
        let images = Images::below(storage.path());
        let image = ImageRef { vm: Uuid::from_u128(1), image: Uuid::from_u128(7) };
        let begun = images.begin(image, 64).unwrap();
        images.finish(image, begun, &saved(image.image)).unwrap();
        images.discard(image, true).unwrap();
        assert_eq!(images.state(image).unwrap(), ImageState::Missing);
        assert!(image.discarded(storage.path()).join("memory").exists());
    }

    #[test]
    fn without_room_nothing_is_begun() {
        let storage = tempfile::tempdir().unwrap();
        let images = Images::below(storage.path());
        let image = ImageRef { vm: Uuid::from_u128(1), image: Uuid::from_u128(7) };
        let refused = images.begin(image, 1 << 50).err().unwrap();
        assert!(refused.message.contains("make room there"), "{refused}");
        assert_eq!(images.state(image).unwrap(), ImageState::Missing);
    }
}
