//! Where a VM's vCPUs run: its cpupool and the hard affinity of every vCPU.

use crate::config::VmConfig;
use crate::status::Report;
use crate::vms::Context;
use crate::world::POOL0;
use protocol::CpuSet;
use uuid::Uuid;

/// A cpupool and a mask within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// `None` is Pool-0.
    pub(crate) cpupool: Option<Uuid>,
    pub(crate) poolid: u32,
    /// The hard affinity of every vCPU.
    pub(crate) mask: CpuSet,
    /// The soft affinity of every vCPU; all pCPUs when it has no preference.
    pub(crate) soft: CpuSet,
}

/// Why something cannot be done to a VM at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It passes by itself: what it waits for.
    Waiting(String),
    /// A person must act.
    Stalled(&'static str, String),
    /// Nobody can say.
    Unknown(&'static str, String),
}

impl Problem {
    /// Adds it to what is reported of the VM; answers the sentence.
    pub(crate) fn note(self, report: &mut Report) -> String {
        match self {
            Self::Waiting(on) => on,
            Self::Stalled(reason, message) => {
                report.stalled(reason, message.clone());
                message
            }
            Self::Unknown(reason, message) => {
                report.unknown(reason, message.clone());
                message
            }
        }
    }
}

/// Where a configuration runs now. A partition counts only while its cpupool has exactly its pCPUs.
pub(crate) fn spot(cx: &Context, config: &VmConfig) -> Result<Spot, Problem> {
    let world = cx.world;
    // What it prefers and the host does not have, it does without.
    let soft = config.soft_pins.as_ref().map(|cores| world.topology.cpus(cores)).filter(|soft| !soft.is_empty());
    let soft = soft.unwrap_or_else(|| world.topology.all.clone());
    if let Some(name) = &config.partition {
        let Some(place) = cx.layout.place(name) else {
            return Err(Problem::Stalled(
                "NoPartition",
                format!("this host has no partition {name}; declare it, or name another in `spec.cpu.partition`"),
            ));
        };
        return match &place.poolid {
            Ok(poolid) => Ok(Spot { cpupool: Some(place.uuid), poolid: *poolid, mask: place.cpus.clone(), soft }),
            Err(on) => Err(Problem::Waiting(format!("{}: {on}", place.object))),
        };
    }
    let Some(pins) = &config.pins else {
        return Ok(Spot { cpupool: None, poolid: POOL0, mask: world.topology.all.clone(), soft });
    };
    let absent = world.topology.absent(pins);
    if !absent.is_empty() {
        return Err(Problem::Stalled(
            "CoreAbsent",
            format!("this host has no online core {}; correct `spec.cpu.pins`", absent.join(", ")),
        ));
    }
    let mask = world.topology.cpus(pins).difference(&cx.layout.partitioned);
    if mask.is_empty() {
        return Err(Problem::Stalled(
            "CoresPartitioned",
            "all cores in `spec.cpu.pins` belong to partitions; pin it to others, or put it into a partition"
                .to_owned(),
        ));
    }
    let Some(pool0) = world.pool0() else {
        return Err(Problem::Unknown("CpupoolsUnknown", "the host's cpupools are not known at present".to_owned()));
    };
    if mask.is_disjoint(&pool0.cpus) {
        return Err(Problem::Waiting(format!("Pool-0 gets one of pCPUs {mask}")));
    }
    Ok(Spot { cpupool: None, poolid: POOL0, mask, soft })
}
