//! What goes wrong: silent servers, killed fetches, damaged and unwritable mirrors, two at once.

use crate::fixture::{Daemon, File, Origin, location, vm};
use pinfold::source::{Accepted, Considered, FetchErrorKind, Https, Settings, accept_history};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server that takes connections and says nothing.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

#[test]
fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin).with_deadline(1);
    let head = daemon.accept().commit.id;
    let here = daemon.settings.url.clone();
    daemon.settings.url = location(&format!("https://127.0.0.1:{}/xen.git", silent()));
    daemon.settings.https = Some(Https::default());
    let error = daemon.fetch().unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("gave no answer in 1 s"), "{error}");
    assert_eq!(daemon.accepted(), Accepted::At(head));
    // The lock went with the process.
    daemon.settings.url = here;
    daemon.fetch().unwrap();
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = Daemon::new(Settings::new(location(&format!("https://127.0.0.1:{port}/xen.git"))));
    let error = daemon.fetch().unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Unreachable, "{error}");
}

/// Starts the child by hand, so that it can be killed by hand.
fn start_child(daemon: &Daemon, parent: u32) -> std::process::Child {
    let request = serde_json::json!({
        "version": 1, "state": daemon.state.path(), "parent": parent, "settings": daemon.settings,
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinfold"))
        .arg("fetch")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    child
}

#[test]
fn a_fetch_killed_at_any_moment_harms_nothing() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;
    for round in 0..25u64 {
        // Enough to be killed in the middle of.
        let noise: Vec<u8> =
            (0..200_000u64).map(|n| n.wrapping_mul(n + round).wrapping_mul(2_654_435_761).to_le_bytes()[1]).collect();
        origin.commit("noise", &[("noise.bin", File::Bytes(&noise))]);
        let mut child = start_child(&daemon, std::process::id());
        std::thread::sleep(Duration::from_millis(round));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(daemon.accepted(), Accepted::At(accepted.clone()));
        // What the candidate names is whole, whichever it is.
        assert!(matches!(daemon.consider(), Considered::Accept(_) | Considered::Unchanged));
    }
    assert_eq!(daemon.fetch().unwrap().head, origin.head());
    assert_eq!(daemon.accept().commit.id, origin.head());
    let packs = fs::read_dir(daemon.state.path().join("mirror.git/objects/pack")).unwrap().flatten();
    let halves: Vec<_> = packs
        .map(|entry| entry.path())
        .filter(|path| !matches!(path.extension().and_then(|e| e.to_str()), Some("pack" | "idx")))
        .collect();
    assert!(halves.is_empty(), "{halves:?}");
}

#[test]
fn a_child_whose_daemon_is_gone_does_nothing() {
    let origin = Origin::with_vms(&["web"]);
    let daemon = Daemon::of(&origin);
    // Not the process that starts it: as if that had died in between.
    assert!(!start_child(&daemon, 1).wait().unwrap().success());
    assert_eq!(daemon.mirror().candidate().unwrap(), None);
}

#[test]
fn fetches_at_the_same_time_wait_for_each_other() {
    let origin = Origin::with_vms(&["web"]);
    let daemon = Daemon::of(&origin);
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..6).map(|_| scope.spawn(|| daemon.fetch())).collect();
        for fetch in fetches {
            assert_eq!(fetch.join().unwrap().unwrap().head, origin.head());
        }
    });
}

#[test]
fn a_mirror_that_cannot_be_written_is_said_plainly() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    origin.commit("more", &[("db.yaml", File::Text(&vm("db", "")))]);
    let packs = daemon.state.path().join("mirror.git/objects/pack");
    fs::rename(&packs, packs.with_extension("away")).unwrap();
    // A file in its place stops root too, whom no permission stops.
    fs::write(&packs, "").unwrap();
    let error = daemon.fetch().unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Storage, "{error}");
    fs::remove_file(&packs).unwrap();
    fs::rename(packs.with_extension("away"), &packs).unwrap();
    daemon.accept();

    let file = tempfile::NamedTempFile::new().unwrap();
    let nowhere = pinfold::source::Fetcher::new(&file.path().join("state"), daemon.settings.clone());
    let error = nowhere.fetch(&std::sync::atomic::AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Storage, "{error}");
    assert!(error.message.contains("is writable and has space left"), "{error}");
}

/// As on a full disk: each write fails beyond the first bytes of a file.
#[test]
fn a_write_that_fails_half_way_leaves_the_mirror_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;
    let noise: Vec<u8> =
        (0..400_000u64).map(|n| n.wrapping_mul(n).wrapping_mul(2_654_435_761).to_le_bytes()[1]).collect();
    let head = origin.commit("noise", &[("noise.bin", File::Bytes(&noise))]);
    let full = daemon.state.path().join("full");
    // Blocks of 512 bytes; without the trap the kernel would kill the process.
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f 64\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_pinfold"));
    fs::write(&full, script).unwrap();
    fs::set_permissions(&full, fs::Permissions::from_mode(0o755)).unwrap();
    let fetcher = pinfold::source::Fetcher::with_program(full, daemon.state.path(), daemon.settings.clone());
    let error = fetcher.fetch(&std::sync::atomic::AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Storage, "{error}");
    assert!(error.message.contains("File too large"), "{error}");
    assert_eq!(daemon.accepted(), Accepted::At(accepted));
    assert_eq!(daemon.accept().commit.id, head);
}

/// Takes every object away from the mirror.
fn damage(daemon: &Daemon) {
    let packs = daemon.state.path().join("mirror.git/objects/pack");
    fs::remove_dir_all(&packs).unwrap();
    fs::create_dir(&packs).unwrap();
}

