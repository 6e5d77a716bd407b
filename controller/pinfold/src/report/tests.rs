//! What people see, as they see it: 80 columns, colours stripped.

use super::{describe, events, list, plan, status, why};
use crate::api::view::{
    ConditionView, FindingView, Head, ObjectDetail, ObjectView, PlanDocument, Refused, SourceView, Status, Trouble,
};
use crate::reconcile::{Event, Severity};
use jiff::Timestamp;
use planner::observed::{AcceptedCommit, UnderWay};
use planner::{Action, Cause, Change, ConditionKind, Disposition, Effect, Item, ObjectKind, ObjectRef, Plan, Truth};
use uuid::Uuid;

const ACCEPTED: &str = "91c07eeb2c8c4f0e8f1e0a4f3b1de1d7a3c0ffee";

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 - seconds_ago).unwrap()
}

fn now() -> Timestamp {
    at(0)
}

fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= 80, "{widest} columns:\n{text}");
    text
}

fn vm(name: &str) -> ObjectRef {
    ObjectRef { kind: ObjectKind::VirtualMachine, name: name.to_owned(), uuid: Some(Uuid::from_u128(7)) }
}

fn condition(kind: ConditionKind, status: Truth, reason: &str, message: &str, seconds_ago: i64) -> ConditionView {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    ConditionView { kind, status, reason, message, since: at(seconds_ago), commit: Some(ACCEPTED.to_owned()) }
}

fn object(object: ObjectRef, power: &str, conditions: Vec<ConditionView>) -> ObjectView {
    let facts = vec![("domid".to_owned(), "5".to_owned()), ("hard affinity".to_owned(), "2-3".to_owned())];
    ObjectView { object, power: power.to_owned(), facts, conditions }
}

fn ready(seconds_ago: i64) -> ConditionView {
    condition(ConditionKind::Ready, Truth::True, "AsDeclared", "as commit 91c07ee says", seconds_ago)
}

fn stalled() -> ObjectView {
    let message = "the kernel /srv/guests/none is not there: put it there, or correct spec.boot.kernel";
    let not = condition(ConditionKind::Ready, Truth::False, "FileMissing", message, 200);
    let stalled = condition(ConditionKind::Stalled, Truth::True, "FileMissing", message, 200);
    object(vm("broken"), "absent", vec![not, stalled])
}

fn held() -> ObjectView {
    let message = "delete: held: more removals than the budget allows; approve it";
    let not = condition(ConditionKind::Ready, Truth::False, "NeedsApproval", message, 9000);
    let held = condition(ConditionKind::Held, Truth::True, "NeedsApproval", message, 9000);
    object(vm("old-proxy"), "running", vec![not, held])
}

fn objects() -> Vec<ObjectView> {
    let partition = ObjectRef { kind: ObjectKind::CorePartition, name: "oracle-a".to_owned(), uuid: None };
    let foreign = ObjectRef { kind: ObjectKind::ForeignDomain, name: "jenkins".to_owned(), uuid: None };
    vec![
        object(partition, "present", vec![ready(400_000)]),
        object(vm("erp-db"), "running", vec![ready(12)]),
        stalled(),
        held(),
        object(foreign, "running", Vec::new()),
    ]
}

fn commit() -> AcceptedCommit {
    AcceptedCommit {
        id: ACCEPTED.to_owned(),
        subject: "erp-db: join oracle-a".to_owned(),
        author: "Alice <alice@example.org>".to_owned(),
        at: at(180),
    }
}

fn source() -> SourceView {
    SourceView {
        url: "ssh://git@git.example.org/xen.git".to_owned(),
        branch: "main".to_owned(),
        fetched: Some(at(31)),
        ..SourceView::default()
    }
}

fn a_status() -> Status {
    Status {
        head: Head::of("Status"),
        host: "xen1".to_owned(),
        version: "0.1.0".to_owned(),
        started: at(90_000),
        observed_at: at(1),
        now: now(),
        ready: condition(ConditionKind::Ready, Truth::False, "NotReady", "2 of 4 objects are not ready", 200),
        xen: Some("4.17.5".to_owned()),
        unknown: None,
        commit: Some(commit()),
        source: source(),
        operations: vec![UnderWay {
            id: Uuid::nil(),
            object: vm("batch"),
            what: "create".to_owned(),
            since: at(3),
            request: None,
            unwritten: None,
        }],
        held: 1,
        due: None,
        objects: objects(),
    }
}

