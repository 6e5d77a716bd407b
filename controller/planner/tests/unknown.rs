//! Nothing harmful follows from what is not known: any part of any observation may be missing.
#![allow(clippy::unwrap_used, clippy::struct_excessive_bools, reason = "tests; each gap is one switch")]

mod common;

use common::{Stage, base, cp, vm, vm_sized};
use insta::assert_snapshot;
use planner::observed::UnderWay;
use planner::{Disposition, Observed, laws, plan};
use proptest::prelude::*;
use protocol::Reading;
use uuid::Uuid;

/// What of an observation is not known.
#[derive(Clone, Debug)]
struct Gaps {
    xen: bool,
    cpupools: bool,
    domains: bool,
    grants: bool,
    files: bool,
    commit: bool,
    vcpus: Vec<bool>,
    records: Vec<bool>,
    partitions: Vec<bool>,
    busy: Vec<bool>,
}

fn gaps() -> impl Strategy<Value = Gaps> {
    let some = || prop::collection::vec(prop::bool::weighted(0.4), 4);
    let one = || prop::bool::weighted(0.2);
    (prop::bool::weighted(0.05), one(), one(), one(), one(), one(), (some(), some(), some(), some())).prop_map(
        |(xen, cpupools, domains, grants, files, commit, (vcpus, records, partitions, busy))| Gaps {
            xen,
            cpupools,
            domains,
            grants,
            files,
            commit,
            vcpus,
            records,
            partitions,
            busy,
        },
    )
}

fn unknown<T>() -> Reading<T> {
    Reading::unknown("Test", "it could not be read")
}

fn with_gaps(mut observed: Observed, gaps: &Gaps) -> Observed {
    if let Reading::Known(xen) = &mut observed.xen {
        if let Reading::Known(domains) = &mut xen.domains {
            domains
                .iter_mut()
                .zip(&gaps.vcpus)
                .filter(|(_, gap)| **gap)
                .for_each(|(domain, _)| domain.vcpus = unknown());
        }
        if gaps.cpupools {
            xen.cpupools = unknown();
        }
        if gaps.domains {
            xen.domains = unknown();
        }
    }
    if gaps.xen {
        observed.xen = unknown();
    }
    if gaps.grants {
        observed.records.grants = Some(unknown());
    }
    if gaps.files {
        observed.dom0.files.clear();
        observed.dom0.files_complete = false;
    }
    observed
        .records
        .vms
        .values_mut()
        .zip(&gaps.records)
        .filter(|(_, gap)| **gap)
        .for_each(|(record, _)| *record = unknown());
    observed
        .records
        .partitions
        .values_mut()
        .zip(&gaps.partitions)
        .filter(|(_, gap)| **gap)
        .for_each(|(record, _)| *record = unknown());
    let objects = plan(None, &observed).objects;
    observed.operations = objects
        .into_iter()
        .filter(|status| status.object.uuid.is_some())
        .zip(&gaps.busy)
        .filter(|(_, busy)| **busy)
        .map(|(status, _)| UnderWay {
            id: Uuid::nil(),
            object: status.object,
            what: "something".to_owned(),
            since: observed.now,
            request: None,
            unwritten: None,
        })
        .collect();
    observed
}

fn worlds() -> Vec<Stage> {
    let inside = |name: &str, cp: &str| {
        vm_sized(
            name,
            "2",
            "128Mi",
            &format!("  cpu: {{partition: {cp}}}\n  disks: [{{name: root, target: xvda, path: \"/srv/a.img\"}}]"),
        )
    };
    let first = base("") + &cp("a", &[2, 3]) + &cp("b", &[4]) + &inside("erp", "a") + &vm("web", "");
    let second = base(", changes: {restarts: allow}")
        + &cp("a", &[3, 4])
        + &inside("crm", "a")
        + &vm_sized("web", "2", "256Mi", "  cpu: {partition: a}");
    let fresh = Stage::new(&first);
    let mut settled = Stage::new(&first);
    settled.converge();
    let mut changed = Stage::new(&first);
    changed.converge();
    changed.commit(&second);
    let mut booted = Stage::new(&first);
    booted.converge();
    booted.event(&sim::Event::PowerLoss);
    vec![fresh, settled, changed, booted]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_harm_follows(gaps in prop::collection::vec(gaps(), 16)) {
        for stage in worlds() {
            for gaps in &gaps {
                let observed = with_gaps(stage.observe(), gaps);
                let desired = stage.desired.as_ref().filter(|_| !gaps.commit);
                let plan = plan(desired, &observed);
                laws::all(desired, &observed, &plan).unwrap();
                laws::edits_stay_at_home(&plan).unwrap();
                for busy in &observed.operations {
                    let again = plan.items.iter().any(|item| item.object == busy.object && item.disposition == Disposition::Now);
                    prop_assert!(!again, "{} is busy", busy.object);
                }
            }
        }
    }
}

#[test]
fn each_unknown_is_named() {
    let mut stage = Stage::new(&(base("") + &cp("a", &[2]) + &vm("in", "  cpu: {partition: a}") + &vm("out", "")));
    stage.converge();
    let mut observed = stage.observe();
    if let Reading::Known(xen) = &mut observed.xen {
        xen.cpupools = Reading::unknown("Inconsistent", "the cpupools' CPUs and the free CPUs are not all CPUs");
    }
    let show = |observed: &Observed| {
        let plan = plan(stage.desired.as_ref(), observed);
        let lines = plan.objects.iter().map(|status| {
            let ready = &status.conditions[0];
            format!("{}: {:?} {}: {}", status.object, ready.status, ready.reason, ready.message)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(show(&observed), @r"
    host/xen1: Unknown Inconsistent: the cpupools' CPUs and the free CPUs are not all CPUs
    cp/a: Unknown CpupoolsUnknown: the host's cpupools are not known at present
    vm/in: Unknown CpupoolsUnknown: the host's cpupools are not known at present
    vm/out: Unknown CpupoolsUnknown: the host's cpupools are not known at present
    ");
    let mut observed = stage.observe();
    observed.records.vms.values_mut().for_each(|record| *record = unknown());
    assert_snapshot!(show(&observed), @r"
    host/xen1: True AsDeclared: as commit c10000000000 says
    cp/a: True AsDeclared: as commit c10000000000 says
    vm/in: Unknown RecordUnknown: its record cannot be read: it could not be read
    vm/out: Unknown RecordUnknown: its record cannot be read: it could not be read
    ");
    let mut observed = stage.observe();
    observed.pool_id = Some(Uuid::nil());
    assert_snapshot!(show(&observed), @r"
    host/xen1: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    cp/a: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    cp/a: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    vm/in: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    vm/in: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    vm/out: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    vm/out: Unknown OtherPool: this host's state belongs to the Pool with id 00000000-0000-0000-0000-000000000000, and the repository declares 6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394; nothing is done until they agree
    ");
}
