//! The changing calls on domains and cpupools, each one libxl call.

use super::{Bitmap, DomainConfig, Libxl, c_text};
use libxl_sys as sys;
use protocol::{CpuSet, Failure, FailureKind};
use std::ffi::CStr;
use std::ptr::null;
use uuid::Uuid;

/// "No domain", for a call that wants a number only for its log lines (`INVALID_DOMID`, libxl.h).
const NO_DOMAIN: u32 = u32::MAX;

/// Memory that a domain of this configuration will take, in KiB.
pub(crate) fn need_memory(libxl: &Libxl, mut config: DomainConfig) -> Result<u64, Failure> {
    let mut kib = 0;
    // SAFETY: the context is open, the config initialised, `kib` a valid place.
    libxl.call("libxl_domain_need_memory", |ctx| unsafe {
        sys::libxl_domain_need_memory(ctx, config.as_mut_ptr(), NO_DOMAIN, &raw mut kib)
    })?;
    Ok(kib)
}

/// Builds a domain, paused, and answers its number. libxl destroys it again when it fails half-way.
pub(crate) fn create(libxl: &Libxl, mut config: DomainConfig) -> Result<u32, Failure> {
    let mut domid = 0;
    // SAFETY: the context is open, the config initialised and ours alone until the call returns, `domid` a valid place;
    // null hows: synchronous, no console event.
    let made = libxl.call("libxl_domain_create_new", |ctx| unsafe {
        sys::libxl_domain_create_new(ctx, config.as_mut_ptr(), &raw mut domid, null(), null())
    });
    made.map(|()| domid).map_err(without_errno)
}

/// A failure of a call that takes back what it has done before it answers: what is then in `errno` comes from the taking back.
/// That memory was lacking stands in the log, in the words of `strerror`.
pub(super) fn without_errno(failure: Failure) -> Failure {
    let kind = match failure.kind {
        FailureKind::XenstoreLost => FailureKind::XenstoreLost,
        _ if failure.message.contains("Cannot allocate memory") => FailureKind::Memory,
        _ => FailureKind::Refused,
    };
    Failure { kind, errno: None, ..failure }
}

/// Makes a cpupool without pCPUs, under the scheduler that Xen was booted with.
pub(crate) fn create_cpupool(libxl: &Libxl, uuid: Uuid, name: &str) -> Result<u32, Failure> {
    let call = "libxl_cpupool_create";
    let name = c_text(call, name)?;
    let mut uuid = sys::libxl_uuid { uuid: *uuid.as_bytes() };
    let mut poolid = sys::LIBXL_CPUPOOL_POOLID_ANY;
    let no_cpus = Bitmap::of_pcpus(libxl, &CpuSet::new())?;
    let mut scheduler = 0;
    libxl.call("libxl_get_scheduler", |ctx| {
        // SAFETY: the context is open.
        scheduler = unsafe { sys::libxl_get_scheduler(ctx) };
        scheduler.min(0)
    })?;
    let scheduler = sys::libxl_scheduler(scheduler.unsigned_abs());
    // SAFETY: the context is open, the name NUL-terminated, the map allocated and only read, uuid and poolid valid places.
    libxl.call(call, |ctx| unsafe {
        sys::libxl_cpupool_create(ctx, name.as_ptr(), scheduler, no_cpus.as_value(), &raw mut uuid, &raw mut poolid)
    })?;
    Ok(poolid)
}

impl Libxl {
    /// pCPUs that are online and in no cpupool.
    pub(crate) fn free_cpus(&self) -> Result<CpuSet, Failure> {
        let mut map = Bitmap::unallocated();
        // SAFETY: the context is open; the call allocates the map's memory, which `Bitmap` frees.
        self.call("libxl_get_freecpus", |ctx| unsafe { sys::libxl_get_freecpus(ctx, map.as_mut_ptr()) })?;
        Ok(map.to_set())
    }

    /// Adds a free pCPU.
    pub(crate) fn cpupool_cpuadd(&self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        let cpu = number("libxl_cpupool_cpuadd", cpu)?;
        // SAFETY: the context is open.
        self.call("libxl_cpupool_cpuadd", |ctx| unsafe { sys::libxl_cpupool_cpuadd(ctx, poolid, cpu) })
    }

    /// Removes a pCPU.
    pub(crate) fn cpupool_cpuremove(&self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        let cpu = number("libxl_cpupool_cpuremove", cpu)?;
        // SAFETY: the context is open.
        self.call("libxl_cpupool_cpuremove", |ctx| unsafe { sys::libxl_cpupool_cpuremove(ctx, poolid, cpu) })
    }

    /// Gives a cpupool another name.
    pub(crate) fn cpupool_rename(&self, poolid: u32, name: &CStr) -> Result<(), Failure> {
        // SAFETY: the context is open, the name NUL-terminated.
        self.call("libxl_cpupool_rename", |ctx| unsafe { sys::libxl_cpupool_rename(ctx, name.as_ptr(), poolid) })
    }

    /// Destroys a cpupool without domains.
    pub(crate) fn cpupool_destroy(&self, poolid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open.
        self.call("libxl_cpupool_destroy", |ctx| unsafe { sys::libxl_cpupool_destroy(ctx, poolid) })
    }

