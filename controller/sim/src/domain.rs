//! Calls on domains that exist, as libxl and Xen treat them.

use crate::description::{ForeignDomain, GuestRequest};
use crate::world::{DEFAULT_WEIGHT, Domain, Running, Store, Vcpu, World, errno, rc, refused};
use protocol::{
    BootConfig, BootDevice, CpuSet, DeviceState, DomainDisk, DomainHvm, DomainKind, DomainNic, Dump, Failure,
    FailureKind, Firmware, Mark, Sched, Stored, Toolstack,
};
use uuid::Uuid;

/// How long libxl waits for a guest to take a request (tools/libs/light/libxl_internal.h:94-105).
pub(crate) const GUEST_ACK_MS: u64 = 60_000;

/// What libxl lets a domain have beyond its target (`LIBXL_MAXMEM_CONSTANT`, libxl_internal.h).
const MAXMEM_CONSTANT_KIB: u64 = 1024;

impl World {
    pub(crate) fn domain_pause(&mut self, domid: u32) -> Result<(), Failure> {
        self.domain_mut("libxl_domain_pause", domid)?.pauses += 1;
        Ok(())
    }

    pub(crate) fn domain_unpause(&mut self, domid: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_domain_unpause";
        let now_ms = self.now_ms;
        let domain = self.domain_mut(CALL, domid)?;
        // domain_unpause_by_systemcontroller (xen/common/domain.c) refuses to go below zero.
        if domain.pauses == 0 {
            return Err(refused(CALL, rc::FAIL, Some(errno::EINVAL), format!("domain {domid} is not paused")));
        }
        domain.pauses -= 1;
        if domain.pauses == 0 && domain.guest.since_ms.is_none() {
            domain.guest.since_ms = Some(now_ms.saturating_sub(domain.guest.ran_ms));
            let guest = domain.guest.clone();
            if guest.suspensions > 0 {
                self.goes_on(&guest);
            } else {
                self.print_start(domid);
            }
        }
        Ok(())
    }

    /// Answers after how many milliseconds the guest has taken the request.
    pub(crate) fn domain_shutdown(&mut self, domid: u32) -> Result<u64, Failure> {
        const CALL: &str = "libxl_domain_shutdown";
        let now_ms = self.now_ms;
        let guest = self.host.guest(&self.domain(CALL, domid)?.guest.name);
        if self.is_deaf(self.domain(CALL, domid)?) {
            return Err(Self::no_paravirt(CALL, domid));
        }
        let domain = self.domain_mut(CALL, domid)?;
        let answers_at = domain.guest.since_ms.map(|since| since.saturating_add(guest.boots_ms).max(now_ms));
        let answers = domain.is_runnable() && !guest.ignores.contains(&GuestRequest::Shutdown);
        match answers_at.filter(|at| answers && *at <= now_ms + GUEST_ACK_MS) {
            Some(at) => {
                if !guest.ignores.contains(&GuestRequest::PowerOff) {
                    domain.guest.off_at_ms.get_or_insert(at.saturating_add(guest.shutdown_ms));
                }
                Ok(at - now_ms)
            }
            None => Err(Failure {
                kind: FailureKind::GuestIgnored,
                call: CALL.to_owned(),
                rc: Some(rc::TIMEDOUT),
                errno: None,
                message: format!("the guest of domain {domid} did not acknowledge the request within 60 s"),
            }),
        }
    }

    /// Hard affinity becomes *all*, weight and cap their defaults (`sched_move_domain`, xen/common/sched/core.c:669-670, 714, 808).
    pub(crate) fn domain_move(&mut self, domid: u32, poolid: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_cpupool_movedomain";
        self.domain(CALL, domid)?;
        if self.pools.get(&poolid).is_none_or(|pool| pool.cpus.is_empty()) {
            return Err(refused(
                CALL,
                rc::FAIL,
                Some(errno::ENOENT),
                format!("there is no cpupool {poolid}, or it has no pCPU"),
            ));
        }
        let all = self.all_cpus();
        let domain = self.domain_mut(CALL, domid)?;
        if domain.is_dying() {
            return Err(refused(CALL, rc::FAIL, Some(errno::EINVAL), format!("domain {domid} is being torn down")));
        }
        if domain.poolid == poolid {
            return Ok(());
        }
        domain.poolid = poolid;
        domain.sched = Sched { weight: DEFAULT_WEIGHT, cap: 0 };
        for vcpu in &mut domain.vcpus {
            vcpu.hard = all.clone();
            vcpu.soft = None;
        }
        Ok(())
    }

