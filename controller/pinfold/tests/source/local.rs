//! Repositories in the file system.

use crate::fixture::{Daemon, File, Origin, POOL, location, run, vm};
use pinfold::source::{FetchErrorKind, Settings, desired_at};
use std::process::Command;

#[test]
fn a_path_and_a_file_url_give_the_same() {
    let origin = Origin::with_vms(&["web"]);
    let url = format!("file://{}", origin.path().display());
    for at in [origin.location(), location(&url)] {
        let mut daemon = Daemon::new(Settings::new(at));
        assert_eq!(daemon.fetch().unwrap().head, origin.head());
        let accept = daemon.accept();
        assert_eq!((accept.commit.subject.as_str(), accept.commit.author.as_str()), ("VMs", "Ada <ada@example.org>"));
        assert_eq!(accept.desired.vms.len(), 1);
    }
}

#[test]
fn each_fetch_brings_what_is_new_of_the_one_branch() {
    let origin = Origin::with_vms(&["web"]);
    let other = origin.commit_to("other", "not ours", &[("x", File::Text("x"))]);
    let daemon = Daemon::of(&origin);
    daemon.fetch().unwrap();
    let next = origin.commit("more", &[("db.yaml", File::Text(&vm("db", "")))]);
    assert_eq!(daemon.fetch().unwrap().head, next);
    assert_eq!(daemon.mirror().candidate().unwrap(), Some(next));
    assert!(daemon.mirror().facts(&other).is_err(), "another branch came along");
}

#[test]
fn many_fetches_do_not_leave_many_packs() {
    let origin = Origin::with_vms(&["web"]);
    let mut daemon = Daemon::of(&origin);
    daemon.accept();
    for number in 0..60 {
        origin.commit("again", &[("note.txt", File::Text(&number.to_string()))]);
        daemon.fetch().unwrap();
    }
    let packs = std::fs::read_dir(daemon.state.path().join("mirror.git/objects/pack")).unwrap().count() / 2;
    assert!(packs < 52, "{packs} packs");
    daemon.accept();
    assert_eq!(daemon.mirror().accepted_log().unwrap().len(), 2);
}

#[test]
fn only_the_configured_folder_counts() {
    let origin = Origin::new();
    origin.commit("one", &[("lab/pool.yaml", File::Text(POOL)), ("other/broken.yaml", File::Text("kind: [\n"))]);
    let mut daemon = Daemon::of(&origin).with_path("lab");
    let head = daemon.accept().commit.id;
    assert!(desired_at(&daemon.mirror(), &head, &daemon.settings.path).unwrap().desired.is_some());
    daemon.settings.path = "nowhere".to_owned().try_into().unwrap();
    origin.commit("two", &[("x", File::Text("x"))]);
    assert!(daemon.refused().contains("has no folder `nowhere`"));
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Daemon::new(Settings::new(location(folder.path().join("no.git").to_str().unwrap())));
    let plain = Daemon::new(Settings::new(location(folder.path().to_str().unwrap())));
    let origin = Origin::with_vms(&[]);
    let mut no_branch = Daemon::of(&origin);
    no_branch.settings.branch = "prod".to_owned();
    let empty_origin = Origin::new();
    let cases = [
        (missing, FetchErrorKind::NoRepository, "there is no repository at"),
        (plain, FetchErrorKind::NoRepository, "is no git repository"),
        (no_branch, FetchErrorKind::NoBranch, "has no branch `prod`; it has main"),
        (Daemon::of(&empty_origin), FetchErrorKind::NoBranch, "nothing was pushed to it yet"),
    ];
    for (daemon, kind, message) in cases {
        let error = daemon.fetch().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn a_repository_of_another_owner_is_read() {
    let origin = Origin::with_vms(&["web"]);
    // Only root can give files away; for others this is a fetch as any other.
    if run(Command::new("id").arg("-u")) == "0" {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(origin.path()));
    }
    assert_eq!(Daemon::of(&origin).fetch().unwrap().head, origin.head());
}

#[test]
fn a_working_tree_and_a_linked_one_are_repositories_too() {
    let origin = Origin::with_vms(&["web"]);
    let clone = origin.folder.path().join("clone");
    let linked = origin.folder.path().join("linked");
    let git = crate::fixture::program(&["git"], "git");
    run(Command::new(&git).args(["clone", "-q"]).arg(origin.path()).arg(&clone));
    run(Command::new(&git).arg("-C").arg(&clone).args(["worktree", "add", "-q", "-b", "side"]).arg(&linked));
    for path in [clone, linked] {
        let fetched = Daemon::new(Settings::new(location(path.to_str().unwrap()))).fetch().unwrap();
        assert_eq!(fetched.head, origin.head());
    }
}

/// The user's own git configuration may send every url elsewhere, and this must not reach us.
#[test]
fn nobodys_git_configuration_is_obeyed() {
    let (origin, elsewhere) = (Origin::with_vms(&["web"]), Origin::with_vms(&["evil"]));
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (origin.path().display().to_string(), elsewhere.path().display().to_string());
    std::fs::write(home.path().join(".gitconfig"), format!("[url \"{to}\"]\n\tinsteadOf = {from}\n")).unwrap();
    // The whole test binary again, one test of it, with that home: what the daemon would be started with.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::a_fetch_in_a_strange_home"])
        .env("HOME", home.path())
        .env("GIT_DIR", elsewhere.path())
        .env("ORIGIN", origin.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_fetch_in_a_strange_home() {
    // Alone it is a fetch as any other.
    let origin = Origin::with_vms(&["web"]);
    let path = std::env::var("ORIGIN").unwrap_or_else(|_| origin.path().display().to_string());
    let mut daemon = Daemon::new(Settings::new(location(&path)));
    assert!(daemon.accept().desired.vms.keys().any(|name| name.as_str() == "web"));
}
