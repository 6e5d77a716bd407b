//! Memory of guests on dom0's disk, and guests that go on from it.
//!
//! What a guest was when it suspended goes on once: in its own domain, which is resumed, or in one that is built from the image. The world
//! notes each time, and [`crate::laws::memory_goes_on_once`] looks at the notes.

use crate::description::GuestRequest;
use crate::domain::GUEST_ACK_MS;
use crate::world::{Domain, Running, World, errno, rc, refused};
use protocol::{Failure, FailureKind, IMAGE_VERSION, ImageRef, ImageState, Mark, SavedImage, ShutdownReason};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const SAVE: &str = "libxl_domain_suspend";
const RESTORE: &str = "libxl_domain_create_restore";
const RESUME: &str = "libxl_domain_resume";

/// An image on dom0's disk, which survives every boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The VM whose folder it lies in.
    pub vm: Uuid,
    /// What it says about itself.
    pub saved: SavedImage,
    /// It was renamed into place.
    pub whole: bool,
    /// Why it is not what it says.
    pub torn: Option<String>,
    /// Who used it.
    pub used: Option<Uuid>,
    /// What the guest was.
    pub memory: Option<Memory>,
}

/// What a guest was when it suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    guest: Running,
    current_kib: u64,
    online: Vec<bool>,
}

impl World {
    /// Images by their names.
    pub fn images(&self) -> impl Iterator<Item = (Uuid, &Image)> {
        self.images.iter().map(|(id, image)| (*id, image))
    }

    /// Core dumps on dom0's disk, the oldest first.
    pub fn dumps(&self) -> &[protocol::Dump] {
        &self.dumps
    }

    /// What stands on disk where an image is looked for.
    pub fn image_state(&self, image: ImageRef) -> ImageState {
        let Some(found) = self.images.get(&image.image).filter(|found| found.vm == image.vm) else {
            return ImageState::Missing;
        };
        match (found.used, &found.torn) {
            _ if !found.whole => ImageState::Unfinished,
            (Some(by), _) => ImageState::Used { by },
            (None, Some(why)) => ImageState::Torn(why.clone()),
            (None, None) => ImageState::Whole(found.saved.clone()),
        }
    }

    pub(crate) fn begin_image(&mut self, mark: Mark, image: ImageRef) {
        let saved = SavedImage {
            version: IMAGE_VERSION,
            image: image.image,
            mark,
            xen: self.host.version.clone(),
            worker: "sim".to_owned(),
            bytes: 0,
        };
        let begun = Image { vm: image.vm, saved, whole: false, torn: None, used: None, memory: None };
        self.images.insert(image.image, begun);
    }

    /// Asks the guest to suspend. Answers after how many milliseconds it has.
    pub(crate) fn suspend_guest(&mut self, domid: u32) -> Result<u64, Failure> {
        let now_ms = self.now_ms;
        let guest = self.host.guest(&self.domain(SAVE, domid)?.guest.name);
        // libxl suspends an HVM guest without PV drivers itself (libxl_dom_suspend.c): nobody has to take part.
        let is_deaf = self.is_deaf(self.domain(SAVE, domid)?);
        let domain = self.domain_mut(SAVE, domid)?;
        if is_deaf && domain.is_runnable() {
            domain.shutdown = Some(ShutdownReason::Suspend);
            self.wakes += 1;
            return Ok(0);
        }
        let answers_at = domain.guest.since_ms.map(|since| since.saturating_add(guest.boots_ms).max(now_ms));
        let answers = domain.is_runnable() && !guest.ignores.contains(&GuestRequest::Suspend);
        match answers_at.filter(|at| answers && *at <= now_ms + GUEST_ACK_MS) {
            Some(at_ms) => {
                domain.shutdown = Some(ShutdownReason::Suspend);
                self.wakes += 1;
                Ok(at_ms - now_ms)
            }
            // libxl takes the request back (libxl_dom_suspend.c), so the guest does not suspend later.
            None => Err(Failure {
                kind: FailureKind::Refused,
                call: SAVE.to_owned(),
                rc: Some(rc::FAIL),
                errno: None,
                message: format!("the guest of domain {domid} did not suspend within 60 s"),
            }),
        }
    }

    pub(crate) fn fill_image(&mut self, domid: u32, image: ImageRef) -> Result<(), Failure> {
        let now_ms = self.now_ms;
        self.ask_device_model(SAVE, domid)?;
        let Domain { guest, current_kib, vcpus, .. } = self.domain(SAVE, domid)?.clone();
        let ran_ms = guest.since_ms.map_or(0, |since| now_ms - since);
        let guest = Running { since_ms: None, off_at_ms: None, ran_ms, suspensions: guest.suspensions + 1, ..guest };
        let online = vcpus.iter().map(|vcpu| vcpu.online).collect();
        if let Some(image) = self.images.get_mut(&image.image) {
            image.saved.bytes = current_kib * 1024;
            image.memory = Some(Memory { guest, current_kib, online });
        }
        Ok(())
    }

    pub(crate) fn finish_image(&mut self, image: ImageRef) {
        if let Some(image) = self.images.get_mut(&image.image) {
            image.whole = true;
        }
    }

    pub(crate) fn domain_resume(&mut self, domid: u32) -> Result<(), Failure> {
        // QEMU goes on first (`libxl__dm_resume`, libxl_dom_suspend.c), then the guest.
        self.ask_device_model(RESUME, domid)?;
        let domain = self.domain_mut(RESUME, domid)?;
        if domain.shutdown != Some(ShutdownReason::Suspend) {
            return Err(refused(RESUME, rc::INVAL, Some(errno::EINVAL), format!("domain {domid} has not suspended")));
        }
        domain.shutdown = None;
        domain.guest.suspensions += 1;
        let guest = domain.guest.clone();
        self.goes_on(&guest);
        Ok(())
    }

    /// What the stream of an image brings into a domain that was just built.
    pub(crate) fn restore_memory(&mut self, domid: u32, image: ImageRef) -> Result<(), Failure> {
        let memory = self.images.get(&image.image).filter(|image| image.whole && image.torn.is_none());
        let Some(memory) = memory.and_then(|image| image.memory.clone()) else {
            return Err(refused(RESTORE, rc::FAIL, None, "restore: Failed to read the stream: it ends early"));
        };
        let domain = self.domain_mut(RESTORE, domid)?;
        if memory.current_kib > domain.max_kib {
            return Err(refused(RESTORE, rc::NOMEM, Some(errno::ENOMEM), "restore: Failed to populate physmap"));
        }
        domain.current_kib = memory.current_kib;
        domain.guest = memory.guest;
        for (vcpu, online) in domain.vcpus.iter_mut().zip(memory.online) {
            vcpu.online = online;
        }
        Ok(())
    }

    pub(crate) fn use_image(&mut self, image: ImageRef, by: Uuid) -> Result<(), Failure> {
        match self.images.get_mut(&image.image).filter(|image| image.whole) {
            Some(image) => image.used = Some(by),
            None => return Err(refused("rename", rc::FAIL, Some(errno::ENOENT), "there is no image to be marked")),
        }
        Ok(())
    }

    pub(crate) fn discard_image(&mut self, image: ImageRef) {
        self.images.remove(&image.image);
    }

    /// A guest that was suspended runs.
    pub(crate) fn goes_on(&mut self, guest: &Running) {
        let which = format!("{} start {} suspension {}", guest.name, guest.start, guest.suspensions);
        if !self.gone_on.insert(which.clone()) {
            self.gone_on_twice.insert(which);
        }
    }
}
