//! A lab with `pinfold-xen` in its dom0.

use anyhow::{Context, Result, bail, ensure};
use lab::{Builder, Lab, QUICK_LINUX};
use protocol::{
    BootConfig, CpuSet, Cpupool, Domain, DomainConfig, DomainKind, DomainState, Done, Failure, FailureKind, Hello,
    Mark, Observation, Order, Outcome, PROTOCOL, Placement, Request, Said, Sched, ShapeCpupool, Target,
};
use std::thread::sleep;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Where the worker stands in dom0.
const WORKER: &str = "/usr/local/bin/pinfold-xen";
/// Where the library that kills it stands.
const DIE_AT: &str = "/usr/local/lib/die_at.so";
/// Locks and outcomes.
pub(crate) const STATE: &str = "/var/lib/pinfold";

/// Ends a wait that has become hopeless. On an idle machine everything here takes seconds.
pub(crate) const HOPELESS: Duration = Duration::from_secs(900);

/// A host with real Xen and a worker.
pub(crate) struct Host {
    pub(crate) lab: Lab,
}

impl Host {
    /// Builds the worker and boots a lab with it.
    pub(crate) fn boot() -> Result<Self> {
        Self::boot_on(Lab::builder())
    }

    /// The same on such a lab.
    pub(crate) fn boot_on(lab: Builder) -> Result<Self> {
        let worker = rig::programs()?.worker;
        let killer = rig::killer(worker.parent().context("the worker lies in a folder")?)?;
        let lab = lab.boot()?;
        lab.copy_in(worker, WORKER)?;
        lab.copy_in(killer, DIE_AT)?;
        lab.run(&format!("mkdir -p {STATE}"))?;
        Ok(Self { lab })
    }

    pub(crate) fn hello(&self) -> Result<Hello> {
        Ok(serde_json::from_str(&self.lab.run(&format!("{WORKER} hello"))?)?)
    }

    /// Asks a `serve` of its own, which ends with its standard input.
    pub(crate) fn try_observe(&self) -> Result<Result<Observation, Failure>> {
        let said = self.lab.run(&format!("echo '{{\"id\":7,\"ask\":\"observe\"}}' | {WORKER} serve"))?;
        for line in said.lines().skip(1) {
            if let Said::Answer { id, answer } = serde_json::from_str(line)? {
                ensure!(id == 7, "the answer has another id: {line}");
                return Ok(answer.map(|observation| *observation));
            }
        }
        bail!("serve did not answer: {said}")
    }

    pub(crate) fn observe(&self) -> Result<Observation> {
        self.try_observe()?.map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    /// The domain with this UUID, when there is exactly one.
    pub(crate) fn domain(&self, uuid: Uuid) -> Result<Option<Domain>> {
        let observation = self.observe()?;
        let domains = observation.domains.known().context("domains are unknown")?;
        let mut found = domains.iter().filter(|domain| domain.uuid == uuid);
        let first = found.next().cloned();
        ensure!(found.next().is_none(), "two domains of one VM: {domains:#?}");
        Ok(first)
    }

    /// The domain with this UUID.
    pub(crate) fn living(&self, uuid: Uuid) -> Result<Domain> {
        self.domain(uuid)?.with_context(|| format!("no domain has UUID {uuid}"))
    }

    pub(crate) fn pools(&self) -> Result<Vec<Cpupool>> {
        Ok(self.observe()?.cpupools.known().context("cpupools are unknown")?.clone())
    }

    /// Gives an order and answers its outcome, read from its file and compared with the printed one.
    pub(crate) fn order(&self, request: Request) -> Result<Outcome> {
        self.order_with("", request)?.context("pinfold-xen do died")
    }

    /// Gives an order that must succeed.
    pub(crate) fn done(&self, request: Request) -> Result<Done> {
        let outcome = self.order(request)?;
        outcome.result.map_err(|failure| anyhow::anyhow!("{failure:?}\n{}", outcome.log.join("\n")))
    }

    /// Gives an order that must fail.
    pub(crate) fn refused(&self, request: Request) -> Result<(Failure, Vec<String>)> {
        let Outcome { result, log, request, .. } = self.order(request)?;
        match result {
            Err(failure) => Ok((failure, log)),
            Ok(_) => bail!("{request:?} succeeded"),
        }
    }

    /// What libxl says that a domain will take, told in the refusal to leave an absurd amount free (2 PiB).
    pub(crate) fn need_kib(&self, config: &DomainConfig) -> Result<u64> {
        let mut config = config.clone();
        "other".clone_into(&mut config.name);
        config.mark.uuid = Uuid::from_u128(99);
        config.memory_reserve_kib = 1 << 41;
        let (failure, _) = self.refused(create(&config))?;
        assert_eq!(failure.kind, FailureKind::Memory);
        let words: Vec<&str> = failure.message.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "needs").context("the message says what is needed")?;
        Ok(words[at + 1].parse()?)
    }

    /// Gives an order whose worker is killed at a call, such as `before:xs_transaction_end:1`.
    pub(crate) fn killed(&self, at: &str, request: Request) -> Result<()> {
        match self.order_with(&format!("PINFOLD_DIE_AT={at} LD_PRELOAD={DIE_AT}"), request)? {
            None => Ok(()),
            Some(outcome) => bail!("it was not killed at {at}: {outcome:?}"),
        }
    }