    /// Refused when nothing of it is in the cpupool; what lies outside is kept (`vcpu_set_hard_affinity`, xen/common/sched/core.c:1391-1400).
    pub(crate) fn vcpu_set_hard(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        const CALL: &str = "libxl_set_vcpuaffinity";
        let poolid = self.domain(CALL, domid)?.poolid;
        if self.pools.get(&poolid).is_none_or(|pool| pool.cpus.is_disjoint(cpus)) {
            return Err(refused(
                CALL,
                rc::FAIL,
                Some(errno::EINVAL),
                format!("`{cpus}` has nothing in common with the cpupool of domain {domid}"),
            ));
        }
        let known = self.all_cpus();
        let domain = self.domain_mut(CALL, domid)?;
        let found = usize::try_from(vcpu).ok().and_then(|vcpu| domain.vcpus.get_mut(vcpu));
        let Some(vcpu) = found else {
            return Err(refused(CALL, rc::FAIL, Some(errno::ESRCH), format!("domain {domid} has no vCPU {vcpu}")));
        };
        vcpu.hard = cpus.intersection(&known);
        Ok(())
    }

    /// Xen takes any preference (`vcpu_set_soft_affinity`, xen/common/sched/core.c).
    pub(crate) fn vcpu_set_soft(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        const CALL: &str = "libxl_set_vcpuaffinity";
        let known = self.all_cpus();
        let domain = self.domain_mut(CALL, domid)?;
        let found = usize::try_from(vcpu).ok().and_then(|vcpu| domain.vcpus.get_mut(vcpu));
        let Some(vcpu) = found else {
            return Err(refused(CALL, rc::FAIL, Some(errno::ESRCH), format!("domain {domid} has no vCPU {vcpu}")));
        };
        vcpu.soft = Some(cpus.intersection(&known)).filter(|soft| *soft != known);
        Ok(())
    }

    pub(crate) fn domain_set_sched(&mut self, domid: u32, sched: Sched) -> Result<(), Failure> {
        const CALL: &str = "libxl_domain_sched_params_set";
        let domain = self.domain_mut(CALL, domid)?;
        if sched.weight == 0 {
            // libxl_sched.c: weight 1 to 65535.
            return Err(refused(CALL, rc::INVAL, None, "weight must be 1 to 65535"));
        }
        domain.sched = sched;
        Ok(())
    }

    /// Writes a wish and lowers the limit; the guest's balloon does the rest, or does not (libxl_mem.c).
    pub(crate) fn domain_set_memory(&mut self, domid: u32, memory_kib: u64) -> Result<(), Failure> {
        const CALL: &str = "libxl_set_memory_target";
        let domain = self.domain_mut(CALL, domid)?;
        let Some(store) = &mut domain.store else {
            return Err(refused(CALL, rc::FAIL, None, format!("domain {domid} has no memory/target in xenstore")));
        };
        if memory_kib > store.static_max_kib {
            return Err(refused(
                CALL,
                rc::INVAL,
                None,
                format!(
                    "memory_dynamic_max must be less than or equal to memory_static_max ({} KiB)",
                    store.static_max_kib
                ),
            ));
        }
        store.target_kib = memory_kib;
        domain.max_kib = memory_kib + MAXMEM_CONSTANT_KIB;
        Ok(())
    }

    /// Writes a wish (`cpu/N/availability`).
    pub(crate) fn domain_set_vcpus(&mut self, domid: u32, online: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_set_vcpuonline";
        let domain = self.domain_mut(CALL, domid)?;
        let max = u32::try_from(domain.vcpus.len()).unwrap_or(u32::MAX);
        let Some(store) = domain.store.as_mut().filter(|_| online > 0 && online <= max) else {
            return Err(refused(CALL, rc::FAIL, None, format!("domain {domid} cannot have {online} vCPUs online")));
        };
        store.vcpus_online = online;
        Ok(())
    }

