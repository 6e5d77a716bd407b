//! Disks and NICs of a domain that lives.
//!
//! Killed at any point, a device is left attached whole, unfinished, closing, or gone; each shows in the next observation, and each of
//! these requests may be run again on it.

use crate::Hypervisor;
use crate::view::{live_target, name_of, stale};
use protocol::{Cdrom, DeviceState, DiskConfig, Domain, Done, Failure, FailureKind, NicConfig, Target};

/// Attaches a disk. One that is attached already as asked needs nothing more.
pub(crate) fn attach_disk(hypervisor: &mut dyn Hypervisor, target: Target, disk: &DiskConfig) -> Result<Done, Failure> {
    const OPERATION: &str = "attach-disk";
    let domain = live_target(hypervisor, OPERATION, target)?;
    if let Some(there) = domain.disks.iter().find(|there| there.target == disk.target) {
        let same = there.path == disk.path && there.read_only == disk.read_only && there.state.is_attached();
        let taken = || {
            let what = state_text(there.state);
            stale(OPERATION, format!("{} {what} {} as {} already", name_of(&domain), there.path, there.target))
        };
        return if same { Ok(Done::default()) } else { Err(taken()) };
    }
    hypervisor.attach_disk(target.domid, disk)?;
    let domain = live_target(hypervisor, OPERATION, target)?;
    let attached = domain
        .disks
        .iter()
        .any(|there| there.target == disk.target && there.path == disk.path && there.read_only == disk.read_only);
    if attached { Ok(Done::default()) } else { Err(not_read_back(OPERATION, &domain, &disk.target)) }
}

/// Takes a disk away, if the guest lets go of it.
pub(crate) fn detach_disk(hypervisor: &mut dyn Hypervisor, target: Target, device: &str) -> Result<Done, Failure> {
    const OPERATION: &str = "detach-disk";
    let has = |domain: &Domain| domain.disks.iter().any(|there| there.target == device);
    if !has(&live_target(hypervisor, OPERATION, target)?) {
        return Ok(Done::default());
    }
    let asked = hypervisor.detach_disk(target.domid, device);
    let domain = live_target(hypervisor, OPERATION, target)?;
    match asked {
        _ if !has(&domain) => Ok(Done::default()),
        Ok(()) => Err(Failure::new(
            FailureKind::ReadBack,
            OPERATION,
            format!("{} still has {device} after it was taken away", name_of(&domain)),
        )),
        Err(failure) if failure.kind != FailureKind::GuestIgnored => Err(failure),
        // To its caller this is no request that has been heard: the disk is still there.
        Err(failure) => {
            let message = format!(
                "the guest of {} did not let go of {device} within 10 s, so it keeps it; unmount it in the guest",
                name_of(&domain)
            );
            Err(Failure { kind: FailureKind::Refused, message, ..failure })
        }
    }
}

/// Changes what is in a CD-ROM drive. Nothing is done when it is in it.
///
/// Killed within the call, the drive may be empty (libxl ejects before it inserts) and its entry in xenstore not agree with QEMU's: it is then
/// not what was asked for, and the request is run again.
pub(crate) fn set_medium(hypervisor: &mut dyn Hypervisor, target: Target, cdrom: &Cdrom) -> Result<Done, Failure> {
    const OPERATION: &str = "set-medium";
    let drive = |domain: &Domain| {
        let drives = domain.hvm.as_ref().map(|hvm| hvm.cdroms.as_slice()).unwrap_or_default();
        drives.iter().find(|drive| drive.target == cdrom.target).cloned()
    };
    let domain = live_target(hypervisor, OPERATION, target)?;
    match drive(&domain) {
        None => Err(stale(OPERATION, format!("{} has no CD-ROM drive {}", name_of(&domain), cdrom.target))),
        Some(there) if there == *cdrom => Ok(Done::default()),
        Some(_) => {
            hypervisor.set_medium(target.domid, cdrom)?;
            let domain = live_target(hypervisor, OPERATION, target)?;
            match drive(&domain) {
                Some(there) if there == *cdrom => Ok(Done::default()),
                _ => Err(not_read_back(OPERATION, &domain, &format!("the medium of {}", cdrom.target))),
            }
        }
    }
}

/// Attaches a NIC. One that is attached already as asked needs nothing more.
pub(crate) fn attach_nic(hypervisor: &mut dyn Hypervisor, target: Target, nic: &NicConfig) -> Result<Done, Failure> {
    const OPERATION: &str = "attach-nic";
    let Some(devid) = nic.devid else {
        return Err(stale(OPERATION, "the NIC has no device number".to_owned()));
    };
    let same = |domain: &Domain| {
        domain.nics.iter().find(|there| there.devid == devid).map(|there| {
            there.mac.eq_ignore_ascii_case(&nic.mac)
                && there.bridge.as_deref() == Some(&nic.bridge)
                && there.state.is_attached()
        })
    };
    let domain = live_target(hypervisor, OPERATION, target)?;
    match same(&domain) {
        Some(true) => return Ok(Done::default()),
        Some(false) => return Err(stale(OPERATION, format!("{} has another NIC {devid} already", name_of(&domain)))),
        None => hypervisor.attach_nic(target.domid, nic)?,
    }
    let domain = live_target(hypervisor, OPERATION, target)?;
    match same(&domain) {
        Some(true) => Ok(Done::default()),
        _ => Err(not_read_back(OPERATION, &domain, &format!("NIC {devid}"))),
    }
}

/// Takes a NIC away.
pub(crate) fn detach_nic(hypervisor: &mut dyn Hypervisor, target: Target, devid: u32) -> Result<Done, Failure> {
    const OPERATION: &str = "detach-nic";
    let has = |domain: &Domain| domain.nics.iter().any(|there| there.devid == devid);
    if has(&live_target(hypervisor, OPERATION, target)?) {
        hypervisor.detach_nic(target.domid, devid)?;
        let domain = live_target(hypervisor, OPERATION, target)?;
        if has(&domain) {
            let message = format!("{} still has NIC {devid} after it was taken away", name_of(&domain));
            return Err(Failure::new(FailureKind::ReadBack, OPERATION, message));
        }
    }
    Ok(Done::default())
}

fn not_read_back(operation: &str, domain: &Domain, what: &str) -> Failure {
    let message = format!("{} does not show {what} as it was asked for", name_of(domain));
    Failure::new(FailureKind::ReadBack, operation, message)
}

fn state_text(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Attached => "has",
        DeviceState::Unfinished => "has, not attached whole,",
        DeviceState::Closing => "has not yet let go of",
    }
}
