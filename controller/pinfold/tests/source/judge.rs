//! Verdicts: what is put into force, what is refused, and what may be removed.

use crate::fixture::{Daemon, File, Origin, POOL, granted, vm};
use pinfold::source::{Accepted, Considered, Permit, PermitError, RefusalReason, accept_history, commit, prepare};
use std::path::Path;

fn permit(daemon: &Daemon, commit: &pinfold::source::CommitId, reason: &str) -> Result<(), PermitError> {
    let (reason, actor) = (reason.to_owned(), "ada".to_owned());
    accept_history(&daemon.mirror(), &Permit { commit: commit.clone(), reason, actor, at: jiff::Timestamp::now() })
}

#[test]
fn a_broken_commit_is_refused_whole_and_remembered() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let good = daemon.accept().commit.id;
    let typo = vm("db", "").replace("memory", "memroy");
    let bad =
        origin.commit("typo", &[("db.yaml", File::Text(&typo)), ("x.yaml", File::Text(&vm("x", "  power: on\n")))]);
    daemon.fetch().unwrap();
    let Considered::Refused { refusal, new } = daemon.consider() else { panic!() };
    assert!(new);
    assert_eq!(refusal.commit.id, bad);
    let RefusalReason::Findings { findings } = &refusal.reason else { panic!() };
    let places: Vec<_> = findings.iter().filter(|f| f.error).filter_map(|f| f.place.clone()).collect();
    assert!(
        places.iter().any(|place| place.starts_with("db.yaml:8:"))
            && places.iter().any(|place| place.starts_with("x.yaml:")),
        "{places:?}"
    );
    // The same again: remembered with its time, and not new.
    let Considered::Refused { refusal: again, new } = daemon.consider() else { panic!() };
    assert!(!new);
    assert_eq!(again, refusal);
    assert_eq!(daemon.accepted(), Accepted::At(good));
    let fixed = origin.commit("fix", &[("db.yaml", File::Text(&vm("db", ""))), ("x.yaml", File::Gone)]);
    assert_eq!(daemon.accept().commit.id, fixed);
    assert_eq!(pinfold::source::refusal(&daemon.mirror()).unwrap(), None);
}

#[test]
fn a_bad_head_that_is_taken_back_is_forgotten() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let good = daemon.accept().commit.id;
    origin.commit("bad", &[("db.yaml", File::Text("kind: Nothing\n"))]);
    daemon.refused();
    origin.put_back(&good);
    daemon.fetch().unwrap();
    assert_eq!(daemon.consider(), Considered::Unchanged);
    assert_eq!(pinfold::source::refusal(&daemon.mirror()).unwrap(), None);
}

#[test]
fn a_rewritten_branch_needs_a_person() {
    let origin = Origin::with_vms(&["web"]);
    let base = origin.head();
    let mut daemon = Daemon::of(&origin);
    origin.commit("ours", &[("db.yaml", File::Text(&vm("db", "")))]);
    let accepted = daemon.accept().commit.id;
    let forced = origin.commit_on(&[&base], "forced", &[("mail.yaml", File::Text(&vm("mail", "")))]);
    let why = daemon.refused();
    assert!(why.contains("does not descend") && why.contains(base.short()) && why.contains("accept-history"), "{why}");
    assert_eq!(daemon.accepted(), Accepted::At(accepted.clone()));

    assert!(matches!(permit(&daemon, &forced, " "), Err(PermitError::NoReason)));
    assert!(matches!(permit(&daemon, &accepted, "x"), Err(PermitError::NotHead { .. })));
    permit(&daemon, &forced, "rebased by mistake").unwrap();
    let accept = daemon.accept();
    assert_eq!(accept.commit.id, forced);
    assert_eq!(granted(&daemon), ["db"]);
    let log = daemon.mirror().accepted_log().unwrap();
    assert_eq!(log.last().unwrap().why, "accept-history by ada: rebased by mistake");
    // Once: back to where it was needs another one.
    origin.put_back(&accepted);
    assert!(daemon.refused().contains("does not descend"));
    assert_eq!(pinfold::source::permit(&daemon.mirror()).unwrap(), None);
}

#[test]
fn going_back_is_a_revert() {
    let origin = Origin::with_vms(&["web"]);
    let before = origin.head();
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    origin.commit("add", &[("db.yaml", File::Text(&vm("db", "")))]);
    daemon.accept();
    origin.put_back(&before);
    assert!(daemon.refused().contains("does not descend"));
    let added = daemon.mirror().accepted().unwrap().commit().unwrap().clone();
    origin.put_back(&added);
    origin.commit("revert", &[("db.yaml", File::Gone)]);
    assert_eq!(daemon.accept().removed.len(), 1);
    assert_eq!(granted(&daemon), ["db"]);
}

