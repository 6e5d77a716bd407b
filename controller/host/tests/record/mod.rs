//! A VM's record.

use planner::config::{Defaults, Power, Restart, VmConfig};
use planner::record::{Here, RECORD_VERSION, VmRecord};
use protocol::{BootConfig, DomainKind, Sched};
use std::collections::BTreeMap;
use uuid::Uuid;

pub(crate) fn vm(name: &str, weight: u16) -> VmRecord {
    let sched = Sched { weight, cap: 0 };
    VmRecord {
        version: RECORD_VERSION,
        pool_id: Uuid::nil(),
        uuid: Uuid::new_v5(&Uuid::nil(), b"vm"),
        name: name.parse().unwrap(),
        defaults: Defaults {
            power: Power::Running,
            restart: Restart::OnFailure,
            sched,
            shutdown_timeout_s: 60,
            macs: BTreeMap::new(),
        },
        wanted: VmConfig {
            kind: DomainKind::Pvh,
            power: Power::Running,
            restart: Restart::OnFailure,
            vcpus_online: 1,
            vcpus_max: 1,
            memory_kib: 65536,
            memory_max_kib: 65536,
            partition: None,
            pins: None,
            soft_pins: None,
            sched,
            boot: BootConfig::Grub,
            disks: Vec::new(),
            nics: Vec::new(),
            hvm: None,
            shutdown_timeout_s: 60,
            crash_dumps: 0,
        },
        manifest: "m".to_owned(),
        off_by_guest: None,
        declared_power: None,
        saved: None,
        here: Here::fresh("xen1".parse().unwrap()),
    }
}
