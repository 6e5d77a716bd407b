//! Replaced by bindgen.

fn main() {}
