//! HVM domains as Xen and libxl treat them, each fact with its source in `sim/src/hvm.rs`; `tests/real_xen/hvm.rs` asks real Xen the same.
#![allow(clippy::unwrap_used)]

mod common;

use common::{apply, config, create, domain, find_domain, id, placement, run, run_with, target, world};
use protocol::{
    BootConfig, BootDevice, Cdrom, DomainConfig, DomainKind, DomainState, FailureKind, Firmware, HvmConfig, HvmParts,
    ImageRef, ImageState, Request, ShutdownReason,
};
use sim::{Event, Fault, Guest, GuestRequest, Point, World};

fn drive(target: &str, medium: Option<&str>) -> Cdrom {
    Cdrom { target: target.to_owned(), medium: medium.map(str::to_owned) }
}

fn hvm(name: &str) -> DomainConfig {
    let mut config = config(name, placement(None, &["4", "5"]));
    config.kind = DomainKind::Hvm;
    config.boot = BootConfig::Devices(vec![BootDevice::Cdrom]);
    let cdroms = vec![drive("hdc", Some("/srv/a.img")), drive("hdd", None)];
    config.hvm = Some(HvmConfig { firmware: Firmware::Bios, vnc: true, cdroms });
    config
}

/// A running HVM guest that ignores these requests.
fn running(ignores: &[GuestRequest]) -> World {
    let mut world = world();
    let guest = Guest { ignores: ignores.iter().copied().collect(), ..Guest::default() };
    apply(&mut world, &Event::GuestBehaves { name: "pc".to_owned(), guest });
    run(&mut world, &create(&hvm("pc"))).unwrap();
    world.advance(5_000);
    world
}

#[test]
fn a_guest_without_drivers_is_asked_by_its_power_button() {
    let mut world = running(&[GuestRequest::Shutdown]);
    assert!(!domain(&world, "pc").hvm.unwrap().pv_drivers);
    let target = target(&world, "pc");
    let refused = run(&mut world, &Request::ShutdownDomain { target }).unwrap_err();
    assert_eq!((refused.kind, refused.rc), (FailureKind::GuestIgnored, Some(-10)));
    world.advance(100_000);
    assert_eq!(domain(&world, "pc").state, DomainState::Running);
    run(&mut world, &Request::PressPowerButton { target }).unwrap();
    world.advance(110_000);
    assert_eq!(domain(&world, "pc").state, DomainState::Shutdown(ShutdownReason::Poweroff));
    // Once more is no change.
    run(&mut world, &Request::PressPowerButton { target }).unwrap();
}

#[test]
fn firmware_does_not_care_about_its_power_button() {
    let mut world = running(&[GuestRequest::Shutdown, GuestRequest::PowerOff]);
    let target = target(&world, "pc");
    run(&mut world, &Request::PressPowerButton { target }).unwrap();
    world.advance(500_000);
    assert_eq!(domain(&world, "pc").state, DomainState::Running);
    apply(&mut world, &Event::Pause { domain: "pc".to_owned() });
    let paused = run(&mut world, &Request::PressPowerButton { target }).unwrap_err();
    assert_eq!(paused.kind, FailureKind::GuestIgnored);
}

#[test]
fn a_guest_that_has_brought_up_its_drivers_is_asked_by_them() {
    let mut world = running(&[]);
    assert!(domain(&world, "pc").hvm.unwrap().pv_drivers);
    let target = target(&world, "pc");
    run(&mut world, &Request::PressPowerButton { target }).unwrap();
    world.advance(10_000);
    assert_eq!(domain(&world, "pc").state, DomainState::Shutdown(ShutdownReason::Poweroff));
}

#[test]
fn only_hvm_has_a_button_and_drives() {
    let mut world = world();
    run(&mut world, &create(&config("pv", placement(None, &["4"])))).unwrap();
    let target = target(&world, "pv");
    let pressed = run(&mut world, &Request::PressPowerButton { target }).unwrap_err();
    assert_eq!(pressed.kind, FailureKind::Stale);
    let inserted = run(&mut world, &Request::SetMedium { target, cdrom: drive("hdc", None) }).unwrap_err();
    assert_eq!(inserted.kind, FailureKind::Stale);
}

