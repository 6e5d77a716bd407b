//! A host whose next worker can be told to die at one of its calls, while the daemon is in charge. `rig/die_at.c` names the calls.

use anyhow::{Context, Result};
use lab::Builder;
use rig::Rig;

/// What the daemon has in its environment, so that its workers can be told.
pub(crate) const ENVIRONMENT: &str = "LD_PRELOAD=/usr/local/lib/die_at.so PINFOLD_DIE_ONCE=/run/die-at";

/// Boots a rig with the library in its dom0.
pub(crate) fn boot(lab: Builder) -> Result<Rig> {
    let programs = rig::programs()?;
    let killer = rig::killer(programs.worker.parent().context("the worker lies in a folder")?)?;
    let rig = Rig::boot(lab, &programs)?;
    rig.lab.copy_in(killer, "/usr/local/lib/die_at.so")?;
    Ok(rig)
}

/// The next worker that comes to this point dies there, such as `before:xs_transaction_end:1`.
pub(crate) fn arm(rig: &Rig, at: &str) -> Result<()> {
    // Whole at once: a worker may be looking.
    rig.lab.run(&format!("echo {at} > /run/die-at.new && mv /run/die-at.new /run/die-at"))?;
    Ok(())
}

/// Whether a worker has died there.
pub(crate) fn has_fired(rig: &Rig) -> Result<bool> {
    Ok(!rig.lab.sh("test -e /run/die-at")?.success())
}
