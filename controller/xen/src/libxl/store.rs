//! xenstore through libxenstore: reads, one write, watches.

use super::{c_text, errno_of};
use libxl_sys as sys;
use protocol::{Failure, FailureKind};
use std::ffi::{CString, c_char, c_uint};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;

/// xenstored's socket (`xs_daemon_socket` in xs_lib.c: `XEN_RUN_STORED`/socket, `/run` on Linux distributions).
const SOCKET: &str = "/run/xenstored/socket";

/// Whether somebody serves xenstored's socket.
pub(crate) fn xenstored_answers() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// A connection to xenstored.
pub(crate) struct Store(NonNull<sys::xs_handle>);

impl Store {
    /// Connects, to the socket only: the kernel's xenbus device, libxenstore's second choice, never answers when xenstored is dead.
    pub(crate) fn open() -> Result<Self, Failure> {
        UnixStream::connect(SOCKET).map_err(|error| lost("connect", error.raw_os_error()))?;
        // SAFETY: takes flags only.
        let (handle, errno) = errno_of(|| unsafe { sys::xs_open(0) });
        NonNull::new(handle).map(Self).ok_or_else(|| lost("xs_open", errno))
    }

    /// The text at `path`; `None` when there is no such node.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>, Failure> {
        let path = c_text("xs_read", path)?;
        let mut length = 0;
        // SAFETY: the handle is open, the path NUL-terminated; 0 is no transaction.
        let (text, errno) = errno_of(|| unsafe { sys::xs_read(self.0.as_ptr(), 0, path.as_ptr(), &raw mut length) });
        let Some(text) = NonNull::new(text) else { return absent("xs_read", errno) };
        // SAFETY: libxenstore answered `length` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), length as usize) };
        let owned = String::from_utf8_lossy(bytes).into_owned();
        // SAFETY: malloc-owned by the caller (xenstore.h, "call free() on it after use"), not used after this.
        unsafe { libc::free(text.as_ptr()) };
        Ok(Some(owned))
    }

    /// The names below `path`; empty when there is no such node.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Failure> {
        let path = c_text("xs_directory", path)?;
        let mut count: c_uint = 0;
        // SAFETY: the handle is open, the path NUL-terminated; 0 is no transaction.
        let (names, errno) =
            errno_of(|| unsafe { sys::xs_directory(self.0.as_ptr(), 0, path.as_ptr(), &raw mut count) });
        let Some(names) = NonNull::new(names) else {
            return absent::<()>("xs_directory", errno).map(|_| Vec::new());
        };
        Ok(take_texts(names, count as usize))
    }

    /// Writes a node below a node that exists.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let path = c_text("xs_write", path)?;
        let length = c_uint::try_from(text.len()).expect("texts of ours are short");
        // SAFETY: the handle is open, the path NUL-terminated, `text` has `length` bytes; 0 is no transaction.
        let (written, errno) =
            errno_of(|| unsafe { sys::xs_write(self.0.as_ptr(), 0, path.as_ptr(), text.as_ptr().cast(), length) });
        if written { Ok(()) } else { Err(lost("xs_write", errno)) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `open` and not used after this.
        unsafe { sys::xs_close(self.0.as_ptr()) };
    }
}

/// A connection that watches. libxenstore starts a thread for it that only reads the socket.
pub(crate) struct Watch {
    store: Store,
    fd: RawFd,
}

impl Watch {
    /// Watches `paths`. Each fires once at once.
    pub(crate) fn open(paths: &[&str]) -> Result<Self, Failure> {
        let store = Store::open()?;
        for path in paths {
            let path = CString::new(*path).expect("paths of ours have no NUL");
            // SAFETY: the handle is open, both texts NUL-terminated.
            let (watched, errno) = errno_of(|| unsafe { sys::xs_watch(store.0.as_ptr(), path.as_ptr(), c"".as_ptr()) });
            if !watched {
                return Err(lost("xs_watch", errno));
            }
        }
        // SAFETY: the handle is open. The descriptor is a pipe that becomes readable when an event waits.
        let (fd, errno) = errno_of(|| unsafe { sys::xs_fileno(store.0.as_ptr()) });
        if fd < 0 { Err(lost("xs_fileno", errno)) } else { Ok(Self { store, fd }) }
    }

    /// Readable when something fired.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the handle and stays open while `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Takes everything that fired; whether anything had.
    pub(crate) fn drain(&self) -> bool {
        let mut fired = false;
        // SAFETY: the handle is open. Answers null when nothing waits, else a block of two texts.
        while let Some(event) = NonNull::new(unsafe { sys::xs_check_watch(self.store.0.as_ptr()) }) {
            fired = true;
            // SAFETY: malloc-owned by the caller as one block (xenstore.h), not used after this.
            unsafe { libc::free(event.as_ptr().cast()) };
        }
        fired
    }
}

/// Takes a block of texts.
fn take_texts(block: NonNull<*mut c_char>, count: usize) -> Vec<String> {
    // SAFETY: libxenstore answered `count` pointers to NUL-terminated texts in the same block.
    let pointers = unsafe { std::slice::from_raw_parts(block.as_ptr(), count) };
    // SAFETY: as above.
    let texts = pointers.iter().map(|pointer| unsafe { super::text(*pointer) }).collect();
    // SAFETY: malloc-owned by the caller as one block (xenstore.h), not used after this.
    unsafe { libc::free(block.as_ptr().cast()) };
    texts
}

/// A node that is not there is an answer; anything else is no connection.
fn absent<T>(call: &str, errno: Option<i32>) -> Result<Option<T>, Failure> {
    if errno == Some(libc::ENOENT) { Ok(None) } else { Err(lost(call, errno)) }
}

/// xenstored cannot be reached.
fn lost(call: &str, errno: Option<i32>) -> Failure {
    let said = errno.map_or_else(|| "no answer".to_owned(), |errno| io::Error::from_raw_os_error(errno).to_string());
    Failure {
        kind: FailureKind::XenstoreLost,
        call: call.to_owned(),
        rc: None,
        errno,
        message: format!(
            "xenstored cannot be reached ({said}); guests run on, but nothing can be seen or changed until it is back, which usually needs a reboot of the host"
        ),
    }
}