#[test]
fn media_come_and_go() {
    let mut world = running(&[GuestRequest::Shutdown]);
    let target = target(&world, "pc");
    let drives = |world: &World| domain(world, "pc").hvm.unwrap().cdroms;
    let set = |cdrom: &Cdrom| Request::SetMedium { target, cdrom: cdrom.clone() };
    for cdrom in [drive("hdd", Some("/srv/b.img")), drive("hdc", None), drive("hdc", Some("/srv/b.img"))] {
        run(&mut world, &set(&cdrom)).unwrap();
        assert!(drives(&world).contains(&cdrom));
    }
    let missing = run(&mut world, &set(&drive("hdd", Some("/srv/none.iso")))).unwrap_err();
    assert_eq!(missing.kind, FailureKind::Refused);
    // Killed between ejecting and inserting, the drive is empty; the request is run again.
    let wanted = drive("hdc", Some("/srv/a.img"));
    let fault = Fault { die_at: Some(Point::MediumEjected), ..Fault::default() };
    run_with(&mut world, &set(&wanted), fault).unwrap_err();
    assert!(drives(&world).contains(&drive("hdc", None)));
    run(&mut world, &set(&wanted)).unwrap();
    assert!(drives(&world).contains(&wanted));
}

#[test]
fn without_its_parts_in_dom0_nothing_is_made() {
    let refused = |parts: HvmParts, firmware: Firmware| {
        let mut world = world();
        world.host.hvm_parts = parts;
        let mut config = hvm("pc");
        config.hvm.as_mut().unwrap().firmware = firmware;
        let failure = run(&mut world, &create(&config)).err();
        assert!(failure.is_none() || find_domain(&world, "pc").is_none());
        failure.is_some()
    };
    let all = HvmParts::default();
    assert!(!refused(all, Firmware::Bios) && !refused(all, Firmware::Uefi));
    assert!(refused(HvmParts { device_model: false, ..all }, Firmware::Bios));
    assert!(refused(HvmParts { uefi: false, ..all }, Firmware::Uefi));
    assert!(!refused(HvmParts { uefi: false, ..all }, Firmware::Bios));
}

#[test]
fn a_guest_that_hears_nothing_is_suspended_all_the_same() {
    let mut world = running(&[GuestRequest::Shutdown, GuestRequest::Suspend]);
    let (target, image) = (target(&world, "pc"), id("image"));
    run(&mut world, &Request::SaveDomain { target, image }).unwrap();
    assert_eq!(domain(&world, "pc").state, DomainState::Shutdown(ShutdownReason::Suspend));
    run(&mut world, &Request::DestroyDomain { target }).unwrap();
    let mut config = hvm("pc");
    config.mark.incarnation = id("incarnation 2");
    run(&mut world, &Request::RestoreDomain { config: Box::new(config.clone()), image }).unwrap();
    let restored = domain(&world, "pc");
    assert_eq!((restored.state, restored.ready), (DomainState::Running, true));
    assert_eq!(restored.hvm.unwrap().cdroms, config.hvm.unwrap().cdroms);
    let image = ImageRef { vm: target.uuid, image };
    assert!(matches!(world.image_state(image), ImageState::Used { .. }));
}

#[test]
fn without_its_qemu_nothing_is_saved_and_the_guest_does_not_go_on() {
    let mut world = running(&[]);
    let target = target(&world, "pc");
    apply(&mut world, &Event::DeviceModelDies { domain: "pc".to_owned() });
    assert!(domain(&world, "pc").hvm.unwrap().device_model_gone);
    let image = id("image");
    let saved = run(&mut world, &Request::SaveDomain { target, image }).unwrap_err();
    assert_eq!((saved.kind, saved.errno), (FailureKind::Refused, Some(111)));
    assert!(!matches!(world.image_state(ImageRef { vm: target.uuid, image }), ImageState::Whole(_)));
    let placement = placement(None, &["4", "5"]);
    let resumed = run(&mut world, &Request::ResumeDomain { target, image, placement }).unwrap_err();
    assert_eq!(resumed.errno, Some(111));
    run(&mut world, &Request::DestroyDomain { target }).unwrap();
}
