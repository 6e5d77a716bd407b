//! A guest's memory on disk: written, kept over a boot of the host, and a guest that goes on from it, once; with workers that are killed on
//! the way.

use crate::host::{Host, create, guest, masks, shape, standing, target};
use anyhow::{Result, ensure};
use lab::{Lab, steadily};
use protocol::{Domain, DomainConfig, DomainKind, DomainState, Request, ShutdownReason};
use uuid::Uuid;

const SUSPENDED: DomainState = DomainState::Shutdown(ShutdownReason::Suspend);

#[test]
fn a_guest_goes_on_from_its_memory_after_a_boot_of_the_host() -> Result<()> {
    steadily(goes_on)
}

fn goes_on() -> Result<()> {
    let mut host = Host::boot()?;
    let fast = shape("fast", "2-3");
    host.done(Request::ShapeCpupool(fast.clone()))?;
    let config = guest("web", DomainKind::Pv, Some(fast.uuid), ["2", "3"]);
    host.done(create(&config))?;
    host.wait_for_boot("web")?;
    let first = host.living(config.mark.uuid)?;
    // What only its memory knows.
    host.lab.type_in_guest("web", "KEPT=before-$((40 + 2))")?;

    half_written(&host, &config)?;
    answers(&host, 1)?;

    let image = Uuid::from_u128(2);
    let save = || Request::SaveDomain { target: target(&first), image };
    host.killed("after:fsync:6", save())?;
    assert_eq!(host.living(first.uuid)?.state, SUSPENDED);
    // It is whole: running the order again finds that, and the domain may not go on by itself any more.
    host.done(save())?;
    let resume = Request::ResumeDomain { target: target(&first), image, placement: config.placement.clone() };
    let (failure, _) = host.refused(resume)?;
    ensure!(failure.message.contains("was written whole"), "{failure}");
    host.remove(first.uuid)?;

    host.lab.reboot()?;
    host.done(Request::ShapeCpupool(fast))?;
    restored(&host, &config, image)?;
    answers(&host, 2)?;
    ensure!(host.lab.guest_boots("web")? == 1, "it has booted anew");
    Ok(())
}

/// Killed when the guest has suspended and the image is not whole: the guest goes on, and nothing of the image is left.
fn half_written(host: &Host, config: &DomainConfig) -> Result<()> {
    let domain = host.living(config.mark.uuid)?;
    let image = Uuid::from_u128(1);
    host.killed("before:fsync:1", Request::SaveDomain { target: target(&domain), image })?;
    assert_eq!(standing(&host.living(domain.uuid)?), (true, true, SUSPENDED));
    ensure!(images(host)?.contains(".part"), "{}", images(host)?);
    let save = Request::SaveDomain { target: target(&domain), image };
    host.refused(save)?;
    let placement = config.placement.clone();
    host.done(Request::ResumeDomain { target: target(&domain), image, placement })?;
    assert_eq!(standing(&host.living(domain.uuid)?), (true, true, DomainState::Running));
    assert_eq!(images(host)?, "");
    Ok(())
}

/// Killed before the image is marked used, and after: nothing has run, and the second time the domain is finished, not made again.
fn restored(host: &Host, config: &DomainConfig, image: Uuid) -> Result<()> {
    let paused = (true, false, DomainState::Paused);
    let restore = |incarnation| {
        let mut config = config.clone();
        config.mark.incarnation = incarnation;
        Request::RestoreDomain { config: Box::new(config), image }
    };
    host.killed("before:fsync:1", restore(Uuid::from_u128(11)))?;
    let wreckage = host.living(config.mark.uuid)?;
    assert_eq!((standing(&wreckage), wreckage.cpu_time_ns), (paused, 0));
    host.remove(wreckage.uuid)?;

    host.killed("after:fsync:2", restore(Uuid::from_u128(12)))?;
    let only = host.living(config.mark.uuid)?;
    assert_eq!((standing(&only), only.cpu_time_ns), (paused, 0));
    let done = host.done(restore(Uuid::from_u128(12)))?;
    assert_eq!(done.domid, Some(only.domid), "it is that domain that goes on");
    let now = host.living(config.mark.uuid)?;
    assert_eq!(standing(&now), (true, true, DomainState::Running));
    assert_eq!(masks(&now), ["2", "3"]);
    ensure!(in_its_pool(host, &now)?, "{now:?}");

    // Used once, it is never restored again, and is removed.
    let (failure, _) = host.refused(restore(Uuid::from_u128(13)))?;
    ensure!(failure.message.contains("runs"), "{failure}");
    let discard = protocol::ImageRef { vm: config.mark.uuid, image };
    host.done(Request::DiscardImage { image: discard, unused: false })?;
    assert_eq!(images(host)?, "");
    Ok(())
}

fn in_its_pool(host: &Host, domain: &Domain) -> Result<bool> {
    Ok(host.pools()?.iter().any(|pool| Some(pool.poolid) == domain.poolid && pool.name.as_deref() == Some("fast")))
}

/// Names of images, whole and begun.
fn images(host: &Host) -> Result<String> {
    Ok(host.lab.run("cd /var/lib/pinfold; ls -d */state/* 2>/dev/null; true")?)
}

/// The guest says so many times what it was told before it was suspended.
fn answers(host: &Host, times: usize) -> Result<()> {
    host.lab.type_in_guest("web", "echo kept: $KEPT")?;
    let said = |lab: &Lab| Ok(lab.guest_console("web")?.matches("kept: before-42").count() >= times);
    Ok(host.lab.wait_until(&format!("web answers ({times})"), crate::host::HOPELESS, said)?)
}
