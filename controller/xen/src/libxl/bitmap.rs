//! `libxl_bitmap`: a set of CPUs.

use super::Libxl;
use libxl_sys as sys;
use protocol::{CpuSet, Failure, FailureKind};

/// A bitmap that libxl allocated; freed when dropped.
pub(crate) struct Bitmap(sys::libxl_bitmap);

impl Bitmap {
    /// A bitmap with no memory behind it, for a call that allocates it.
    pub(crate) fn unallocated() -> Self {
        let mut map = sys::libxl_bitmap { size: 0, map: std::ptr::null_mut() };
        // SAFETY: `map` is a valid place; init writes it whole.
        unsafe { sys::libxl_bitmap_init(&raw mut map) };
        Self(map)
    }

    /// The pCPUs in `cpus`, as wide as the host: the width that the affinity calls expect.
    pub(crate) fn of_pcpus(libxl: &Libxl, cpus: &CpuSet) -> Result<Self, Failure> {
        Self::sized(libxl, 0, cpus)
    }

    /// The vCPUs in `cpus`.
    pub(crate) fn of_vcpus(libxl: &Libxl, cpus: &CpuSet) -> Result<Self, Failure> {
        let width = cpus.iter().next_back().map_or(1, |last| last + 1);
        Self::sized(libxl, i32::try_from(width).unwrap_or(i32::MAX), cpus)
    }

    fn sized(libxl: &Libxl, width: i32, cpus: &CpuSet) -> Result<Self, Failure> {
        let call = "libxl_cpu_bitmap_alloc";
        let mut bitmap = Self::unallocated();
        // SAFETY: the context is open, the bitmap is initialised and has no memory yet.
        libxl.call(call, |ctx| unsafe { sys::libxl_cpu_bitmap_alloc(ctx, &raw mut bitmap.0, width) })?;
        let bytes = bitmap.bytes_mut();
        for cpu in cpus.iter() {
            let byte = bytes.get_mut(cpu as usize / 8).ok_or_else(|| {
                Failure::new(FailureKind::Stale, call, format!("the host has no CPU {cpu}; observe it again"))
            })?;
            *byte |= 1 << (cpu % 8);
        }
        Ok(bitmap)
    }

    /// For a call that reads or allocates it.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut sys::libxl_bitmap {
        &raw mut self.0
    }

    /// For `libxl_cpupool_create`, which takes it by value and reads it only.
    pub(crate) fn as_value(&self) -> sys::libxl_bitmap {
        self.0
    }

    /// The CPUs in it.
    pub(crate) fn to_set(&self) -> CpuSet {
        set_of(&self.0)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.0.map.is_null() {
            return &mut [];
        }
        // SAFETY: libxl allocated `size` bytes at `map`, and `self` is borrowed mutably for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.0.map, self.0.size as usize) }
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        // SAFETY: it was initialised, its memory (or null) is libxl's, and it is not used after this.
        unsafe { sys::libxl_bitmap_dispose(&raw mut self.0) };
    }
}

/// The CPUs in a bitmap that somebody else owns, such as a member of a list.
pub(crate) fn set_of(map: &sys::libxl_bitmap) -> CpuSet {
    if map.map.is_null() {
        return CpuSet::new();
    }
    // SAFETY: a bitmap in a struct that libxl filled has `size` bytes at `map`, alive as long as the struct.
    from_bytes(unsafe { std::slice::from_raw_parts(map.map, map.size as usize) })
}

/// The CPUs in a bitmap: bit `n % 8` of byte `n / 8`.
pub(super) fn from_bytes(bytes: &[u8]) -> CpuSet {
    let bits = bytes
        .iter()
        .zip(0_u32..)
        .flat_map(|(byte, index)| (0..8_u32).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| index * 8 + bit));
    bits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_cpu_numbers() {
        assert_eq!(from_bytes(&[0b1000_0001, 0, 0b10]).to_string(), "0,7,17");
    }
}
