//! Every class of fault, and how it is brought about. To add one: a row in [`FAULTS`].

use crate::edges::{Drive, Edge};
use crate::stage::verbs::Order;
use crate::{Played, play};
use host::store::DiskFault;
use jiff::SignedDuration;
use protocol::{CpuSet, FailureKind};
use sim::{CallName, Event, FailedCall, Fault as Meets, Guest, GuestRequest, Meanwhile};
use std::io::ErrorKind;

/// A class of fault: plays an edge with it, as often as it has places to strike, and answers each end.
pub struct Fault {
    pub name: &'static str,
    pub plays: fn(&Edge) -> Vec<Played>,
}

/// Places at most that one class strikes at in one edge, spread evenly.
const PLACES: u64 = 20;

pub const FAULTS: &[Fault] = &[
    Fault { name: "the daemon is killed", plays: daemon_killed },
    Fault { name: "the worker is killed", plays: worker_killed },
    Fault { name: "events are lost", plays: events_lost },
    Fault { name: "requests are ignored", plays: requests_ignored },
    Fault { name: "a call fails", plays: call_fails },
    Fault { name: "the disk is full", plays: disk_full },
    Fault { name: "the host resets", plays: host_resets },
    Fault { name: "a newer commit comes meanwhile", plays: newer_commit },
    Fault { name: "another hand meddles", plays: other_hand },
    Fault { name: "a person freezes it meanwhile", plays: frozen_meanwhile },
    Fault { name: "a person overrides it meanwhile", plays: overridden_meanwhile },
];

fn spread(count: u64) -> Vec<u64> {
    let step = count.div_ceil(PLACES).max(1);
    (1..=count).step_by(usize::try_from(step).unwrap()).collect()
}

fn daemon_killed(edge: &Edge) -> Vec<Played> {
    let steps = play(edge, &mut |_| {}, &mut |_, _| {}).steps;
    let killed = |step| {
        let played = play(edge, &mut |stage| stage.kill_at_step(step), &mut |_, _| {});
        let struck = played.deaths == 1;
        played.same_end().that("the daemon died", struck).how(format!("at step {step} of {steps}"))
    };
    spread(steps).into_iter().map(killed).collect()
}

fn worker_killed(edge: &Edge) -> Vec<Played> {
    let points = play(edge, &mut |_| {}, &mut |_, _| {}).points;
    let killed = |point: u64| {
        let order = |stage: &mut crate::stage::Stage| {
            let mut machine = stage.machine.lock().unwrap();
            let passed = machine.points();
            machine.kill_worker_at(passed + u32::try_from(point).unwrap());
        };
        play(edge, &mut { order }, &mut |_, _| {}).same_end().how(format!("at point {point} of {points}"))
    };
    spread(points).into_iter().map(killed).collect()
}

/// Nobody wakes the daemon: it looks once a minute, whatever happens.
fn events_lost(edge: &Edge) -> Vec<Played> {
    let sleepy = |stage: &mut crate::stage::Stage, pass: u32| {
        if pass == 0 {
            for _ in 0..20 {
                stage.advance(SignedDuration::from_mins(1));
                stage.pass();
            }
        }
    };
    vec![play(edge, &mut |_| {}, &mut { sleepy }).same_end().how("looking once a minute")]
}

fn requests_ignored(edge: &Edge) -> Vec<Played> {
    use GuestRequest::{Disks, Memory, Nics, PowerOff, Shutdown, Suspend, Vcpus};
    let ignoring = |request: GuestRequest| {
        let deaf = |stage: &mut crate::stage::Stage| {
            for name in ["v", "w", "new"] {
                let guest = Guest { ignores: [request].into(), ..Guest::default() };
                stage.apply(&Event::GuestBehaves { name: name.to_owned(), guest });
            }
        };
        play(edge, &mut { deaf }, &mut |_, _| {}).how(format!("{request:?}"))
    };
    [Disks, Memory, Nics, PowerOff, Shutdown, Suspend, Vcpus].into_iter().map(ignoring).collect()
}

