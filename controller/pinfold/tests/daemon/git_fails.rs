//! Git unreachable, lost, rewritten, or with a mistake in it: nothing on the host changes, and status says what, why and since when.

use super::manifests::{first, vm};
use super::site::{Site, text};

#[test]
fn a_mistake_refuses_the_commit_with_line_and_column() {
    let site = Site::settled();
    let (before, in_force) = (site.domains(), site.until("it answers", |_| true)["commit"]["id"].clone());
    let typo = vm("web", "").replace("  memory:", "  memmory:");
    let refused = site.commit("a typo", &[("vms/web.yaml".to_owned(), Some(typo))]);
    let status =
        site.until("the commit is refused", |status| status["source"]["refused"]["commit"] == refused.as_str());
    assert_eq!(status["commit"]["id"], in_force);
    let findings = status["source"]["refused"]["findings"].as_array().unwrap();
    let typo = findings.iter().find(|finding| finding["place"] == "vms/web.yaml:8:3");
    assert!(typo.is_some_and(|typo| text(&typo["message"]).contains("memmory")), "{findings:?}");
    assert!(status["source"]["refused"]["since"].is_string());
    let human = site.pinfold(&["status"]).out;
    assert!(human.contains("refused") && human.contains("vms/web.yaml:8:3"), "{human}");
    site.let_it_look();
    assert_eq!(site.domains(), before, "everything keeps running");
    let fixed = site.commit("spelled right", &[("vms/web.yaml".to_owned(), Some(vm("web", "")))]);
    let status = site.until_settled(&fixed);
    assert!(status["source"]["refused"].is_null());
}

#[test]
fn a_repository_that_is_gone_changes_nothing() {
    let site = Site::settled();
    let before = site.domains();
    std::fs::rename(site.repository(), site.path("away.git")).unwrap();
    let status = site.until("the repository fails", |status| status["source"]["failing"].is_object());
    let failing = &status["source"]["failing"];
    assert!(failing["since"].is_string() && !text(&failing["message"]).is_empty(), "{failing}");
    site.let_it_look();
    assert_eq!(site.domains(), before);
    std::fs::rename(site.path("away.git"), site.repository()).unwrap();
    site.until("it is back", |status| status["source"]["failing"].is_null());
    let events = site.events(None);
    assert!(events.contains(&"SourceFailing".to_owned()) && events.contains(&"SourceBack".to_owned()), "{events:?}");
}

#[test]
fn a_rewritten_branch_waits_for_a_person() {
    let site = Site::settled();
    let (before, in_force) = (site.domains(), site.until("it answers", |_| true)["commit"]["id"].clone());
    let mut files = first();
    files.push(("vms/new.yaml".to_owned(), Some(vm("new", ""))));
    let forced = site.force("another history", &files);
    let status = site.until("the branch is refused", |status| status["source"]["refused"]["commit"] == forced.as_str());
    assert_eq!(status["source"]["refused"]["reason"], "HistoryRewritten");
    assert_eq!(status["commit"]["id"], in_force);
    site.let_it_look();
    assert_eq!(site.domains(), before);
    let without = site.pinfold(&["accept-history", &forced, "--reason", " "]);
    assert_ne!(without.code, 0, "a reason is asked for");
    let permitted = site.pinfold(&["accept-history", &forced, "--reason", "moved to another forge"]);
    assert_eq!(permitted.code, 0, "{}", permitted.err);
    site.until_settled(&forced);
    assert!(site.shape().contains(&"new Pool-0 running 0-9 0-9".to_owned()));
}

#[test]
fn a_restart_needs_no_repository() {
    let mut site = Site::settled();
    let shape = site.shape();
    std::fs::rename(site.repository(), site.path("away.git")).unwrap();
    site.happens("host-reboot");
    site.kill();
    site.start();
    site.until("everything runs again, without git", |status| {
        status["ready"]["status"] == "True" && status["source"]["failing"].is_object() && super::site::is_quiet(status)
    });
    assert_eq!(site.shape(), shape);
}
