//! Removing things: within the budget, over it, and with an approval.

use super::manifests::{first, vm};
use super::site::{Site, condition, is_quiet};

#[test]
fn a_removed_vm_is_stopped_and_its_folder_goes_to_the_trash() {
    let site = Site::settled();
    let commit = site.commit("web retires", &[("vms/web.yaml".to_owned(), None)]);
    site.until_settled(&commit);
    assert_eq!(site.shape(), ["crm oracle-b running 4-5 4-5", "db oracle-a running 2-3 2-3"]);
    let trash = std::fs::read_dir(site.path("state/storage/trash")).unwrap();
    let names: Vec<String> = trash.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() == 1 && names[0].contains("--web--"), "{names:?}");
}

#[test]
fn a_hundred_vms_that_vanish_at_once_stay() {
    let mut site = Site::new();
    let mut files = first();
    let many = (0..100).map(|number| format!("batch-{number}"));
    files.extend(many.map(|name| (format!("vms/{name}.yaml"), Some(vm(&name, "  power: stopped\n")))));
    let full = site.commit("many", &files);
    site.start();
    site.until_settled(&full);
    let before = site.domains();
    let all = files.iter().map(|(path, _)| path.clone()).filter(|path| path.starts_with("vms/"));
    let empty = site.commit("oops", &all.map(|path| (path, None)).collect::<Vec<_>>());
    let status = site.until("the removals are held", |status| {
        status["commit"]["id"] == empty.as_str() && status["held"].as_u64() >= Some(103) && is_quiet(status)
    });
    assert!(condition(&status, "web", "Held").starts_with("True"), "{}", condition(&status, "web", "Held"));
    site.let_it_look();
    assert_eq!(site.domains(), before, "nothing was stopped");
    assert_eq!(site.pinfold(&["plan", "--detailed-exitcode"]).code, 3);
    let why = site.pinfold(&["why", "vm/web"]).out;
    assert!(why.contains("held"), "{why}");
    let back = site.commit("put back", &files);
    site.until_settled(&back);
    assert_eq!(site.domains(), before);
}

#[test]
fn an_approved_removal_happens_and_only_that_one() {
    let site = Site::settled();
    let gone = [("vms/web.yaml".to_owned(), None), ("vms/db.yaml".to_owned(), None)];
    let commit = site.commit("two at once", &gone);
    site.until("both are held", |status| {
        status["commit"]["id"] == commit.as_str()
            && ["web", "db"].iter().all(|name| condition(status, name, "Held").starts_with("True"))
    });
    let plan = site.json(&["plan", "-o", "json"]);
    let items = plan["plan"]["items"].as_array().unwrap();
    let web =
        items.iter().find(|item| item["object"]["name"] == "web" && item["disposition"]["when"] == "held").unwrap();
    let id = web["id"].as_str().unwrap();
    let wrong = site.pinfold(&["approve", "0000", "--reason", "x"]);
    assert_ne!(wrong.code, 0);
    let said = site.pinfold(&["approve", id, "--reason", "it is not needed"]);
    assert_eq!(said.code, 0, "{}", said.err);
    site.until("web is gone", |status| is_quiet(status) && !site.shape().iter().any(|line| line.starts_with("web ")));
    assert!(site.shape().iter().any(|line| line.starts_with("db ")), "{:?}", site.shape());
    let events = site.json(&["events", "--limit", "1000", "-o", "json"]);
    let approval = events["items"].as_array().unwrap().iter().find(|event| event["reason"] == "Verb").unwrap();
    assert!(approval["actor"].as_str().unwrap().starts_with("uid "), "{approval}");
    // Each of its steps names the commit, who wrote it, the item, and who allowed it.
    let items = events["items"].as_array().unwrap();
    let began: Vec<_> = items.iter().filter(|event| event["reason"] == "DeleteStarted").collect();
    assert!(began.len() >= 2, "{events}");
    for event in &began {
        assert_eq!(event["commit"], commit.as_str(), "{event}");
        assert_eq!(event["author"], "Alice <alice@example.org>", "{event}");
        assert_eq!(event["item"], id, "{event}");
        assert!(event["actor"].as_str().unwrap().starts_with("uid "), "{event}");
        assert_eq!(event["approval"], "it is not needed", "{event}");
    }
    let numbers: Vec<u64> = items.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let said = site.pinfold(&["events", "--for", "vm/web", "--since", "1h"]).out;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(&format!("item {id}; commit by Alice <alice@example.org>; approved by uid ")), "{said}");
    assert!(said.contains(": it is not needed)"), "{said}");
    assert_eq!(site.pinfold(&["events", "--since", "2099-01-01T00:00:00Z"]).out.lines().count(), 1, "the head alone");
    assert_eq!(site.pinfold(&["events", "--since", "yesterday"]).code, 64);
}

