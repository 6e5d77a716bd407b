//! A core dump of a guest that crashed, under its VM's number and its host's quota.
//!
//! The new one is whole before an old one goes, so that the room of one dump is used beyond both for a moment. Whoever dies in between has a
//! dump too many: the next run removes it.

use crate::Hypervisor;
use crate::view::{live_target, name_of, stale};
use protocol::{DomainState, Done, Dump, Failure, FailureKind, ShutdownReason, Target};

const OPERATION: &str = "dump-domain";
/// What a dump takes beyond the guest's pages: ELF headers, the vCPUs' state, and 16 bytes for each page (xc_core.c). KiB.
const HEADERS_KIB: u64 = 1024;
/// One of so many KiB goes to the table of pages.
const TABLE: u64 = 256;

pub(crate) fn run(hypervisor: &mut dyn Hypervisor, target: Target, keep: u32, quota_kib: u64) -> Result<Done, Failure> {
    let domain = live_target(hypervisor, OPERATION, target)?;
    let Some(mark) = domain.mark.filter(|mark| mark.uuid == target.uuid) else {
        return Err(stale(OPERATION, format!("{} bears no mark of ours", name_of(&domain))));
    };
    if !matches!(domain.state, DomainState::Shutdown(ShutdownReason::Crash | ShutdownReason::Watchdog)) {
        return Err(stale(OPERATION, format!("{} has not crashed", name_of(&domain))));
    }
    let pages = domain.memory.current_kib;
    let dump = Dump { vm: target.uuid, incarnation: mark.incarnation, kib: pages + pages / TABLE + HEADERS_KIB };
    let dumps = hypervisor.dumps()?;
    let is_this = |other: &Dump| other.vm == dump.vm && other.incarnation == dump.incarnation;
    let (this, others): (Vec<Dump>, Vec<Dump>) = dumps.into_iter().partition(is_this);
    let size = this.first().map_or(dump.kib, |whole| whole.kib);
    let old = too_many(&others, Dump { kib: size, ..dump }, keep, quota_kib)?;
    if this.is_empty() {
        hypervisor.dump_domain(target.domid, dump)?;
    }
    for dump in old {
        hypervisor.remove_dump(dump)?;
    }
    Ok(Done::default())
}

/// The oldest dumps of the VM, which go for this one. What other VMs have stays.
fn too_many(others: &[Dump], dump: Dump, keep: u32, quota_kib: u64) -> Result<Vec<Dump>, Failure> {
    let own: Vec<Dump> = others.iter().copied().filter(|other| other.vm == dump.vm).collect();
    let mut total: u64 = others.iter().map(|other| other.kib).sum::<u64>() + dump.kib;
    let mut left = own.len();
    let mut old = Vec::new();
    for oldest in own {
        if left < keep as usize && total <= quota_kib {
            break;
        }
        total -= oldest.kib;
        left -= 1;
        old.push(oldest);
    }
    if total <= quota_kib {
        return Ok(old);
    }
    let mib = |kib: u64| kib.div_ceil(1024);
    let message = format!(
        "a dump takes {} MiB, and those of other VMs {} MiB of the quota of {} MiB: remove some below `crashes/` in the VMs' folders, or raise `coreDumpQuota` in the daemon's configuration",
        mib(dump.kib),
        mib(total - dump.kib),
        mib(quota_kib)
    );
    Err(Failure::new(FailureKind::Refused, OPERATION, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn dump(vm: u128, incarnation: u128) -> Dump {
        Dump { vm: Uuid::from_u128(vm), incarnation: Uuid::from_u128(incarnation), kib: 1024 }
    }

    fn check(others: &[Dump], keep: u32, quota_mib: u64) -> String {
        match too_many(others, dump(1, 9), keep, quota_mib * 1024) {
            Ok(old) => {
                let old: Vec<_> = old.iter().map(|old| old.incarnation.as_u128().to_string()).collect();
                format!("goes: {}", old.join(" "))
            }
            Err(failure) => failure.message,
        }
    }

    #[test]
    fn the_oldest_of_its_own_go() {
        let others = [dump(1, 1), dump(2, 2), dump(1, 3), dump(1, 4)];
        for (keep, quota, says) in [
            (5, 5, "goes: "),
            (4, 5, "goes: "),
            (3, 5, "goes: 1"),
            (1, 5, "goes: 1 3 4"),
            // By the quota.
            (5, 3, "goes: 1 3"),
            (5, 2, "goes: 1 3 4"),
        ] {
            assert_eq!(check(&others, keep, quota), says, "keep {keep} quota {quota}");
        }
        assert_eq!(
            check(&others, 5, 1),
            "a dump takes 1 MiB, and those of other VMs 1 MiB of the quota of 1 MiB: remove some below `crashes/` in the VMs' folders, or raise \
             `coreDumpQuota` in the daemon's configuration"
        );
        assert_eq!(check(&[], 1, 1), "goes: ");
    }
}