    /// Moves a domain to another cpupool.
    pub(crate) fn cpupool_movedomain(&self, poolid: u32, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open.
        self.call("libxl_cpupool_movedomain", |ctx| unsafe { sys::libxl_cpupool_movedomain(ctx, poolid, domid) })
    }

    /// Destroys a domain.
    pub(crate) fn domain_destroy(&self, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open; a null how: synchronous.
        self.call("libxl_domain_destroy", |ctx| unsafe { sys::libxl_domain_destroy(ctx, domid, null()) })
    }

    /// Pauses a domain.
    pub(crate) fn domain_pause(&self, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open; a null how: synchronous.
        self.call("libxl_domain_pause", |ctx| unsafe { sys::libxl_domain_pause(ctx, domid, null()) })
    }

    /// Takes one pause away.
    pub(crate) fn domain_unpause(&self, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open; a null how: synchronous.
        self.call("libxl_domain_unpause", |ctx| unsafe { sys::libxl_domain_unpause(ctx, domid, null()) })
    }

    /// Asks the guest to power off and waits up to a minute until it acknowledges (`libxl__pvcontrol`).
    pub(crate) fn domain_shutdown(&self, domid: u32) -> Result<(), Failure> {
        // SAFETY: the context is open; a null how: synchronous.
        let asked = self.call("libxl_domain_shutdown", |ctx| unsafe { sys::libxl_domain_shutdown(ctx, domid, null()) });
        asked.map_err(|failure| match failure.rc.map(sys::libxl_error) {
            Some(
                sys::libxl_error::ERROR_TIMEDOUT
                | sys::libxl_error::ERROR_GUEST_TIMEDOUT
                | sys::libxl_error::ERROR_NOPARAVIRT,
            ) => Failure { kind: FailureKind::GuestIgnored, ..failure },
            _ => failure,
        })
    }

    /// Presses the ACPI power button of an HVM domain.
    pub(crate) fn press_power_button(&self, domid: u32) -> Result<(), Failure> {
        let (trigger, vcpu) = (sys::libxl_trigger::LIBXL_TRIGGER_POWER, 0);
        // SAFETY: the context is open; a null how: synchronous.
        self.call("libxl_send_trigger", |ctx| unsafe { sys::libxl_send_trigger(ctx, domid, trigger, vcpu, null()) })
    }

    /// Gives a domain another name, whatever it had.
    pub(crate) fn domain_rename(&self, domid: u32, name: &CStr) -> Result<(), Failure> {
        // SAFETY: the context is open, the new name NUL-terminated; a null old name: any.
        self.call("libxl_domain_rename", |ctx| unsafe { sys::libxl_domain_rename(ctx, domid, null(), name.as_ptr()) })
    }

    /// Sets the hard affinity of one vCPU; its soft affinity stays.
    pub(crate) fn set_hard_affinity(&self, domid: u32, vcpu: u32, map: &mut Bitmap) -> Result<(), Failure> {
        // SAFETY: the context is open, the map allocated as wide as the host and only read; null: no soft affinity.
        self.call("libxl_set_vcpuaffinity", |ctx| unsafe {
            sys::libxl_set_vcpuaffinity(ctx, domid, vcpu, map.as_mut_ptr(), null())
        })
    }

    /// Sets the soft affinity of one vCPU; its hard affinity stays.
    pub(crate) fn set_soft_affinity(&self, domid: u32, vcpu: u32, map: &mut Bitmap) -> Result<(), Failure> {
        // SAFETY: the context is open, the map allocated as wide as the host and only read; null: no hard affinity.
        self.call("libxl_set_vcpuaffinity", |ctx| unsafe {
            sys::libxl_set_vcpuaffinity(ctx, domid, vcpu, null(), map.as_mut_ptr())
        })
    }

    /// Asks the guest to use the vCPUs in `map`.
    pub(crate) fn set_vcpus_online(&self, domid: u32, map: &mut Bitmap) -> Result<(), Failure> {
        // SAFETY: the context is open, the map allocated and only read; a null how: synchronous.
        self.call("libxl_set_vcpuonline", |ctx| unsafe {
            sys::libxl_set_vcpuonline(ctx, domid, map.as_mut_ptr(), null())
        })
    }

    /// Asks the guest to use this much memory and lowers Xen's limit to it.
    pub(crate) fn set_memory_target(&self, domid: u32, memory_kib: u64) -> Result<(), Failure> {
        let call = "libxl_set_memory_target";
        let kib = i64::try_from(memory_kib)
            .map_err(|_| Failure::new(FailureKind::Refused, call, format!("{memory_kib} KiB is no memory size")))?;
        // SAFETY: the context is open. 0: not relative; 1: enforce.
        self.call(call, |ctx| unsafe { sys::libxl_set_memory_target(ctx, domid, kib, 0, 1) })
    }
}

/// A CPU number as libxl takes it.
fn number(call: &str, cpu: u32) -> Result<i32, Failure> {
    i32::try_from(cpu).map_err(|_| Failure::new(FailureKind::Refused, call, format!("{cpu} is no CPU number")))
}
