//! From cores, as manifests name them, to pCPUs, as Xen numbers them.

use protocol::{CpuSet, Pcpu};
use schema::units::Cores;
use std::collections::{BTreeMap, BTreeSet};

/// The processors of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    /// Online pCPUs (all threads) by core, as `socket.core`.
    cores: BTreeMap<String, CpuSet>,
    /// Every online pCPU.
    pub(crate) online: CpuSet,
    /// Every pCPU there may be: what Xen stores for "all".
    pub(crate) all: CpuSet,
}

impl Topology {
    /// The topology that these pCPUs make.
    pub(crate) fn new(pcpus: &[Pcpu]) -> Self {
        let mut topology =
            Self { all: CpuSet::first(pcpus.iter().map(|pcpu| pcpu.id + 1).max().unwrap_or(0)), ..Self::default() };
        for pcpu in pcpus.iter().filter(|pcpu| pcpu.online) {
            topology.cores.entry(format!("{}.{}", pcpu.socket, pcpu.core)).or_default().insert(pcpu.id);
            topology.online.insert(pcpu.id);
        }
        topology
    }

    /// pCPUs of the cores: every online thread of each.
    pub(crate) fn cpus(&self, cores: &BTreeSet<String>) -> CpuSet {
        cores.iter().filter_map(|core| self.cores.get(core)).flat_map(CpuSet::iter).collect()
    }

    /// Cores that the host does not have, or that are offline.
    pub(crate) fn absent(&self, cores: &BTreeSet<String>) -> Vec<String> {
        cores.iter().filter(|core| !self.cores.contains_key(*core)).cloned().collect()
    }

    /// Whether a stored mask means "all": Xen keeps bits of pCPUs that do not exist, and of pCPUs in other pools.
    pub(crate) fn is_all(&self, mask: &CpuSet) -> bool {
        self.online.is_subset(mask)
    }

    /// A stored mask for people.
    pub(crate) fn mask_text(&self, mask: &CpuSet) -> String {
        if self.is_all(mask) { "all".to_owned() } else { mask.intersection(&self.online).to_string() }
    }

    /// Whether two stored masks mean the same.
    pub(crate) fn same_mask(&self, stored: &CpuSet, wanted: &CpuSet) -> bool {
        (self.is_all(stored) && self.is_all(wanted))
            || stored.intersection(&self.online) == wanted.intersection(&self.online)
    }
}

/// Cores as records keep them.
pub(crate) fn names(cores: &Cores) -> BTreeSet<String> {
    cores.iter().map(ToString::to_string).collect()
}

/// Cores for people.
pub(crate) fn list(cores: &BTreeSet<String>) -> String {
    cores.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
