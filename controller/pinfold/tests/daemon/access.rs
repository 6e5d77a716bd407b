//! Who may do what: two sockets, two groups, and users that are really others. Runs as root, as everything that drives Xen does.

use super::site::{Said, Site};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Nobody's number on Debian, and two groups that need no entry in `/etc/group`.
const NOBODY: &str = "65534";
const READERS: &str = "64001";
const ADMINS: &str = "64002";

/// A site whose sockets others can reach, and a `pinfold` that they can start.
fn open_site() -> (Site, PathBuf) {
    let mut site = Site::settled();
    site.kill();
    site.configure("readGroup", READERS);
    site.configure("adminGroup", ADMINS);
    std::fs::set_permissions(site.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let pinfold = site.path("pinfold");
    std::fs::copy(env!("CARGO_BIN_EXE_pinfold"), &pinfold).unwrap();
    site.start();
    (site, pinfold)
}

/// Runs a command as nobody who is in these groups.
fn as_nobody(site: &Site, pinfold: &PathBuf, groups: Option<&str>, arguments: &[&str]) -> Said {
    let groups = groups.map_or_else(|| "--clear-groups".to_owned(), |groups| format!("--groups={groups}"));
    let output = Command::new("setpriv")
        .args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), &groups, "--"])
        .arg(pinfold)
        .args(arguments)
        .env("PINFOLD_SOCKET", site.path("pinfold.sock"))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn groups_read_or_change_and_strangers_do_neither() {
    let (site, pinfold) = open_site();
    let run = |groups, arguments: &[&str]| as_nobody(&site, &pinfold, groups, arguments);
    let allowed = |groups, arguments: &[&str]| {
        let said = run(groups, arguments);
        assert_eq!(said.code, 0, "{groups:?} {arguments:?}: {}", said.err);
    };
    let refused = |groups, arguments: &[&str], group: &str| {
        let said = run(groups, arguments);
        assert_eq!(said.code, 70, "{groups:?} {arguments:?}");
        assert!(said.err.contains("you may not") && said.err.contains(group), "{}", said.err);
        assert!(said.err.contains("help: join that group, or run this as root"), "{}", said.err);
    };
    let verbs: [&[&str]; 4] = [
        &["console", "vm/web", "--once"],
        &["sync"],
        &["approve", "some-item", "--reason", "because"],
        &["accept-history", "1111111111111111111111111111111111111111", "--reason", "because"],
    ];
    let reads: [&[&str]; 6] =
        [&["status"], &["get", "vm"], &["describe", "vm/web"], &["why", "vm/web"], &["events"], &["inventory"]];
    for read in reads {
        allowed(Some(READERS), read);
        allowed(Some(ADMINS), read);
        refused(None, read, "readGroup");
    }
    for verb in verbs {
        refused(Some(READERS), verb, "adminGroup");
        refused(None, verb, "adminGroup");
    }
    let actors = || {
        let events = site.json(&["events", "--limit", "10000", "-o", "json"]);
        let verbs = events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "Verb");
        verbs.map(|event| super::site::text(&event["actor"])).collect::<Vec<_>>()
    };
    assert_eq!(actors(), [""; 0], "what was refused was not done");
    allowed(Some(ADMINS), &["sync"]);
    assert_eq!(site.pinfold(&["sync"]).code, 0);
    assert_eq!(actors(), ["uid 65534", "uid 0"], "whoever did it, as the kernel says");
}
