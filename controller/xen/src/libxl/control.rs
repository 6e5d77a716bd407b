//! libxenctrl, for what libxl does not tell: all cpupools, and whether an HVM guest has PV drivers.
//!
//! `libxl_list_cpupool` ends its list, without an error, at the first cpupool that has no name in xenstore (libxl_cpupool.c), and every
//! cpupool has none for a moment while it is made, and for good when its maker died then.

use super::bitmap::from_bytes;
use super::list::scheduler_name;
use super::{Libxl, errno_of, failure};
use libxl_sys as sys;
use protocol::{CpuSet, Failure};
use std::io;
use std::ptr::NonNull;

/// `HVM_PARAM_CALLBACK_IRQ` (xen/include/public/hvm/params.h).
const CALLBACK_IRQ: u32 = 0;

/// A handle of libxenctrl.
pub(crate) struct Control(NonNull<sys::xc_interface>);

/// A cpupool as the hypervisor has it.
pub(crate) struct PoolReading {
    /// Its number.
    pub(crate) poolid: u32,
    /// Its scheduler.
    pub(crate) scheduler: String,
    /// Its pCPUs.
    pub(crate) cpus: CpuSet,
    /// Domains in it.
    pub(crate) domains: u32,
}

impl Control {
    /// Opens it. It logs into `libxl`'s log and must be dropped before it.
    pub(crate) fn open(libxl: &Libxl) -> Result<Self, Failure> {
        // SAFETY: the logger lives as long as `libxl`, and the handle is dropped before that.
        let (handle, errno) = errno_of(|| unsafe { sys::xc_interface_open(libxl.logger(), libxl.logger(), 0) });
        NonNull::new(handle).map(Self).ok_or_else(|| failure("xc_interface_open", -1, errno, &[]))
    }

    /// Every cpupool, in ascending order of their numbers.
    pub(crate) fn pools(&self) -> Result<Vec<PoolReading>, Failure> {
        let width = self.map_width()?;
        let mut pools = Vec::new();
        let mut next = 0;
        loop {
            // SAFETY: the handle is open. Answers the first cpupool whose number is `next` or higher, or null.
            let (info, errno) = errno_of(|| unsafe { sys::xc_cpupool_getinfo(self.0.as_ptr(), next) });
            let Some(info) = NonNull::new(info) else {
                return match errno {
                    Some(libc::ENOENT) => Ok(pools),
                    _ => Err(failure("xc_cpupool_getinfo", -1, errno, &[])),
                };
            };
            // SAFETY: libxenctrl filled it, with a map of `xc_get_cpumap_size` bytes (xc_cpupool.c).
            let (reading, poolid) = unsafe {
                let info = info.as_ref();
                let cpus = from_bytes(std::slice::from_raw_parts(info.cpumap, width));
                let scheduler = scheduler_name(sys::libxl_scheduler(info.sched_id));
                let poolid = info.cpupool_id;
                (PoolReading { poolid, scheduler, cpus, domains: info.n_dom }, poolid)
            };
            // SAFETY: it came from `xc_cpupool_getinfo` and is not used after this.
            unsafe { sys::xc_cpupool_infofree(self.0.as_ptr(), info.as_ptr()) };
            pools.push(reading);
            next = poolid + 1;
        }
    }

    /// Whether the guest of an HVM domain has told Xen how to call its PV drivers.
    pub(crate) fn has_pv_drivers(&self, domid: u32) -> Result<bool, Failure> {
        let mut callback = 0;
        // SAFETY: the handle is open, and the place is valid for the answer.
        let (rc, errno) =
            errno_of(|| unsafe { sys::xc_hvm_param_get(self.0.as_ptr(), domid, CALLBACK_IRQ, &raw mut callback) });
        if rc == 0 { Ok(callback != 0) } else { Err(failure("xc_hvm_param_get", rc, errno, &[])) }
    }

    /// Bytes in a map of all pCPUs.
    fn map_width(&self) -> Result<usize, Failure> {
        // SAFETY: the handle is open.
        let bytes = unsafe { sys::xc_get_cpumap_size(self.0.as_ptr()) };
        usize::try_from(bytes)
            .map_err(|_| failure("xc_get_cpumap_size", bytes, io::Error::last_os_error().raw_os_error(), &[]))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: made by `open` and not used after this.
        unsafe { sys::xc_interface_close(self.0.as_ptr()) };
    }
}
