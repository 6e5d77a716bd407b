//! Guards that stand alone: what they keep out shows in no scenario, because nobody gets that far.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod common;

use common::{Stage, base, vm};
use planner::record::Approval;
use planner::{Disposition, ObjectKind};
use protocol::Reading;

fn running() -> Stage {
    let mut stage = Stage::new(&(base("") + &vm("web", "")));
    stage.converge();
    stage
}

#[test]
fn a_mark_of_another_pool_is_foreign() {
    let stage = running();
    let mut observed = stage.observe();
    let Reading::Known(xen) = &mut observed.xen else { panic!("Xen is known") };
    let Reading::Known(domains) = &mut xen.domains else { panic!("domains are known") };
    // A host that was in another Pool before, or a copied state directory: its domains bear a whole mark.
    domains[0].mark.as_mut().unwrap().pool_id = uuid::Uuid::from_u128(7);
    let plan = planner::plan(stage.desired.as_ref(), &observed);
    assert!(plan.items.iter().all(|item| item.disposition != Disposition::Now), "{:#?}", plan.items);
    assert!(plan.objects.iter().any(|object| object.object.kind == ObjectKind::ForeignDomain), "it is named");
}

#[test]
fn an_approval_counts_once_and_while_it_lasts() {
    let mut stage = running();
    let over = planner::record::OverBudget { commit: format!("{:0<40}", "c2"), removals: 1, budget: 0 };
    stage.commit_with(&base(""), Some(over));
    let held = stage.plan();
    assert!(matches!(held.items[0].disposition, Disposition::Held { .. }), "{:#?}", held.items);
    let id = held.items[0].id.clone();
    let approval = |expires| Approval { actor: "root".to_owned(), reason: "test".to_owned(), at: stage.now(), expires };
    let (over, lasting) = (approval(stage.now()), approval("2027-01-01T00:00:00Z".parse().unwrap()));
    stage.records.approvals.insert(id.clone(), over);
    assert_eq!(stage.plan().items, held.items, "what has expired approves nothing");
    stage.records.approvals.insert(id.clone(), lasting);
    let now = stage.plan();
    assert_eq!(now.items[0].disposition, Disposition::Now);
    stage.pass();
    assert!(!stage.records.approvals.contains_key(&id), "it is used up with the first step");
}
