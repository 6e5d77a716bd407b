//! Every state that a VM can be in, and what a console makes of it.

use super::*;
use crate::fixture::{domain, item, snapshot, web};
use planner::{Action, Disposition, Effect};
use protocol::ShutdownReason;

#[test]
fn a_vm_is_where_its_newest_domain_is() {
    let at = |domains: Vec<Domain>| look(&snapshot(Reading::Known(domains), Vec::new(), ""), &web());
    let tty = Some("/dev/pts/3");
    let place = |domid, ended| {
        let incarnation = Some(Uuid::from_u128(u128::from(domid)));
        Target::At(Place { domid, incarnation, tty: "/dev/pts/3".to_owned(), ended })
    };
    assert_eq!(at(vec![domain(7, DomainState::Paused, None, false)]), Target::Building { domid: 7 });
    assert_eq!(at(vec![domain(7, DomainState::Paused, tty, false)]), place(7, None));
    assert_eq!(at(vec![domain(7, DomainState::Running, None, true)]), Target::Bare { domid: 7 });
    let rebooting = DomainState::Shutdown(ShutdownReason::Reboot);
    assert_eq!(at(vec![domain(7, rebooting, tty, true)]), place(7, Some(End::Reboot)));
    let both = vec![domain(8, DomainState::Running, tty, true), domain(7, DomainState::Dying, tty, true)];
    assert_eq!(at(both), place(8, None));
    let foreign = Domain { mark: None, ..domain(9, DomainState::Running, tty, true) };
    assert!(matches!(at(vec![foreign]), Target::Off { .. }), "the same UUID without our mark");
}

#[test]
fn without_a_domain_the_plan_says_what_is_to_be_expected() {
    let outlook = |items: Vec<Item>| match look(&snapshot(Reading::Known(Vec::new()), items, ""), &web()) {
        Target::Off { outlook, .. } => outlook,
        other => panic!("{other:?}"),
    };
    let waiting = || Disposition::Waiting { on: "the back-off".to_owned() };
    let held = || Disposition::Held { until: "a person approves it".to_owned() };
    assert_eq!(outlook(Vec::new()), Outlook::Stays);
    assert_eq!(outlook(vec![item(Action::Start, Effect::Create, waiting())]), Outlook::Comes);
    assert_eq!(outlook(vec![item(Action::Create, Effect::Create, held())]), Outlook::Comes);
    assert_eq!(outlook(vec![item(Action::Settle, Effect::Stop, Disposition::Now)]), Outlook::Busy);
    assert_eq!(outlook(vec![item(Action::Change, Effect::Restart, Disposition::AtNextStart)]), Outlook::Stays);
}

#[test]
fn what_hinders_a_start_is_said() {
    let why = |message| match look(&snapshot(Reading::Known(Vec::new()), Vec::new(), message), &web()) {
        Target::Off { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(""), "stopped");
    assert_eq!(why("its guest switched itself off"), "stopped: its guest switched itself off");
}

#[test]
fn unknown_is_not_off() {
    let unknown = snapshot(Reading::unknown("XenstoreLost", "xenstored does not answer"), Vec::new(), "");
    assert_eq!(look(&unknown, &web()), Target::Unknown("xenstored does not answer".to_owned()));
    let nobody = ObjectRef { name: "nobody".to_owned(), uuid: None, ..web() };
    assert_eq!(look(&unknown, &nobody), Target::Missing);
}
