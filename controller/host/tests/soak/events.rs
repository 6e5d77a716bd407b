//! What happens to a host besides commits. To add one: a row here.

use crate::config::Config;
use crate::draw::Draw;
use crate::others;
use crate::stage::Stage;
use crate::stage::verbs::Order;
use host::store::DiskFault;
use jiff::SignedDuration;
use planner::freeze::Frozen;
use planner::{ObjectKind, ObjectRef};
use protocol::{CpuSet, FailureKind, ShutdownReason};
use sim::{CallName, Event, FailedCall, Fault, ForeignDomain, Meanwhile};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// Something that happens: its name, how often it is drawn, whether what is declared stays possible, and what it does.
pub type Happening = (&'static str, u32, Trace, fn(&mut Stage, &Config, &mut Draw));

/// What is left of something once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: the end is as if it had not been.
    None,
    /// Another hand's doing, or a guest's own will, which may stay.
    Lasting,
}

use Trace::{Lasting, None as Without};

pub const EVENTS: &[Happening] = &[
    ("a guest ends", 6, Lasting, |stage, config, draw| {
        use ShutdownReason::{Crash, Poweroff, Reboot, SoftReset, Suspend, Watchdog};
        let how = *draw.pick(&[Poweroff, Reboot, Crash, Watchdog, Suspend, SoftReset]);
        let domain = a_vm(config, draw);
        stage.apply(&Event::GuestEnds { domain, how });
    }),
    ("another hand", 8, Lasting, |stage, config, draw| {
        let event = hand(config, draw);
        if !makes_foreign_what_is_meddled_with(stage, &event) {
            stage.apply(&event);
        }
    }),
    ("another hand that does not give up", 2, Lasting, |stage, config, draw| {
        let event = hand(config, draw);
        for _ in 0..draw.number(5, 8) {
            if !makes_foreign_what_is_meddled_with(stage, &event) {
                stage.apply(&event);
            }
            stage.settle(SignedDuration::from_secs(30));
        }
    }),
    ("another hand within an operation", 3, Lasting, |stage, config, draw| {
        let foreign = foreign(stage);
        // Not one that breaks a law by itself: between two calls of ours, nobody can tell whose doing it was.
        let breaks = |event: &Event| match event {
            Event::Destroy { .. }
            | Event::SaveAndRestore { .. }
            | Event::VcpuPin { .. }
            | Event::CpupoolMigrate { .. }
            | Event::CpupoolCpuAdd { .. }
            | Event::CpupoolCpuRemove { .. } => true,
            // Of a domain that is foreign until the operation has taken it over.
            Event::SchedSet { domain, .. }
            | Event::MemSet { domain, .. }
            | Event::VcpuSet { domain, .. }
            | Event::Pause { domain }
            | Event::Unpause { domain }
            | Event::Shutdown { domain }
            | Event::Rename { domain, .. } => others::is_one(domain) || foreign.contains(domain),
            _ => false,
        };
        let event = std::iter::repeat_with(|| hand(config, draw)).find(|event| !breaks(event)).unwrap();
        let meanwhile = vec![Meanwhile { after: draw.number(0, 12), event }];
        stage.apply(&Event::NextOperation(Fault { meanwhile, ..Fault::default() }));
    }),
    ("a guest that ignores requests", 1, Lasting, |stage, config, draw| {
        use sim::GuestRequest::{Disks, Memory, Nics, PowerOff, Shutdown, Suspend, Vcpus};
        let ignores = [*draw.pick(&[Disks, Memory, Nics, PowerOff, Shutdown, Suspend, Vcpus])].into();
        let guest = sim::Guest { ignores, ..sim::Guest::default() };
        stage.apply(&Event::GuestBehaves { name: a_vm(config, draw), guest });
    }),
    ("a QEMU dies", 1, Lasting, |stage, config, draw| {
        stage.apply(&Event::DeviceModelDies { domain: a_vm(config, draw) });
    }),
    ("removals of pCPUs stick", 1, Without, |stage, _, draw| {
        stage.apply(&Event::RemovalsStick { times: draw.number(1, 3) });
    }),
    ("a call fails", 4, Without, |stage, _, draw| {
        use CallName::{
            AddCpu, AttachDisk, AttachNic, ClaimDomain, CreateCpupool, CreateDomain, DestroyCpupool, DestroyDomain,
            DetachDisk, DetachNic, DiscardImage, Domains, DumpDomain, MarkReady, MoveDomain, PauseDomain,
            PressPowerButton, RemoveCpu, RestoreDomain, ResumeDomain, SaveDomain, SetHardAffinity, SetMedium,
            SetMemoryTarget, SetSched, SetVcpusOnline, ShutdownDomain, StopMonitor, UnpauseDomain, UseImage,
        };
        let call = *draw.pick(&[
            AddCpu,
            AttachDisk,
            AttachNic,
            ClaimDomain,
            CreateCpupool,
            CreateDomain,
            DestroyCpupool,
            DestroyDomain,
            DetachDisk,
            DetachNic,
            DiscardImage,
            Domains,
            DumpDomain,
            MarkReady,
            MoveDomain,
            PauseDomain,
            PressPowerButton,
            RemoveCpu,
            RestoreDomain,
            ResumeDomain,
            SaveDomain,
            SetHardAffinity,
            SetMedium,
            SetMemoryTarget,
            SetSched,
            SetVcpusOnline,
            ShutdownDomain,
            StopMonitor,
            UnpauseDomain,
            UseImage,
        ]);
        let failed = FailedCall {
            call,
            after: draw.number(0, 2),
            kind: FailureKind::Refused,
            rc: Some(-3),
            errno: None,
            message: "refused for once".to_owned(),
        };
        stage.apply(&Event::NextOperation(Fault { fail: vec![failed], ..Fault::default() }));
    }),
    ("the worker dies", 5, Without, |stage, _, draw| {
        let mut machine = stage.machine.lock().unwrap();
        let passed = machine.points();
        machine.kill_worker_at(passed + draw.number(1, 60));
    }),
    ("the daemon dies", 5, Without, |stage, _, draw| stage.kill_at_step(u64::from(draw.number(1, 60)))),
    ("the daemon is down for a while", 2, Without, |stage, _, draw| {
        stage.kill_daemon();
        stage.advance(SignedDuration::from_secs(i64::from(draw.number(1, 4000))));
        stage.start_daemon();
    }),
    ("the disk is full for a while", 3, Without, |stage, _, draw| refuse(stage, draw, ErrorKind::StorageFull)),
    ("the disk is read-only for a while", 1, Without, |stage, _, draw| {
        refuse(stage, draw, ErrorKind::ReadOnlyFilesystem);
    }),
    ("the host reboots", 2, Without, |stage, _, _| {
        stage.apply(&Event::HostReboot);
    }),
    ("the host loses power", 2, Without, |stage, _, _| {
        stage.apply(&Event::PowerLoss);
    }),
    ("xenstored dies, and the host is rebooted", 1, Without, |stage, _, draw| {
        stage.apply(&Event::XenstoredLost);
        stage.settle(SignedDuration::from_secs(i64::from(draw.number(1, 100))));
        stage.apply(&Event::HostReboot);
    }),
    ("the clock jumps", 1, Without, |stage, _, draw| {
        stage.advance(SignedDuration::from_hours(i64::from(draw.number(1, 20_000))));
    }),
    ("the manifests cannot be read for a while", 1, Without, |stage, _, draw| {
        let desired = stage.desired.take();
        stage.settle(SignedDuration::from_secs(i64::from(draw.number(1, 600))));
        stage.desired = desired;
    }),
    ("another toolstack makes a domain that may be declared", 4, Lasting, |stage, _, draw| {
        stage.apply(&others::made(draw));
    }),
    ("a person freezes something", 4, Without, |stage, _, draw| {
        if let Some(object) = an_object(stage, draw, &|object| Frozen::of(object).is_some()) {
            stage.freeze(&object);
        }
    }),
    ("a person ends a freeze", 2, Without, |stage, _, draw| {
        if let Some(object) = an_object(stage, draw, &|object| Frozen::of(object).is_some()) {
            stage.unfreeze(&object);
        }
    }),
    ("a person overrides a VM's power", 6, Without, |stage, _, draw| {
        if let Some(object) = an_object(stage, draw, &is_vm) {
            let order = *draw.pick(&[Order::Start, Order::Stop, Order::Pause, Order::Restart]);
            let minutes = *draw.pick(&[1, 10, 60]);
            stage.order(&object, order, SignedDuration::from_mins(minutes));
        }
    }),
    ("a person lets a VM follow its manifest", 2, Without, |stage, _, draw| {
        if let Some(object) = an_object(stage, draw, &is_vm) {
            stage.follow(&object);
        }
    }),
    ("a person approves what is held", 3, Without, |stage, _, _| {
        let held = |item: &&planner::Item| matches!(item.disposition, planner::Disposition::Held { .. });
        let object = stage.observe_and_plan().plan.items.iter().find(held).map(|item| item.object.to_string());
        if let Some(object) = object {
            stage.approve(&object);
        }
    }),
];

