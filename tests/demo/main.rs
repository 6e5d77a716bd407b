//! The demo: a commit becomes cpupools and running, pinned domains. The same story on real Xen and on the simulated host.
//!
//! `cargo run -p pinfold-tests --bin demo -- xen|sim`; `make demo` prepares what it needs.

mod sim;
mod stage;
mod story;
mod xen;

use anyhow::{Result, bail};
use std::path::PathBuf;

fn main() -> Result<()> {
    let backend = std::env::args().nth(1).unwrap_or_else(|| "xen".to_owned());
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/three-partitions").canonicalize()?;
    match backend.as_str() {
        "xen" => story::tell(&mut xen::OnXen::prepare()?, &example),
        "sim" => story::tell(&mut sim::OnSim::prepare()?, &example),
        other => bail!("`{other}` is no backend: write `xen` or `sim`"),
    }
}
