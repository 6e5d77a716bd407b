//! Locks that a worker holds for its whole life: `flock` on files in the daemon's lock folder.
//!
//! The kernel gives a lock back when the last descriptor of it is closed: at the worker's end, however it ends. The descriptors are
//! close-on-exec, so no QEMU and no hotplug script keeps one; a child that libxl forks without exec keeps it as long as it still works for
//! the operation, as it should.

use protocol::{Failure, FailureKind, Lock, Order};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one change of cpupools waits for another, which takes well under a second.
const CPUPOOLS_PATIENCE: Duration = Duration::from_secs(20);
/// How long a creation waits its turn: several may be ahead of it, and each takes seconds.
const MEMORY_PATIENCE: Duration = Duration::from_secs(240);
/// How often a lock is tried meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// Takes the order's locks, in the order that every worker takes them. They are held until the answer is dropped.
pub(crate) fn take(order: &Order) -> Result<Vec<File>, Failure> {
    take_within(order, |lock| match lock {
        Lock::Cpupools => CPUPOOLS_PATIENCE,
        Lock::Memory => MEMORY_PATIENCE,
        // Another operation on the domain makes this one outdated.
        Lock::Vm(_) => Duration::ZERO,
    })
}

fn take_within(order: &Order, patience: impl Fn(&Lock) -> Duration) -> Result<Vec<File>, Failure> {
    let folder = Path::new(&order.locks);
    let mut held = Vec::new();
    for lock in order.request.locks() {
        let path = folder.join(lock.file_name());
        let failure = |errno: Errno| Failure {
            kind: if errno == Errno::WOULDBLOCK { FailureKind::Busy } else { FailureKind::Refused },
            call: "flock".to_owned(),
            rc: None,
            errno: Some(errno.raw_os_error()),
            message: match errno {
                Errno::WOULDBLOCK => format!("{} is held by another operation; it is tried again", path.display()),
                _ => format!("{}: {errno}", path.display()),
            },
        };
        // std opens close-on-exec.
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| failure(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        wait_for(&file, patience(&lock)).map_err(failure)?;
        held.push(file);
    }
    Ok(held)
}

fn wait_for(file: &File, patience: Duration) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < patience => sleep(RETRY),
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{PROTOCOL, Request, Target};
    use uuid::Uuid;

    #[test]
    fn one_operation_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let order = |request| Order {
            protocol: PROTOCOL,
            operation: Uuid::nil(),
            locks: folder.path().display().to_string(),
            outcome: String::new(),
            storage: String::new(),
            request,
        };
        let take = |order: &Order| take_within(order, |_| Duration::ZERO);
        let destroy = |uuid| order(Request::DestroyDomain { target: Target { domid: 1, uuid: Uuid::from_u128(uuid) } });
        let pools = order(Request::DestroyCpupool { uuid: Uuid::nil() });

        let held = take(&destroy(1)).unwrap();
        assert_eq!(take(&destroy(1)).unwrap_err().kind, FailureKind::Busy);
        let other = take(&destroy(2)).unwrap();
        let cpupools = take(&pools).unwrap();
        assert_eq!(take(&pools).unwrap_err().kind, FailureKind::Busy);
        drop((held, other, cpupools));
        take(&destroy(1)).unwrap();
    }
}
