//! The daemon's own life: killed at any time, started twice, told to stop, run once.

use super::manifests::{first, vm};
use super::site::Site;
use std::time::Duration;

/// Kills the daemon at different moments of the same way: before the first fetch, between operations, inside them.
fn kill_often(site: &mut Site) {
    for milliseconds in [30, 900, 250, 1400, 500, 1100, 700, 2100] {
        site.spawn();
        std::thread::sleep(Duration::from_millis(milliseconds));
        site.kill();
    }
}

#[test]
fn killed_at_any_time_it_reaches_the_same_end() {
    let mut site = Site::new();
    let commit = site.commit("first commit", &first());
    kill_often(&mut site);
    site.start();
    site.until_settled(&commit);
    assert_eq!(
        site.shape(),
        ["crm oracle-b running 4-5 4-5", "db oracle-a running 2-3 2-3", "web Pool-0 running 0-9 0-9"]
    );
    let before = site.domains();
    site.kill();
    site.start();
    site.until_settled(&commit);
    site.let_it_look();
    assert_eq!(site.domains(), before, "a restart disturbs no guest");
}

#[test]
fn killed_while_it_changes_things_it_reaches_the_same_end() {
    let mut site = Site::settled();
    let db = site.domains().into_iter().find(|line| line.starts_with("db "));
    site.kill();
    let files = first().into_iter().find(|(path, _)| path == "partitions.yaml").and_then(|(_, text)| text).unwrap();
    let commit = site.commit(
        "grow oracle-a, move web, retire crm",
        &[
            (
                "partitions.yaml".to_owned(),
                Some(files.replacen("{socket: 0, core: 3}", "{socket: 0, core: 3}, {socket: 0, core: 6}", 1)),
            ),
            ("vms/web.yaml".to_owned(), Some(vm("web", "  cpu: {partition: oracle-b}\n"))),
            ("vms/crm.yaml".to_owned(), None),
        ],
    );
    kill_often(&mut site);
    site.start();
    site.until_settled(&commit);
    assert_eq!(site.shape(), ["db oracle-a running 2-3,6 2-3,6", "web oracle-b running 4-5 4-5"]);
    let number = |line: &Option<String>| line.as_ref().unwrap().split(' ').nth(1).map(str::to_owned);
    assert_eq!(
        number(&db),
        number(&site.domains().into_iter().find(|line| line.starts_with("db "))),
        "db was never started again"
    );
}

#[test]
fn with_a_commit_that_cannot_be_read_guests_come_back_and_nothing_else_changes() {
    let mut site = Site::settled();
    let shape = site.shape();
    site.kill();
    let config = std::fs::read_to_string(site.config()).unwrap();
    // The same commit, looked for where it has nothing: what a newer binary does that no longer understands it.
    std::fs::write(site.config(), config.replace("poll: 1s", "poll: 1s, path: nowhere")).unwrap();
    site.start();
    site.happens("host-reboot");
    site.until("the guests are back, and it is said why nothing else happens", |status| {
        status["source"]["unreadable"].is_object() && super::site::is_quiet(status) && site.shape() == shape
    });
}

#[test]
fn conditions_keep_their_times_across_a_restart() {
    let mut site = Site::settled();
    let since = |site: &Site| {
        let status = site.until("it is ready", |status| status["ready"]["status"] == "True");
        super::site::object(&status, "virtual-machine", "web")["conditions"][0]["since"].clone()
    };
    let before = since(&site);
    site.kill();
    site.start();
    assert_eq!(since(&site), before);
}

#[test]
fn a_second_daemon_refuses_to_start() {
    let site = Site::settled();
    let second = site.pinfold(&["run", "--once", "--backend", &site.backend(), "--config", &site.config()]);
    assert_eq!(second.code, 70);
    assert!(second.err.contains("another pinfold daemon"), "{}", second.err);
    site.let_it_look();
}

