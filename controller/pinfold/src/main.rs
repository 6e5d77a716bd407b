//! pinfold: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("fetch") => match pinfold::source::fetch_child(std::io::stdin().lock(), std::io::stdout().lock()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) | Err(_) => ExitCode::FAILURE,
        },
        _ => ExitCode::from(64),
    }
}
