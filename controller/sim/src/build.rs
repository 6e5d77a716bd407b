//! How libxl builds a domain and tears it down, step by step: a worker may die after each of them.
//!
//! ```text
//! xc_domain_create ─► xenstore transaction ─► vCPUs, affinity ─► memory, kernel, weight ─► devices ─► console
//!     UUID                name, mark                                                            (then `ready`, and it runs)
//! ```
//! (`libxl__domain_make`, `libxl__build_pre`, `libxl__build_post`, `domcreate_*` in tools/libs/light/libxl_create.c and libxl_dom.c.)

use crate::description::File;
use crate::fault::Point;
use crate::hvm;
use crate::memory::overhead_kib;
use crate::world::{DEFAULT_WEIGHT, Domain, Running, Store, Vcpu, World, errno, rc, refused};
use protocol::{
    BootConfig, DeviceState, DiskConfig, DomainConfig, DomainDisk, DomainKind, DomainNic, Failure, NicConfig, Sched,
    Stored,
};

const CREATE: &str = "libxl_domain_create_new";
const DESTROY: &str = "libxl_domain_destroy";

/// How long libxl waits for a console (`LIBXL_INIT_TIMEOUT`, libxl_internal.h:94).
pub(crate) const CONSOLE_MS: u64 = 10_000;

type BuildStep = fn(&mut World, u32, &DomainConfig) -> Result<(), Failure>;
type DestroyStep = fn(&mut World, u32) -> Result<(), Failure>;

/// What follows `xc_domain_create`, and where the worker is after each step.
pub(crate) const BUILD: [(BuildStep, Point); 5] = [
    (write_store, Point::DomainMarked),
    (make_vcpus, Point::DomainPinned),
    (populate, Point::DomainBuilt),
    (attach_devices, Point::DevicesAttached),
    (wait_for_console, Point::ConsoleReady),
];

/// The steps of a destruction.
pub(crate) const TEAR_DOWN: [(DestroyStep, Point); 4] = [
    (World::domain_pause, Point::DestroyPaused),
    (detach_devices, Point::DevicesDetached),
    (remove_store, Point::StoreRemoved),
    (kill, Point::DomainKilled),
];

impl World {
    /// What libxl refuses before it makes anything (`initiate_domain_create`).
    pub(crate) fn check_config(&self, config: &DomainConfig) -> Result<(), Failure> {
        let supported = match config.kind {
            DomainKind::Pv => self.host.pv,
            DomainKind::Pvh | DomainKind::Hvm => self.host.hvm,
        };
        if !supported {
            return Err(refused(CREATE, rc::INVAL, None, "this host cannot build such a domain (virt_caps)"));
        }
        self.check_hvm(CREATE, config)?;
        match config.disks.iter().find(|disk| !self.host.files.contains_key(&disk.path)) {
            None => Ok(()),
            Some(DiskConfig { target, path, .. }) => Err(refused(
                CREATE,
                rc::INVAL,
                Some(errno::ENOENT),
                format!("Disk vdev={target} failed to stat: {path}: No such file or directory"),
            )),
        }
    }

    /// The hypercall: a paused domain that only has its UUID. Xen does not compare UUIDs.
    pub(crate) fn xc_domain_create(
        &mut self,
        config: &DomainConfig,
        poolid: u32,
        restored: bool,
    ) -> Result<u32, Failure> {
        if self.pools.get(&poolid).is_none_or(|pool| pool.cpus.is_empty()) {
            return Err(refused(
                CREATE,
                rc::FAIL,
                Some(errno::ENODEV),
                "domain creation fail: No such device (cpupool without pCPUs)",
            ));
        }
        let domid = self.take_domid();
        // A guest that goes on does not start.
        let start = if restored { 0 } else { self.count_start(&config.name) };
        let domain = Domain {
            uuid: config.mark.uuid,
            ours: true,
            poolid,
            pauses: 1,
            shutdown: None,
            dying_until_ms: None,
            vcpus: Vec::new(),
            sched: Sched { weight: DEFAULT_WEIGHT, cap: 0 },
            current_kib: 0,
            overhead_kib: 0,
            max_kib: 0,
            store: None,
            disks: Vec::new(),
            nics: Vec::new(),
            hvm: None,
            cpu_time_ns: 0,
            guest: Running { name: config.name.clone(), start, suspensions: u32::from(restored), ..Running::default() },
            stored: None,
            toolstack: None,
        };
        self.domains.insert(domid, domain);
        Ok(domid)
    }