#[test]
fn a_host_that_reboots_gets_everything_back() {
    let site = Site::settled();
    let shape = site.shape();
    site.happens("host-reboot");
    site.until("everything runs again", |status| {
        status["ready"]["status"] == "True" && super::site::is_quiet(status) && site.shape() == shape
    });
}

#[test]
fn once_ends_with_what_it_found() {
    let once = |site: &Site| site.pinfold(&["run", "--once", "--backend", &site.backend(), "--config", &site.config()]);
    let site = Site::new();
    site.commit("first commit", &first());
    let settled = once(&site);
    assert_eq!(settled.code, 0, "{}", settled.err);
    site.commit("two at once", &[("vms/web.yaml".to_owned(), None), ("vms/db.yaml".to_owned(), None)]);
    let held = once(&site);
    assert_eq!(held.code, 3, "{}", held.err);
    site.commit("a typo", &[("vms/crm.yaml".to_owned(), Some(vm("crm", "").replace("vcpus", "vcpu")))]);
    let refused = once(&site);
    assert_eq!(refused.code, 1, "{}", refused.err);
}

#[test]
fn no_daemon_says_what_to_do() {
    let site = Site::new();
    let said = site.pinfold(&["status"]);
    assert_eq!(said.code, 70);
    assert!(said.err.contains("cannot reach the daemon") && said.err.contains("help:"), "{}", said.err);
}

#[test]
fn told_to_stop_it_leaves_guests_alone_and_its_sockets_behind_it() {
    let mut site = Site::settled();
    let before = site.domains();
    let sockets = [site.path("pinfold.sock"), site.path("pinfold-admin.sock")];
    for socket in &sockets {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(socket).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "without groups only root gets in");
    }
    assert!(site.stop());
    assert!(sockets.iter().all(|socket| !socket.exists()));
    site.start();
    site.let_it_look();
    assert_eq!(site.domains(), before);
}

#[test]
fn a_commit_that_is_pushed_while_it_is_away_is_taken_up() {
    let mut site = Site::settled();
    site.kill();
    let commit = site.commit("one more", &[("vms/more.yaml".to_owned(), Some(vm("more", "")))]);
    site.start();
    site.until_settled(&commit);
    assert!(site.shape().contains(&"more Pool-0 running 0-9 0-9".to_owned()));
    assert_eq!(site.pinfold(&["sync"]).code, 0);
    assert_eq!(site.pinfold(&["get", "vm", "-o", "name"]).out, "vm/crm\nvm/db\nvm/more\nvm/web\n");
    assert_eq!(site.pinfold(&["get", "vm", "nobody"]).code, 1);
    assert!(site.pinfold(&["describe", "vm/web"]).out.contains("Conditions"));
    assert!(site.pinfold(&["events"]).out.contains("CommitAccepted"));
}

#[test]
fn whoever_may_read_may_not_change() {
    let site = Site::settled();
    let (status, metrics) = site.http("pinfold.sock", "GET /metrics");
    assert!(status.contains("200"), "{status}");
    assert!(
        metrics.contains("pinfold_condition{kind=\"vm\",name=\"web\",type=\"Ready\",status=\"true\"} 1"),
        "{metrics}"
    );
    for bound in ["0.05", "+Inf"] {
        let bucket = format!("pinfold_reconcile_duration_seconds_bucket{{le=\"{bound}\"}} ");
        assert!(metrics.contains(&bucket), "{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(site.http("pinfold.sock", "POST /v1/sync").0.contains("404"), "the socket for reading knows no verbs");
    assert!(site.http("pinfold-admin.sock", "POST /v1/sync").0.contains("200"));
    assert!(site.http("pinfold-admin.sock", "GET /v1/status").0.contains("200"), "whoever may change may read");
    assert!(site.http("pinfold.sock", "GET /v1/objects/vm/nobody").0.contains("404"));
    assert!(site.http("pinfold.sock", "GET /v1/objects?kind=gadget").0.contains("400"));
}
