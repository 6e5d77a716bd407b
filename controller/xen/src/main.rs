//! xen.

fn main() {}
