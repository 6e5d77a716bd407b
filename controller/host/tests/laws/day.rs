//! What can happen on a day: other hands, guests, faults, deaths.

use proptest::prelude::*;
use protocol::{CpuSet, ShutdownReason};
use sim::{CallName, Event, FailedCall, Fault, ForeignDomain};

/// Something that happens, and how long it is left alone afterwards.
#[derive(Clone, Debug)]
pub struct Happening {
    pub what: What,
    pub then_s: u32,
}

#[derive(Clone, Debug)]
pub enum What {
    Event(Event),
    /// The daemon dies at this step on disk from now.
    KillDaemonAt(u64),
    /// The worker that passes this point from now dies.
    KillWorkerAt(u32),
    /// The daemon is down for so many seconds.
    Night(u32),
}

pub fn happening() -> impl Strategy<Value = Happening> {
    let what = prop_oneof![
        8 => event().prop_map(What::Event),
        2 => (1_u64..60).prop_map(What::KillDaemonAt),
        2 => (1_u32..80).prop_map(What::KillWorkerAt),
        1 => (1_u32..4000).prop_map(What::Night),
    ];
    (what, prop_oneof![Just(0_u32), Just(2), Just(60), Just(600)]).prop_map(|(what, then_s)| Happening { what, then_s })
}

fn event() -> impl Strategy<Value = Event> {
    let domain = || (0_u32..4).prop_map(|n| format!("v{n}"));
    let pool = || prop_oneof![Just("Pool-0".to_owned()), Just("p0".to_owned()), Just("p1".to_owned())];
    let cpus = || prop::collection::btree_set(0_u32..10, 1..5).prop_map(CpuSet::from_iter);
    let how = prop::sample::select(vec![ShutdownReason::Poweroff, ShutdownReason::Reboot, ShutdownReason::Crash]);
    prop_oneof![
        4 => (domain(), how).prop_map(|(domain, how)| Event::GuestEnds { domain, how }),
        2 => (domain(), prop::option::of(0_u32..3), cpus()).prop_map(|(domain, vcpu, hard)| Event::VcpuPin { domain, vcpu, hard }),
        1 => (domain(), 1_u16..2000, 0_u16..100).prop_map(|(domain, weight, cap)| Event::SchedSet { domain, weight, cap }),
        1 => (domain(), 20_000_u64..300_000).prop_map(|(domain, memory_kib)| Event::MemSet { domain, memory_kib }),
        1 => (domain(), 1_u32..4).prop_map(|(domain, online)| Event::VcpuSet { domain, online }),
        1 => domain().prop_map(|domain| Event::Pause { domain }),
        1 => domain().prop_map(|domain| Event::Unpause { domain }),
        1 => domain().prop_map(|domain| Event::Destroy { domain }),
        1 => domain().prop_map(|domain| Event::Shutdown { domain }),
        1 => domain().prop_map(|domain| Event::Rename { domain, name: "renamed".to_owned() }),
        2 => (domain(), pool()).prop_map(|(domain, cpupool)| Event::CpupoolMigrate { domain, cpupool }),
        1 => (pool(), cpus()).prop_map(|(cpupool, cpus)| Event::CpupoolCpuRemove { cpupool, cpus }),
        1 => (pool(), cpus()).prop_map(|(cpupool, cpus)| Event::CpupoolCpuAdd { cpupool, cpus }),
        1 => pool().prop_map(|cpupool| Event::CpupoolRename { cpupool, name: "theirs".to_owned() }),
        1 => Just(Event::CpupoolCreateDies),
        1 => (1_u32..3).prop_map(|times| Event::RemovalsStick { times }),
        1 => domain().prop_map(|name| Event::Create { domain: stranger(name).into(), raced: false }),
        1 => Just(Event::HostReboot),
        1 => Just(Event::PowerLoss),
        2 => fault().prop_map(Event::NextOperation),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let call = prop::sample::select(vec![
        CallName::AddCpu,
        CallName::RemoveCpu,
        CallName::CreateDomain,
        CallName::DestroyDomain,
        CallName::MoveDomain,
        CallName::SetHardAffinity,
        CallName::UnpauseDomain,
        CallName::MarkReady,
    ]);
    (call, 0_u32..3).prop_map(|(call, after)| {
        let failed = FailedCall {
            call,
            after,
            kind: protocol::FailureKind::Refused,
            rc: Some(-3),
            errno: None,
            message: "refused for once".to_owned(),
        };
        Fault { fail: vec![failed], ..Fault::default() }
    })
}

fn stranger(name: String) -> ForeignDomain {
    ForeignDomain { memory_kib: 32 * 1024, ..ForeignDomain::named(name) }
}
