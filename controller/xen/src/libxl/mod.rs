//! Safe calls of libxl, libxenctrl and libxenstore: the only module with `unsafe`, but for the environment in `order`.
//!
//! [`Libxl`] is a context with its log; what libxl allocates is owned by [`List`], [`Bitmap`] and [`DomainConfig`], which give it back.
//! Invariants: one thread, default SIGCHLD mode, every call synchronous (`ao_how` is null). libxl may end the process at any call
//! (`exit(-1)` on a disaster, `abort()` on an assertion): nothing here may hold a promise across a call that only a `Drop` keeps.

mod bitmap;
mod config;
mod control;
mod devices;
pub(crate) mod domain;
mod list;
mod log;
mod store;
pub(crate) mod suspend;

pub(crate) use bitmap::Bitmap;
pub(crate) use config::DomainConfig;
pub(crate) use control::Control;
pub(crate) use devices::Device;
pub(crate) use domain::create_cpupool;
use domain::without_errno;
pub(crate) use list::{List, Physinfo, uuid_of};
pub(crate) use store::{Store, Watch, xenstored_answers};

use libxl_sys as sys;
use log::Log;
use protocol::{Failure, FailureKind};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int};
use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A libxl context with its own log.
pub(crate) struct Libxl {
    ctx: NonNull<sys::libxl_ctx>,
    log: Log,
    time_within: Cell<Duration>,
}

impl Libxl {
    /// Opens Xen's privileged interface and xenstore. The caller has made sure that xenstored answers: libxl falls back to the kernel's
    /// xenbus device, and a read there waits for ever when no xenstored serves it.
    pub(crate) fn open() -> Result<Self, Failure> {
        let log = Log::open().map_err(|error| io_failure("memfd_create", &error))?;
        let mut ctx = std::ptr::null_mut();
        // SAFETY: `ctx` is a valid place for the result; the logger outlives the context, since `Libxl` drops the context first.
        let (rc, errno) = errno_of(|| unsafe { sys::libxl_ctx_alloc(&raw mut ctx, version(), 0, log.logger()) });
        match NonNull::new(ctx) {
            Some(ctx) if rc == 0 => Ok(Self { ctx, log, time_within: Cell::default() }),
            _ => Err(failure("libxl_ctx_alloc", rc, errno, &log.lines_from(0))),
        }
    }

    /// Makes a call that answers 0 or an error code.
    pub(crate) fn call(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut sys::libxl_ctx) -> c_int,
    ) -> Result<(), Failure> {
        let start = self.log.end();
        let (rc, errno) = self.timed(call);
        if rc == 0 { Ok(()) } else { Err(failure(name, rc, errno, &self.log.lines_from(start))) }
    }

    /// Makes a call that answers a pointer, or null when it failed.
    pub(crate) fn ask<T>(
        &self,
        name: &'static str,
        call: impl FnOnce(*mut sys::libxl_ctx) -> *mut T,
    ) -> Result<NonNull<T>, Failure> {
        let start = self.log.end();
        let (pointer, errno) = self.timed(call);
        NonNull::new(pointer)
            .ok_or_else(|| failure(name, sys::libxl_error::ERROR_FAIL.0, errno, &self.log.lines_from(start)))
    }

    /// Makes a call and counts its time; answers what it answered and left in `errno`.
    fn timed<T>(&self, call: impl FnOnce(*mut sys::libxl_ctx) -> T) -> (T, Option<i32>) {
        let began = Instant::now();
        let answer = errno_of(|| call(self.ctx.as_ptr()));
        self.time_within.set(self.time_within.get() + began.elapsed());
        answer
    }

    /// Time that all calls together have taken.
    pub(crate) fn time_within(&self) -> Duration {
        self.time_within.get()
    }

    /// Everything that libxl has logged, oldest first, bounded.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines_from(0)
    }

    /// Forgets what was logged.
    pub(crate) fn clear_log(&self) {
        self.log.clear();
    }

    /// The logger, for another library whose handle does not outlive this context.
    pub(crate) fn logger(&self) -> *mut sys::xentoollog_logger {
        self.log.logger()
    }

    /// Version of the running Xen, such as `4.17.5`.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        // SAFETY: the context is open; the answer is owned and cached by it (libxl.h, "Additional info").
        let info = self.ask("libxl_get_version_info", |ctx| unsafe { sys::libxl_get_version_info(ctx).cast_mut() })?;
        // SAFETY: libxl filled it, and it lives as long as the context.
        let info = unsafe { info.as_ref() };
        // SAFETY: the member is null or a string owned by the context.
        let extra = unsafe { text(info.xen_version_extra) };
        let minor = format!("{}.{}", info.xen_version_major, info.xen_version_minor);
        // Debian's extra version is `.7`, others append a vendor's word to it.
        let patch = extra.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default();
        Ok(format!("{minor}{patch}"))
    }
}