    pub(crate) fn domain_rename(&mut self, domid: u32, name: &str) -> Result<(), Failure> {
        const CALL: &str = "libxl_domain_rename";
        self.check_name(CALL, domid, name)?;
        match &mut self.domain_mut(CALL, domid)?.store {
            Some(store) => name.clone_into(&mut store.name),
            None => return Err(refused(CALL, rc::FAIL, None, format!("domain {domid} has no name in xenstore"))),
        }
        Ok(())
    }

    pub(crate) fn domain_mark_ready(&mut self, domid: u32) -> Result<(), Failure> {
        const CALL: &str = "xs_write";
        match &mut self.domain_mut(CALL, domid)?.store {
            Some(store) => store.ready = true,
            None => {
                return Err(refused(CALL, rc::FAIL, Some(errno::ENOENT), format!("domain {domid} is not in xenstore")));
            }
        }
        Ok(())
    }

    /// Writes a core dump. libxl refuses no domain that is there (`libxl_domain_core_dump`, libxl_domain.c).
    pub(crate) fn domain_dump(&mut self, domid: u32, dump: Dump) -> Result<(), Failure> {
        let kib = self.domain("libxl_domain_core_dump", domid)?.current_kib;
        self.dumps.push(Dump { kib, ..dump });
        Ok(())
    }

    /// Ends the process of `xl` that watches a domain.
    pub(crate) fn monitor_stop(&mut self, domid: u32) -> Result<(), Failure> {
        const CALL: &str = "stop-monitor";
        let domain = self.domain_mut(CALL, domid)?;
        match domain.toolstack {
            Some(Toolstack::Libvirt) => {
                Err(Failure::new(FailureKind::Stale, CALL, format!("libvirt looks after domain {domid}")))
            }
            Some(Toolstack::Xl) | None => {
                domain.toolstack = None;
                Ok(())
            }
        }
    }

    /// Our mark and `ready`, in one transaction.
    pub(crate) fn domain_claim(&mut self, domid: u32, mark: Mark) -> Result<(), Failure> {
        const CALL: &str = "xs_write";
        let domain = self.domain_mut(CALL, domid)?;
        let Some(store) = &mut domain.store else {
            return Err(refused(CALL, rc::FAIL, Some(errno::ENOENT), format!("domain {domid} is not in xenstore")));
        };
        store.mark = Some(mark);
        store.ready = true;
        domain.ours = true;
        Ok(())
    }

    /// `xl save`, which ends the domain, and `xl restore`: what libxl wrote into xenstore by itself is there again, `ready` is not.
    pub(crate) fn saved_and_restored(&mut self, domid: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_domain_suspend";
        if !self.domain(CALL, domid)?.is_runnable() {
            return Err(refused(CALL, rc::FAIL, None, format!("domain {domid} does not run")));
        }
        let again = self.take_domid();
        let Some(mut domain) = self.domains.remove(&domid) else { return Ok(()) };
        if let Some(store) = &mut domain.store {
            store.ready = false;
        }
        let domain = Domain { ours: false, toolstack: Some(Toolstack::Xl), ..domain };
        self.domains.insert(again, domain);
        self.wakes += 1;
        Ok(())
    }

    /// libxl's own check that a name is new: it reads outside the transaction, so two creations at once both pass it.
    pub(crate) fn check_name(&self, call: &str, domid: u32, name: &str) -> Result<(), Failure> {
        let other = self.domains().find(|(other, domain)| *other != domid && domain.name() == Some(name));
        match other {
            None => Ok(()),
            Some((other, _)) => Err(refused(
                call,
                rc::INVAL,
                None,
                format!("Domain with name \"{name}\" already exists (domain {other})"),
            )),
        }
    }

