//! Deletions that wait for a person, and what waits for them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Stage, base, cp, vm};
use insta::assert_snapshot;
use jiff::SignedDuration;
use planner::Disposition;
use planner::record::{Approval, OverBudget};
use protocol::Reading;

fn inside(name: &str, partition: &str) -> String {
    vm(name, &format!("  cpu: {{partition: {partition}}}"))
}

fn approve(stage: &mut Stage, object: &str) {
    let plan = stage.plan();
    let held = |item: &&planner::Item| {
        item.object.to_string() == object && matches!(item.disposition, Disposition::Held { .. })
    };
    let id = plan.items.iter().find(held).unwrap().id.clone();
    let (at, actor, reason) = (stage.now(), "uid 0 (root)".to_owned(), "test".to_owned());
    let expires = at + SignedDuration::from_hours(1);
    stage.records.approvals.insert(id, Approval { actor, reason, at, expires });
}

#[test]
fn a_partition_that_a_held_vm_still_uses_waits() {
    let mut stage = Stage::new(&(base("") + &cp("a", &[2, 3]) + &inside("erp", "a")));
    stage.converge();
    let before = stage.xl();
    let commit = format!("{:0<40}", "c2");
    stage.commit_with(&base(""), Some(OverBudget { commit, removals: 2, budget: 1 }));
    stage.converge();
    // The partition alone may go; the VM in it may not.
    approve(&mut stage, "cp/a");
    assert_snapshot!(stage.converge(), @r"
    vm/erp delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: commit c20000000000 removes 2 objects and its budget is 1 (`spec.changes.maxDeletions`); `pinfold approve 1f749bfed51b` removes it
    cp/a delete (Verb; nothing declares it any more) waits: domain erp (domid 1) runs in its cpupool, and the removal of that VM is held
    ");
    assert_eq!(stage.xl(), before);
    approve(&mut stage, "vm/erp");
    assert_snapshot!(stage.converge(), @r"
    1 vm/erp delete (Verb; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    3 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    4 vm/erp delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    4 cp/a delete (Verb; nothing declares it any more) now do destroy-cpupool
    ");
    assert_snapshot!(stage.xl(), @"pool 0 Pool-0 cpus 0-9");
}

#[test]
fn an_orphan_runs_on_until_a_person_approves() {
    let mut stage = Stage::new(&(base("") + &vm("web", "")));
    stage.converge();
    stage.commit(&base(""));
    // No commit was allowed to remove it, as far as anybody knows.
    stage.records.grants = None;
    let before = stage.xl();
    assert_snapshot!(stage.converge(), @"   vm/web delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: it has no manifest and no commit was allowed to remove it (orphaned); `pinfold approve b75dfeacbde5` removes it, restoring its file keeps it");
    assert_eq!(stage.xl(), before);
    let known = stage.records.grants.clone();
    approve(&mut stage, "vm/web");
    // Where grants cannot be read, not even an approval counts: it could not be written down.
    stage.records.grants = Some(Reading::unknown("RecordTorn", "`grants.json` has another checksum"));
    assert_snapshot!(stage.converge(), @"   vm/web delete (Commit; nothing declares it; deleted, its record goes to the trash for 14 days; it has no disks) held: the record of grants cannot be read: `grants.json` has another checksum");
    assert_eq!(stage.xl(), before);
    stage.records.grants = known;
    assert_snapshot!(stage.converge(), @r"
    1 vm/web delete (Verb; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do shutdown-domain
    3 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do destroy-domain
    4 vm/web delete (Commit; nothing declares it any more; its record goes to the trash for 14 days; it has no disks) now do trash
    ");
    assert!(stage.records.vms.is_empty());
}
