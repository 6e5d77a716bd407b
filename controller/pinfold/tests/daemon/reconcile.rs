//! From commits to domains, and back to what commits say.

use super::manifests::{first, vm};
use super::site::{Site, condition, text};

#[test]
fn a_commit_becomes_domains_in_their_partitions() {
    let site = Site::settled();
    assert_eq!(
        site.shape(),
        ["crm oracle-b running 4-5 4-5", "db oracle-a running 2-3 2-3", "web Pool-0 running 0-9 0-9"]
    );
    let again = site.let_it_look();
    assert_eq!(again["held"], 0);
    let plan = site.pinfold(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "a settled host has nothing to do: {}", plan.out);
}

#[test]
fn drift_is_named_and_repaired() {
    let site = Site::settled();
    site.happens("{vcpu-pin: {domain: db, vcpu: 0, hard: \"0-9\"}}");
    site.until("the drift is noted and repaired", |status| {
        status["ready"]["status"] == "True" && site.events(Some("vm/db")).contains(&"RepairDone".to_owned())
    });
    let events = site.events(Some("vm/db"));
    let of = |reason: &str| events.iter().position(|event| event == reason);
    assert!(of("Drifted").is_some() && of("Drifted") < of("RepairDone"), "{events:?}");
    assert!(site.shape().contains(&"db oracle-a running 2-3 2-3".to_owned()));
}

#[test]
fn a_vm_moves_into_a_partition_without_a_restart() {
    let site = Site::settled();
    let before = site.domains();
    let moved = vm("web", "  cpu: {partition: oracle-b}\n");
    let commit = site.commit("web joins oracle-b", &[("vms/web.yaml".to_owned(), Some(moved))]);
    site.until_settled(&commit);
    assert!(site.shape().contains(&"web oracle-b running 4-5 4-5".to_owned()), "{:?}", site.shape());
    let number = |lines: &[String]| {
        lines.iter().find(|line| line.starts_with("web ")).unwrap().split(' ').nth(1).map(str::to_owned)
    };
    assert_eq!(number(&before), number(&site.domains()), "it was not started again");
}

#[test]
fn a_guest_that_reboots_gets_its_next_domain() {
    let site = Site::settled();
    let web = |site: &Site| site.domains().into_iter().find(|line| line.starts_with("web "));
    let before = web(&site);
    site.happens("{guest-ends: {domain: web, how: reboot}}");
    site.until("web runs in another domain", |status| {
        status["ready"]["status"] == "True" && web(&site).is_some_and(|now| Some(&now) != before.as_ref())
    });
}

#[test]
fn the_newest_commit_wins_while_the_one_before_is_under_way() {
    let site = Site::settled();
    for number in 0..4 {
        let name = format!("extra-{number}");
        site.commit(&name, &[(format!("vms/{name}.yaml"), Some(vm(&name, "")))]);
    }
    let last = site.commit(
        "no extras",
        &(0..4)
            .map(|number| (format!("vms/extra-{number}.yaml"), None))
            .chain([("vms/last.yaml".to_owned(), Some(vm("last", "")))])
            .collect::<Vec<_>>(),
    );
    let status = site.until("the last commit is in force and nothing is under way", |status| {
        status["commit"]["id"] == last.as_str()
            && condition(status, "last", "Ready").starts_with("True")
            && super::site::is_quiet(status)
    });
    assert_eq!(text(&status["commit"]["subject"]), "no extras");
    assert!(site.shape().contains(&"last Pool-0 running 0-9 0-9".to_owned()));
}

#[test]
fn what_fails_is_a_condition_of_that_object_and_the_others_proceed() {
    let site = Site::new();
    let mut files = first();
    let missing = vm("broken", "").replace("/srv/guests/vmlinuz", "/srv/guests/none");
    files.push(("vms/broken.yaml".to_owned(), Some(missing)));
    let commit = site.commit("one VM without a kernel", &files);
    let mut site = site;
    site.start();
    let status = site.until("broken is stalled and the others run", |status| {
        status["commit"]["id"] == commit.as_str()
            && condition(status, "broken", "Stalled").starts_with("True")
            && ["db", "crm", "web"].iter().all(|name| condition(status, name, "Ready").starts_with("True"))
    });
    assert_ne!(status["ready"]["status"], "True");
    let why = site.pinfold(&["why", "vm/broken"]);
    assert!(why.out.contains("/srv/guests/none"), "{}", why.out);
    assert_eq!(site.shape().len(), 3);
}