#[test]
fn a_damaged_mirror_is_made_afresh_and_keeps_what_is_accepted() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;
    for config_too in [false, true] {
        damage(&daemon);
        if config_too {
            fs::write(daemon.state.path().join("mirror.git/config"), "[core\n").unwrap();
            fs::remove_file(daemon.state.path().join("mirror.git/HEAD")).unwrap();
        } else {
            assert_eq!(daemon.accepted(), Accepted::Lost(accepted.clone()));
        }
        let fetched = daemon.fetch().unwrap();
        assert_eq!(fetched.head, accepted);
        // A mirror that can still be opened is simply filled again.
        assert_eq!(fetched.recloned.map(|afresh| afresh.kept), config_too.then_some(None));
        assert_eq!(daemon.accepted(), Accepted::At(accepted.clone()));
        assert_eq!(daemon.consider(), Considered::Unchanged);
    }
    assert!(!daemon.state.path().join("mirror.git.new").exists());
}

#[test]
fn damage_found_while_judging_is_repaired_by_the_next_fetch() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    let head = origin.commit("more", &[("db.yaml", File::Text(&vm("db", "")))]);
    daemon.fetch().unwrap();
    // The newest pack has the new commit; a fetch by itself would believe that all is there.
    damage(&daemon);
    let now = jiff::Timestamp::now();
    let judged = pinfold::source::consider(&daemon.mirror(), &daemon.settings.path, &|_| None, now);
    assert!(!matches!(judged, Ok(Considered::Accept(_) | Considered::Unchanged)), "{judged:?}");
    assert!(daemon.fetch().unwrap().recloned.is_some());
    assert_eq!(daemon.accept().commit.id, head);
}

#[test]
fn an_accepted_commit_that_only_the_mirror_lost_is_fetched_again() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;
    let packs = daemon.state.path().join("mirror.git/objects/pack");
    let old: Vec<_> = fs::read_dir(&packs).unwrap().map(|entry| entry.unwrap().path()).collect();
    let head = origin.commit("more", &[("db.yaml", File::Text(&vm("db", "")))]);
    daemon.fetch().unwrap();
    for file in old {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(daemon.accepted(), Accepted::Lost(accepted.clone()));
    assert!(matches!(daemon.consider(), Considered::Refused { .. }));
    assert!(daemon.fetch().unwrap().recloned.is_some());
    assert_eq!(daemon.accepted(), Accepted::At(accepted));
    assert_eq!(daemon.accept().commit.id, head);
}

#[test]
fn a_lost_accepted_commit_is_not_taken_for_none() {
    let origin = Origin::with_vms(&["web", "db"]);
    let mut daemon = Daemon::of(&origin);
    let lost = daemon.accept().commit.id;
    fs::remove_dir_all(daemon.state.path().join("mirror.git")).unwrap();
    assert_eq!(daemon.accepted(), Accepted::Lost(lost.clone()));
    // A repository that was made again, without the commit.
    let again = Origin::with_vms(&["web"]);
    again.commit("other", &[("note.txt", File::Text("other history"))]);
    daemon.settings.url = again.location();
    let why = daemon.refused();
    assert!(why.contains("is lost here"), "{why}");
    let permit = pinfold::source::Permit {
        commit: again.head(),
        reason: "the server was rebuilt".to_owned(),
        actor: "ada".to_owned(),
        at: jiff::Timestamp::now(),
    };
    accept_history(&daemon.mirror(), &permit).unwrap();
    let accept = daemon.accept();
    // What is gone is not known to be gone: it gets no grant.
    assert_eq!((accept.commit.id, accept.previous, accept.removed), (again.head(), Some(lost), vec![]));
}

#[test]
fn a_rewritten_repository_and_a_damaged_mirror_lose_nothing() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let accepted = daemon.accept().commit.id;
    let again = Origin::with_vms(&["web"]);
    again.commit("other", &[("note.txt", File::Text("other history"))]);
    daemon.settings.url = again.location();
    // Damaged, but the accepted commit is whole: it comes along.
    daemon.mirror().report_broken("a test says so").unwrap();
    let fetched = daemon.fetch().unwrap();
    assert_eq!(fetched.recloned.unwrap().kept, None);
    assert_eq!(daemon.accepted(), Accepted::At(accepted.clone()));
    // Damaged so that it cannot come along: the old mirror is kept.
    damage(&daemon);
    daemon.mirror().report_broken("a test says so again").unwrap();
    let kept = daemon.fetch().unwrap().recloned.unwrap().kept.unwrap();
    assert!(kept.join("HEAD").exists());
    assert_eq!(daemon.accepted(), Accepted::Lost(accepted));
    assert!(daemon.refused().contains("is lost here"));
}

#[test]
fn git_away_changes_nothing() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    let head = daemon.accept().commit.id;
    origin.git.find_reference("refs/heads/main").unwrap().delete().unwrap();
    assert_eq!(daemon.fetch().unwrap_err().kind, FetchErrorKind::NoBranch);
    fs::remove_dir_all(origin.path()).unwrap();
    assert_eq!(daemon.fetch().unwrap_err().kind, FetchErrorKind::NoRepository);
    assert_eq!(daemon.consider(), Considered::Unchanged);
    assert_eq!(daemon.accepted(), Accepted::At(head.clone()));
    let reading = pinfold::source::desired_at(&daemon.mirror(), &head, &daemon.settings.path).unwrap();
    assert_eq!(reading.desired.unwrap().vms.len(), 1);
}
