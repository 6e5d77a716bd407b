//! Xen through libxl, as operations see it.

use crate::config::{cdrom_json, disk_json, nic_json, not_understood, to_libxl};
use crate::device_model;
use crate::dump::Dumps;
use crate::image::Images;
use crate::libxl::{
    Bitmap, Control, Device, DomainConfig as LibxlConfig, Libxl, List, Physinfo, Store, c_text, create_cpupool, domain,
    suspend,
};
use crate::{monitor, observe};
use operation::{Hypervisor, Identity};
use protocol::{
    Cdrom, CpuSet, Cpupool, DiskConfig, Domain, DomainConfig, Dump, Failure, FailureKind, IMAGE_VERSION, ImageRef,
    ImageState, Mark, NicConfig, SavedImage, Sched,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A connection to Xen and its xenstore. The order of the fields is the order in which they are closed.
pub(crate) struct Xen {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) libxl: Libxl,
    images: Images,
    dumps: Dumps,
    /// How each domain was made, by domid.
    pub(crate) origins: RefCell<BTreeMap<u32, observe::Origin>>,
}

impl Xen {
    /// Connects. `storage` is the folder of the VMs' folders; who only looks at Xen needs none.
    pub(crate) fn open(storage: &str) -> Result<Self, Failure> {
        let store = Store::open()?;
        let libxl = Libxl::open()?;
        let (images, dumps) = (Images::below(storage), Dumps::below(storage));
        Ok(Self { control: Control::open(&libxl)?, store, libxl, images, dumps, origins: RefCell::default() })
    }

    /// Puts a medium into a drive, or ejects what is in it.
    fn insert(&self, domid: u32, cdrom: &Cdrom) -> Result<(), Failure> {
        let written = cdrom_json(cdrom);
        let mut device = Device::disk(&self.libxl, &written.to_string())?;
        check_understood("libxl_device_disk_to_json", &written, &device.understood(&self.libxl)?)?;
        device.insert(&self.libxl, domid)
    }

    /// Ejects the blank media that the empty drives of a domain began with. It has not run yet, and goes when that fails.
    fn empty_drives(&self, config: &DomainConfig, domid: u32) -> Result<u32, Failure> {
        let drives = config.hvm.iter().flat_map(|hvm| &hvm.cdroms).filter(|drive| drive.medium.is_none());
        for drive in drives {
            if let Err(failure) = self.insert(domid, drive) {
                // The first failure is the one to tell; a domain that stays is not `ready`, and is cleared away as wreckage.
                let _ = self.libxl.domain_destroy(domid);
                return Err(failure);
            }
        }
        Ok(domid)
    }

    /// A configuration that libxl has understood whole.
    fn libxl_config(&self, config: &DomainConfig, poolid: u32) -> Result<LibxlConfig, Failure> {
        let written = to_libxl(config, poolid);
        let mut libxl_config = LibxlConfig::from_json(&self.libxl, &written.to_string())?;
        let read_back = libxl_config.understood(&self.libxl)?;
        check_understood("libxl_domain_config_to_json", &written, &read_back)?;
        Ok(libxl_config)
    }
}

/// Refuses what libxl did not take whole: it ignores members that it does not know, without a word.
fn check_understood(call: &str, written: &serde_json::Value, read_back: &str) -> Result<(), Failure> {
    let read_back = serde_json::from_str(read_back)
        .map_err(|error| Failure::new(FailureKind::ReadBack, call, format!("libxl's JSON cannot be read: {error}")))?;
    let missing = not_understood(written, &read_back);
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this libxl did not take {} from the configuration; pinfold-xen was built for Xen {}, install the build for the Xen that runs",
        missing.join(", "),
        libxl_sys::XEN_MINOR
    );
    Err(Failure::new(FailureKind::ReadBack, call, message))
}

impl Hypervisor for Xen {
    fn cpupools(&mut self) -> Result<Vec<Cpupool>, Failure> {
        observe::cpupools(self)
    }

    fn free_cpus(&mut self) -> Result<CpuSet, Failure> {
        self.libxl.free_cpus()
    }

    fn domains(&mut self) -> Result<Vec<Domain>, Failure> {
        observe::domains(self)
    }

    fn domain(&mut self, domid: u32) -> Result<Option<Domain>, Failure> {
        observe::domain(self, domid)
    }

    fn identities(&mut self) -> Result<Vec<Identity>, Failure> {
        observe::identities(self)
    }

    fn dom0_affinity(&mut self) -> Result<Vec<CpuSet>, Failure> {
        Ok(List::vcpus(&self.libxl, 0)?.readings().map(|(_, _, hard, _)| hard).collect())
    }

