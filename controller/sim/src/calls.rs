//! One operation at work: a borrow of the world that speaks [`Hypervisor`].

use crate::devices::LET_GO_MS;
use crate::domain::GUEST_ACK_MS;
use crate::event::Event;
use crate::fault::{CallName, Fault, Meanwhile, Point};
use crate::world::{World, rc};
use operation::{Hypervisor, Identity};
use protocol::{
    Cdrom, CpuSet, Cpupool, DiskConfig, Domain, DomainConfig, DomainState, Dump, Failure, FailureKind, ImageRef,
    ImageState, Mark, MemoryNeed, NicConfig, Sched,
};
use uuid::Uuid;

/// Looks at the world after every call.
type Observer<'a> = Box<dyn FnMut(&World) + 'a>;

/// The calls of one operation. Dropped, it is a worker that ended.
pub struct Calls<'a> {
    pub(crate) world: &'a mut World,
    fault: Fault,
    /// What was laid out and not met is for the operation that makes such a call.
    hands_on: bool,
    observer: Option<Observer<'a>>,
    points: u32,
    died: bool,
    pub(crate) elapsed_ms: u64,
    log: Vec<String>,
}

impl<'a> Calls<'a> {
    /// An operation that meets what [`crate::Event::NextOperation`] has laid out for it, if anything.
    pub fn new(world: &'a mut World) -> Self {
        let fault = world.next_fault.take().unwrap_or_default();
        let mut calls = Self::with_fault(world, fault);
        calls.hands_on = true;
        calls
    }

    /// An operation that meets this.
    pub fn with_fault(world: &'a mut World, fault: Fault) -> Self {
        Self { world, fault, hands_on: false, observer: None, points: 0, died: false, elapsed_ms: 0, log: Vec::new() }
    }

    /// Lets `observer` look at the world after every call and at every [`Point`] inside of one.
    #[must_use]
    pub fn after_call(mut self, observer: impl FnMut(&World) + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The worker dies after this many points, whatever else it meets.
    #[must_use]
    pub fn die_after(mut self, points: u32) -> Self {
        self.fault.die_after = Some(self.fault.die_after.map_or(points, |earlier| earlier.min(points)));
        self
    }

    /// Whether the worker died. Its result is then nobody's.
    pub fn died(&self) -> bool {
        self.died
    }

    /// Milliseconds of virtual time that the calls took so far.
    pub fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    /// Points that were passed; an operation that dies after as many has done everything.
    pub fn points(&self) -> u32 {
        self.points
    }

    /// What libxl logged, oldest first.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// A call that is one step to Xen.
    fn call<T>(&mut self, name: CallName, effect: impl FnOnce(&mut World) -> Result<T, Failure>) -> Result<T, Failure> {
        self.begin(name)?;
        self.elapsed_ms += self.world.host.latency.call_ms;
        let result = effect(self.world);
        self.end(result)
    }

    pub(crate) fn begin(&mut self, name: CallName) -> Result<(), Failure> {
        if self.died || self.fault.die_after == Some(0) {
            self.died = true;
            return Err(worker_died());
        }
        self.world.check_xenstore()?;
        let Some(planned) = self.fault.fail.iter_mut().find(|planned| planned.call == name) else {
            return Ok(());
        };
        if planned.after > 0 {
            planned.after -= 1;
            return Ok(());
        }
        let failure = Failure {
            kind: planned.kind,
            call: format!("{name:?}"),
            rc: planned.rc,
            errno: planned.errno,
            message: planned.message.clone(),
        };
        self.fault.fail.retain(|planned| planned.call != name || planned.after > 0);
        self.end(Err(failure))
    }

    pub(crate) fn end<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            self.log.push(failure.to_string());
        }
        self.pass(None)?;
        result
    }

    /// The worker is at a place where it may die, others may act, and the law of cores must hold.
    pub(crate) fn pass(&mut self, point: Option<Point>) -> Result<(), Failure> {
        self.points += 1;
        if let Some(observer) = &mut self.observer {
            observer(self.world);
        }
        let passed = self.points;
        let due: Vec<Meanwhile> = self.fault.meanwhile.extract_if(.., |other| other.after <= passed).collect();
        let mut host_went = false;
        for other in due {
            host_went |= matches!(other.event, Event::HostReboot | Event::PowerLoss);
            // Xen may refuse them as well; that is their affair.
            let _ = self.world.apply(&other.event);
        }
        if host_went || self.fault.die_after == Some(self.points) || (point.is_some() && self.fault.die_at == point) {
            self.died = true;
            return Err(worker_died());
        }
        Ok(())
    }
}

impl Drop for Calls<'_> {
    fn drop(&mut self) {
        if self.hands_on && !self.fault.fail.is_empty() && self.world.next_fault.is_none() {
            let fail = std::mem::take(&mut self.fault.fail);
            self.world.next_fault = Some(Fault { fail, ..Fault::default() });
        }
    }
}

