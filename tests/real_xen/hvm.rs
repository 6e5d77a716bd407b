//! An HVM guest from creation to its end, with its drives, its screen, its serial port and its power button. The guest is firmware that finds
//! nothing to boot, or a program of a sector or two: that takes little time under emulation, and knows nothing of Xen.

use crate::host::{HOPELESS, Host, create, guest, masks, shape, standing, target};
use anyhow::{Context, Result, ensure};
use lab::{Lab, steadily};
use protocol::{
    BootConfig, BootDevice, Cdrom, Domain, DomainConfig, DomainKind, DomainState, FailureKind, Firmware, HvmConfig,
    NicConfig, Request, ShutdownReason, vnc_socket,
};
use uuid::Uuid;

#[test]
fn an_hvm_guest_from_creation_to_its_end() -> Result<()> {
    steadily(from_creation_to_the_end)
}

fn from_creation_to_the_end() -> Result<()> {
    // What hvmloader says is in Xen's log.
    let host = Host::boot_on(Lab::builder().parallel().xen_argument("guest_loglvl=all"))?;
    // udev does so where it is whole.
    host.lab.run("modprobe tun; truncate -s 1M /srv/a.iso /srv/b.iso; truncate -s 8M /srv/hda.img")?;
    let fast = shape("fast", "2-3");
    host.done(Request::ShapeCpupool(fast.clone()))?;
    let config = firmware(Some(fast.uuid));
    host.done(create(&config))?;
    let domain = host.living(config.mark.uuid)?;
    as_asked(&host, &config, &domain)?;
    screen(&host, &config)?;
    media(&host, &domain)?;
    not_asked_but_pressed(&host, &domain)?;
    from_its_memory(&host, &config)?;
    loses_its_qemu(&host, &config)?;
    host.remove(config.mark.uuid)?;
    ensure!(!host.lab.sh("pgrep -f 'xen-domid [1-9]'")?.success(), "a QEMU is left");
    boots_from_its_disk(&host, config.placement.cpupool)?;
    boots_a_kernel(&host)?;
    begins_by_uefi(&host, config.placement.cpupool)?;
    ensure!(host.remains()?.is_empty(), "{}", host.remains()?);
    Ok(())
}

fn drive(target: &str, medium: Option<&str>) -> Cdrom {
    Cdrom { target: target.to_owned(), medium: medium.map(str::to_owned) }
}

fn firmware(cpupool: Option<Uuid>) -> DomainConfig {
    let mut config = guest("pc", DomainKind::Hvm, cpupool, ["2", "3"]);
    config.vcpus_online = 1;
    config.boot = BootConfig::Devices(vec![BootDevice::Cdrom, BootDevice::Disk]);
    config.disks =
        vec![protocol::DiskConfig { target: "hda".to_owned(), path: "/srv/hda.img".to_owned(), read_only: false }];
    config.nics = vec![NicConfig { mac: "02:00:00:aa:bb:cc".to_owned(), bridge: "xenbr0".to_owned(), devid: None }];
    let cdroms = vec![drive("hdc", Some("/srv/a.iso")), drive("hdd", None)];
    config.hvm = Some(HvmConfig { firmware: Firmware::Bios, vnc: true, cdroms });
    config
}

fn as_asked(host: &Host, config: &DomainConfig, domain: &Domain) -> Result<()> {
    assert_eq!(standing(domain), (true, true, DomainState::Running));
    assert_eq!((domain.kind, masks(domain)), (Some(DomainKind::Hvm), vec!["2".to_owned(), "3".to_owned()]));
    assert_eq!(domain.vcpus_asked, Some(1));
    // Its graphics card's memory is part of what it was given.
    let memory = domain.memory;
    assert_eq!((memory.target_kib, memory.static_max_kib), (Some(config.memory_kib), Some(config.memory_max_kib)));
    ensure!(memory.current_kib <= config.memory_kib + 1024, "{memory:?}");
    let disks: Vec<_> = domain.disks.iter().map(|disk| (disk.target.as_str(), disk.path.as_str())).collect();
    assert_eq!(disks, [("hda", "/srv/hda.img")]);
    assert_eq!((domain.nics.len(), domain.nics[0].mac.as_str()), (1, "02:00:00:aa:bb:cc"));
    let hvm = domain.hvm.clone().context("it is HVM")?;
    let wanted = config.hvm.as_ref().context("it is HVM")?;
    assert_eq!((hvm.pv_drivers, &hvm.cdroms), (false, &wanted.cdroms));
    assert_eq!(hvm.vnc.as_deref(), Some(vnc_socket(config.mark.uuid).as_str()));
    // Debian 12's OVMF is there, and not for Xen.
    let parts = protocol::HvmParts { uefi_for_xen: Some(false), ..protocol::HvmParts::default() };
    assert_eq!(host.observe()?.hypervisor.hvm_parts, Some(parts));
    // Its serial port: a terminal that QEMU stands behind.
    let tty = domain.console.as_deref().context("it has a console")?;
    host.lab
        .run(&format!("[ -c {tty} ] && [ {tty} = $(xenstore-read /local/domain/{}/serial/0/tty) ]", domain.domid))?;
    Ok(())
}

