//! pinfold.

fn main() {}
