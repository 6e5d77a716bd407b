//! Laws over random histories: commits, guests that end, other hands, reboots, and workers killed at any point.
//!
//! Every plan on the way obeys `planner::laws`; no two domains ever share a UUID; no vCPU ever runs outside its partition of before or after; and
//! when the meddling ends, the host is as the commit says, and the plan is empty.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, vm_sized};
use planner::{Disposition, Work, laws};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use protocol::{CpuSet, ShutdownReason};
use sim::{Event, Fault};

/// What a commit says of one VM.
#[derive(Clone, Debug)]
struct Vm {
    there: bool,
    partition: Option<usize>,
    stopped: bool,
    vcpus: u32,
    memory: u32,
    weight: u32,
    restart: &'static str,
}

/// A commit: cores of the partitions, and VMs.
#[derive(Clone, Debug)]
struct Commit {
    /// For each of the cores 2 to 9: which partition has it; 3 is none.
    owner: Vec<usize>,
    vms: Vec<Vm>,
    restarts: &'static str,
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Commit),
    Event(Event),
    Pass,
    /// A pass in which the worker of one item dies after as many points.
    Killed(usize, u32),
    Wait(u64),
    Unreadable,
}

const NAMES: [&str; 3] = ["va", "vb", "vc"];
const PARTITIONS: [&str; 3] = ["pa", "pb", "pc"];

impl Commit {
    fn yaml(&self) -> String {
        let mut yaml = base(&format!(", changes: {{restarts: {}}}", self.restarts));
        for (index, name) in PARTITIONS.iter().enumerate() {
            let cores: Vec<u32> = self.cores(index);
            if !cores.is_empty() {
                yaml += &cp(name, &cores);
            }
        }
        for (vm, name) in self.vms.iter().zip(NAMES).filter(|(vm, _)| vm.there) {
            let mut more = format!("  restart: {}\n", vm.restart);
            if vm.stopped {
                more += "  power: stopped\n";
            }
            let partition = vm
                .partition
                .filter(|index| !self.cores(*index).is_empty())
                .map(|index| format!("partition: {}, ", PARTITIONS[index]));
            let partition = partition.unwrap_or_default();
            more.push_str(&["  cpu: {", &partition, "weight: ", &vm.weight.to_string(), "}"].concat());
            yaml += &vm_sized(name, &vm.vcpus.to_string(), &format!("{}Mi", vm.memory), &more);
        }
        yaml
    }

    fn cores(&self, partition: usize) -> Vec<u32> {
        (2..).zip(&self.owner).filter(|(_, owner)| **owner == partition).map(|(core, _)| core).collect()
    }
}

fn commits() -> impl Strategy<Value = Commit> {
    let vm = (
        any::<bool>(),
        proptest::option::of(0..3_usize),
        prop::bool::weighted(0.2),
        1..3_u32,
        64..67_u32,
        256..259_u32,
        prop::sample::select(vec!["always", "on-failure", "never"]),
    )
        .prop_map(|(there, partition, stopped, vcpus, memory, weight, restart)| Vm {
            there,
            partition,
            stopped,
            vcpus,
            memory,
            weight,
            restart,
        });
    (
        prop::collection::vec(0..4_usize, 8),
        prop::collection::vec(vm, 3),
        prop::sample::select(vec!["at-next-start", "allow"]),
    )
        .prop_map(|(owner, vms, restarts)| Commit { owner, vms, restarts })
}

fn events() -> impl Strategy<Value = Event> {
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let pool = || prop::sample::select(PARTITIONS.to_vec()).prop_map(str::to_owned);
    let mask = || {
        prop::sample::subsequence((0..10_u32).collect::<Vec<_>>(), 1..10)
            .prop_map(|cpus| cpus.into_iter().collect::<CpuSet>())
    };
    let how = prop::sample::select(vec![ShutdownReason::Poweroff, ShutdownReason::Reboot, ShutdownReason::Crash]);
    prop_oneof![
        3 => (name(), how).prop_map(|(domain, how)| Event::GuestEnds { domain, how }),
        2 => (name(), mask()).prop_map(|(domain, hard)| Event::VcpuPin { domain, vcpu: None, hard }),
        1 => name().prop_map(|domain| Event::Pause { domain }),
        1 => name().prop_map(|domain| Event::Destroy { domain }),
        1 => (name(), pool()).prop_map(|(domain, cpupool)| Event::CpupoolMigrate { domain, cpupool }),
        1 => (pool(), mask()).prop_map(|(cpupool, cpus)| Event::CpupoolCpuRemove { cpupool, cpus }),
        1 => (name(), 256..999_u16).prop_map(|(domain, weight)| Event::SchedSet { domain, weight, cap: 0 }),
        1 => Just(Event::PowerLoss),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => commits().prop_map(Step::Commit),
        4 => events().prop_map(Step::Event),
        5 => Just(Step::Pass),
        4 => (0..4_usize, 0..40_u32).prop_map(|(item, after)| Step::Killed(item, after)),
        1 => (1..400_u64).prop_map(Step::Wait),
        1 => Just(Step::Unreadable),
    ]
}

/// Whether the VM may have been left off by its guest: then being off is right.
fn check_end(stage: &mut Stage) {
    let plan = stage.plan();
    let left: Vec<String> = plan
        .items
        .iter()
        .filter(|item| {
            item.disposition != Disposition::AtNextStart && !matches!(item.disposition, Disposition::Held { .. })
        })
        .map(common::line)
        .collect();
    let swap = plan.items.iter().any(
        |item| matches!(&item.disposition, Disposition::Held { until } if until.contains("for the time of the change")),
    );
    assert!(left.is_empty() || swap, "not settled:\n{}\n{}", left.join("\n"), stage.xl());
    if plan.items.is_empty() {
        laws::settled(&plan).unwrap();
        for status in &plan.objects {
            assert!(
                status
                    .conditions
                    .iter()
                    .all(|c| c.kind == planner::ConditionKind::Ready && c.status == planner::Truth::True),
                "{status:?}"
            );
        }
    }
}

fn killed_pass(stage: &mut Stage, which: usize, after: u32) {
    let plan = stage.plan();
    let now: Vec<_> = plan.items.iter().filter(|item| item.disposition == Disposition::Now).collect();
    for (index, item) in now.iter().enumerate() {
        let xen = matches!(item.operation.as_ref().unwrap().work, Work::Xen(_));
        let fault = if xen && index == which % now.len() {
            Fault { die_after: Some(after), ..Fault::default() }
        } else {
            Fault::default()
        };
        let _ = stage.carry_out(item, fault);
    }
}

fn run(steps: Vec<Step>) {
    let first = Commit { owner: vec![3; 8], vms: Vec::new(), restarts: "at-next-start" };
    let mut stage = Stage::new(&first.yaml());
    stage.law_of_cores = true;
    for step in steps {
        match step {
            Step::Commit(commit) => stage.commit(&commit.yaml()),
            Step::Event(event) => {
                let _ = stage.xen.apply(&event);
            }
            Step::Pass => drop(stage.pass()),
            Step::Killed(item, after) => killed_pass(&mut stage, item, after),
            Step::Wait(seconds) => stage.wait(seconds),
            Step::Unreadable => {
                let desired = stage.desired.take();
                stage.pass();
                stage.desired = desired;
            }
        }
    }
    stage.converge();
    check_end(&mut stage);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        max_shrink_iters: 4096,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_history_ends_as_the_commit_says(steps in prop::collection::vec(steps(), 1..24)) {
        run(steps);
    }
}