/// The screen is served on a socket that only root can come to, and nowhere else; no password stands anywhere.
fn screen(host: &Host, config: &DomainConfig) -> Result<()> {
    let socket = vnc_socket(config.mark.uuid);
    assert_eq!(host.lab.run("stat -c '%a %U %F' /run/pinfold/vnc")?.trim(), "700 root directory");
    let hello = format!(
        "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"{socket}\"); print(s.recv(12).decode())'"
    );
    ensure!(host.lab.run(&hello)?.starts_with("RFB 003.008"));
    let listening = host.lab.run("ss -Htlnp")?;
    ensure!(!listening.contains("qemu"), "{listening}");
    let arguments = host.lab.run("tr '\\0' ' ' </proc/$(pgrep -f 'xen-domid [1-9]' | head -n1)/cmdline")?;
    ensure!(arguments.contains(&format!("-vnc unix:{socket} ")) && !arguments.contains("password"), "{arguments}");
    Ok(())
}

/// Each drive is filled, changed and emptied, those that began empty too; QEMU says the same.
fn media(host: &Host, domain: &Domain) -> Result<()> {
    let steps = [
        ("hdc", Some("/srv/b.iso")),
        ("hdd", Some("/srv/a.iso")),
        ("hdc", None),
        ("hdc", Some("/srv/a.iso")),
        ("hdd", Some("/srv/b.iso")),
        ("hdd", None),
    ];
    for (target_drive, medium) in steps {
        let cdrom = drive(target_drive, medium);
        let request = Request::SetMedium { target: target(domain), cdrom: cdrom.clone() };
        host.done(request.clone())?;
        // Running the order again is no change.
        host.done(request)?;
        let drives = host.living(domain.uuid)?.hvm.context("it is HVM")?.cdroms;
        ensure!(drives.contains(&cdrom), "{drives:?}");
    }
    let blocks = host.lab.run(&format!("xl qemu-monitor-command {} 'info block' | tr -d '\\r'", domain.domid))?;
    let inserted = |ide: &str| blocks.lines().any(|line| line.starts_with(ide) && !line.contains("[not inserted]"));
    ensure!(inserted("ide-5632") && !inserted("ide-5696"), "{blocks}");

    let missing = drive("hdc", Some("/srv/none.iso"));
    host.refused(Request::SetMedium { target: target(domain), cdrom: missing })?;
    let strange = drive("hdb", None);
    let (failure, _) = host.refused(Request::SetMedium { target: target(domain), cdrom: strange })?;
    assert_eq!(failure.kind, FailureKind::Stale);
    let again = Request::SetMedium { target: target(domain), cdrom: drive("hdc", Some("/srv/a.iso")) };
    host.done(again)?;
    Ok(())
}

/// It hears no request, and its button is pressed: firmware does not care.
fn not_asked_but_pressed(host: &Host, domain: &Domain) -> Result<()> {
    let (failure, _) = host.refused(Request::ShutdownDomain { target: target(domain) })?;
    assert_eq!((failure.kind, failure.rc), (FailureKind::GuestIgnored, Some(-10)));
    host.done(Request::PressPowerButton { target: target(domain) })?;
    host.done(Request::SetVcpus { target: target(domain), online: 2 })?;
    let now = host.living(domain.uuid)?;
    assert_eq!((now.state, now.vcpus_asked), (DomainState::Running, Some(2)));
    host.done(Request::PauseDomain { target: target(domain) })?;
    let (failure, _) = host.refused(Request::PressPowerButton { target: target(domain) })?;
    assert_eq!(failure.kind, FailureKind::GuestIgnored);
    host.lab.run(&format!("xl unpause {}", domain.domid))?;
    Ok(())
}

/// QEMU's state is part of the image: the drives are as they were, and one that began empty again takes a medium.
fn from_its_memory(host: &Host, config: &DomainConfig) -> Result<()> {
    let domain = host.living(config.mark.uuid)?;
    let image = Uuid::from_u128(7);
    host.done(Request::SaveDomain { target: target(&domain), image })?;
    host.remove(domain.uuid)?;
    let mut config = config.clone();
    config.vcpus_online = 2;
    config.mark.incarnation = Uuid::from_u128(8);
    host.done(Request::RestoreDomain { config: Box::new(config.clone()), image })?;
    let restored = host.living(domain.uuid)?;
    assert_eq!(standing(&restored), (true, true, DomainState::Running));
    let hvm = restored.hvm.clone().context("it is HVM")?;
    assert_eq!(Some(hvm.cdroms), config.hvm.clone().map(|hvm| hvm.cdroms));
    ensure!(restored.console.is_some() && masks(&restored) == ["2", "3"], "{restored:?}");
    screen(host, &config)?;
    let insert = Request::SetMedium { target: target(&restored), cdrom: drive("hdd", Some("/srv/b.iso")) };
    host.done(insert)?;
    Ok(())
}

