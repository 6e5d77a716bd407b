//! Overrides of a VM's power: carried out, shown, kept by a daemon that dies, ended by a person.

use super::site::{Site, condition, is_quiet};

fn runs(site: &Site, name: &str) -> bool {
    site.shape().iter().any(|line| line.starts_with(&format!("{name} ")) && line.contains("running"))
}

#[test]
fn a_vm_is_stopped_for_a_while_and_follows_again() {
    let mut site = Site::settled();
    for (wrong, says) in [
        (["stop", "vm/nothing", "--for", "2h", "--reason", "x"], "there is no vm/nothing"),
        (["stop", "cp/oracle-a", "--for", "2h", "--reason", "x"], "is no VM"),
        (["pause", "vm/web", "--for", "60d", "--reason", "x"], "at most 30d"),
        (["start", "vm/web", "--for", "1h", "--reason", " "], "say why"),
    ] {
        let said = site.pinfold(&wrong);
        assert!(said.code != 0 && said.err.contains(says), "{wrong:?}: {}", said.err);
    }
    let said = site.pinfold(&["stop", "vm/web", "--for", "2h", "--reason", "the disk is checked"]);
    assert!(said.code == 0 && said.err.contains("vm/web is stopped until 20"), "{}", said.err);
    let is_off = |status: &serde_json::Value| is_quiet(status) && !runs(&site, "web");
    let status = site.until("web is off", is_off);
    assert_eq!(condition(&status, "web", "Overridden"), "True Overridden");
    for (arguments, says) in [
        (&["status"][..], "1 overridden"),
        (&["why", "vm/web"], "`pinfold follow vm/web` ends it"),
        (&["get", "vm", "web", "-o", "json"], "\"Overridden\""),
        (&["events", "--for", "vm/web"], "is stopped until 20"),
    ] {
        let said = site.pinfold(arguments).out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(says), "{arguments:?} does not say `{says}`:\n{said}");
    }
    site.kill();
    site.start();
    site.let_it_look();
    assert!(!runs(&site, "web"), "the daemon that comes next knows it");
    assert_eq!(site.pinfold(&["follow", "vm/web"]).code, 0);
    site.until("web runs again", |status| is_quiet(status) && runs(&site, "web"));
    assert!(site.pinfold(&["follow", "vm/web"]).err.contains("nobody overrides it"));

    // Once, and then never again.
    let domid = || site.domains().iter().find(|line| line.contains("web")).cloned();
    let before = domid();
    assert_eq!(site.pinfold(&["restart", "vm/web", "--reason", "a new kernel"]).code, 0);
    let status = site.until("web is another domain", |status| {
        is_quiet(status) && runs(&site, "web") && domid() != before && condition(status, "web", "Overridden").is_empty()
    });
    assert!(condition(&status, "web", "Ready").starts_with("True"), "{status}");
    let after = domid();
    site.let_it_look();
    assert_eq!(domid(), after);

    assert_eq!(site.pinfold(&["freeze", "vm/web", "--for", "1h", "--reason", "a demonstration"]).code, 0);
    site.until("it is frozen", |status| !condition(status, "web", "Frozen").is_empty());
    let said = site.pinfold(&["stop", "vm/web", "--reason", "x"]);
    assert!(said.code != 0 && said.err.contains("frozen until 20"), "{}", said.err);
}
