//! pinfold's state on a small file system of its own, which can be full or read-only.

use anyhow::Result;
use rig::Rig;

/// Makes the file system; before the daemon's first start. Nothing of it is kept back for root, which pinfold is.
pub(crate) fn make(rig: &Rig) -> Result<()> {
    rig.lab.run(
        "mkdir -p /var/lib/pinfold && truncate -s 64M /srv/state.img && mkfs.ext4 -q -m 0 /srv/state.img && \
         mount -o loop /srv/state.img /var/lib/pinfold",
    )?;
    Ok(())
}

/// Fills it, and keeps it full: whatever block is given back, by a file that is replaced or at the next commit of ext4's journal, is
/// taken at once.
pub(crate) fn fill(rig: &Rig) -> Result<()> {
    rig.lab.spawn(
        "while :; do cat /dev/zero >>/var/lib/pinfold/fill 2>/dev/null; sync -f /var/lib/pinfold; sleep 0.5; done",
        "/dev/null",
    )?;
    // ext4 keeps a few blocks that nobody can have, so the number of free ones does not say it.
    rig.until("nothing can be written", |rig| {
        Ok(!rig.lab.sh("head -c 4096 /dev/zero 2>/dev/null >>/var/lib/pinfold/more")?.success())
    })
}

/// Gives the space back.
pub(crate) fn free(rig: &Rig) -> Result<()> {
    rig.lab.run(
        "pkill -f '[w]hile :; do cat /dev/zero'; pkill cat; sleep 1; rm -f /var/lib/pinfold/fill /var/lib/pinfold/more",
    )?;
    Ok(())
}
