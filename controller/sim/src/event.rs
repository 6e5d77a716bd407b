//! What happens to a host that no operation does: guests, other hands, faults.

use crate::description::{File, ForeignDomain, Guest};
use crate::fault::Fault;
use crate::world::{World, rc, refused};
use protocol::{CpuSet, DiskConfig, Failure, NicConfig, Sched, ShutdownReason};
use serde::{Deserialize, Serialize};

/// Something that happens to a host. Domains and cpupools are named as `xl` names them: by name, or a domain by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// A guest ends from inside.
    GuestEnds {
        /// The domain.
        domain: String,
        /// How.
        how: ShutdownReason,
    },
    /// Guests of this name behave so from now on.
    GuestBehaves {
        /// The name, or `*`.
        name: String,
        /// How.
        guest: Guest,
    },
    /// `xl vcpu-pin`.
    VcpuPin {
        /// The domain.
        domain: String,
        /// The vCPU; all of them when not given.
        #[serde(default)]
        vcpu: Option<u32>,
        /// pCPUs.
        hard: CpuSet,
    },
    /// `xl sched-credit2`.
    SchedSet {
        /// The domain.
        domain: String,
        /// Weight.
        weight: u16,
        /// Cap.
        #[serde(default)]
        cap: u16,
    },
    /// `xl mem-set`.
    MemSet {
        /// The domain.
        domain: String,
        /// KiB.
        memory_kib: u64,
    },
    /// `xl vcpu-set`.
    VcpuSet {
        /// The domain.
        domain: String,
        /// How many.
        online: u32,
    },
    /// `xl pause`.
    Pause {
        /// The domain.
        domain: String,
    },
    /// `xl unpause`.
    Unpause {
        /// The domain.
        domain: String,
    },
    /// `xl destroy`.
    Destroy {
        /// The domain.
        domain: String,
    },
    /// `xl shutdown`.
    Shutdown {
        /// The domain.
        domain: String,
    },
    /// `xl block-attach`.
    BlockAttach {
        /// The domain.
        domain: String,
        /// The device in the guest.
        device: String,
        /// The file.
        path: String,
    },
    /// `xl block-detach`.
    BlockDetach {
        /// The domain.
        domain: String,
        /// The device in the guest.
        device: String,
    },
    /// `xl cd-insert`, and without a path `xl cd-eject`.
    CdInsert {
        /// The domain.
        domain: String,
        /// The drive in the guest.
        device: String,
        /// The medium.
        #[serde(default)]
        path: Option<String>,
    },
    /// The QEMU of an HVM domain dies under it.
    DeviceModelDies {
        /// The domain.
        domain: String,
    },
    /// `xl network-attach`.
    NetworkAttach {
        /// The domain.
        domain: String,
        /// The address.
        mac: String,
        /// The bridge.
        bridge: String,
    },
    /// `xl network-detach`.
    NetworkDetach {
        /// The domain.
        domain: String,
        /// The device number.
        devid: u32,
    },
    /// `xl rename`.
    Rename {
        /// The domain.
        domain: String,
        /// Its new name.
        name: String,
    },
    /// `xl save` and `xl restore`: another domain goes on, with the mark of the first, which libxl keeps in the file.
    SaveAndRestore {
        /// The domain.
        domain: String,
    },
    /// `xl create`.
    Create {
        /// The domain.
        domain: Box<ForeignDomain>,
        /// Its name was compared before another domain had written the same one: both have it.
        #[serde(default)]
        raced: bool,
    },
    /// `xl cpupool-migrate`.
    CpupoolMigrate {
        /// The domain.
        domain: String,
        /// The cpupool.
        cpupool: String,
    },
    /// `xl cpupool-create`.
    CpupoolCreate {
        /// Its name.
        name: String,
        /// Its pCPUs, which must be free or in Pool-0.
        cpus: CpuSet,
    },
    /// `xl cpupool-create` that dies before it writes the name.
    CpupoolCreateDies,
    /// `xl cpupool-destroy`.
    CpupoolDestroy {
        /// The cpupool.
        cpupool: String,
    },
    /// `xl cpupool-rename`.
    CpupoolRename {
        /// The cpupool.
        cpupool: String,
        /// Its new name.
        name: String,
    },
    /// `xl cpupool-cpu-add`.
    CpupoolCpuAdd {
        /// The cpupool.
        cpupool: String,
        /// The pCPUs.
        cpus: CpuSet,
    },
    /// `xl cpupool-cpu-remove`.
    CpupoolCpuRemove {
        /// The cpupool.
        cpupool: String,
        /// The pCPUs.
        cpus: CpuSet,
    },
    /// The next removals of a pCPU get stuck in Xen: it is in no cpupool and not free until the removal is tried again.
    RemovalsStick {
        /// How many.
        times: u32,
    },
    /// dom0's wall clock is set: forwards, or with a negative number back. Nothing else changes, and a boot does not take it back.
    ClockSet {
        /// Seconds.
        by: i64,
    },
    /// Something is put at a path in dom0, or taken away.
    File {
        /// The path.
        path: String,
        /// What stands there; nothing when not given.
        #[serde(default)]
        file: Option<File>,
    },
    /// A bridge appears in dom0.
    BridgeAdded {
        /// Its name.
        bridge: String,
    },
    /// A bridge goes.
    BridgeRemoved {
        /// Its name.
        bridge: String,
    },
    /// xenconsoled dies.
    XenconsoledLost,
    /// xenconsoled is started again.
    XenconsoledBack,
    /// xenstored dies, and with it everything that is known about domains. Only a boot of the host mends it.
    XenstoredLost,
    /// The host is rebooted in order. Guests were stopped by whoever rebooted it.
    HostReboot,
    /// The host loses power and boots again.
    PowerLoss,
    /// All images of memory lose their last bytes.
    ImagesTorn,
    /// What the next operation meets; a call that fails, the next one that makes such a call.
    NextOperation(Fault),
}