impl Drop for Libxl {
    fn drop(&mut self) {
        // SAFETY: the context was opened by `open`, is not used after this, and has no asynchronous operation: every call was synchronous.
        unsafe { sys::libxl_ctx_free(self.ctx.as_ptr()) };
    }
}

/// `LIBXL_VERSION` as the type that `libxl_ctx_alloc` takes.
fn version() -> c_int {
    c_int::try_from(sys::LIBXL_VERSION).expect("LIBXL_VERSION is 0 (libxl.h)")
}

/// Runs a call and answers what it left in `errno`.
fn errno_of<T>(call: impl FnOnce() -> T) -> (T, Option<i32>) {
    // SAFETY: the location is this thread's own `errno`, valid for its life.
    unsafe { *libc::__errno_location() = 0 };
    let answer = call();
    (answer, io::Error::last_os_error().raw_os_error().filter(|errno| *errno != 0))
}

/// What a refused call means.
fn failure(call: &str, rc: i32, errno: Option<i32>, lines: &[String]) -> Failure {
    let errors: Vec<&str> = lines.iter().filter_map(|line| error_text(line)).collect();
    let name = error_name(rc);
    let said = match (errors.is_empty(), errno) {
        (false, _) => format!("{} ({name})", errors.join("; ")),
        (true, Some(errno)) => format!("{} ({name})", io::Error::from_raw_os_error(errno)),
        (true, None) => format!("libxl answered {name} and logged nothing"),
    };
    let (kind, message) = if xenstored_answers() {
        (kind_of(rc, errno), said)
    } else {
        (
            FailureKind::XenstoreLost,
            format!("{said}; xenstored does not answer: see `systemctl status xen` on the host"),
        )
    };
    Failure { kind, call: call.to_owned(), rc: Some(rc), errno, message }
}

/// The kind of failure behind libxl's return code and errno, for a call that is one hypercall or little more.
fn kind_of(rc: i32, errno: Option<i32>) -> FailureKind {
    match (sys::libxl_error(rc), errno) {
        (sys::libxl_error::ERROR_NOMEM, _) | (_, Some(libc::ENOMEM)) => FailureKind::Memory,
        (sys::libxl_error::ERROR_DOMAIN_NOTFOUND | sys::libxl_error::ERROR_DOMAIN_DESTROYED, _)
        | (_, Some(libc::ESRCH)) => FailureKind::Stale,
        _ => FailureKind::Refused,
    }
}

/// The name of a libxl error, such as `ERROR_FAIL`.
fn error_name(rc: i32) -> String {
    // SAFETY: the call takes any value; for one that it does not know it answers null.
    match unsafe { text(sys::libxl_error_to_string(sys::libxl_error(rc))) } {
        name if name.is_empty() => format!("error {rc}"),
        name => format!("ERROR_{}", name.to_uppercase()),
    }
}

/// The sentence in a log line of level error or worse: `libxl: error: libxl_dm.c:2927:name: Domain 3:…` → `Domain 3:…`.
fn error_text(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(": error: ").or_else(|| line.split_once(": critical: "))?;
    let parts: Vec<&str> = rest.splitn(4, ':').collect();
    match parts[..] {
        [_, number, _, text] if number.parse::<u32>().is_ok() => Some(text.trim()),
        _ => Some(rest.trim()),
    }
}

/// A failure of the kernel's.
pub(crate) fn io_failure(call: &str, error: &io::Error) -> Failure {
    Failure {
        kind: FailureKind::Refused,
        call: call.to_owned(),
        rc: None,
        errno: error.raw_os_error(),
        message: error.to_string(),
    }
}

/// A text for C.
pub(crate) fn c_text(call: &str, text: &str) -> Result<CString, Failure> {
    CString::new(text)
        .map_err(|_| Failure::new(FailureKind::Refused, call, format!("{text:?} has a NUL byte; remove it")))
}

/// A text from C; empty for null.
///
/// # Safety
/// `pointer` is null or a NUL-terminated string that lives during the call.
unsafe fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a NUL-terminated string by this function's contract.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_become_sentences() {
        let sentence = |line| error_text(line).unwrap_or("-");
        insta::assert_snapshot!(
            [
                sentence("libxl: error: libxl_dom.c:656:libxl__build_dom: xc_dom_kernel_file failed: No such file or directory"),
                sentence("libxl: error: libxl_create.c:1318:initiate_domain_create: Domain 3:cannot build domain: -3"),
                sentence("xc: error: panic: xc_dom_boot.c:120: xc_dom_boot_mem_init: can't allocate low memory for domain"),
                sentence("libxl: info: libxl_create.c:121:x: no error"),
            ]
            .join("\n"),
            @r"
        xc_dom_kernel_file failed: No such file or directory
        Domain 3:cannot build domain: -3
        panic: xc_dom_boot.c:120: xc_dom_boot_mem_init: can't allocate low memory for domain
        -
        "
        );
    }
}