#[test]
fn removals_within_the_budget_are_granted_and_restoring_revokes() {
    let budget = POOL.replace(r#"8e11"}"#, r#"8e11", changes: {maxDeletions: 2}}"#);
    let origin = Origin::with_vms(&["a", "b", "c", "d"]);
    origin.commit("budget", &[("pool.yaml", File::Text(&budget))]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    assert!(granted(&daemon).is_empty());
    origin.commit("two go", &[("a.yaml", File::Gone), ("b.yaml", File::Gone)]);
    let accept = daemon.accept();
    assert!(!accept.is_over_budget());
    assert_eq!(granted(&daemon), ["a", "b"]);
    origin.commit("one comes back", &[("a.yaml", File::Text(&vm("a", "")))]);
    daemon.accept();
    assert_eq!(granted(&daemon), ["b"]);
    // Restored under a new name, with its identity: not removed either.
    origin.commit("renamed", &[("b.yaml", File::Text(&vm("bee", "  formerly: [b]\n")))]);
    daemon.accept();
    assert!(granted(&daemon).is_empty());
}

#[test]
fn removals_over_the_budget_are_accepted_without_any_grant() {
    let names: Vec<_> = (0..100).map(|number| format!("vm{number}")).collect();
    let origin = Origin::with_vms(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    let paths: Vec<_> = names.iter().map(|name| format!("{name}.yaml")).collect();
    // The same commit raises the budget: that counts for the next one only.
    let raised = POOL.replace(r#"8e11"}"#, r#"8e11", changes: {maxDeletions: 1000}}"#);
    let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), File::Gone)).collect();
    files.push(("pool.yaml", File::Text(&raised)));
    let head = origin.commit("all gone", &files);
    let accept = daemon.accept();
    assert!(accept.is_over_budget());
    assert!(granted(&daemon).is_empty());
    let over = daemon.grants.as_ref().unwrap().over_budget.clone().unwrap();
    assert_eq!((over.commit.as_str(), over.removals, over.budget), (head.as_str(), 100, 5));
}

#[test]
fn a_crash_between_grants_and_ref_is_harmless() {
    let origin = Origin::with_vms(&["a", "b"]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    origin.commit("one goes", &[("a.yaml", File::Gone)]);
    let accept = daemon.acceptable();
    let (first, later) = (jiff::Timestamp::now(), jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60));
    let grants = prepare(&accept, daemon.grants.as_ref(), first);
    // Killed here; started again.
    let again = daemon.acceptable();
    assert_eq!(again, accept);
    assert_eq!(prepare(&again, Some(&grants), later), grants);
    commit(&daemon.mirror(), &again, later).unwrap();
    // Killed after the ref moved, before the caller knew: once more changes nothing.
    commit(&daemon.mirror(), &again, later).unwrap();
    assert_eq!(daemon.mirror().accepted_log().unwrap().len(), 2);
    assert_eq!(daemon.consider(), Considered::Unchanged);
}

#[test]
fn a_verdict_is_for_the_commit_it_was_made_against() {
    let origin = Origin::with_vms(&["a"]);
    let mut daemon = Daemon::of(&origin);
    let stale = daemon.acceptable();
    daemon.accept();
    origin.commit("more", &[("b.yaml", File::Text(&vm("b", "")))]);
    daemon.accept();
    let error = commit(&daemon.mirror(), &stale, jiff::Timestamp::now()).unwrap_err();
    assert!(error.to_string().contains("judge it again"), "{error}");
}

#[test]
fn a_record_s_identity_is_the_one_that_is_granted() {
    let origin = Origin::with_vms(&["a", "b"]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    origin.commit("one goes", &[("a.yaml", File::Gone)]);
    daemon.fetch().unwrap();
    let recorded = uuid::Uuid::from_u128(7);
    let judged = pinfold::source::judge(&daemon.mirror(), &daemon.settings.path, None, &|name| {
        (name.as_str() == "a").then_some(recorded)
    });
    let pinfold::source::Verdict::Accept(accept) = judged.unwrap() else { panic!() };
    assert_eq!(accept.removed[0].uuid, recorded);
}

const PROTECTED: &str = "  protect: true\n";

#[test]
fn protection_is_lifted_by_an_earlier_commit() {
    let origin = Origin::with_vms(&["web"]);
    origin.commit("protect", &[("db.yaml", File::Text(&vm("db", PROTECTED)))]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;

    origin.commit("at once", &[("db.yaml", File::Gone)]);
    let why = daemon.refused();
    assert!(why.contains("`db` is protected"), "{why}");

    // In two commits, fetched together.
    origin.put_back(&accepted);
    origin.commit("lift", &[("db.yaml", File::Text(&vm("db", "")))]);
    origin.commit("note", &[("note.txt", File::Text("x"))]);
    origin.commit("remove", &[("db.yaml", File::Gone)]);
    daemon.accept();
    assert_eq!(granted(&daemon), ["db"]);
}

#[test]
fn protection_is_not_lifted_on_a_side_branch() {
    let origin = Origin::with_vms(&["web"]);
    let base = origin.commit("protect", &[("db.yaml", File::Text(&vm("db", PROTECTED)))]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    let side = origin.commit_on(&[&base], "lift", &[("db.yaml", File::Text(&vm("db", "")))]);
    let side = origin.commit_on(&[&side], "remove", &[("db.yaml", File::Gone)]);
    // The branch itself shows it protected, then gone.
    origin.commit_on(&[&base, &side], "merge", &[("db.yaml", File::Gone)]);
    assert!(daemon.refused().contains("`db` is protected"));
    // Nor by a commit that is broken as a whole.
    origin.put_back(&base);
    origin.commit("lift", &[("db.yaml", File::Text(&vm("db", ""))), ("bad.yaml", File::Text("kind: X\n"))]);
    origin.commit("remove", &[("db.yaml", File::Gone), ("bad.yaml", File::Gone)]);
    assert!(daemon.refused().contains("`db` is protected"));
}

#[test]
fn what_git_can_hold_and_manifests_cannot_be_is_refused() {
    type Change = fn(&Origin);
    let cases: [(&str, Change, &str); 8] = [
        ("empty", |o| drop(o.commit("x", &[("pool.yaml", File::Gone), ("web.yaml", File::Gone)])), "no manifest"),
        ("huge", |o| drop(o.commit("x", &[("big.yaml", File::Bytes(&vec![b'#'; 2 << 20]))])), "has 2097152 bytes"),
        ("link", |o| drop(o.commit("x", &[("out.yaml", File::Link("/etc/passwd"))])), "leaves the configuration"),
        ("inner link", |o| drop(o.commit("x", &[("in.yaml", File::Link("web.yaml"))])), "is a symbolic link"),
        ("submodule", |o| drop(o.commit("x", &[("sub", File::Submodule)])), "is a submodule"),
        ("name", |o| drop(o.commit_raw_name(b"z\xff.yaml", "x: y\n")), "is not UTF-8"),
        ("content", |o| drop(o.commit("x", &[("c.yaml", File::Bytes(b"a: \xff\n"))])), "not UTF-8"),
        (
            "pool",
            |o| drop(o.commit("x", &[("pool.yaml", File::Text(&POOL.replace("8e11", "8e12")))])),
            "pool's id changes",
        ),
    ];
    for (name, change, message) in cases {
        let origin = Origin::with_vms(&["web"]);
        let mut daemon = Daemon::of(&origin);
        let good = daemon.accept().commit.id;
        change(&origin);
        let why = daemon.refused();
        assert!(why.contains(message), "{name}: {why}");
        assert_eq!(daemon.accepted(), Accepted::At(good), "{name}");
    }
}

#[test]
fn what_is_ignored_is_not_looked_at() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    origin.commit(
        "x",
        &[
            (".pinfoldignore", File::Text("vendor\ncharts/\n*.tmpl.yaml\n")),
            ("vendor", File::Submodule),
            ("charts/big.yaml", File::Bytes(&vec![b'#'; 2 << 20])),
            ("a.tmpl.yaml", File::Link("/etc/passwd")),
            (".github/workflow.yaml", File::Text("not: ours")),
            ("README.md", File::Text("# hello")),
        ],
    );
    assert_eq!(daemon.accept().findings, []);
}

#[test]
fn a_restart_needs_no_network() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let head = daemon.accept().commit.id;
    std::fs::remove_dir_all(origin.path()).unwrap();
    let mirror = pinfold::source::Mirror::open(Path::new(daemon.state.path())).unwrap();
    assert_eq!(mirror.accepted().unwrap(), Accepted::At(head.clone()));
    assert!(pinfold::source::desired_at(&mirror, &head, &daemon.settings.path).unwrap().desired.is_some());
}
