//! What [`super::findings`] judges, and how it is read: by the command itself, so that it needs no daemon.

use crate::cli::Backend;
use crate::config::{Config, ConfigError, Group};
use crate::daemon;
use crate::reconcile::wake;
use host::store::RealDisk;
use host::{Dom0Health, Interest, Place, Store};
use jiff::Timestamp;
use planner::toolstacks::Reach;
use protocol::{Firmware, Hypervisor, Reading};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All that is known of a host.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the command runs as root: otherwise much cannot be looked at.
    pub is_root: bool,
    /// What time it is.
    pub now: Timestamp,
    /// The daemon's configuration, or why it cannot be used.
    pub config: Result<ConfigFacts, String>,
    /// dom0's files.
    pub dom0: Dom0Health,
    /// What Xen says.
    pub xen: Reading<XenFacts>,
}

/// What of the daemon's configuration can be wrong on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFacts {
    /// The state directory.
    pub state: PathBuf,
    /// The folder of the VMs' folders.
    pub storage: PathBuf,
    /// Groups that it names.
    pub groups: Vec<String>,
    /// The sockets that are there, with their modes.
    pub sockets: Vec<(PathBuf, u32)>,
}

/// What of Xen's answer matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XenFacts {
    /// What HVM and PVH guests need.
    pub hvm: HvmHealth,
    /// pCPUs that Xen uses.
    pub pcpus: usize,
    /// dom0's vCPUs.
    pub dom0_vcpus: u32,
    /// KiB that dom0 has.
    pub dom0_kib: u64,
    /// Whether dom0's memory has a limit.
    pub dom0_is_limited: bool,
}

/// What HVM guests need, as far as VMs of this host need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HvmHealth {
    /// Whether HVM and PVH guests can be built.
    pub can_be_built: bool,
    /// VMs of this host are HVM, and dom0 has no QEMU for them.
    pub lacks_qemu: bool,
    /// VMs of this host have UEFI, and the OVMF of dom0 does not say that it was built for Xen.
    pub doubtful_uefi: bool,
}

impl Facts {
    /// Looks at this host. Changes nothing on it.
    pub fn read(config: &Path) -> Self {
        let read = Config::read(config);
        let assumed = read.as_ref().map_or_else(|_| Config::assumed(), Clone::clone);
        let config = match &read {
            Ok(config) => Ok(ConfigFacts::of(config)),
            Err(error @ ConfigError::Read { source, .. }) => Err(format!("{error}: {source}")),
            Err(error) => Err(error.to_string()),
        };
        Self {
            is_root: rustix::process::geteuid().is_root(),
            now: Timestamp::now(),
            config,
            dom0: dom0(&assumed),
            xen: xen(&assumed),
        }
    }
}

impl ConfigFacts {
    fn of(config: &Config) -> Self {
        let groups = [&config.read_group, &config.admin_group].into_iter().flatten();
        let named = groups.filter_map(|group| match group {
            Group::Name(name) => Some(name.clone()),
            Group::Id(_) => None,
        });
        let sockets = [config.socket.clone(), config.admin_socket()];
        let modes = sockets.into_iter().filter_map(|path| {
            let mode = std::fs::metadata(&path).ok()?.permissions().mode() & 0o777;
            Some((path, mode))
        });
        Self {
            state: config.state.clone(),
            storage: config.storage(),
            groups: named.collect(),
            sockets: modes.collect(),
        }
    }
}

/// dom0, with the toolstacks that would touch VMs of ours. Which these are, the records say; where they cannot be read, all count.
fn dom0(config: &Config) -> Dom0Health {
    let mut dom0 = Dom0Health::look(Path::new("/"));
    if let Reading::Known(records) = store(config).records() {
        let is_ours = |uuid: &uuid::Uuid| records.vms.contains_key(uuid);
        dom0.toolstacks.retain(|other| match &other.reach {
            Reach::AllDomains => true,
            Reach::Domains(known) => known.iter().any(is_ours),
        });
    }
    dom0
}

/// Whether a VM is of type `hvm`, as the records say.
/// The firmware of each of this host's HVM VMs.
fn firmware(config: &Config) -> Vec<Firmware> {
    let records = store(config).records();
    let vms = records.known().into_iter().flat_map(|records| records.vms.values()).filter_map(Reading::known);
    vms.filter_map(|record| record.wanted.hvm.as_ref()).map(|hvm| hvm.firmware).collect()
}

fn hvm(hypervisor: &Hypervisor, needed: &[Firmware]) -> HvmHealth {
    let parts = hypervisor.hvm_parts;
    HvmHealth {
        can_be_built: hypervisor.hvm,
        lacks_qemu: !needed.is_empty() && parts.is_some_and(|parts| !parts.device_model),
        doubtful_uefi: needed.contains(&Firmware::Uefi) && parts.is_some_and(|parts| parts.uefi_for_xen == Some(false)),
    }
}

fn store(config: &Config) -> Arc<Store> {
    let place = Place { host: config.host.clone(), state: config.state.clone(), storage: config.storage() };
    Arc::new(Store::open(place, Arc::new(RealDisk)))
}

/// Asks Xen through the worker, as the daemon does, and like it without changing anything.
fn xen(config: &Config) -> Reading<XenFacts> {
    let (waker, _woken) = wake();
    let mut host = match daemon::host(config, &Backend::Xen, store(config), &waker) {
        Ok(host) => host,
        Err(error) => return Reading::unknown("XenUnreadable", error.to_string()),
    };
    match host.observe(&Interest::default()).xen {
        Reading::Unknown(cause) => Reading::Unknown(cause),
        Reading::Known(observed) => Reading::Known(XenFacts {
            hvm: hvm(&observed.hypervisor, &firmware(config)),
            pcpus: observed.hypervisor.pcpus.iter().filter(|pcpu| pcpu.online).count(),
            dom0_vcpus: observed.hypervisor.dom0.vcpus,
            dom0_kib: observed.hypervisor.dom0.memory_kib,
            dom0_is_limited: observed.hypervisor.dom0.memory_max_kib.is_some(),
        }),
    }
}