fn is_vm(object: &ObjectRef) -> bool {
    object.kind == ObjectKind::VirtualMachine
}

/// An object that pinfold knows of.
fn an_object(stage: &mut Stage, draw: &mut Draw, is_meant: &dyn Fn(&ObjectRef) -> bool) -> Option<String> {
    let plan = stage.observe_and_plan().plan;
    let known = plan.objects.iter().map(|status| &status.object).filter(|object| is_meant(object));
    let names: Vec<String> = known.map(ToString::to_string).collect();
    (!names.is_empty()).then(|| draw.pick(&names).clone())
}

fn refuse(stage: &mut Stage, draw: &mut Draw, why: ErrorKind) {
    stage.disk.inject(DiskFault::Refuse(why));
    stage.settle(SignedDuration::from_secs(i64::from(draw.number(1, 300))));
    stage.disk.relieve();
}

/// Whoever meddles within the next operation would then meddle with a foreign domain, and no law could tell that from the operation's doing.
fn makes_foreign_what_is_meddled_with(stage: &Stage, event: &Event) -> bool {
    matches!(event, Event::SaveAndRestore { .. }) && stage.machine.lock().unwrap().world().is_fault_to_come()
}

/// The names of domains that are not ours now.
fn foreign(stage: &Stage) -> BTreeSet<String> {
    let machine = stage.machine.lock().unwrap();
    let domains = machine.world().domains().filter(|(_, domain)| !domain.ours);
    domains.filter_map(|(_, domain)| domain.name().map(str::to_owned)).collect()
}

