//! A domain that somebody else made: adopted, committed, approved, and pinfold's from then on.

use super::site::{Site, condition, is_quiet};
use std::fs;

const THEIRS: &str = "{create: {domain: {name: theirs, uuid: 7f3c0b52-9a0e-4d27-8f3e-1f6f0f4b2a10, vcpus: 2, memory-kib: 98304, \
    boot: {kernel: {kernel: /srv/guests/vmlinuz}}, nics: [{devid: 0, mac: \"00:16:3e:00:00:01\", bridge: xenbr0}]}}}";

#[test]
fn what_adopt_writes_is_claimed_once_somebody_approves() {
    let site = Site::settled();
    site.happens(THEIRS);
    let folder = site.path("adopted");
    site.until("it is seen", |status| {
        status["objects"].as_array().unwrap().iter().any(|one| one["object"]["name"] == "theirs")
    });
    let said = site.pinfold(&["adopt", "--host", "xen1", "--write", folder.to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    let manifest = fs::read_to_string(folder.join("vms/theirs.yaml")).unwrap();
    assert!(manifest.contains("uuid: \"7f3c0b52") && manifest.contains("mac: \"00:16:3e:00:00:01\""), "{manifest}");
    let network = fs::read_to_string(folder.join("networks/xenbr0.yaml")).unwrap();
    let inventory = site.path("inventory.json");
    fs::write(&inventory, site.pinfold(&["inventory"]).out).unwrap();
    let offline = site.pinfold(&["adopt", "theirs", "--inventory", inventory.to_str().unwrap()]);
    assert!(offline.out.ends_with(&manifest), "the same from a recorded inventory: {}{}", offline.out, offline.err);

    let files = [("vms/theirs.yaml".to_owned(), Some(manifest)), ("networks.yaml".to_owned(), Some(network))];
    let commit = site.commit("theirs becomes ours", &files);
    site.until("the claim is held", |status| {
        status["commit"]["id"] == commit.as_str() && condition(status, "theirs", "Held").starts_with("True")
    });
    let before = site.domains();
    let plan = site.json(&["plan", "-o", "json"]);
    let items = plan["plan"]["items"].as_array().unwrap();
    assert_eq!(
        (items.len(), &items[0]["action"], &items[0]["changes"]),
        (1, &"claim".into(), &serde_json::json!([])),
        "{items:#?}"
    );
    let said = site.pinfold(&["approve", items[0]["id"].as_str().unwrap(), "--reason", "it is ours"]);
    assert_eq!(said.code, 0, "{}", said.err);
    site.until_settled(&commit);
    assert_eq!(site.domains(), before, "the same domains run on, where they ran");
    assert_eq!(site.json(&["plan", "-o", "json"])["plan"]["items"], serde_json::json!([]));
    let none = site.pinfold(&["adopt"]);
    assert!(none.code == 0 && none.err.contains("is pinfold's already"), "{}", none.err);
    let ours = site.pinfold(&["adopt", "theirs"]);
    assert!(ours.code == 1 && ours.err.contains("already"), "{}", ours.err);

    site.happens("{guest-ends: {domain: theirs, how: reboot}}");
    site.until("it is back", |status| {
        is_quiet(status) && site.domains() != before && site.domains().len() == before.len()
    });
}