fn held_item() -> Item {
    Item {
        id: "3f9c1e2a".to_owned(),
        commit: Some(ACCEPTED.to_owned()),
        object: vm("old-proxy"),
        action: Action::Delete,
        effect: Effect::Delete,
        disposition: Disposition::Held {
            until: "somebody approves it: the commit removes 2 objects and may remove 1".to_owned(),
        },
        cause: Cause::Commit,
        changes: vec![Change { field: "spec.power".to_owned(), old: Some("running".to_owned()), new: None }],
        reason: "no manifest declares it any more".to_owned(),
        drift: None,
        trail: planner::Trail::default(),
        operation: None,
    }
}

fn detail(object: ObjectView) -> ObjectDetail {
    let event = |seconds, reason: &str, message: &str, severity| Event {
        seq: 0,
        at: at(seconds),
        severity,
        object: Some(object.object.clone()),
        reason: reason.to_owned(),
        message: message.to_owned(),
        commit: Some(ACCEPTED.to_owned()),
        author: None,
        item: None,
        actor: None,
        approval: None,
        took: None,
    };
    ObjectDetail {
        head: Head::of("Object"),
        now: now(),
        events: vec![
            event(9001, "CreateDone", "", Severity::Info),
            event(9000, "Held", "NeedsApproval: more removals than the budget allows", Severity::Warning),
        ],
        items: vec![held_item()],
        operations: Vec::new(),
        commit: Some(commit()),
        source: source(),
        object,
    }
}

