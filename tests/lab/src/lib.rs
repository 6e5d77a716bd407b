//! Real Xen in QEMU, as a test fixture.