/// Calls of an operation that are made to fail, each once.
pub const CALLS: &[CallName] = &[
    CallName::AddCpu,
    CallName::AttachDisk,
    CallName::AttachNic,
    CallName::ClaimDomain,
    CallName::Cpupools,
    CallName::CreateCpupool,
    CallName::CreateDomain,
    CallName::DestroyCpupool,
    CallName::DestroyDomain,
    CallName::DetachDisk,
    CallName::DetachNic,
    CallName::DiscardImage,
    CallName::Dom0Affinity,
    CallName::Domain,
    CallName::Domains,
    CallName::DumpDomain,
    CallName::Dumps,
    CallName::FreeCpus,
    CallName::FreeMemory,
    CallName::Identities,
    CallName::Image,
    CallName::MarkReady,
    CallName::MoveDomain,
    CallName::NeedMemory,
    CallName::PauseDomain,
    CallName::PressPowerButton,
    CallName::RemoveCpu,
    CallName::RemoveDump,
    CallName::RenameCpupool,
    CallName::RenameDomain,
    CallName::RestoreDomain,
    CallName::ResumeDomain,
    CallName::SaveDomain,
    CallName::SetHardAffinity,
    CallName::SetMedium,
    CallName::SetMemoryTarget,
    CallName::SetSched,
    CallName::SetSoftAffinity,
    CallName::SetVcpusOnline,
    CallName::ShutdownDomain,
    CallName::StopMonitor,
    CallName::UnpauseDomain,
    CallName::UseImage,
];

/// The first such call that the edge makes; what it never makes cannot fail.
fn call_fails(edge: &Edge) -> Vec<Played> {
    let failing = |call: CallName| {
        let order = |stage: &mut crate::stage::Stage| {
            let message = "refused for once".to_owned();
            let failed = FailedCall { call, after: 0, kind: FailureKind::Refused, rc: Some(-3), errno: None, message };
            stage.apply(&Event::NextOperation(Meets { fail: vec![failed], ..Meets::default() }));
        };
        play(edge, &mut { order }, &mut |_, _| {}).same_end().how(format!("{call:?}"))
    };
    CALLS.iter().map(|call| failing(*call)).filter(|played| played.met).collect()
}

fn disk_full(edge: &Edge) -> Vec<Played> {
    let full = |from: u32| {
        let fill = |stage: &mut crate::stage::Stage, pass: u32| {
            if pass == from {
                stage.disk.inject(DiskFault::Refuse(ErrorKind::StorageFull));
                stage.settle(SignedDuration::from_mins(5));
                stage.disk.relieve();
            }
        };
        play(edge, &mut |_| {}, &mut { fill }).same_end().how(format!("after pass {from}, for five minutes"))
    };
    (0..4).map(full).collect()
}

fn host_resets(edge: &Edge) -> Vec<Played> {
    let resets = |at: u32| {
        let reset = |stage: &mut crate::stage::Stage, pass: u32| {
            if pass == at {
                stage.apply(&Event::PowerLoss);
            }
        };
        let played = play(edge, &mut |_| {}, &mut { reset }).how(format!("after pass {at}"));
        // What a guest did just before the power went, nobody can know.
        played.goes_on(edge)
    };
    (0..6).map(resets).collect()
}

/// Whether a commit alone decides the end. A domain that was built paused has never brought up its second vCPU, one that ran before it was paused
/// has; and what cannot be suspended is as it was.
fn has_one_end(edge: &Edge) -> bool {
    match edge.drive {
        Drive::Commit(_) => true,
        Drive::Power(row, wanted) => row.is_decided_by_commit() && !["paused", "suspended"].contains(&wanted),
        Drive::Second(..) | Drive::Event(_) | Drive::Person(..) => false,
    }
}

/// The commit is taken back while it is carried out, for good or to be made again; or another follows it.
fn newer_commit(edge: &Edge) -> Vec<Played> {
    let (before, after) = edge.commits();
    let more = [after, vec![crate::edges::vm("z", "cpu: {weight: 900}")]].concat();
    let newer = |at: u32, commit: &[String], is_taken_back: bool| {
        let follow = |stage: &mut crate::stage::Stage, pass: u32| {
            if pass == at {
                let wanted = stage.desired.clone().unwrap();
                stage.commit(crate::desired(commit));
                stage.pass();
                stage.settle(SignedDuration::from_secs(i64::from(at)));
                if is_taken_back {
                    stage.commit(wanted);
                }
            }
        };
        play(edge, &mut |_| {}, &mut { follow })
    };
    let mut plays = Vec::new();
    for at in 0..6 {
        plays.push(newer(at, &before, true).how(format!("taken back after pass {at}, and made again")));
        plays.push(newer(at, &before, false).how(format!("taken back after pass {at}")));
        plays.push(newer(at, &more, false).how(format!("followed by another after pass {at}")));
    }
    plays
}

