//! pinfold: the daemon and the command line.
//!
//! A library with a thin `main`, so that tests reach every part without starting a process.

pub mod source;