fn a_vm(config: &Config, draw: &mut Draw) -> String {
    let names: Vec<_> = config.vms.keys().cloned().collect();
    if names.is_empty() { "v1".to_owned() } else { draw.pick(&names).clone() }
}

/// What somebody does with `xl`.
fn hand(config: &Config, draw: &mut Draw) -> Event {
    let domain = a_vm(config, draw);
    let pools: Vec<String> = std::iter::once("Pool-0".to_owned()).chain(config.partitions.keys().cloned()).collect();
    let cpupool = draw.pick(&pools).clone();
    let pcpus = config.cores * config.threads;
    let cpus: CpuSet = (0..draw.number(1, 4)).map(|_| draw.number(0, pcpus - 1)).collect();
    match draw.number(0, 20) {
        0..=2 => Event::VcpuPin { domain, vcpu: draw.chance(50).then_some(0), hard: cpus },
        3 => Event::SchedSet { domain, weight: 1 + u16::try_from(draw.number(0, 2000)).unwrap(), cap: 20 },
        4 => Event::MemSet { domain, memory_kib: u64::from(draw.number(20_000, 200_000)) },
        5 => Event::VcpuSet { domain, online: draw.number(1, 3) },
        6 => Event::Pause { domain },
        7 => Event::Unpause { domain },
        8 => Event::Destroy { domain },
        9 => Event::Shutdown { domain },
        10 => Event::Rename { domain, name: "renamed".to_owned() },
        11 => Event::CpupoolMigrate { domain, cpupool },
        12 => Event::CpupoolCpuRemove { cpupool, cpus },
        13 => Event::CpupoolCpuAdd { cpupool, cpus },
        14 => Event::CpupoolRename { cpupool, name: "theirs".to_owned() },
        15 => Event::CpupoolCreateDies,
        16 => Event::CpupoolDestroy { cpupool },
        17 => Event::CpupoolCreate { name: format!("x{}", draw.number(0, 2)), cpus },
        19 => Event::SaveAndRestore { domain },
        18 => Event::CdInsert { domain, device: "hdc".to_owned(), path: Some("/srv/disk39.img".to_owned()) },
        _ => Event::Create { domain: stranger(domain, draw).into(), raced: draw.chance(20) },
    }
}

fn stranger(name: String, draw: &mut Draw) -> ForeignDomain {
    ForeignDomain {
        disks: if draw.chance(30) { vec![format!("/srv/disk{}.img", draw.number(0, 39))] } else { Vec::new() },
        toolstack: draw.chance(80).then_some(protocol::Toolstack::Xl),
        autostart: draw.chance(20),
        ..others::stranger(if draw.chance(50) { name } else { "stranger".to_owned() })
    }
}