#[test]
fn a_host_at_a_glance() {
    insta::assert_snapshot!(plain(&status(&a_status(), now())), @"
    host     xen1  not ready  (Xen 4.17.5, observed 1 s ago)
    commit   91c07ee  erp-db: join oracle-a
             Alice, accepted 3 min ago
    source   ssh://git@git.example.org/xen.git main, read 31 s ago
    doing    vm/batch  create, for 3 s

    4 objects: 2 ready, 2 not ready, 1 stalled, 1 held; 1 foreign, never touched

    OBJECT          POWER    READY  SINCE  WHY
    cp/oracle-a     present  yes    4 d
    vm/erp-db       running  yes    12 s
    vm/broken       absent   no     3 min  FileMissing: the kernel /srv/guests/none
                                           is not there: put it there, or correct
                                           spec.boot.kernel
    vm/old-proxy    running  no     2 h    NeedsApproval
    domain/jenkins  running  -

    1 item waits for a person: `pinfold plan` shows what, `pinfold approve ID
    --reason …` lets it happen
    ");
}

#[test]
fn a_refused_commit_shows_its_mistakes_with_line_and_column() {
    let finding = |place: &str, message: &str, help: &[&str]| FindingView {
        code: "unknown-field".to_owned(),
        message: message.to_owned(),
        place: Some(place.to_owned()),
        help: help.iter().map(|help| (*help).to_owned()).collect(),
    };
    let refused = Refused {
        commit: "4be2d10c".to_owned(),
        subject: "web: a little memory".to_owned(),
        author: "Bob <bob@example.org>".to_owned(),
        since: at(65),
        reason: "Findings".to_owned(),
        findings: vec![
            finding("vms/web.yaml:8:3", "`spec` has no field `memmory`", &["did you mean `memory`?"]),
            finding("vms/web.yaml:9:11", "a size needs a unit: Ki, Mi, Gi or Ti; for MiB write `96Mi`", &[]),
        ],
    };
    let source = SourceView { refused: Some(refused), ..source() };
    let text = status(&Status { source, operations: Vec::new(), objects: Vec::new(), held: 0, ..a_status() }, now());
    insta::assert_snapshot!(plain(&text), @"
    host     xen1  not ready  (Xen 4.17.5, observed 1 s ago)
    commit   91c07ee  erp-db: join oracle-a
             Alice, accepted 3 min ago
    source   ssh://git@git.example.org/xen.git main, read 31 s ago
    refused  4be2d10  web: a little memory
             Bob, refused 65 s ago: 2 errors; the commit above stays in force
             vms/web.yaml:8:3: `spec` has no field `memmory`
               help: did you mean `memory`?
             vms/web.yaml:9:11: a size needs a unit: Ki, Mi, Gi or Ti; for MiB write
             `96Mi`

    0 objects
    ");
}

#[test]
fn a_repository_that_is_away_and_a_host_that_is_unknown() {
    let failing = Trouble {
        reason: "Unreachable".to_owned(),
        message: "git.example.org does not answer: connection timed out; it is tried again, and until then the commit above stays in force".to_owned(),
        since: at(7300),
    };
    let message = "xenstored does not answer; it cannot be restarted: move the guests away and reboot the host";
    let text = status(
        &Status {
            source: SourceView { failing: Some(failing), ..source() },
            ready: condition(ConditionKind::Ready, Truth::Unknown, "XenstoreLost", message, 30),
            xen: None,
            operations: Vec::new(),
            objects: Vec::new(),
            held: 0,
            ..a_status()
        },
        now(),
    );
    insta::assert_snapshot!(plain(&text), @"
    host     xen1  unknown  (observed 1 s ago)
             XenstoreLost: xenstored does not answer; it cannot be restarted: move
             the guests away and reboot the host
    commit   91c07ee  erp-db: join oracle-a
             Alice, accepted 3 min ago
    source   ssh://git@git.example.org/xen.git main, read 31 s ago
             Unreachable for 2 h; the host stays as it is
               git.example.org does not answer: connection timed out; it is tried
               again, and until then the commit above stays in force

    0 objects
    ");
}

#[test]
fn a_list() {
    insta::assert_snapshot!(plain(&list(&objects(), now())), @"
    NAME       POWER    READY  SINCE  WHY
    oracle-a   present  yes    4 d
    erp-db     running  yes    12 s
    broken     absent   no     3 min  FileMissing: the kernel /srv/guests/none is
                                      not there: put it there, or correct
                                      spec.boot.kernel
    old-proxy  running  no     2 h    NeedsApproval: delete: held: more removals
                                      than the budget allows; approve it
    jenkins    running  -
    ");
}

#[test]
fn one_object_and_why_it_is_so() {
    insta::assert_snapshot!(plain(&describe(&detail(held()), now())), @"
    vm/old-proxy  running
      domid          5
      hard affinity  2-3
      uuid           00000000-0000-0000-0000-000000000007
      commit         91c07ee  erp-db: join oracle-a

    Conditions
      not ready, since 2 h ago: NeedsApproval
      held, since 2 h ago: NeedsApproval
        delete: held: more removals than the budget allows; approve it

    Plan
    - vm/old-proxy             delete    delete      commit    held  [3f9c1e2a]
        because no manifest declares it any more
        held: somebody approves it: the commit removes 2 objects and may remove 1
        - spec.power  running

    Events
      2 h ago  CreateDone
      2 h ago  Held: NeedsApproval: more removals than the budget allows
    ");
    insta::assert_snapshot!(plain(&why(&detail(held()), now())), @"
    vm/old-proxy is not as commit 91c07ee says, since 2 h ago. It is running.
    NeedsApproval: delete: held: more removals than the budget allows; approve it
    - vm/old-proxy             delete    delete      commit    held  [3f9c1e2a]
        because no manifest declares it any more
        held: somebody approves it: the commit removes 2 objects and may remove 1
        - spec.power  running
    ");
    let fine = ObjectDetail { items: Vec::new(), ..detail(object(vm("erp-db"), "running", vec![ready(12)])) };
    insta::assert_snapshot!(plain(&why(&fine, now())), @"
    vm/erp-db is as commit 91c07ee says, since 12 s ago. It is running. Nothing is
    to be done.
    ");
}

#[test]
fn what_happened() {
    insta::assert_snapshot!(plain(&events(&detail(held()).events, now())), @"
    WHEN     OBJECT        COMMIT   WHAT        HOW
    2 h ago  vm/old-proxy  91c07ee  CreateDone
    2 h ago  vm/old-proxy  91c07ee  Held        NeedsApproval: more removals than
                                                the budget allows
    ");
}

#[test]
fn what_would_happen() {
    let plan_of = Plan { commit: Some(ACCEPTED.to_owned()), items: vec![held_item()], ..Plan::default() };
    let document = PlanDocument { head: Head::of("Plan"), host: "xen1".to_owned(), observed_at: now(), plan: plan_of };
    insta::assert_snapshot!(plain(&plan(&document)), @"
    host xen1, commit 91c07ee in force, observed 2027-01-15 08:00:00 UTC

    - vm/old-proxy             delete    delete      commit    held  [3f9c1e2a]
        because no manifest declares it any more
        held: somebody approves it: the commit removes 2 objects and may remove 1
        - spec.power  running
    0 to create, 0 to change, 1 to remove or stop. 0 now, 0 waiting, 1 held, 0 at
      next start.
    ");
}
