//! The host goes down: guests are stopped with and without a daemon, none is started meanwhile, and the next boot brings them back.

use super::manifests::{first, vm};
use super::site::{Said, Site, is_quiet, object};

impl Site {
    fn guests(&self, verb: &str) -> Said {
        self.pinfold(&["guests", verb, "--config", &self.config(), "--backend", &self.backend()])
    }
}

/// The host's own condition.
fn stalled(status: &serde_json::Value) -> String {
    let conditions = object(status, "host", "xen1")["conditions"].as_array().cloned().unwrap_or_default();
    let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled");
    stalled.map(|stalled| format!("{}: {}", stalled["reason"], stalled["message"])).unwrap_or_default()
}

#[test]
fn with_a_daemon_guests_stop_and_start_again_when_it_is_taken_back() {
    let site = Site::settled();
    let shape = site.shape();
    site.happens("{guest-ends: {domain: crm, how: poweroff}}");
    site.until("crm is off by its own will", |status| {
        object(status, "virtual-machine", "crm")["power"] == "off by guest" && is_quiet(status)
    });
    let stopped = site.guests("stop");
    assert_eq!(stopped.code, 0, "{}", stopped.err);
    assert_eq!(stopped.out, "");
    assert_eq!(site.domains(), [""; 0]);
    // The daemon runs, sees that guests are missing, and starts none.
    let status = site.let_it_look();
    assert_eq!(site.domains(), [""; 0]);
    assert!(stalled(&status).contains("HostShutdown") && stalled(&status).contains("systemctl start pinfold-guests"));

    assert_eq!(site.guests("start").code, 0);
    site.until("all are back but the one that was off before", |status| {
        status["ready"]["status"] == "True" && is_quiet(status) && site.shape().len() == 2
    });
    assert_eq!(site.shape(), shape.into_iter().filter(|line| !line.starts_with("crm ")).collect::<Vec<_>>());
}

#[test]
fn without_a_daemon_guests_stop_too_and_the_next_boot_brings_them_back() {
    let mut site = Site::settled();
    let shape = site.shape();
    site.kill();
    let stopped = site.guests("stop");
    assert_eq!(stopped.code, 0, "{}", stopped.err);
    for name in ["crm", "db", "web"] {
        assert!(stopped.err.contains(&format!("vm/{name}: stop (the host shuts down)")), "{}", stopped.err);
    }
    // A daemon that is started before the host is down starts nothing.
    site.start();
    site.let_it_look();
    assert_eq!(site.domains(), [""; 0]);
    assert!(site.events(None).contains(&"HostShutdown".to_owned()));

    site.happens("host-reboot");
    site.until("everything runs again", |status| {
        status["ready"]["status"] == "True" && is_quiet(status) && site.shape() == shape
    });
}

#[test]
fn a_guest_that_ignores_requests_is_ended_at_its_timeout_and_the_journal_says_so() {
    let mut site = Site::new();
    let mut files = first();
    files.push(("vms/deaf.yaml".to_owned(), Some(vm("deaf", "  shutdown: {timeout: 3s}\n"))));
    let commit = site.commit("first commit", &files);
    site.start();
    site.happens("{guest-behaves: {name: deaf, guest: {ignores: [power-off]}}}");
    site.until_settled(&commit);
    for with_a_daemon in [true, false] {
        if !with_a_daemon {
            assert_eq!(site.guests("start").code, 0);
            site.until_settled(&commit);
            site.kill();
        }
        let stopped = site.guests("stop");
        assert_eq!(stopped.code, 0, "{}", stopped.err);
        // What a daemon does between two looks is told by its journal alone.
        let told = stopped.err.contains("its guest did not power off within 3 s: forced");
        assert!(told || with_a_daemon, "{}", stopped.err);
        if !with_a_daemon {
            site.start();
        }
        let events = site.json(&["events", "--for", "vm/deaf", "-o", "json"]);
        let forced = |event: &&serde_json::Value| event["reason"] == "HostShutdown" && event["severity"] == "warning";
        let forced = events["items"].as_array().unwrap().iter().filter(forced).count();
        assert_eq!(forced, if with_a_daemon { 1 } else { 2 });
        let others = site.events(Some("vm/web"));
        assert!(!others.contains(&"HostShutdown".to_owned()), "only what was forced is told: {others:?}");
    }
}

#[test]
fn a_note_that_cannot_be_read_stops_nothing_and_starts_nothing() {
    let site = Site::settled();
    let before = site.domains();
    std::fs::write(site.path("host-shutdown.json"), "{\"since\":").unwrap();
    site.until("it says that it does not know", |status| {
        object(status, "host", "xen1")["conditions"][0]["reason"] == "HostShutdownUnreadable"
    });
    site.happens("{guest-ends: {domain: web, how: reboot}}");
    site.let_it_look();
    assert_eq!(site.guests("start").code, 0);
    site.until("web is started again, and nothing else was touched", |status| {
        status["ready"]["status"] == "True"
            && is_quiet(status)
            && site.domains().iter().zip(&before).filter(|(after, before)| after != before).count() == 1
    });
}

#[test]
fn a_host_that_was_never_set_up_goes_down_all_the_same() {
    let site = Site::new();
    for verb in ["stop", "start"] {
        let said = site.pinfold(&["guests", verb, "--config", "/nowhere/pinfold.yaml"]);
        assert_eq!((said.code, &*said.out), (0, ""), "{}", said.err);
        let said = site.guests(verb);
        assert_eq!((said.code, &*said.out), (0, ""), "{}", said.err);
    }
}
