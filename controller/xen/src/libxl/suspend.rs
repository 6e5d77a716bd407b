//! A guest's memory out of a domain and into one.

use super::{DomainConfig, Libxl, without_errno};
use libxl_sys as sys;
use protocol::Failure;
use std::ffi::{CStr, c_int};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr::null;

/// The format of libxl's stream (`LIBXL_HAVE_SRM_V2`, libxl.h:1261). What the parameters have after their initialisation is 1.
const STREAM_VERSION: u32 = 2;
/// Nobody is answered: that is COLO's (libxl.h:998).
const NO_SEND_BACK: c_int = -1;
/// The guest takes part: it learns from its suspend call that it was resumed and not restored (libxl.h, `libxl_domain_resume`).
const COOPERATIVE: c_int = 1;

impl Libxl {
    /// Asks the guest to suspend, for up to a minute, and writes its memory from the file's position on (`libxl_domain_suspend`, not live). When it
    /// fails, the guest may have suspended.
    pub(crate) fn domain_suspend(&self, domid: u32, file: &File) -> Result<(), Failure> {
        // SAFETY: the context is open, the descriptor is open for writing and stays so during the call; 0: not live; a null how: synchronous.
        self.call("libxl_domain_suspend", |ctx| unsafe {
            sys::libxl_domain_suspend(ctx, domid, file.as_raw_fd(), 0, null())
        })
    }

    /// Writes the memory of a domain to a file that libxl makes, readable for root only (`xc_domain_dumpcore`, xc_core.c).
    pub(crate) fn domain_core_dump(&self, domid: u32, file: &CStr) -> Result<(), Failure> {
        // SAFETY: the context is open, the path ends with 0 and lives during the call; a null how: synchronous.
        self.call("libxl_domain_core_dump", |ctx| unsafe {
            sys::libxl_domain_core_dump(ctx, domid, file.as_ptr(), null())
        })
    }

    /// Lets a domain go on that has suspended.
    pub(crate) fn domain_resume(&self, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open; a null how: synchronous.
        self.call("libxl_domain_resume", |ctx| unsafe { sys::libxl_domain_resume(ctx, domid, COOPERATIVE, null()) })
    }
}

/// Builds a domain from the stream at the file's position, paused, and answers its number. libxl destroys it again when it fails half-way.
pub(crate) fn restore(libxl: &Libxl, mut config: DomainConfig, file: &File) -> Result<u32, Failure> {
    let mut params = MaybeUninit::uninit();
    // SAFETY: init writes the struct whole.
    let mut params: sys::libxl_domain_restore_params = unsafe {
        sys::libxl_domain_restore_params_init(params.as_mut_ptr());
        params.assume_init()
    };
    params.stream_version = STREAM_VERSION;
    let mut domid = 0;
    // SAFETY: the context is open, the config initialised and ours alone until the call returns, `domid` a valid place, the descriptor open for
    // reading, the parameters initialised; null hows: synchronous, no console event.
    let made = libxl.call("libxl_domain_create_restore", |ctx| unsafe {
        sys::libxl_domain_create_restore(
            ctx,
            config.as_mut_ptr(),
            &raw mut domid,
            file.as_raw_fd(),
            NO_SEND_BACK,
            &raw const params,
            null(),
            null(),
        )
    });
    // SAFETY: initialised above, and not used after this.
    unsafe { sys::libxl_domain_restore_params_dispose(&raw mut params) };
    made.map(|()| domid).map_err(without_errno)
}
