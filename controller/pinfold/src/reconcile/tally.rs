//! How often VMs started and how they ended, since the daemon started: for metrics, never for planning. Pure.

use planner::Observed;
use protocol::{Domain, ShutdownReason};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Counted by comparing each observation with the one before; what happened while no daemon ran is not in it. VMs without record and
/// domain are forgotten, so that it cannot grow without bound.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By VM.
    by_vm: BTreeMap<Uuid, VmTally>,
    is_begun: bool,
}

/// One VM's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmTally {
    /// Domains that were made for it.
    pub starts: u64,
    /// Ends that its guest made by itself: `(how, how often)`.
    pub ends: BTreeMap<&'static str, u64>,
    /// The incarnations that were counted last.
    started: Option<Uuid>,
    ended: Option<Uuid>,
}

impl Tally {
    /// Takes an observation into account. From the first one nothing is counted, from an unknown one nothing follows.
    pub fn look(&mut self, observed: &Observed) {
        let Some(domains) = observed.xen.known().and_then(|xen| xen.domains.known()) else { return };
        let counts = self.is_begun;
        self.is_begun = true;
        let marks = || domains.iter().filter_map(|domain: &Domain| domain.mark);
        // The newest wins: an old domain that dies while the next one starts is not counted again.
        let newest: BTreeMap<Uuid, Uuid> = marks().map(|mark| (mark.uuid, mark.incarnation)).collect();
        self.by_vm.retain(|vm, _| observed.records.vms.contains_key(vm) || newest.contains_key(vm));
        for (vm, incarnation) in &newest {
            let vm = self.by_vm.entry(*vm).or_default();
            if vm.started != Some(*incarnation) {
                vm.started = Some(*incarnation);
                vm.starts += u64::from(counts);
            }
        }
        for (vm, record) in &observed.records.vms {
            let ended = record.known().and_then(|record| record.here.ended.as_ref());
            let Some((incarnation, reason)) = ended.and_then(|ended| Some((ended.incarnation?, ended.reason))) else {
                continue;
            };
            let vm = self.by_vm.entry(*vm).or_default();
            if vm.ended != Some(incarnation) {
                vm.ended = Some(incarnation);
                *vm.ends.entry(word(reason)).or_default() += u64::from(counts);
            }
        }
    }

    /// Of one VM.
    pub fn of(&self, vm: Uuid) -> Option<&VmTally> {
        self.by_vm.get(&vm)
    }
}

/// A reason as it stands in labels.
fn word(reason: ShutdownReason) -> &'static str {
    match reason {
        ShutdownReason::Poweroff => "poweroff",
        ShutdownReason::Reboot => "reboot",
        ShutdownReason::Suspend => "suspend",
        ShutdownReason::Crash => "crash",
        ShutdownReason::Watchdog => "watchdog",
        ShutdownReason::SoftReset => "soft-reset",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{VM, domain, snapshot};
    use protocol::{DomainState, Reading};

    fn tally(story: &[&[(u32, DomainState)]]) -> (u64, Tally) {
        let mut tally = Tally::default();
        for domains in story {
            let domains =
                domains.iter().map(|(domid, state)| domain(*domid, *state, None, true)).collect::<Vec<Domain>>();
            tally.look(&snapshot(Reading::Known(domains), Vec::new(), "").observed);
        }
        (tally.of(VM).map_or(0, |vm| vm.starts), tally)
    }

    #[test]
    fn each_incarnation_is_counted_once() {
        use DomainState::{Dying, Paused, Running};
        assert_eq!(tally(&[&[(5, Running)]]).0, 0, "it was there before");
        assert_eq!(tally(&[&[], &[(5, Paused)], &[(5, Running)], &[(5, Running)]]).0, 1);
        let story: [&[(u32, DomainState)]; 4] =
            [&[(5, Running)], &[(5, Dying), (6, Paused)], &[(5, Dying), (6, Running)], &[(7, Running)]];
        assert_eq!(tally(&story).0, 2);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_unknown_is_not_gone() {
        let (_, mut it) = tally(&[&[], &[(5, DomainState::Running)]]);
        it.look(&snapshot(Reading::unknown("XenstoreLost", ""), Vec::new(), "").observed);
        assert!(it.of(VM).is_some());
        it.look(&snapshot(Reading::Known(Vec::new()), Vec::new(), "").observed);
        assert!(it.of(VM).is_none());
    }
}
