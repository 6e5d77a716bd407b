//! A Xen host in memory, with the semantics of the real one. Pure.
