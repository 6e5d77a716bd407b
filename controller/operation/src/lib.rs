//! What one operation does to a hypervisor, call by call.
//!
//! [`run`] carries out one [`Request`] on a [`Hypervisor`]. `pinfold-xen` runs it on libxl, the simulator runs the very same code in
//! memory, so that a kill between any two calls, and the law of cores after every call, are tested on the code that changes real hosts.
//!
//! Invariants:
//! - The premises of a request are read again before its first change; when one does not hold, nothing is changed and the failure is
//!   [`protocol::FailureKind::Stale`]. Steps that an earlier run has done count as done: every request may be run again.
//! - After every call, each runnable vCPU of a domain in a cpupool of ours has an effective mask (hard affinity ∩ cpupool) within the
//!   cpupool as it was before the operation, or as it is after it.
//! - Nothing is unpaused whose cpupool, masks and scheduler parameters were not read back as asked.

mod claim;
mod cpupool;
mod create;
mod devices;
mod domain;
mod dump;
mod hypervisor;
mod placement;
mod shape;
mod suspend;
mod view;

pub use hypervisor::{Hypervisor, Identity};
use protocol::{Done, Failure, Request};

/// Carries out one request. The caller holds [`Request::locks`].
///
/// # Errors
/// [`protocol::FailureKind::Stale`] when a premise does not hold, [`protocol::FailureKind::ReadBack`] when the hypervisor did not keep what it
/// was told, and whatever a call answers.
pub fn run(hypervisor: &mut dyn Hypervisor, request: &Request) -> Result<Done, Failure> {
    match request {
        Request::ShapeCpupool(shape) => shape::run(hypervisor, shape),
        Request::RenameCpupool { uuid, name } => cpupool::rename(hypervisor, *uuid, name),
        Request::DestroyCpupool { uuid } => cpupool::destroy(hypervisor, *uuid),
        Request::FeedPool0 { cpus } => cpupool::feed_pool0(hypervisor, cpus),
        Request::CreateDomain(config) => create::run(hypervisor, config),
        Request::ShutdownDomain { target } => domain::shutdown(hypervisor, *target),
        Request::PressPowerButton { target } => domain::press_power_button(hypervisor, *target),
        Request::DestroyDomain { target } => domain::destroy(hypervisor, *target),
        Request::DumpDomain { target, keep, quota_kib } => dump::run(hypervisor, *target, *keep, *quota_kib),
        Request::PauseDomain { target } => domain::pause(hypervisor, *target),
        Request::UnpauseDomain { target, placement } => domain::unpause(hypervisor, *target, placement),
        Request::SaveDomain { target, image } => suspend::save(hypervisor, *target, *image),
        Request::ResumeDomain { target, image, placement } => suspend::resume(hypervisor, *target, *image, placement),
        Request::RestoreDomain { config, image } => suspend::restore(hypervisor, config, *image),
        Request::DiscardImage { image, unused } => suspend::discard(hypervisor, *image, *unused),
        Request::MoveDomain { target, placement } => placement::move_domain(hypervisor, *target, placement),
        Request::SetAffinity { target, hard, soft } => {
            placement::set_affinity(hypervisor, *target, hard, soft.as_ref())
        }
        Request::SetSched { target, sched } => placement::set_sched(hypervisor, *target, *sched),
        Request::SetMemory { target, memory_kib } => domain::set_memory(hypervisor, *target, *memory_kib),
        Request::SetVcpus { target, online } => domain::set_vcpus(hypervisor, *target, *online),
        Request::AttachDisk { target, disk } => devices::attach_disk(hypervisor, *target, disk),
        Request::DetachDisk { target, device } => devices::detach_disk(hypervisor, *target, device),
        Request::SetMedium { target, cdrom } => devices::set_medium(hypervisor, *target, cdrom),
        Request::AttachNic { target, nic } => devices::attach_nic(hypervisor, *target, nic),
        Request::DetachNic { target, devid } => devices::detach_nic(hypervisor, *target, *devid),
        Request::RenameDomain { target, name } => domain::rename(hypervisor, *target, name),
        Request::ClaimDomain { target, mark } => claim::run(hypervisor, *target, *mark),
    }
}