impl Hypervisor for Calls<'_> {
    fn cpupools(&mut self) -> Result<Vec<Cpupool>, Failure> {
        self.call(CallName::Cpupools, |world| Ok(world.list_cpupools()))
    }

    fn free_cpus(&mut self) -> Result<CpuSet, Failure> {
        self.call(CallName::FreeCpus, |world| Ok(world.free_cpus()))
    }

    fn domains(&mut self) -> Result<Vec<Domain>, Failure> {
        self.call(CallName::Domains, |world| Ok(world.list_domains()))
    }

    fn domain(&mut self, domid: u32) -> Result<Option<Domain>, Failure> {
        self.call(CallName::Domain, |world| Ok(world.list_domains().into_iter().find(|domain| domain.domid == domid)))
    }

    fn identities(&mut self) -> Result<Vec<Identity>, Failure> {
        let identity = |domain: Domain| Identity {
            domid: domain.domid,
            uuid: domain.uuid,
            name: domain.name,
            dying: domain.state == DomainState::Dying,
        };
        self.call(CallName::Identities, |world| Ok(world.list_domains().into_iter().map(identity).collect()))
    }

    fn dom0_affinity(&mut self) -> Result<Vec<CpuSet>, Failure> {
        self.call(CallName::Dom0Affinity, |world| Ok(world.dom0_affinity()))
    }

    fn create_cpupool(&mut self, uuid: Uuid, name: &str) -> Result<u32, Failure> {
        self.begin(CallName::CreateCpupool)?;
        self.elapsed_ms += self.world.host.latency.call_ms;
        let poolid = self.world.pool_create(true);
        self.pass(Some(Point::CpupoolCreated))?;
        let named = self.world.pool_write_name(poolid, uuid, name);
        self.end(named.map(|()| poolid))
    }

    fn add_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        self.call(CallName::AddCpu, |world| world.pool_add_cpu(poolid, cpu))
    }

    fn remove_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        self.call(CallName::RemoveCpu, |world| world.pool_remove_cpu(poolid, cpu))
    }

    fn rename_cpupool(&mut self, poolid: u32, name: &str) -> Result<(), Failure> {
        self.call(CallName::RenameCpupool, |world| world.pool_rename(poolid, name))
    }

    fn destroy_cpupool(&mut self, poolid: u32) -> Result<(), Failure> {
        self.call(CallName::DestroyCpupool, |world| world.pool_destroy(poolid))
    }

    fn need_memory(&mut self, config: &DomainConfig) -> Result<u64, Failure> {
        self.call(CallName::NeedMemory, |_| Ok(MemoryNeed::from(config).kib()))
    }

    fn free_memory(&mut self) -> Result<u64, Failure> {
        self.call(CallName::FreeMemory, |world| Ok(world.free_memory_kib()))
    }

    fn create_domain(&mut self, config: &DomainConfig, poolid: u32) -> Result<u32, Failure> {
        self.begin(CallName::CreateDomain)?;
        self.elapsed_ms += self.world.host.latency.create_ms;
        let built = self.build(config, poolid, None);
        if self.died { built } else { self.end(built) }
    }

    fn destroy_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.begin(CallName::DestroyDomain)?;
        self.elapsed_ms += self.world.host.latency.destroy_ms;
        let destroyed = self.tear_down(domid);
        if self.died { destroyed } else { self.end(destroyed) }
    }

    fn dumps(&mut self) -> Result<Vec<Dump>, Failure> {
        self.call(CallName::Dumps, |world| Ok(world.dumps.clone()))
    }

    fn dump_domain(&mut self, domid: u32, dump: Dump) -> Result<(), Failure> {
        self.call(CallName::DumpDomain, |world| world.domain_dump(domid, dump))
    }

    fn remove_dump(&mut self, dump: Dump) -> Result<(), Failure> {
        self.call(CallName::RemoveDump, |world| {
            world.dumps.retain(|other| (other.vm, other.incarnation) != (dump.vm, dump.incarnation));
            Ok(())
        })
    }

    fn pause_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::PauseDomain, |world| world.domain_pause(domid))
    }

    fn unpause_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::UnpauseDomain, |world| world.domain_unpause(domid))
    }

    fn shutdown_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.begin(CallName::ShutdownDomain)?;
        let answer = self.world.domain_shutdown(domid);
        self.elapsed_ms += match &answer {
            Ok(after_ms) => *after_ms,
            Err(failure) if failure.rc == Some(rc::TIMEDOUT) => GUEST_ACK_MS,
            Err(_) => self.world.host.latency.call_ms,
        };
        self.end(answer.map(|_| ()))
    }

    fn press_power_button(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::PressPowerButton, |world| world.domain_power_button(domid))
    }

    fn image(&mut self, image: ImageRef) -> Result<ImageState, Failure> {
        self.call(CallName::Image, |world| Ok(world.image_state(image)))
    }

    fn save_domain(&mut self, domid: u32, mark: Mark, image: ImageRef) -> Result<(), Failure> {
        self.begin(CallName::SaveDomain)?;
        self.elapsed_ms += self.world.host.latency.create_ms;
        let saved = self.write_image(domid, mark, image);
        if self.died { saved } else { self.end(saved) }
    }

    fn resume_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::ResumeDomain, |world| world.domain_resume(domid))
    }

    fn restore_domain(&mut self, config: &DomainConfig, poolid: u32, image: ImageRef) -> Result<u32, Failure> {
        self.begin(CallName::RestoreDomain)?;
        self.elapsed_ms += self.world.host.latency.create_ms;
        let built = self.build(config, poolid, Some(image));
        if self.died { built } else { self.end(built) }
    }

    fn use_image(&mut self, image: ImageRef, by: Uuid) -> Result<(), Failure> {
        self.call(CallName::UseImage, |world| world.use_image(image, by))
    }

    fn discard_image(&mut self, image: ImageRef, _keep: bool) -> Result<(), Failure> {
        self.call(CallName::DiscardImage, |world| {
            world.discard_image(image);
            Ok(())
        })
    }

    fn move_domain(&mut self, domid: u32, poolid: u32) -> Result<(), Failure> {
        self.call(CallName::MoveDomain, |world| world.domain_move(domid, poolid))
    }

    fn set_hard_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        self.call(CallName::SetHardAffinity, |world| world.vcpu_set_hard(domid, vcpu, cpus))
    }

    fn set_soft_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        self.call(CallName::SetSoftAffinity, |world| world.vcpu_set_soft(domid, vcpu, cpus))
    }

    fn set_sched(&mut self, domid: u32, sched: Sched) -> Result<(), Failure> {
        self.call(CallName::SetSched, |world| world.domain_set_sched(domid, sched))
    }

    fn set_memory_target(&mut self, domid: u32, memory_kib: u64) -> Result<(), Failure> {
        self.call(CallName::SetMemoryTarget, |world| world.domain_set_memory(domid, memory_kib))
    }

    fn set_vcpus_online(&mut self, domid: u32, online: u32) -> Result<(), Failure> {
        self.call(CallName::SetVcpusOnline, |world| world.domain_set_vcpus(domid, online))
    }

    fn attach_disk(&mut self, domid: u32, disk: &DiskConfig) -> Result<(), Failure> {
        self.plug(CallName::AttachDisk, |world| world.disk_enter(domid, disk), |world| world.disk_connect(domid, disk))
    }

    fn detach_disk(&mut self, domid: u32, device: &str) -> Result<(), Failure> {
        self.begin(CallName::DetachDisk)?;
        let released = self.world.disk_release(domid, device);
        let waited = released.as_ref().is_err_and(|failure| failure.kind == FailureKind::GuestIgnored);
        self.elapsed_ms += if waited { LET_GO_MS } else { self.world.host.latency.call_ms };
        self.end(released)
    }

    fn set_medium(&mut self, domid: u32, cdrom: &Cdrom) -> Result<(), Failure> {
        self.begin(CallName::SetMedium)?;
        self.elapsed_ms += self.world.host.latency.call_ms;
        let changed = self.change_medium(domid, cdrom);
        if self.died { changed } else { self.end(changed) }
    }

    fn attach_nic(&mut self, domid: u32, nic: &NicConfig) -> Result<(), Failure> {
        self.plug(CallName::AttachNic, |world| world.nic_enter(domid, nic), |world| world.nic_connect(domid, nic))
    }

    fn detach_nic(&mut self, domid: u32, devid: u32) -> Result<(), Failure> {
        self.begin(CallName::DetachNic)?;
        let released = self.world.nic_release(domid, devid);
        self.elapsed_ms += released.as_ref().copied().unwrap_or_default().max(self.world.host.latency.call_ms);
        self.end(released.map(|_| ()))
    }

    fn rename_domain(&mut self, domid: u32, name: &str) -> Result<(), Failure> {
        self.call(CallName::RenameDomain, |world| world.domain_rename(domid, name))
    }

    fn mark_ready(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::MarkReady, |world| world.domain_mark_ready(domid))
    }

    fn stop_monitor(&mut self, domid: u32) -> Result<(), Failure> {
        self.call(CallName::StopMonitor, |world| world.monitor_stop(domid))
    }

    fn claim_domain(&mut self, domid: u32, mark: Mark) -> Result<(), Failure> {
        self.call(CallName::ClaimDomain, |world| world.domain_claim(domid, mark))
    }
}

fn worker_died() -> Failure {
    Failure::new(FailureKind::WorkerDied, "worker", "the worker was killed")
}
