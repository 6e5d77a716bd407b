//! libxl's log, kept in memory.
//!
//! libxl's forked children log too, so the logger may take no lock of ours: it is libxentoollog's own writer on an anonymous file,
//! which the children inherit and append to.

use libxl_sys as sys;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

/// How much of a log is read back: its last part.
const BYTES: u64 = 64 * 1024;

/// A log that libxl writes and we read.
pub(super) struct Log {
    logger: NonNull<sys::xentoollog_logger_stdiostream>,
    stream: NonNull<libc::FILE>,
    file: File,
}

impl Log {
    /// An empty log.
    pub(super) fn open() -> io::Result<Self> {
        let file = File::from(memfd_create("libxl-log", MemfdFlags::CLOEXEC)?);
        let writer = file.try_clone()?.into_raw_fd();
        // SAFETY: `writer` is an open descriptor that nothing else owns; `a` makes every write append, whoever else writes.
        let stream = unsafe { libc::fdopen(writer, c"a".as_ptr()) };
        let stream = NonNull::new(stream).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the stream is open and outlives the logger (see `drop`).
        let logger = unsafe {
            sys::xtl_createlogger_stdiostream(
                stream.as_ptr(),
                sys::xentoollog_level::XTL_INFO,
                XTL_STDIOSTREAM_HIDE_PROGRESS,
            )
        };
        let logger = NonNull::new(logger).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { logger, stream, file })
    }

    /// For libxl; valid as long as `self`.
    pub(super) fn logger(&self) -> *mut sys::xentoollog_logger {
        self.logger.as_ptr().cast()
    }

    /// Where the next line will stand.
    pub(super) fn end(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The lines from `start` on, oldest first: at most the last 64 KiB of them.
    pub(super) fn lines_from(&self, start: u64) -> Vec<String> {
        let end = self.end();
        let start = start.max(end.saturating_sub(BYTES)).min(end);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, start) {
            Ok(()) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
            Err(error) => vec![format!("pinfold-xen: libxl's log cannot be read: {error}")],
        }
    }

    /// Forgets all lines.
    pub(super) fn clear(&self) {
        // Cannot fail on an anonymous file that is open for writing; if it did, the log would only be longer.
        self.file.set_len(0).ok();
    }
}

/// `XTL_STDIOSTREAM_HIDE_PROGRESS` (xentoollog.h:69), octal there.
const XTL_STDIOSTREAM_HIDE_PROGRESS: u32 = 0o004;

impl Drop for Log {
    fn drop(&mut self) {
        // SAFETY: made by `open`, not used after this.
        unsafe { sys::xtl_logger_destroy(self.logger()) };
        // SAFETY: made by `open`; the logger that used it is gone and has not closed it.
        unsafe { libc::fclose(self.stream.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_a_child_writes_is_read_and_can_be_forgotten() {
        let log = Log::open().unwrap();
        rustix::io::write(log.file.as_fd(), b"one\ntwo\n").unwrap();
        let start = log.end();
        rustix::io::write(log.file.as_fd(), b"three\n").unwrap();
        assert_eq!(log.lines_from(0), ["one", "two", "three"]);
        assert_eq!(log.lines_from(start), ["three"]);
        log.clear();
        rustix::io::write(log.file.as_fd(), b"four\n").unwrap();
        assert_eq!(log.lines_from(0), ["four"]);
    }
}