/// Xen does not see that QEMU has died, and nothing can be asked of it any more; whoever looks at the domain is told, and it can be ended.
fn loses_its_qemu(host: &Host, config: &DomainConfig) -> Result<()> {
    let domain = host.living(config.mark.uuid)?;
    ensure!(domain.hvm.as_ref().is_some_and(|hvm| !hvm.device_model_gone), "{:?}", domain.hvm);
    host.lab.run(&format!("pkill -KILL -f '[x]en-domid {} '", domain.domid))?;
    host.lab.wait_until("its QEMU is gone", HOPELESS, |lab| Ok(!lab.sh("pgrep -f 'xen-domid [1-9]'")?.success()))?;
    let now = host.living(config.mark.uuid)?;
    assert_eq!(standing(&now), (true, true, DomainState::Running));
    ensure!(now.hvm.as_ref().is_some_and(|hvm| hvm.device_model_gone), "{:?}", now.hvm);
    host.refused(Request::SetMedium { target: target(&now), cdrom: drive("hdc", None) })?;
    Ok(())
}

/// Firmware finds the disk, what is on it runs and is heard on the serial port, and it switches itself off when its power button is pressed.
fn boots_from_its_disk(host: &Host, cpupool: Option<Uuid>) -> Result<()> {
    boots(host, &from_disk("pc.img", cpupool), &["pinfold-guest up"])
}

/// QEMU starts a kernel of dom0 with the command line that it is given.
fn boots_a_kernel(host: &Host) -> Result<()> {
    let mut config = guest("linux", DomainKind::Hvm, None, ["4", "5"]);
    config.boot = BootConfig::Kernel {
        kernel: "/srv/guests/pc-kernel".to_owned(),
        // A small one: firmware copies it byte by byte, each of them by way of dom0.
        ramdisk: Some("/srv/guests/pc-kernel".to_owned()),
        cmdline: Some("console=ttyS0 quiet".to_owned()),
    };
    config.hvm = Some(HvmConfig { firmware: Firmware::Bios, vnc: false, cdroms: Vec::new() });
    boots(host, &config, &["pinfold-guest up", "console=ttyS0 quiet"])
}

/// The firmware is OVMF. Debian 12's knows nothing of Xen and comes to nothing: see `uefi.rs` for one that does.
fn begins_by_uefi(host: &Host, cpupool: Option<Uuid>) -> Result<()> {
    let mut config = from_disk("pc.img", cpupool);
    config.memory_kib = 128 * 1024;
    config.memory_max_kib = config.memory_kib;
    config.hvm = Some(HvmConfig { firmware: Firmware::Uefi, vnc: false, cdroms: Vec::new() });
    host.done(create(&config))?;
    host.lab.wait_until("hvmloader starts OVMF", HOPELESS, |lab| Ok(lab.run("xl dmesg")?.contains("Invoking OVMF")))?;
    host.remove(config.mark.uuid)
}

/// A guest of one disk, a copy of what the lab has under this name.
fn from_disk(name: &str, cpupool: Option<Uuid>) -> DomainConfig {
    let mut config = firmware(cpupool);
    config.boot = BootConfig::Devices(vec![BootDevice::Disk]);
    config.disks[0].path = format!("/srv/guests/{name}");
    config
}

/// Makes the domain, hears these words on its serial port, and presses its power button.
fn boots(host: &Host, config: &DomainConfig, words: &[&str]) -> Result<()> {
    host.done(create(config))?;
    let domain = host.living(config.mark.uuid)?;
    assert_eq!(standing(&domain), (true, true, DomainState::Running));
    let vnc = config.hvm.as_ref().is_some_and(|hvm| hvm.vnc);
    assert_eq!(domain.hvm.clone().context("it is HVM")?.vnc, vnc.then(|| vnc_socket(domain.uuid)));
    let tty = domain.console.as_deref().context("it has a console")?;
    let heard = format!("/tmp/serial.{}", domain.domid);
    host.lab.spawn(&format!("exec cat {tty}"), &heard)?;
    for word in words {
        host.lab.wait_until(word, HOPELESS, |lab| Ok(lab.run(&format!("cat {heard}"))?.contains(word)))?;
    }
    host.done(Request::PressPowerButton { target: target(&domain) })?;
    let off = DomainState::Shutdown(ShutdownReason::Poweroff);
    host.wait_for("it is off", config.mark.uuid, |domain| domain.is_some_and(|domain| domain.state == off))?;
    host.remove(config.mark.uuid)
}
