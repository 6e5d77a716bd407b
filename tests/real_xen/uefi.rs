//! UEFI to its end: OVMF comes up, sees the disk, its shell listens on the serial port, and switches the guest off.
//!
//! Both of Debian 11, the OVMF and the emulator under Xen. Debian 12's OVMF knows nothing of Xen. One that does uses CR8, and that is the end of it in
//! newer emulators: QEMU 7.2 ends by an assertion at `mov %rax, %cr8`, and QEMU 10 tells Xen of `mov %cr8, %rax`, which Xen does not emulate. QEMU 5.2
//! does neither.

use crate::host::{HOPELESS, Host, create, guest, standing};
use anyhow::{Context, Result, ensure};
use lab::{Lab, steadily};
use protocol::{BootConfig, BootDevice, DiskConfig, DomainKind, DomainState, Firmware, HvmConfig, ShutdownReason};
use std::time::Duration;

/// OVMF looks for devices on all 256 buses that there could be, and QEMU, in dom0, answers each look.
const PATIENCE: Duration = HOPELESS.saturating_mul(3);

#[test]
fn a_guest_boots_by_uefi() -> Result<()> {
    steadily(boots_by_uefi)
}

fn boots_by_uefi() -> Result<()> {
    let host = Host::boot_on(Lab::builder().parallel().on_debian11())?;
    host.lab.copy_in(lab::debian11()?.join("OVMF.fd"), "/usr/share/ovmf/OVMF.fd")?;
    // udev does so where it is whole.
    host.lab.run("modprobe tun; truncate -s 8M /srv/hda.img")?;
    let mut config = guest("pc", DomainKind::Hvm, None, ["2", "3"]);
    config.vcpus_online = 1;
    config.memory_kib = 256 * 1024;
    config.memory_max_kib = config.memory_kib;
    config.boot = BootConfig::Devices(vec![BootDevice::Disk]);
    config.disks = vec![DiskConfig { target: "hda".to_owned(), path: "/srv/hda.img".to_owned(), read_only: false }];
    config.hvm = Some(HvmConfig { firmware: Firmware::Uefi, vnc: false, cdroms: Vec::new() });
    host.done(create(&config))?;
    let domain = host.living(config.mark.uuid)?;
    assert_eq!(standing(&domain), (true, true, DomainState::Running));

    let tty = domain.console.as_deref().context("it has a console")?;
    host.lab.spawn(&format!("exec cat {tty}"), "/tmp/serial")?;
    let said = |lab: &Lab| lab.run("cat /tmp/serial");
    host.lab.wait_until("the shell of UEFI listens", PATIENCE, |lab| Ok(said(lab)?.contains("Shell> ")))?;
    let heard = said(&host.lab)?;
    ensure!(heard.contains("BLK0"), "no disk is seen:\n{heard}");
    host.lab.type_in_guest("pc", "reset -s\r")?;
    let off = DomainState::Shutdown(ShutdownReason::Poweroff);
    host.wait_for("it is off", config.mark.uuid, |domain| domain.is_some_and(|domain| domain.state == off))?;
    host.remove(config.mark.uuid)?;
    ensure!(host.remains()?.is_empty(), "{}", host.remains()?);
    Ok(())
}
