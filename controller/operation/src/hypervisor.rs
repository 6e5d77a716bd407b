//! The calls that operations are made of.

use protocol::{
    Cdrom, CpuSet, Cpupool, DiskConfig, Domain, DomainConfig, Dump, Failure, ImageRef, ImageState, Mark, NicConfig,
    Sched,
};
use uuid::Uuid;

/// What tells one domain from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub domid: u32,
    /// Xen does not see to it that no two have the same.
    pub uuid: Uuid,
    /// Its name in xenstore.
    pub name: Option<String>,
    /// Being torn down.
    pub dying: bool,
}

/// A hypervisor with its xenstore, one call at a time.
///
/// libxl implements it in `pinfold-xen`; the simulator implements it in memory. Every method is one step as Xen sees it: the process
/// may die between any two calls, and inside [`Hypervisor::create_domain`] and [`Hypervisor::destroy_domain`], which are many steps to Xen.
pub trait Hypervisor {
    /// All cpupools, also those without a name.
    fn cpupools(&mut self) -> Result<Vec<Cpupool>, Failure>;

    /// pCPUs that are online and in no cpupool (`libxl_get_freecpus`).
    fn free_cpus(&mut self) -> Result<CpuSet, Failure>;

    /// All domains but dom0, dying ones included.
    fn domains(&mut self) -> Result<Vec<Domain>, Failure>;

    /// One of them; `None` when its number belongs to no domain. What it takes does not grow with the devices and vCPUs of the others.
    fn domain(&mut self, domid: u32) -> Result<Option<Domain>, Failure>;

    /// What tells all of them apart.
    fn identities(&mut self) -> Result<Vec<Identity>, Failure>;

    /// Hard affinity of each of dom0's vCPUs. They are always in Pool-0.
    fn dom0_affinity(&mut self) -> Result<Vec<CpuSet>, Failure>;

    /// Makes a cpupool without pCPUs and answers its number. Its uuid and name are written to xenstore after the hypercall: dying between the two leaves a pool without a name.
    fn create_cpupool(&mut self, uuid: Uuid, name: &str) -> Result<u32, Failure>;

    /// Adds a free pCPU.
    fn add_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure>;

    /// Removes a pCPU; it becomes free. Xen widens the hard affinity of any vCPU that this leaves with nothing to *all* pCPUs, silently; and refuses the last pCPU of a pool with live domains.
    fn remove_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure>;

    /// Gives a cpupool another name.
    fn rename_cpupool(&mut self, poolid: u32, name: &str) -> Result<(), Failure>;

    /// Destroys a cpupool; its pCPUs become free. Refused while it has domains, dying ones included.
    fn destroy_cpupool(&mut self, poolid: u32) -> Result<(), Failure>;

    /// Memory that a domain of this configuration will take, in KiB (`libxl_domain_need_memory`).
    fn need_memory(&mut self, config: &DomainConfig) -> Result<u64, Failure>;

    /// Memory that is free now, in KiB (`libxl_get_free_memory`).
    fn free_memory(&mut self) -> Result<u64, Failure>;

    /// Builds a domain, paused, marked, in its cpupool, with its masks. Fails without leaving a domain, unless the process dies in it.
    fn create_domain(&mut self, config: &DomainConfig, poolid: u32) -> Result<u32, Failure>;

    /// Destroys a domain. A dying domain may linger after it.
    fn destroy_domain(&mut self, domid: u32) -> Result<(), Failure>;

    /// Core dumps of all VMs, the oldest first; none that was only begun.
    fn dumps(&mut self) -> Result<Vec<Dump>, Failure>;

    /// Writes the memory of a domain that has ended to a dump of this VM and incarnation; what an earlier try left of it is thrown away. Refused
    /// when the disk has no room for it.
    fn dump_domain(&mut self, domid: u32, dump: Dump) -> Result<(), Failure>;

    /// Removes a dump.
    fn remove_dump(&mut self, dump: Dump) -> Result<(), Failure>;

    /// Pauses a domain. Pauses count: two need two unpauses.
    fn pause_domain(&mut self, domid: u32) -> Result<(), Failure>;

    /// Takes one pause away.
    fn unpause_domain(&mut self, domid: u32) -> Result<(), Failure>;

    /// Asks the guest to power off; fails with [`protocol::FailureKind::GuestIgnored`] when it does not acknowledge.
    fn shutdown_domain(&mut self, domid: u32) -> Result<(), Failure>;

