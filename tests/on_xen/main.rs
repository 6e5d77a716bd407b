//! The daemon on real Xen.