fn other_hand(edge: &Edge) -> Vec<Played> {
    let domain = || "v".to_owned();
    let cpus: CpuSet = "0-7".parse().unwrap();
    let hands = [
        Event::VcpuPin { domain: domain(), vcpu: None, hard: cpus.clone() },
        Event::VcpuPin { domain: domain(), vcpu: Some(0), hard: "1".parse().unwrap() },
        Event::SchedSet { domain: domain(), weight: 7, cap: 7 },
        Event::Pause { domain: domain() },
        Event::Destroy { domain: domain() },
        Event::Rename { domain: domain(), name: "theirs".to_owned() },
        Event::SaveAndRestore { domain: domain() },
        Event::CpupoolMigrate { domain: domain(), cpupool: "Pool-0".to_owned() },
        Event::CpupoolCpuRemove { cpupool: "p".to_owned(), cpus: "3".parse().unwrap() },
        Event::CpupoolRename { cpupool: "p".to_owned(), name: "theirs".to_owned() },
    ];
    let mut plays = Vec::new();
    for hand in &hands {
        for at in [0, 2] {
            let meddle = |stage: &mut crate::stage::Stage, pass: u32| {
                if pass == at {
                    stage.apply(hand);
                }
            };
            plays.push(play(edge, &mut |_| {}, &mut { meddle }).how(format!("{hand:?} after pass {at}")));
        }
        // Within an operation only what breaks no law by itself: nobody could tell whose doing it was. Until it is taken over, a foreign domain is
        // changed by no operation of ours.
        let is_theirs = edge.name == "a domain of another toolstack is taken over";
        let lawful = matches!(
            hand,
            Event::SchedSet { .. } | Event::Pause { .. } | Event::Rename { .. } | Event::CpupoolRename { .. }
        ) && !is_theirs;
        if !lawful {
            continue;
        }
        let within = |stage: &mut crate::stage::Stage| {
            let meanwhile = vec![Meanwhile { after: 3, event: hand.clone() }];
            stage.apply(&Event::NextOperation(Meets { meanwhile, ..Meets::default() }));
        };
        plays.push(play(edge, &mut { within }, &mut |_, _| {}).how(format!("{hand:?} within an operation")));
    }
    plays
}

/// Whatever is under way, somebody freezes everything, and an hour later it goes on.
fn frozen_meanwhile(edge: &Edge) -> Vec<Played> {
    let frozen = |object: &'static str, at: u32| {
        let freeze = |stage: &mut crate::stage::Stage, pass: u32| {
            if pass == at && knows(stage, object) {
                stage.freeze(object);
            }
        };
        play(edge, &mut |_| {}, &mut { freeze }).goes_on(edge).how(format!("{object} after pass {at}"))
    };
    [("host/xen1", 0), ("host/xen1", 1), ("host/xen1", 3), ("vm/v", 1), ("vm/v", 2), ("cp/p", 1), ("cp/p", 2)]
        .map(|(object, at)| frozen(object, at))
        .into()
}

/// Whatever is under way, somebody wants something else of it for a minute.
fn overridden_meanwhile(edge: &Edge) -> Vec<Played> {
    use Order::{Pause, Restart, Start, Stop};
    let overridden = |order: Order, at: u32| {
        let order_it = |stage: &mut crate::stage::Stage, pass: u32| {
            if pass == at && knows(stage, "vm/v") {
                stage.order("vm/v", order, SignedDuration::from_mins(1));
            }
        };
        play(edge, &mut |_| {}, &mut { order_it }).goes_on(edge).how(format!("{order:?} after pass {at}"))
    };
    let plays = [Start, Stop, Pause, Restart].into_iter().flat_map(|order| [0, 1, 3].map(|at| (order, at)));
    plays.map(|(order, at)| overridden(order, at)).collect()
}

/// Whether pinfold knows of such an object.
fn knows(stage: &mut crate::stage::Stage, name: &str) -> bool {
    stage.observe_and_plan().plan.objects.iter().any(|status| status.object.to_string() == name)
}

impl Played {
    /// A commit comes to the same end, whoever delayed it.
    fn goes_on(self, edge: &Edge) -> Self {
        if has_one_end(edge) { self.same_end() } else { self }
    }
}
