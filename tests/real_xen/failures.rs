//! What Xen, libxl or the host refuse: the failure says what and why, and nothing stays behind.

use crate::host::{HOPELESS, Host, create, guest, shape, standing, target};
use anyhow::{Context, Result, ensure};
use lab::{Lab, LabError};
use protocol::{
    BootConfig, DiskConfig, DomainConfig, DomainKind, DomainState, Failure, FailureKind, NicConfig, Observation,
    Outcome, Request, Said,
};
use uuid::Uuid;

#[test]
fn failures_say_why_and_leave_nothing() -> Result<()> {
    let host = Host::boot()?;
    let fast = shape("fast", "2-3");
    host.done(Request::ShapeCpupool(fast.clone()))?;
    let config = guest("web", DomainKind::Pv, Some(fast.uuid), ["2", "3"]);

    missing_kernel(&host, &config)?;
    missing_disk(&host, &config)?;
    unknown_bridge(&host, &config)?;
    too_little_memory(&host, &config)?;
    guest_that_ignores(&host, &config)?;
    name_and_uuid_in_use(&host, &config)?;
    two_workers_at_once(&host, &config)?;
    dead_xenconsoled(&host, &config)
}

/// A creation that libxl refuses: call, rc and libxl's own words, and nothing left.
fn refused_by_libxl(host: &Host, config: &DomainConfig, word: &str) -> Result<()> {
    let before = (host.remains()?, host.observe()?.hypervisor.memory_free_kib);
    let (failure, log) = host.refused(create(config))?;
    assert_eq!((failure.kind, failure.call.as_str()), (FailureKind::Refused, "libxl_domain_create_new"), "{failure:?}");
    ensure!(failure.rc.is_some_and(|rc| rc < 0), "{failure:?}");
    ensure!(failure.message.contains(word), "no `{word}` in {failure:?}");
    ensure!(log.iter().any(|line| line.starts_with("libxl: error:")), "no line of libxl's in {log:#?}");
    assert_eq!(host.remains()?, before.0, "left behind");
    host.wait_for("the half-made domain is gone", config.mark.uuid, |domain| domain.is_none())?;
    let free = host.observe()?.hypervisor.memory_free_kib;
    ensure!(free + 1024 >= before.1, "{} KiB were free before, {free} KiB are now", before.1);
    Ok(())
}

fn missing_kernel(host: &Host, config: &DomainConfig) -> Result<()> {
    let mut config = config.clone();
    config.boot = BootConfig::Kernel { kernel: "/srv/no-such-kernel".to_owned(), ramdisk: None, cmdline: None };
    refused_by_libxl(host, &config, "/srv/no-such-kernel")
}

fn missing_disk(host: &Host, config: &DomainConfig) -> Result<()> {
    let mut config = config.clone();
    let path = "/srv/no-such-disk.img".to_owned();
    config.disks = vec![DiskConfig { target: "xvda".to_owned(), path, read_only: false }];
    refused_by_libxl(host, &config, "/srv/no-such-disk.img")
}

fn unknown_bridge(host: &Host, config: &DomainConfig) -> Result<()> {
    let mut config = config.clone();
    config.nics =
        vec![NicConfig { mac: "02:00:00:00:00:01".to_owned(), bridge: "no-such-bridge".to_owned(), devid: None }];
    refused_by_libxl(host, &config, "bridge")
}

fn too_little_memory(host: &Host, config: &DomainConfig) -> Result<()> {
    let mut config = config.clone();
    config.memory_kib = 64 * 1024 * 1024;
    config.memory_max_kib = config.memory_kib;
    let (failure, _) = host.refused(create(&config))?;
    assert_eq!(failure.kind, FailureKind::Memory, "{failure:?}");
    ensure!(host.remains()?.is_empty(), "{}", host.remains()?);
    Ok(())
}

/// GRUB in a guest never answers a request to power off: libxl waits a minute for it.
fn guest_that_ignores(host: &Host, config: &DomainConfig) -> Result<()> {
    let mut config = config.clone();
    config.boot = BootConfig::Grub;
    host.done(create(&config))?;
    let domain = host.living(config.mark.uuid)?;
    let (failure, _) = host.refused(Request::ShutdownDomain { target: target(&domain) })?;
    assert_eq!((failure.kind, failure.call.as_str()), (FailureKind::GuestIgnored, "libxl_domain_shutdown"));
    assert_eq!(standing(&host.living(config.mark.uuid)?), (true, true, DomainState::Running));
    host.remove(config.mark.uuid)
}

