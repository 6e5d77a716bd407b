//! `libxl_device_disk` and `libxl_device_nic`: filled and read as JSON, and the calls that plug and unplug them.

use super::list::take_text;
use super::{Libxl, c_text};
use libxl_sys as sys;
use protocol::{Failure, FailureKind};
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr::null;

/// A struct of libxl's that is filled from JSON; disposed of with its own function when dropped.
pub(crate) struct Device<T> {
    inner: Box<T>,
    kind: Kind<T>,
}

/// The functions that libxl generates for a struct.
struct Kind<T> {
    init: unsafe extern "C" fn(*mut T),
    dispose: unsafe extern "C" fn(*mut T),
    from_json: unsafe extern "C" fn(*mut sys::libxl_ctx, *mut T, *const c_char) -> c_int,
    to_json: unsafe extern "C" fn(*mut sys::libxl_ctx, *mut T) -> *mut c_char,
}

impl<T> Device<T> {
    fn empty(kind: Kind<T>) -> Self {
        let mut inner = Box::new(MaybeUninit::uninit());
        // SAFETY: init writes the struct whole.
        unsafe { (kind.init)(inner.as_mut_ptr()) };
        // SAFETY: it was just initialised.
        Self { inner: unsafe { inner.assume_init() }, kind }
    }

    fn read(libxl: &Libxl, kind: Kind<T>, call: &'static str, json: &str) -> Result<Self, Failure> {
        let json = c_text(call, json)?;
        let mut device = Self::empty(kind);
        let (from_json, pointer) = (device.kind.from_json, &raw mut *device.inner);
        // SAFETY: the context is open, the struct initialised, the text NUL-terminated.
        libxl.call(call, |ctx| unsafe { from_json(ctx, pointer, json.as_ptr()) })?;
        Ok(device)
    }

    /// What libxl understood, as JSON.
    pub(crate) fn understood(&mut self, libxl: &Libxl) -> Result<String, Failure> {
        let (to_json, pointer) = (self.kind.to_json, &raw mut *self.inner);
        // SAFETY: the context is open, the struct is initialised.
        Ok(take_text(libxl.ask("libxl_device_to_json", |ctx| unsafe { to_json(ctx, pointer) })?))
    }
}

impl Device<sys::libxl_device_disk> {
    const DISK: Kind<sys::libxl_device_disk> = Kind {
        init: sys::libxl_device_disk_init,
        dispose: sys::libxl_device_disk_dispose,
        from_json: sys::libxl_device_disk_from_json,
        to_json: sys::libxl_device_disk_to_json,
    };

    /// A disk from its JSON.
    pub(crate) fn disk(libxl: &Libxl, json: &str) -> Result<Self, Failure> {
        Self::read(libxl, Self::DISK, "libxl_device_disk_from_json", json)
    }

    /// The disk that a domain has as this device.
    pub(crate) fn disk_of(libxl: &Libxl, domid: u32, device: &str) -> Result<Self, Failure> {
        let call = "libxl_vdev_to_device_disk";
        let vdev = c_text(call, device)?;
        let mut disk = Self::empty(Self::DISK);
        let pointer = &raw mut *disk.inner;
        // SAFETY: the context is open, the name NUL-terminated, the struct initialised.
        libxl.call(call, |ctx| unsafe { sys::libxl_vdev_to_device_disk(ctx, domid, vdev.as_ptr(), pointer) })?;
        Ok(disk)
    }

    /// Attaches it; forks the hotplug script.
    pub(crate) fn add(&mut self, libxl: &Libxl, domid: u32) -> Result<(), Failure> {
        let disk = &raw mut *self.inner;
        // SAFETY: the context is open, the struct initialised and ours alone until the call returns; a null how: synchronous.
        libxl.call("libxl_device_disk_add", |ctx| unsafe { sys::libxl_device_disk_add(ctx, domid, disk, null()) })
    }

    /// Puts it, as a medium, into the CD-ROM drive of its name; an empty one ejects. QEMU is told by QMP.
    pub(crate) fn insert(&mut self, libxl: &Libxl, domid: u32) -> Result<(), Failure> {
        let disk = &raw mut *self.inner;
        // SAFETY: as in `add`.
        libxl.call("libxl_cdrom_insert", |ctx| unsafe { sys::libxl_cdrom_insert(ctx, domid, disk, null()) })
    }

    /// Takes it away when the guest has let go of it, which it has 10 s for.
    pub(crate) fn safe_remove(&mut self, libxl: &Libxl, domid: u32) -> Result<(), Failure> {
        let disk = &raw mut *self.inner;
        // SAFETY: as in `add`.
        let removed = libxl.call("libxl_device_disk_safe_remove", |ctx| unsafe {
            sys::libxl_device_disk_safe_remove(ctx, domid, disk, null())
        });
        removed.map_err(|failure| match failure.rc.map(sys::libxl_error) {
            Some(sys::libxl_error::ERROR_TIMEDOUT) => Failure { kind: FailureKind::GuestIgnored, ..failure },
            _ => failure,
        })
    }
}

impl Device<sys::libxl_device_nic> {
    const NIC: Kind<sys::libxl_device_nic> = Kind {
        init: sys::libxl_device_nic_init,
        dispose: sys::libxl_device_nic_dispose,
        from_json: sys::libxl_device_nic_from_json,
        to_json: sys::libxl_device_nic_to_json,
    };

    /// A NIC from its JSON.
    pub(crate) fn nic(libxl: &Libxl, json: &str) -> Result<Self, Failure> {
        Self::read(libxl, Self::NIC, "libxl_device_nic_from_json", json)
    }

    /// The NIC that a domain has under this number.
    pub(crate) fn nic_of(libxl: &Libxl, domid: u32, devid: u32) -> Result<Self, Failure> {
        let call = "libxl_devid_to_device_nic";
        let number = c_int::try_from(devid)
            .map_err(|_| Failure::new(FailureKind::Refused, call, format!("{devid} is no device number")))?;
        let mut nic = Self::empty(Self::NIC);
        let pointer = &raw mut *nic.inner;
        // SAFETY: the context is open, the struct initialised.
        libxl.call(call, |ctx| unsafe { sys::libxl_devid_to_device_nic(ctx, domid, number, pointer) })?;
        Ok(nic)
    }

    /// Attaches it; forks the hotplug script.
    pub(crate) fn add(&mut self, libxl: &Libxl, domid: u32) -> Result<(), Failure> {
        let nic = &raw mut *self.inner;
        // SAFETY: the context is open, the struct initialised and ours alone until the call returns; a null how: synchronous.
        libxl.call("libxl_device_nic_add", |ctx| unsafe { sys::libxl_device_nic_add(ctx, domid, nic, null()) })
    }

    /// Asks the guest to let go of it, and takes it away after 10 s at the latest.
    pub(crate) fn remove(&mut self, libxl: &Libxl, domid: u32) -> Result<(), Failure> {
        let nic = &raw mut *self.inner;
        // SAFETY: as in `add`.
        libxl.call("libxl_device_nic_remove", |ctx| unsafe { sys::libxl_device_nic_remove(ctx, domid, nic, null()) })
    }
}

impl<T> Drop for Device<T> {
    fn drop(&mut self) {
        // SAFETY: it was initialised and is not used after this.
        unsafe { (self.kind.dispose)(&raw mut *self.inner) };
    }
}
