//! pinfold: see the library.

fn main() {}