    fn create_cpupool(&mut self, uuid: Uuid, name: &str) -> Result<u32, Failure> {
        let poolid = create_cpupool(&self.libxl, uuid, name)?;
        // libxl answers success also when it could not write the name (libxl_cpupool_create ends its loop on any error but EAGAIN).
        match self.store.read(&format!("/local/pool/{poolid}/uuid")) {
            Ok(Some(written)) if written.parse() == Ok(uuid) => Ok(poolid),
            read => {
                // Without an identity nobody could find it again. It has no pCPUs and no domains: nothing is lost.
                self.libxl.cpupool_destroy(poolid).ok();
                read?;
                let message =
                    "libxl made the cpupool but did not write its uuid to xenstore; the cpupool was destroyed again";
                Err(Failure::new(FailureKind::ReadBack, "libxl_cpupool_create", message))
            }
        }
    }

    fn add_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        self.libxl.cpupool_cpuadd(poolid, cpu)
    }

    fn remove_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        self.libxl.cpupool_cpuremove(poolid, cpu)
    }

    fn rename_cpupool(&mut self, poolid: u32, name: &str) -> Result<(), Failure> {
        let name = c_text("libxl_cpupool_rename", name)?;
        self.libxl.cpupool_rename(poolid, &name)
    }

    fn destroy_cpupool(&mut self, poolid: u32) -> Result<(), Failure> {
        self.libxl.cpupool_destroy(poolid)
    }

    fn need_memory(&mut self, config: &DomainConfig) -> Result<u64, Failure> {
        // libxl fills its defaults into the configuration that it measures, so this one is not used for anything else.
        domain::need_memory(&self.libxl, self.libxl_config(config, 0)?)
    }

    fn free_memory(&mut self) -> Result<u64, Failure> {
        Ok(observe::free_memory_kib(&Physinfo::read(&self.libxl)?))
    }

    fn create_domain(&mut self, config: &DomainConfig, poolid: u32) -> Result<u32, Failure> {
        device_model::prepare(config)?;
        let domid = domain::create(&self.libxl, self.libxl_config(config, poolid)?)?;
        self.empty_drives(config, domid)
    }

    fn destroy_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.domain_destroy(domid)
    }

    fn dumps(&mut self) -> Result<Vec<Dump>, Failure> {
        self.dumps.list()
    }

    fn dump_domain(&mut self, domid: u32, dump: Dump) -> Result<(), Failure> {
        let file = self.dumps.begin(dump)?;
        self.libxl.domain_core_dump(domid, &c_text("libxl_domain_core_dump", &file.to_string_lossy())?)?;
        self.dumps.finish(dump)
    }

    fn remove_dump(&mut self, dump: Dump) -> Result<(), Failure> {
        self.dumps.remove(dump)
    }

    fn pause_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.domain_pause(domid)
    }

    fn unpause_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.domain_unpause(domid)
    }

    fn shutdown_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.domain_shutdown(domid)
    }

    fn press_power_button(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.press_power_button(domid)
    }

    fn image(&mut self, image: ImageRef) -> Result<ImageState, Failure> {
        self.images.state(image)
    }

    fn save_domain(&mut self, domid: u32, mark: Mark, image: ImageRef) -> Result<(), Failure> {
        let memory_kib =
            List::domains(&self.libxl)?.iter().find(|info| info.domid == domid).map(|info| info.current_memkb);
        let begun = self.images.begin(image, memory_kib.unwrap_or(0))?;
        self.libxl.domain_suspend(domid, &begun.memory)?;
        let saved = SavedImage {
            version: IMAGE_VERSION,
            image: image.image,
            mark,
            xen: self.libxl.version()?,
            worker: env!("CARGO_PKG_VERSION").to_owned(),
            bytes: 0,
        };
        self.images.finish(image, begun, &saved)
    }

    fn resume_domain(&mut self, domid: u32) -> Result<(), Failure> {
        self.libxl.domain_resume(domid)
    }

    fn restore_domain(&mut self, config: &DomainConfig, poolid: u32, image: ImageRef) -> Result<u32, Failure> {
        device_model::prepare(config)?;
        let memory = self.images.open(image)?;
        let domid = suspend::restore(&self.libxl, self.libxl_config(config, poolid)?, &memory)?;
        self.empty_drives(config, domid)
    }

    fn use_image(&mut self, image: ImageRef, by: Uuid) -> Result<(), Failure> {
        self.images.mark_used(image, by)
    }

    fn discard_image(&mut self, image: ImageRef, keep: bool) -> Result<(), Failure> {
        self.images.discard(image, keep)
    }

    fn move_domain(&mut self, domid: u32, poolid: u32) -> Result<(), Failure> {
        self.libxl.cpupool_movedomain(poolid, domid)
    }

    fn set_hard_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        let mut map = Bitmap::of_pcpus(&self.libxl, cpus)?;
        self.libxl.set_hard_affinity(domid, vcpu, &mut map)
    }

    fn set_soft_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure> {
        let mut map = Bitmap::of_pcpus(&self.libxl, cpus)?;
        self.libxl.set_soft_affinity(domid, vcpu, &mut map)
    }

    fn set_sched(&mut self, domid: u32, sched: Sched) -> Result<(), Failure> {
        self.libxl.set_sched(domid, sched)
    }

    fn set_memory_target(&mut self, domid: u32, memory_kib: u64) -> Result<(), Failure> {
        self.libxl.set_memory_target(domid, memory_kib)
    }

    fn set_vcpus_online(&mut self, domid: u32, online: u32) -> Result<(), Failure> {
        let mut map = Bitmap::of_vcpus(&self.libxl, &CpuSet::first(online))?;
        self.libxl.set_vcpus_online(domid, &mut map)
    }

    fn attach_disk(&mut self, domid: u32, disk: &DiskConfig) -> Result<(), Failure> {
        let written = disk_json(disk);
        let mut device = Device::disk(&self.libxl, &written.to_string())?;
        check_understood("libxl_device_disk_to_json", &written, &device.understood(&self.libxl)?)?;
        device.add(&self.libxl, domid)
    }

    fn detach_disk(&mut self, domid: u32, device: &str) -> Result<(), Failure> {
        Device::disk_of(&self.libxl, domid, device)?.safe_remove(&self.libxl, domid)
    }

    fn set_medium(&mut self, domid: u32, cdrom: &Cdrom) -> Result<(), Failure> {
        self.insert(domid, cdrom)
    }

    fn attach_nic(&mut self, domid: u32, nic: &NicConfig) -> Result<(), Failure> {
        let written = nic_json(nic, nic.devid.unwrap_or_default());
        let mut device = Device::nic(&self.libxl, &written.to_string())?;
        check_understood("libxl_device_nic_to_json", &written, &device.understood(&self.libxl)?)?;
        device.add(&self.libxl, domid)
    }

    fn detach_nic(&mut self, domid: u32, devid: u32) -> Result<(), Failure> {
        Device::nic_of(&self.libxl, domid, devid)?.remove(&self.libxl, domid)
    }

    fn rename_domain(&mut self, domid: u32, name: &str) -> Result<(), Failure> {
        let name = c_text("libxl_domain_rename", name)?;
        self.libxl.domain_rename(domid, &name)
    }

    fn mark_ready(&mut self, domid: u32) -> Result<(), Failure> {
        let mark = format!("/local/domain/{domid}/pinfold");
        // xenstore would make the parents of a domain that is gone.
        if self.store.read(&format!("{mark}/uuid"))?.is_none() {
            let message = format!("domain {domid} has no mark of pinfold in xenstore; observe it again");
            return Err(Failure::new(FailureKind::Stale, "xs_write", message));
        }
        self.store.write(&format!("{mark}/ready"), "1")
    }

    fn stop_monitor(&mut self, domid: u32) -> Result<(), Failure> {
        let domains = observe::identities(self)?;
        let stale = |message| Failure::new(FailureKind::Stale, "stop-monitor", message);
        let domain = domains.iter().find(|domain| domain.domid == domid);
        let domain = domain.ok_or_else(|| stale(format!("there is no domain {domid}")))?;
        if observe::is_libvirts(domid, domain.uuid) {
            return Err(stale(format!("libvirt looks after domain {domid}; undefine it there first")));
        }
        let Some(name) = &domain.name else { return Err(stale(format!("domain {domid} has no name"))) };
        monitor::stop(name, &domains.iter().filter_map(|domain| domain.name.clone()).collect())
    }

    fn claim_domain(&mut self, domid: u32, mark: Mark) -> Result<(), Failure> {
        let home = format!("/local/domain/{domid}");
        // xenstore would make the parents of a domain that is gone.
        if self.store.read(&format!("{home}/name"))?.is_none() {
            let message = format!("domain {domid} is not in xenstore; observe it again");
            return Err(Failure::new(FailureKind::Stale, "xs_write", message));
        }
        let mut nodes = [
            ("ready", "1".to_owned()),
            ("incarnation", mark.incarnation.to_string()),
            ("pool", mark.pool_id.to_string()),
            ("uuid", mark.uuid.to_string()),
        ];
        // A mark counts when all of it is there, so `ready` stands before: whoever looks sees both or neither. Where one is there already, it counts
        // for nothing until `ready` is, which then comes last.
        if self.store.read(&format!("{home}/pinfold/uuid"))?.is_some() {
            nodes.rotate_left(1);
        }
        nodes.iter().try_for_each(|(node, text)| self.store.write(&format!("{home}/pinfold/{node}"), text))
    }
}