    /// The outcome; `None` when the worker was killed, and then it must not have written one.
    fn order_with(&self, environment: &str, request: Request) -> Result<Option<Outcome>> {
        let order = self.write_order(request)?;
        let Order { operation, outcome, .. } = &order;
        let command =
            format!("{environment} {WORKER} do </run/lab/{operation}.json; code=$?; cat {outcome}; exit $code");
        let output = self.lab.sh_within(HOPELESS, &command)?;
        let mut lines = output.stdout.lines().skip(1);
        if output.code == 137 {
            ensure!(lines.next().is_none(), "killed, but there is an outcome: {output:?}");
            return Ok(None);
        }
        ensure!(output.success(), "do failed by itself: {output:?}");
        let mut outcome = || -> Result<Outcome> { Ok(serde_json::from_str(lines.next().context("no outcome")?)?) };
        let (printed, written) = (outcome()?, outcome()?);
        ensure!(written == printed, "printed {printed:?}\nwritten {written:?}");
        ensure!(written.operation == order.operation && written.request == order.request);
        Ok(Some(written))
    }

    /// Writes an order where dom0 can read it.
    pub(crate) fn write_order(&self, request: Request) -> Result<Order> {
        let operation = Uuid::new_v4();
        let outcome = format!("{STATE}/{operation}.json");
        let (locks, storage) = (STATE.to_owned(), STATE.to_owned());
        let order = Order { protocol: PROTOCOL, operation, locks, outcome, storage, request };
        let line = format!("{}\n", serde_json::to_string(&order)?);
        std::fs::write(self.lab.share().join(format!("{operation}.json")), line)?;
        Ok(order)
    }

    pub(crate) fn wait_for(&self, what: &str, uuid: Uuid, holds: impl Fn(Option<&Domain>) -> bool) -> Result<()> {
        let end = Instant::now() + HOPELESS;
        let mut seen = None;
        while Instant::now() < end {
            seen = self.domain(uuid)?;
            if holds(seen.as_ref()) {
                return Ok(());
            }
            sleep(Duration::from_millis(500));
        }
        bail!("not in time: {what}; {seen:?}")
    }

    /// Waits until a guest has come up for the first time.
    pub(crate) fn wait_for_boot(&self, name: &str) -> Result<()> {
        let up = |lab: &Lab| Ok(lab.guest_boots(name)? == 1);
        Ok(self.lab.wait_until(&format!("{name} is up"), HOPELESS, up)?)
    }

    /// Destroys a domain and waits until it is gone.
    pub(crate) fn remove(&self, uuid: Uuid) -> Result<()> {
        if let Some(domain) = self.domain(uuid)? {
            self.done(Request::DestroyDomain { target: target(&domain) })?;
        }
        self.wait_for("the domain is gone", uuid, |domain| domain.is_none())
    }

    /// What a failed or ended domain may leave: domains, backends, files of libxl (dom0 has some of its own), loop devices.
    pub(crate) fn remains(&self) -> Result<String> {
        let list = "xl list | tail -n +3; \
            for kind in vbd vif; do xenstore-ls /local/domain/0/backend/$kind 2>/dev/null | grep -E '^ [0-9]+'; done; \
            ls /var/lib/xen | grep -E '^userdata-[a-z]+\\.[1-9]'; losetup -a; true";
        Ok(self.lab.run(list)?)
    }
}

/// A cpupool of two pCPUs or more, taken from Pool-0.
pub(crate) fn shape(name: &str, cpus: &str) -> ShapeCpupool {
    let cpus: CpuSet = cpus.parse().unwrap();
    ShapeCpupool {
        uuid: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
        name: name.to_owned(),
        take: cpus.clone(),
        add: cpus,
        masks: Vec::new(),
        remove: CpuSet::new(),
        give: CpuSet::new(),
    }
}

/// An idling Linux guest with two vCPUs.
pub(crate) fn guest(name: &str, kind: DomainKind, cpupool: Option<Uuid>, hard: [&str; 2]) -> DomainConfig {
    DomainConfig {
        name: name.to_owned(),
        mark: Mark {
            pool_id: Uuid::from_u128(1),
            uuid: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
            incarnation: Uuid::new_v4(),
        },
        kind,
        vcpus_max: 2,
        vcpus_online: 2,
        memory_kib: 96 * 1024,
        memory_max_kib: 96 * 1024,
        placement: Placement {
            cpupool,
            hard: hard.iter().map(|mask| mask.parse().unwrap()).collect(),
            soft: None,
            sched: Sched { weight: 512, cap: 150 },
        },
        boot: BootConfig::Kernel {
            kernel: "/srv/guests/vmlinuz".to_owned(),
            ramdisk: Some("/srv/guests/initrd.gz".to_owned()),
            cmdline: Some(cmdline(kind)),
        },
        disks: Vec::new(),
        nics: Vec::new(),
        hvm: None,
        memory_reserve_kib: 64 * 1024,
        stays_paused: false,
    }
}

/// Only PV guests were tried with [`QUICK_LINUX`].
fn cmdline(kind: DomainKind) -> String {
    if kind == DomainKind::Pv { format!("console=hvc0 quiet {QUICK_LINUX}") } else { "console=hvc0 quiet".to_owned() }
}

pub(crate) fn create(config: &DomainConfig) -> Request {
    Request::CreateDomain(Box::new(config.clone()))
}

pub(crate) fn target(domain: &Domain) -> Target {
    Target { domid: domain.domid, uuid: domain.uuid }
}

/// The masks of a domain's vCPUs, as text.
pub(crate) fn masks(domain: &Domain) -> Vec<String> {
    domain.vcpus.known().unwrap().iter().map(|vcpu| vcpu.hard.to_string()).collect()
}

/// What the planner goes by: whose it is, whether it was verified, what it does.
pub(crate) fn standing(domain: &Domain) -> (bool, bool, DomainState) {
    (domain.mark.is_some(), domain.ready, domain.state)
}
