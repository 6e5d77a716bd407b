//! A guest's memory on disk.
//!
//! ```text
//! <storage>/<vm>/state/<image>.part/      while it is written; worth nothing
//! <storage>/<vm>/state/<image>/           whole: renamed into place after everything in it was synchronised
//!     memory                              libxl's stream, format 2
//!     image.json                          a SavedImage
//!     used.json                           once a domain was built from it that may run: an ImageUse. Never restored again
//! <storage>/<vm>/state/<image>.discarded/ a person had it thrown away; nothing of pinfold looks at it again
//! ```

use crate::observation::Mark;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use uuid::Uuid;

/// Version of [`SavedImage`]. A newer one is not restored.
pub const IMAGE_VERSION: u32 = 1;

/// One image, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageRef {
    /// The VM whose folder it lies in.
    pub vm: Uuid,
    /// The image.
    pub image: Uuid,
}

/// What a whole image says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedImage {
    /// [`IMAGE_VERSION`].
    pub version: u32,
    /// Its name.
    pub image: Uuid,
    /// The mark of the domain whose memory it is.
    pub mark: Mark,
    /// Release of the Xen that wrote it, such as `4.17.5`.
    pub xen: String,
    /// Version of the worker that wrote it.
    pub worker: String,
    /// Length of `memory` in bytes: a shorter or longer one is torn.
    pub bytes: u64,
}

/// Who used an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// The incarnation that was built from it.
    pub by: Uuid,
}

/// What stands on disk where an image is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// Nothing.
    Missing,
    /// Something that was begun and never became whole.
    Unfinished,
    /// It is whole, and nobody has used it.
    Whole(SavedImage),
    /// It was whole once, and is not what it says.
    Torn(String),
    /// A domain was built from it that may have run. It is never restored again.
    Used {
        /// The incarnation.
        by: Uuid,
    },
}

impl ImageRef {
    /// The folder of a whole image.
    pub fn folder(&self, storage: impl Into<PathBuf>) -> PathBuf {
        self.state_folder(storage).join(self.image.to_string())
    }

    /// The folder that it is written in.
    pub fn unfinished(&self, storage: impl Into<PathBuf>) -> PathBuf {
        self.state_folder(storage).join(format!("{}.part", self.image))
    }

    /// The folder that it is moved to when a person has it thrown away.
    pub fn discarded(&self, storage: impl Into<PathBuf>) -> PathBuf {
        self.state_folder(storage).join(format!("{}.discarded", self.image))
    }

    /// The folder of all images of the VM.
    pub fn state_folder(&self, storage: impl Into<PathBuf>) -> PathBuf {
        storage.into().join(self.vm.to_string()).join("state")
    }
}

impl ImageState {
    /// What the files in an image's folder say, given whether that folder and the one it is written in exist. The one place that judges it,
    /// for the daemon that plans and for the worker that restores.
    pub fn of_files(image: Uuid, folder: bool, unfinished: bool, files: &ImageFiles) -> Self {
        if !folder {
            return if unfinished { Self::Unfinished } else { Self::Missing };
        }
        // A mark that cannot be read is a mark.
        match &files.used {
            Some(Ok(used)) => return Self::Used { by: used.by },
            Some(Err(why)) => return Self::Torn(format!("its mark of use cannot be read: {why}")),
            None => {}
        }
        match (&files.saved, files.bytes) {
            (Err(why), _) => Self::Torn(format!("what it says about itself cannot be read: {why}")),
            (_, None) => Self::Torn("its memory is gone".to_owned()),
            (Ok(saved), _) if saved.version != IMAGE_VERSION => {
                Self::Torn(format!("it has format {}, and this pinfold reads {IMAGE_VERSION}", saved.version))
            }
            (Ok(saved), _) if saved.image != image => Self::Torn(format!("it says that it is image {}", saved.image)),
            (Ok(saved), Some(bytes)) if bytes != saved.bytes => {
                Self::Torn(format!("its memory has {bytes} bytes of {}", saved.bytes))
            }
            (Ok(saved), _) => Self::Whole(saved.clone()),
        }
    }
}

/// The files of an image as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    /// `image.json`.
    pub saved: Result<SavedImage, String>,
    /// Bytes of `memory`; `None`: there is none.
    pub bytes: Option<u64>,
    /// `used.json`; `None`: there is none.
    pub used: Option<Result<ImageUse, String>>,
}