impl World {
    /// Lets an event happen now.
    ///
    /// # Errors
    /// When Xen or `xl` would refuse it; nothing has changed then, except that the other pCPUs of a list have moved.
    pub fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::HostReboot | Event::PowerLoss => self.reboot(),
            Event::XenstoredLost => {
                self.xenstored = false;
                Ok(())
            }
            Event::XenconsoledLost | Event::XenconsoledBack => {
                self.xenconsoled = *event == Event::XenconsoledBack;
                Ok(())
            }
            Event::GuestBehaves { name, guest } => {
                self.host.guests.insert(name.clone(), guest.clone());
                Ok(())
            }
            Event::ClockSet { .. } | Event::File { .. } | Event::BridgeAdded { .. } | Event::BridgeRemoved { .. } => {
                self.apply_to_dom0(event);
                Ok(())
            }
            Event::RemovalsStick { times } => {
                self.stuck_removals = *times;
                Ok(())
            }
            Event::ImagesTorn => {
                self.images.values_mut().for_each(|image| image.torn = Some("it ends early".to_owned()));
                Ok(())
            }
            Event::NextOperation(fault) => {
                self.next_fault = Some(fault.clone());
                Ok(())
            }
            Event::GuestEnds { domain, how } => {
                let domid = self.domid_of(domain)?;
                if !self.domain("guest", domid)?.is_runnable() {
                    return Err(refused("guest", rc::FAIL, None, format!("domain {domid} does not run")));
                }
                self.end_guest(domid, *how);
                Ok(())
            }
            Event::CpupoolCreate { .. }
            | Event::CpupoolCreateDies
            | Event::CpupoolDestroy { .. }
            | Event::CpupoolRename { .. }
            | Event::CpupoolCpuAdd { .. }
            | Event::CpupoolCpuRemove { .. } => {
                self.check_xenstore()?;
                self.apply_to_cpupool(event)
            }
            _ => {
                self.check_xenstore()?;
                self.apply_to_domain(event)
            }
        }
    }

    fn apply_to_dom0(&mut self, event: &Event) {
        match event {
            Event::File { path, file: Some(file) } => {
                self.host.files.insert(path.clone(), file.clone());
            }
            Event::File { path, file: None } => {
                self.host.files.remove(path);
            }
            Event::ClockSet { by } => self.clock_skew_s = self.clock_skew_s.saturating_add(*by),
            Event::BridgeAdded { bridge } => {
                self.host.bridges.insert(bridge.clone());
            }
            Event::BridgeRemoved { bridge } => {
                self.host.bridges.remove(bridge);
            }
            _ => {}
        }
    }

    fn apply_to_cpupool(&mut self, event: &Event) -> Result<(), Failure> {
        const XL: &str = "xl";
        match event {
            Event::CpupoolCreate { name, cpus } => self.make_foreign_pool(name, cpus).map(|_| ()),
            Event::CpupoolCreateDies => {
                self.pool_create(false);
                Ok(())
            }
            Event::CpupoolDestroy { cpupool } => self.pool_destroy(self.pool_named(XL, cpupool)?),
            Event::CpupoolRename { cpupool, name } => self.pool_rename(self.pool_named(XL, cpupool)?, name),
            Event::CpupoolCpuAdd { cpupool, cpus } => {
                let poolid = self.pool_named(XL, cpupool)?;
                first_refusal(cpus.iter().map(|cpu| self.pool_add_cpu(poolid, cpu)))
            }
            Event::CpupoolCpuRemove { cpupool, cpus } => {
                let poolid = self.pool_named(XL, cpupool)?;
                first_refusal(cpus.iter().map(|cpu| self.pool_remove_cpu(poolid, cpu)))
            }
            _ => Ok(()),
        }
    }

    fn apply_to_domain(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::VcpuPin { domain, vcpu, hard } => {
                let domid = self.domid_of(domain)?;
                let count = u32::try_from(self.domain("xl", domid)?.vcpus.len()).unwrap_or(u32::MAX);
                let vcpus = vcpu.map_or(0..count, |vcpu| vcpu..vcpu + 1);
                vcpus.into_iter().try_for_each(|vcpu| self.vcpu_set_hard(domid, vcpu, hard))
            }
            Event::SchedSet { domain, weight, cap } => {
                self.domain_set_sched(self.domid_of(domain)?, Sched { weight: *weight, cap: *cap })
            }
            Event::MemSet { domain, memory_kib } => self.domain_set_memory(self.domid_of(domain)?, *memory_kib),
            Event::VcpuSet { domain, online } => self.domain_set_vcpus(self.domid_of(domain)?, *online),
            Event::Pause { domain } => self.domain_pause(self.domid_of(domain)?),
            Event::Unpause { domain } => self.domain_unpause(self.domid_of(domain)?),
            Event::Destroy { domain } => self.domain_destroy(self.domid_of(domain)?),
            Event::Shutdown { domain } => self.domain_shutdown(self.domid_of(domain)?).map(|_| ()),
            Event::Rename { domain, name } => self.domain_rename(self.domid_of(domain)?, name),
            Event::SaveAndRestore { domain } => self.saved_and_restored(self.domid_of(domain)?),
            Event::BlockAttach { domain, device, path } => {
                let disk = DiskConfig { target: device.clone(), path: path.clone(), read_only: false };
                let domid = self.domid_of(domain)?;
                self.disk_enter(domid, &disk)?;
                self.disk_connect(domid, &disk)
            }
            Event::BlockDetach { domain, device } => self.disk_release(self.domid_of(domain)?, device),
            Event::CdInsert { domain, device, path } => {
                let domid = self.domid_of(domain)?;
                self.eject(domid, device)?;
                self.insert(domid, device, path.as_deref())
            }
            Event::DeviceModelDies { domain } => self.lose_device_model(self.domid_of(domain)?),
            Event::NetworkAttach { domain, mac, bridge } => {
                let nic = NicConfig { mac: mac.clone(), bridge: bridge.clone(), devid: None };
                let domid = self.domid_of(domain)?;
                self.nic_enter(domid, &nic)?;
                self.nic_connect(domid, &nic)
            }
            Event::NetworkDetach { domain, devid } => self.nic_release(self.domid_of(domain)?, *devid).map(|_| ()),
            Event::Create { domain, raced } => {
                if !raced {
                    self.check_name("libxl_domain_create_new", 0, &domain.name)?;
                }
                self.make_foreign_domain(domain).map(|_| ())
            }
            Event::CpupoolMigrate { domain, cpupool } => {
                self.domain_move(self.domid_of(domain)?, self.pool_named("xl", cpupool)?)
            }
            _ => Ok(()),
        }
    }

    /// A domain by name, or by number.
    fn domid_of(&self, domain: &str) -> Result<u32, Failure> {
        let named = self.domains().find(|(_, found)| found.name() == Some(domain)).map(|(domid, _)| domid);
        let numbered = || domain.parse().ok().filter(|domid| self.domains.contains_key(domid));
        named.or_else(numbered).ok_or_else(|| refused("xl", rc::INVAL, None, format!("there is no domain {domain}")))
    }
}

/// All of them are tried, as by `libxl_cpupool_cpuadd_cpumap`.
fn first_refusal(results: impl Iterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let tried: Vec<Result<(), Failure>> = results.collect();
    tried.into_iter().collect()
}
