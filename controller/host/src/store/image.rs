//! Images of guests' memory in the VMs' folders: workers write them, here they are only looked at.

use super::Store;
use protocol::{ImageFiles, ImageRef, ImageState, Reading};
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

impl Store {
    /// What stands where an image is looked for. A folder that cannot be looked into leaves it unknown.
    pub(crate) fn image(&self, image: ImageRef) -> Reading<ImageState> {
        let storage = &self.place.storage;
        let folder = image.folder(storage);
        let look = || -> io::Result<ImageState> {
            let there = self.is_there(&folder)?;
            let begun = self.is_there(&image.unfinished(storage))?;
            let files = ImageFiles {
                saved: self.read_json(&folder.join("image.json"))?.unwrap_or_else(|| Err("it is not there".to_owned())),
                bytes: match self.disk.stamp(&folder.join("memory")) {
                    Ok(stamp) => Some(stamp.size),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                },
                used: self.read_json(&folder.join("used.json"))?,
            };
            Ok(ImageState::of_files(image.image, there, begun, &files))
        };
        look().map_or_else(
            |error| Reading::unknown("ImageUnreadable", format!("`{}` cannot be looked at: {error}", folder.display())),
            Reading::Known,
        )
    }

    fn is_there(&self, path: &Path) -> io::Result<bool> {
        match self.disk.stamp(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A file of ours; `None`: it is not there.
    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> io::Result<Option<Result<T, String>>> {
        match self.disk.read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|error| error.to_string()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