    /// A domain of another tool, as `xl create` makes it.
    pub(crate) fn make_foreign_domain(&mut self, described: &ForeignDomain) -> Result<u32, Failure> {
        const CALL: &str = "libxl_domain_create_new";
        let poolid = self.pool_named(CALL, described.cpupool.as_deref().unwrap_or("Pool-0"))?;
        let hard = described.hard.clone().unwrap_or_else(|| self.all_cpus());
        if self.pools[&poolid].cpus.is_disjoint(&hard) {
            return Err(refused(
                CALL,
                rc::FAIL,
                Some(errno::EINVAL),
                format!("`{hard}` has nothing in common with its cpupool"),
            ));
        }
        let vcpu = |id| Vcpu { online: id == 0, hard: hard.clone(), soft: described.soft.clone() };
        let domid = self.take_domid();
        let start = self.count_start(&described.name);
        let domain = Domain {
            uuid: described.uuid.unwrap_or_else(|| {
                Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("foreign {}", described.name).as_bytes())
            }),
            ours: false,
            poolid,
            pauses: u32::from(described.paused),
            shutdown: None,
            dying_until_ms: None,
            vcpus: (0..described.vcpus).map(vcpu).collect(),
            sched: Sched { weight: described.weight, cap: described.cap },
            current_kib: described.memory_kib,
            overhead_kib: 0,
            max_kib: described.memory_kib + MAXMEM_CONSTANT_KIB,
            store: Some(Store {
                name: described.name.clone(),
                kind: described.kind,
                mark: None,
                ready: false,
                target_kib: described.memory_kib,
                static_max_kib: described.memory_kib,
                vcpus_online: described.vcpus,
            }),
            disks: described
                .disks
                .iter()
                .zip(b'a'..)
                .map(|(path, letter)| foreign_disk(described.kind, letter, path))
                .collect(),
            nics: described.nics.iter().cloned().zip(0..).map(|(nic, devid)| DomainNic { devid, ..nic }).collect(),
            hvm: (described.kind == DomainKind::Hvm)
                .then(|| DomainHvm { cdroms: described.cdroms.clone(), ..DomainHvm::default() }),
            cpu_time_ns: 0,
            guest: Running {
                name: described.name.clone(),
                since_ms: (!described.paused).then_some(self.now_ms),
                start,
                ..Running::default()
            },
            stored: Some(Box::new(stored(described))),
            toolstack: described.toolstack,
        };
        self.domains.insert(domid, domain);
        self.wakes += 1;
        Ok(domid)
    }

    /// Numbers go up; libxl does not give a number again for 60 s, and Xen only after all others.
    pub(crate) fn take_domid(&mut self) -> u32 {
        let domid = self.next_domid;
        self.next_domid += 1;
        domid
    }

    pub(crate) fn count_start(&mut self, name: &str) -> u32 {
        let starts = self.starts.entry(name.to_owned()).or_default();
        let start = *starts;
        *starts += 1;
        start
    }
}

/// As `xl` leaves it.
fn stored(described: &ForeignDomain) -> Stored {
    let on_crash = if described.restarts_after_crash { "restart" } else { "destroy" };
    let is_hvm = described.kind == DomainKind::Hvm;
    let usual = || match described.kind {
        DomainKind::Hvm => BootConfig::Devices(vec![BootDevice::Disk, BootDevice::Cdrom]),
        DomainKind::Pv | DomainKind::Pvh => BootConfig::Kernel {
            kernel: "/srv/guests/vmlinuz".to_owned(),
            ramdisk: Some("/srv/guests/initrd.gz".to_owned()),
            cmdline: Some("console=hvc0".to_owned()),
        },
    };
    Stored {
        boot: Some(described.boot.clone().unwrap_or_else(usual)),
        firmware: is_hvm.then_some(Firmware::Bios),
        vcpus_online: Some(described.vcpus),
        on_poweroff: "destroy".to_owned(),
        on_reboot: "restart".to_owned(),
        on_crash: on_crash.to_owned(),
        ..Stored::default()
    }
}

fn foreign_disk(kind: DomainKind, letter: u8, path: &str) -> DomainDisk {
    let bus = if kind == DomainKind::Hvm { "hd" } else { "xvd" };
    let target = format!("{bus}{}", char::from(letter));
    DomainDisk { target, path: path.to_owned(), read_only: false, state: DeviceState::Attached }
}