#[test]
fn events_can_be_followed() {
    let site = Site::settled();
    let mut watching = site.command(&["events", "--follow", "--limit", "1", "-o", "json"]);
    let mut watching = watching.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let commit = site.commit("web retires", &[("vms/web.yaml".to_owned(), None)]);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watching.stdout.take().unwrap()));
    let mut last = 0;
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > last, "{event}");
        last = seq;
        if event["reason"] == "DeleteDone" && event["commit"] == commit.as_str() {
            break;
        }
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn what_lies_in_the_trash_is_shown_comes_back_and_goes() {
    let site = Site::settled();
    let commit = site.commit("web retires", &[("vms/web.yaml".to_owned(), None)]);
    site.until_settled(&commit);
    let trash = site.json(&["trash", "list", "-o", "json"]);
    let web = &trash["items"][0];
    assert_eq!((web["name"].as_str(), web["commit"].as_str()), (Some("web"), Some(commit.as_str())), "{trash}");
    assert_eq!(web["author"], "Alice <alice@example.org>", "{trash}");
    assert!(site.pinfold(&["trash", "list"]).out.contains("web"), "{}", site.pinfold(&["trash", "list"]).out);
    let uuid = web["uuid"].as_str().unwrap();
    let gone = site.pinfold(&["why", "vm/web"]).err;
    assert!(gone.contains("it was removed, and lies in the trash until 20"), "{gone}");
    assert_eq!(site.pinfold(&["trash", "restore", "web"]).code, 64, "why?");
    assert_ne!(site.pinfold(&["trash", "restore", "nothing", "--reason", "x"]).code, 0);

    // By hand: it runs again, as it was, and is held as orphaned.
    let said = site.pinfold(&["trash", "restore", "web", "--reason", "it was needed after all"]);
    assert_eq!(said.code, 0, "{}", said.err);
    site.until("web runs again, and is held", |status| {
        is_quiet(status)
            && condition(status, "web", "Held").starts_with("True")
            && site.shape().iter().any(|line| line.starts_with("web "))
    });
    assert_eq!(site.json(&["trash", "list", "-o", "json"])["items"].as_array().unwrap().len(), 0);
    let status = site.json(&["get", "vm", "web", "-o", "json"]);
    assert_eq!(status["items"][0]["object"]["uuid"].as_str(), Some(uuid), "{status}");
    let events = site.json(&["events", "--limit", "1000", "-o", "json"]);
    let verbs: Vec<_> = events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "Verb").collect();
    assert_eq!(verbs.len(), 2, "about to, and done: {verbs:?}");
    for verb in verbs {
        assert!(verb["message"].as_str().unwrap().ends_with(": it was needed after all"), "{verb}");
        assert!(verb["actor"].as_str().unwrap().starts_with("uid "), "{verb}");
    }

    // And for good: removed once more, by approval, and purged.
    let plan = site.json(&["plan", "-o", "json"]);
    let id = plan["plan"]["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.pinfold(&["approve", &id, "--reason", "no, it was not"]).code, 0);
    site.until("web lies in the trash", |status| {
        is_quiet(status) && site.json(&["trash", "list", "-o", "json"])["items"].as_array().unwrap().len() == 1
    });
    assert_eq!(site.pinfold(&["trash", "purge", "--reason", "x"]).code, 64, "which?");
    assert_eq!(site.pinfold(&["trash", "purge", "--older-than", "2020-01-01", "--reason", "x"]).code, 0);
    assert_eq!(site.json(&["trash", "list", "-o", "json"])["items"].as_array().unwrap().len(), 1, "none is that old");
    let said = site.pinfold(&["trash", "purge", "web", "--reason", "gone for good"]);
    assert_eq!(said.code, 0, "{}", said.err);
    site.until("the trash is empty", |_| {
        site.json(&["trash", "list", "-o", "json"])["items"].as_array().unwrap().is_empty()
    });
}
