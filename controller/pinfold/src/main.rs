//! pinfold: see the library.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A pass makes and drops some ten thousand small values for a thousand VMs; glibc gives their memory back to the kernel and takes it anew
/// every time, which cost as much as all the rest of the pass.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    pinfold::commands::main(std::env::args_os()).into()
}
