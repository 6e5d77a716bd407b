//! Lists and structs that libxl allocates.

use super::bitmap::set_of;
use super::{Libxl, text};
use libxl_sys as sys;
use protocol::{CpuSet, Failure, Sched};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use uuid::Uuid;

/// An array that libxl allocated; freed with its own function when dropped.
pub(crate) struct List<T> {
    first: NonNull<T>,
    count: c_int,
    free: unsafe extern "C" fn(*mut T, c_int),
}

impl List<sys::libxl_dominfo> {
    /// All domains, dom0 and dying ones included.
    pub(crate) fn domains(libxl: &Libxl) -> Result<Self, Failure> {
        let mut count = 0;
        // SAFETY: the context is open and `count` is a valid place.
        let first = libxl.ask("libxl_list_domain", |ctx| unsafe { sys::libxl_list_domain(ctx, &raw mut count) })?;
        Ok(Self { first, count, free: sys::libxl_dominfo_list_free })
    }
}

impl List<sys::libxl_vcpuinfo> {
    /// The vCPUs of a domain. Fails when the domain goes away meanwhile.
    pub(crate) fn vcpus(libxl: &Libxl, domid: u32) -> Result<Self, Failure> {
        let (mut count, mut pcpus) = (0, 0);
        // SAFETY: the context is open, both counts are valid places.
        let first = libxl.ask("libxl_list_vcpu", |ctx| unsafe {
            sys::libxl_list_vcpu(ctx, domid, &raw mut count, &raw mut pcpus)
        })?;
        Ok(Self { first, count, free: sys::libxl_vcpuinfo_list_free })
    }

    /// Each vCPU's number, whether it is online, and its hard affinity.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (u32, bool, CpuSet, CpuSet)> + '_ {
        self.iter().map(|vcpu| (vcpu.vcpuid, vcpu.online, set_of(&vcpu.cpumap), set_of(&vcpu.cpumap_soft)))
    }
}

impl List<sys::libxl_cputopology> {
    /// Where each pCPU sits; an absent one has all ones.
    pub(crate) fn topology(libxl: &Libxl) -> Result<Self, Failure> {
        let mut count = 0;
        // SAFETY: the context is open and `count` is a valid place.
        let first =
            libxl.ask("libxl_get_cpu_topology", |ctx| unsafe { sys::libxl_get_cpu_topology(ctx, &raw mut count) })?;
        Ok(Self { first, count, free: sys::libxl_cputopology_list_free })
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: libxl answered an array of `count` elements, which nobody frees before `drop`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), usize::try_from(self.count).unwrap_or(0)) }
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        // SAFETY: the array came from the call that this function belongs to, and is not used after this.
        unsafe { (self.free)(self.first.as_ptr(), self.count) };
    }
}

/// `libxl_physinfo`.
pub(crate) struct Physinfo(sys::libxl_physinfo);

impl Physinfo {
    /// Asks for it.
    pub(crate) fn read(libxl: &Libxl) -> Result<Self, Failure> {
        let mut info = MaybeUninit::uninit();
        // SAFETY: init writes the struct whole.
        let mut info = Self(unsafe {
            sys::libxl_physinfo_init(info.as_mut_ptr());
            info.assume_init()
        });
        // SAFETY: the context is open, the struct is initialised.
        libxl.call("libxl_get_physinfo", |ctx| unsafe { sys::libxl_get_physinfo(ctx, &raw mut info.0) })?;
        Ok(info)
    }
}

impl Deref for Physinfo {
    type Target = sys::libxl_physinfo;

    fn deref(&self) -> &sys::libxl_physinfo {
        &self.0
    }
}

impl Drop for Physinfo {
    fn drop(&mut self) {
        // SAFETY: it was initialised and is not used after this.
        unsafe { sys::libxl_physinfo_dispose(&raw mut self.0) };
    }
}

/// `libxl_domain_sched_params`: numbers only, so nothing to free.
fn sched_params() -> sys::libxl_domain_sched_params {
    let mut params = MaybeUninit::uninit();
    // SAFETY: init writes the struct whole, every member to "unknown" or "default".
    unsafe {
        sys::libxl_domain_sched_params_init(params.as_mut_ptr());
        params.assume_init()
    }
}

impl Libxl {
    /// A domain's weight and cap.
    pub(crate) fn sched(&self, domid: u32) -> Result<Sched, Failure> {
        let mut params = sched_params();
        // SAFETY: the context is open, the struct is initialised.
        self.call("libxl_domain_sched_params_get", |ctx| unsafe {
            sys::libxl_domain_sched_params_get(ctx, domid, &raw mut params)
        })?;
        let bounded = |value: c_int| u16::try_from(value).unwrap_or(if value < 0 { 0 } else { u16::MAX });
        Ok(Sched { weight: bounded(params.weight), cap: bounded(params.cap) })
    }

    /// Sets a domain's weight and cap under its cpupool's scheduler.
    pub(crate) fn set_sched(&self, domid: u32, sched: Sched) -> Result<(), Failure> {
        let mut params = sched_params();
        params.weight = sched.weight.into();
        params.cap = sched.cap.into();
        // SAFETY: the context is open, the struct is initialised and only read.
        self.call("libxl_domain_sched_params_set", |ctx| unsafe {
            sys::libxl_domain_sched_params_set(ctx, domid, &raw const params)
        })
    }
}

/// The handle that Xen keeps, in the order of its text form.
pub(crate) fn uuid_of(uuid: sys::libxl_uuid) -> Uuid {
    Uuid::from_bytes(uuid.uuid)
}

/// The name of a scheduler as libxl's enum has it: `credit2`.
pub(crate) fn scheduler_name(scheduler: sys::libxl_scheduler) -> String {
    match scheduler {
        sys::libxl_scheduler::LIBXL_SCHEDULER_SEDF => "sedf".to_owned(),
        sys::libxl_scheduler::LIBXL_SCHEDULER_CREDIT => "credit".to_owned(),
        sys::libxl_scheduler::LIBXL_SCHEDULER_CREDIT2 => "credit2".to_owned(),
        sys::libxl_scheduler::LIBXL_SCHEDULER_ARINC653 => "arinc653".to_owned(),
        sys::libxl_scheduler::LIBXL_SCHEDULER_RTDS => "rtds".to_owned(),
        sys::libxl_scheduler::LIBXL_SCHEDULER_NULL => "null".to_owned(),
        sys::libxl_scheduler(other) => format!("scheduler-{other}"),
    }
}

/// Takes a text that libxl allocated.
pub(crate) fn take_text(pointer: NonNull<libc::c_char>) -> String {
    // SAFETY: libxl answered a NUL-terminated string.
    let text = unsafe { text(pointer.as_ptr()) };
    // SAFETY: libxl allocates with malloc and gives the string to its caller (libxl.h:677 ff); it is not used after this.
    unsafe { libc::free(pointer.as_ptr().cast()) };
    text
}