    /// Presses the ACPI power button of an HVM domain (`libxl_send_trigger`, `LIBXL_TRIGGER_POWER`). Nobody learns whether the guest heard it.
    fn press_power_button(&mut self, domid: u32) -> Result<(), Failure>;

    /// What stands on disk where an image is looked for.
    fn image(&mut self, image: ImageRef) -> Result<ImageState, Failure>;

    /// Asks the guest to suspend, writes its memory into a new folder, synchronises it, and renames it into place (`libxl_domain_suspend`). The
    /// domain has then ended with `suspend`; when it fails, it may have, too. The space is looked for before the guest is asked.
    fn save_domain(&mut self, domid: u32, mark: Mark, image: ImageRef) -> Result<(), Failure>;

    /// Lets a domain go on that ended with `suspend` (`libxl_domain_resume`, cooperative).
    fn resume_domain(&mut self, domid: u32) -> Result<(), Failure>;

    /// Builds a domain from a whole image as [`Hypervisor::create_domain`] does from a kernel: paused, marked, in its cpupool, with its masks.
    fn restore_domain(&mut self, config: &DomainConfig, poolid: u32, image: ImageRef) -> Result<u32, Failure>;

    /// Marks an image used by an incarnation, synchronised.
    fn use_image(&mut self, image: ImageRef, by: Uuid) -> Result<(), Failure>;

    /// Removes an image and what was begun of it, or moves it aside when `keep`. That there is none is no failure.
    fn discard_image(&mut self, image: ImageRef, keep: bool) -> Result<(), Failure>;

    /// Moves a domain to another cpupool. Xen resets hard affinity to *all*, weight to 256 and cap to 0.
    fn move_domain(&mut self, domid: u32, poolid: u32) -> Result<(), Failure>;

    /// Sets the hard affinity of one vCPU. Refused when it has nothing in common with the pool's pCPUs.
    fn set_hard_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure>;

    /// Sets the soft affinity of one vCPU: a preference within its hard affinity, whatever it is.
    fn set_soft_affinity(&mut self, domid: u32, vcpu: u32, cpus: &CpuSet) -> Result<(), Failure>;

    /// Sets weight and cap.
    fn set_sched(&mut self, domid: u32, sched: Sched) -> Result<(), Failure>;

    /// Asks the guest to use this much memory and lowers its limit to it.
    fn set_memory_target(&mut self, domid: u32, memory_kib: u64) -> Result<(), Failure>;

    /// Asks the guest to use the first `online` vCPUs.
    fn set_vcpus_online(&mut self, domid: u32, online: u32) -> Result<(), Failure>;

    /// Attaches a disk: its entries in xenstore, then its hotplug script. Fails without leaving it, unless the process dies in it.
    fn attach_disk(&mut self, domid: u32, disk: &DiskConfig) -> Result<(), Failure>;

    /// Asks the guest to let go of a disk and takes it away then. A guest may keep it, as older Linux does while it is open: the call then
    /// fails after 10 s, and the request stands ([`protocol::DeviceState::Closing`]).
    fn detach_disk(&mut self, domid: u32, device: &str) -> Result<(), Failure>;

    /// Puts a medium into a CD-ROM drive, in place of what is in it, or ejects that (`libxl_cdrom_insert`). The guest cannot refuse.
    fn set_medium(&mut self, domid: u32, cdrom: &Cdrom) -> Result<(), Failure>;

    /// Attaches a NIC under its device number.
    fn attach_nic(&mut self, domid: u32, nic: &NicConfig) -> Result<(), Failure>;

    /// Asks the guest to let go of a NIC, and takes it away after 10 s at the latest.
    fn detach_nic(&mut self, domid: u32, devid: u32) -> Result<(), Failure>;

    /// Gives a domain another name.
    fn rename_domain(&mut self, domid: u32, name: &str) -> Result<(), Failure>;

    /// Writes `pinfold/ready` below the domain's xenstore home.
    fn mark_ready(&mut self, domid: u32) -> Result<(), Failure>;

    /// Ends the process of `xl` that watches a domain; the guest does not notice. Fails when another toolstack does, or when it is not certain which process it is.
    fn stop_monitor(&mut self, domid: u32) -> Result<(), Failure>;

    /// Marks a domain that exists as ours, and ready: all of it or, to whoever looks, nothing.
    fn claim_domain(&mut self, domid: u32, mark: Mark) -> Result<(), Failure>;
}
