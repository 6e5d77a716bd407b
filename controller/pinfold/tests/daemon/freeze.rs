//! Freezes: shown everywhere, kept by a daemon that dies, ended by a person or by time.

use super::manifests::vm;
use super::site::{Site, condition};
use std::fs;

fn heavier(name: &str) -> [(String, Option<String>); 1] {
    [(format!("vms/{name}.yaml"), Some(vm(name, "  cpu: {weight: 512}\n")))]
}

#[test]
fn a_frozen_vm_waits_for_a_person() {
    let mut site = Site::settled();
    for (wrong, says) in [
        (["freeze", "vm/nothing", "--for", "2h", "--reason", "x"], "there is no vm/nothing"),
        (["freeze", "vm/web", "--for", "60d", "--reason", "x"], "at most 30d"),
        (["freeze", "vm/web", "--for", "2h", "--reason", " "], "say why"),
        (["freeze", "vm/web", "--for", "soon", "--reason", "x"], "`--for soon` is no duration"),
    ] {
        let said = site.pinfold(&wrong);
        assert!(said.code != 0 && said.err.contains(says), "{wrong:?}: {}", said.err);
    }
    assert!(site.pinfold(&["unfreeze", "vm/web"]).err.contains("is not frozen itself"));

    let said = site.pinfold(&["freeze", "vm/web", "--for", "2h", "--reason", "the storage is moved"]);
    assert!(said.code == 0 && said.err.contains("vm/web stays as it is until 20"), "{}", said.err);
    let commit = site.commit("web gets more", &heavier("web"));
    let is_held = |status: &serde_json::Value| {
        status["commit"]["id"] == commit.as_str() && condition(status, "web", "Held").starts_with("True")
    };
    site.until("the change is held", is_held);
    // Whoever asks learns why.
    for (arguments, says) in [
        (&["plan"][..], "held: frozen until 20"),
        (&["status"], "1 frozen"),
        (&["why", "vm/web"], "the storage is moved; `pinfold unfreeze vm/web` ends it"),
        (&["describe", "vm/web"], "frozen until 20"),
        (&["get", "vm", "web", "-o", "json"], "\"Frozen\""),
        (&["events", "--for", "vm/web"], "stays as it is until 20"),
    ] {
        let said = site.pinfold(arguments).out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(says), "{arguments:?} does not say `{says}`:\n{said}");
    }
    let plan = site.json(&["plan", "-o", "json"]);
    let id = plan["plan"]["items"][0]["id"].as_str().unwrap();
    let said = site.pinfold(&["approve", id, "--reason", "x"]);
    assert!(said.err.contains("it is frozen, and waits for the end of that"), "{}", said.err);

    // A daemon that dies knows it again; one that cannot read it changes nothing.
    site.kill();
    let folder = site.path("state/freezes");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    for content in [&whole[..], &whole[..whole.len() / 2]] {
        fs::write(&file, content).unwrap();
        site.start();
        site.until("the change is held", is_held);
        site.let_it_look();
        site.until("the change is held", is_held);
        site.kill();
    }
    site.start();
    site.until("the change is held", is_held);
    let said = site.pinfold(&["unfreeze", "vm/web"]);
    assert!(said.code == 0 && said.err.contains("vm/web is not frozen any more"), "{}", said.err);
    site.until_settled(&commit);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_freeze_of_the_host_ends_by_itself() {
    let site = Site::settled();
    assert_eq!(site.pinfold(&["freeze", "host", "--for", "3s", "--reason", "a demonstration"]).code, 0);
    let commit = site.commit("web gets more", &heavier("web"));
    site.until_settled(&commit);
    let said = site.pinfold(&["events", "--limit", "100"]).out;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("is over: a demonstration"), "{said}");
    assert_eq!(fs::read_dir(site.path("state/freezes")).unwrap().count(), 0);
}