    /// Everything of [`TEAR_DOWN`] at once, as another tool does it.
    pub(crate) fn domain_destroy(&mut self, domid: u32) -> Result<(), Failure> {
        TEAR_DOWN.iter().try_for_each(|(step, _)| step(self, domid))
    }
}

fn write_store(world: &mut World, domid: u32, config: &DomainConfig) -> Result<(), Failure> {
    world.check_name(CREATE, domid, &config.name)?;
    world.domain_mut(CREATE, domid)?.store = Some(Store {
        name: config.name.clone(),
        kind: config.kind,
        mark: Some(config.mark),
        ready: false,
        target_kib: config.memory_kib,
        static_max_kib: config.memory_max_kib,
        vcpus_online: config.vcpus_online,
    });
    world.wakes += 1;
    Ok(())
}

fn make_vcpus(world: &mut World, domid: u32, config: &DomainConfig) -> Result<(), Failure> {
    let all = world.all_cpus();
    // Until the guest brings up the others, only the first one is up.
    let soft = config.placement.soft.clone();
    let vcpu = |id| Vcpu { online: id == 0, hard: all.clone(), soft: soft.clone() };
    world.domain_mut(CREATE, domid)?.vcpus = (0..config.vcpus_max).map(vcpu).collect();
    for (vcpu, mask) in (0..config.vcpus_max).zip(&config.placement.hard) {
        world.vcpu_set_hard(domid, vcpu, mask).map_err(|refusal| Failure { call: CREATE.to_owned(), ..refusal })?;
    }
    Ok(())
}

fn populate(world: &mut World, domid: u32, config: &DomainConfig) -> Result<(), Failure> {
    let overhead = overhead_kib(config);
    if config.memory_kib + overhead > world.claimable_kib() {
        return Err(refused(
            CREATE,
            rc::NOMEM,
            Some(errno::ENOMEM),
            "xc_dom_boot_mem_init: failed to claim memory for the domain",
        ));
    }
    // The kernel of a guest that goes on is in its memory.
    let restored = world.domain(CREATE, domid)?.guest.suspensions > 0;
    if let BootConfig::Kernel { kernel, ramdisk, .. } = &config.boot
        && !restored
    {
        for path in std::iter::once(kernel).chain(ramdisk) {
            if !matches!(world.host.files.get(path), Some(File::File { .. })) {
                return Err(refused(
                    CREATE,
                    rc::FAIL,
                    Some(errno::ENOENT),
                    format!("xc_dom_kernel_file: failed to open {path}: No such file or directory"),
                ));
            }
        }
    }
    let domain = world.domain_mut(CREATE, domid)?;
    domain.hvm = hvm::start(config);
    domain.current_kib = config.memory_kib;
    domain.overhead_kib = overhead;
    domain.max_kib = config.memory_kib + 1024;
    domain.sched = config.placement.sched;
    Ok(())
}

/// The hotplug scripts `block` and `vif-bridge` (tools/hotplug/Linux).
fn attach_devices(world: &mut World, domid: u32, config: &DomainConfig) -> Result<(), Failure> {
    for disk in &config.disks {
        if let Some(reason) = world.why_disk_is_busy(domid, disk) {
            return Err(refused(
                CREATE,
                rc::FAIL,
                None,
                format!("/etc/xen/scripts/block add exited with error status 1: {reason}"),
            ));
        }
        let DiskConfig { target, path, read_only } = disk.clone();
        let disk = DomainDisk { target, path, read_only, state: DeviceState::Attached };
        world.domain_mut(CREATE, domid)?.disks.push(disk);
    }
    for (place, NicConfig { mac, bridge, devid }) in (0..).zip(config.nics.clone()) {
        if !world.host.bridges.contains(&bridge) {
            return Err(refused(
                CREATE,
                rc::FAIL,
                None,
                format!(
                    "/etc/xen/scripts/vif-bridge online exited with error status 1: Could not find bridge device {bridge}"
                ),
            ));
        }
        let nic = DomainNic { devid: devid.unwrap_or(place), mac, bridge: Some(bridge), state: DeviceState::Attached };
        world.domain_mut(CREATE, domid)?.nics.push(nic);
    }
    world.domain_mut(CREATE, domid)?.stored = Some(Box::new(stored(config)));
    Ok(())
}

