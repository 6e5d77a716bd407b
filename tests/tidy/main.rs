//! The house rules that a machine can check: which crate may depend on which, where `unsafe` may stand, how long a file may be, and that
//! the tree speaks only of itself.

mod arrows;
mod files;
mod units;

use std::path::PathBuf;

/// The root of the workspace.
fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests live one folder below the root").to_owned()
}
