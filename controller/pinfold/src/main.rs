//! pinfold: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinfold::commands::main(std::env::args_os()).into()
}