/// What libxl keeps of the configuration that it built from. It does nothing itself when the guest ends.
fn stored(config: &DomainConfig) -> Stored {
    let nothing = || "destroy".to_owned();
    Stored {
        boot: Some(config.boot.clone()),
        firmware: config.hvm.as_ref().map(|hvm| hvm.firmware),
        vcpus_online: Some(config.vcpus_online),
        on_poweroff: nothing(),
        on_reboot: nothing(),
        on_crash: nothing(),
        ..Stored::default()
    }
}

/// Without xenconsoled nobody writes `console/tty`, and libxl gives up (libxl_create.c:1934-1966).
fn wait_for_console(world: &mut World, domid: u32, _: &DomainConfig) -> Result<(), Failure> {
    if world.xenconsoled {
        return Ok(());
    }
    Err(refused(
        CREATE,
        rc::TIMEDOUT,
        None,
        format!("domain {domid} got no console within 10 s: is xenconsoled running?"),
    ))
}

impl World {
    /// The check of the `block` script. It takes two domains with one UUID for the same one and lets them share (block-common.sh, `same_vm`).
    pub(crate) fn why_disk_is_busy(&self, domid: u32, disk: &DiskConfig) -> Option<String> {
        let DiskConfig { path, read_only, .. } = disk;
        match self.host.files.get(path) {
            None | Some(File::Directory) => return Some(format!("{path} does not exist.")),
            Some(File::Block { mounted: true, .. }) if !read_only => {
                return Some(format!(
                    "Device {path} is mounted in the privileged domain, and so cannot be mounted by a guest."
                ));
            }
            Some(File::Block { .. } | File::File { .. }) => {}
        }
        let uuid = self.domains.get(&domid).map(|domain| domain.uuid);
        let shares =
            |other: &Domain| other.disks.iter().any(|open| open.path == *path && !(open.read_only && *read_only));
        let other =
            self.domains().find(|(other, domain)| *other != domid && Some(domain.uuid) != uuid && shares(domain));
        other.map(|(other, _)| format!("File {path} is used by domain {other}, and so cannot be mounted now."))
    }
}

fn detach_devices(world: &mut World, domid: u32) -> Result<(), Failure> {
    let domain = world.domain_mut(DESTROY, domid)?;
    domain.disks.clear();
    domain.nics.clear();
    Ok(())
}

fn remove_store(world: &mut World, domid: u32) -> Result<(), Failure> {
    world.domain_mut(DESTROY, domid)?.store = None;
    Ok(())
}

fn kill(world: &mut World, domid: u32) -> Result<(), Failure> {
    let guest = world.host.guest(&world.domain(DESTROY, domid)?.guest.name);
    let now_ms = world.now_ms;
    let domain = world.domain_mut(DESTROY, domid)?;
    if domain.dying_until_ms.is_none() {
        domain.dying_until_ms = Some(now_ms.saturating_add(guest.lingers_ms));
        world.wakes += 1;
    }
    if guest.lingers_ms == 0 {
        world.release(domid);
    }
    Ok(())
}

impl World {
    /// The last reference to a domain is gone.
    pub(crate) fn release(&mut self, domid: u32) {
        let Some(domain) = self.domains.remove(&domid) else {
            return;
        };
        self.wakes += 1;
        if self.host.latency.scrub_ms > 0 {
            self.dirty.push((self.now_ms + self.host.latency.scrub_ms, domain.current_kib));
        }
    }
}