fn name_and_uuid_in_use(host: &Host, config: &DomainConfig) -> Result<()> {
    host.done(create(config))?;
    let mut same_name = config.clone();
    same_name.mark.uuid = Uuid::from_u128(42);
    assert_eq!(host.refused(create(&same_name))?.0.kind, FailureKind::Stale);
    let mut same_uuid = config.clone();
    "other".clone_into(&mut same_uuid.name);
    same_uuid.mark.incarnation = Uuid::from_u128(43);
    assert_eq!(host.refused(create(&same_uuid))?.0.kind, FailureKind::Stale);
    assert_eq!(standing(&host.living(config.mark.uuid)?), (true, true, DomainState::Running));
    host.remove(config.mark.uuid)
}

/// Two daemons, or one and its dead predecessor's worker, start one VM: there is one domain.
fn two_workers_at_once(host: &Host, config: &DomainConfig) -> Result<()> {
    let orders = [host.write_order(create(config))?, host.write_order(create(config))?];
    let worker = |order: &protocol::Order| format!("pinfold-xen do </run/lab/{}.json >/dev/null &", order.operation);
    host.lab.run(&format!("{} {} wait", worker(&orders[0]), worker(&orders[1])))?;
    let mut made = 0;
    for order in &orders {
        let outcome: Outcome = serde_json::from_str(&host.lab.run(&format!("cat {}", order.outcome))?)?;
        match outcome.result {
            Ok(_) => made += 1,
            Err(failure) => assert_eq!(failure.kind, FailureKind::Busy, "{failure:?}"),
        }
    }
    ensure!(made >= 1, "neither worker made the domain");
    assert_eq!(standing(&host.living(config.mark.uuid)?), (true, true, DomainState::Running));
    host.remove(config.mark.uuid)
}

/// libxl waits ten seconds for the console's tty at the end of a creation.
fn dead_xenconsoled(host: &Host, config: &DomainConfig) -> Result<()> {
    host.lab.run("kill -9 $(pidof xenconsoled)")?;
    refused_by_libxl(host, config, "console")
}

#[test]
fn a_lost_xenstored_makes_everything_unknown() -> Result<()> {
    let host = Host::boot()?;
    // A worker that serves before, while and after. It wakes its daemon when a domain comes.
    let serve = Serving::start(&host)?;
    ensure!(serve.observe(1)?.is_ok());
    let wakings = |lab: &Lab| -> Result<usize, LabError> { Ok(lab.run("cat /run/answers")?.matches("woken").count()) };
    let before = wakings(&host.lab)?;
    let config = guest("web", DomainKind::Pv, None, ["4", "5"]);
    let domid = host.done(create(&config))?.domid.context("a creation answers a domid")?;
    host.lab.wait_until("serve wakes", HOPELESS, |lab| Ok(wakings(lab)? > before))?;
    host.wait_for_boot("web")?;

    host.lab.run("kill -9 $(pidof oxenstored xenstored)")?;

    for failure in [host.try_observe()?.unwrap_err(), serve.observe(2)?.unwrap_err()] {
        assert_eq!(failure.kind, FailureKind::XenstoreLost, "{failure:?}");
    }
    let destroy = Request::DestroyDomain { target: protocol::Target { domid, uuid: config.mark.uuid } };
    assert_eq!(host.refused(destroy)?.0.kind, FailureKind::XenstoreLost);
    let other = guest("other", DomainKind::Pv, None, ["4", "5"]);
    assert_eq!(host.refused(create(&other))?.0.kind, FailureKind::XenstoreLost);

    // Started again it answers, but knows nothing: a host whose marks are gone is no host without marks.
    host.lab.run("rm -f /run/xenstored/*; (oxenstored || xenstored); sleep 1; /usr/lib/xen-4.17/bin/xen-init-dom0")?;
    for failure in [host.try_observe()?.unwrap_err(), serve.observe(3)?.unwrap_err()] {
        assert_eq!(failure.kind, FailureKind::XenstoreLost, "{failure:?}");
    }
    Ok(())
}

/// A `serve` that goes on: its calls come through a pipe, its answers go to a file.
struct Serving<'a>(&'a Host);

impl<'a> Serving<'a> {
    fn start(host: &'a Host) -> Result<Self> {
        // Opened for reading and writing by the shell, the pipe never ends.
        host.lab.run("mkfifo /run/calls")?;
        host.lab.spawn("exec 9<>/run/calls; exec pinfold-xen serve <&9", "/run/answers")?;
        Ok(Self(host))
    }

    fn observe(&self, id: u64) -> Result<Result<Box<Observation>, Failure>> {
        self.0.lab.run(&format!("echo '{{\"id\":{id},\"ask\":\"observe\"}}' >/run/calls"))?;
        let mut found = None;
        self.0.lab.wait_until("serve answers", HOPELESS, |lab| {
            for line in lab.run("tail -n +2 /run/answers")?.lines() {
                if let Ok(Said::Answer { id: of, answer }) = serde_json::from_str(line)
                    && of == id
                {
                    found = Some(answer);
                }
            }
            Ok(found.is_some())
        })?;
        found.context("an answer was found")
    }
}
