//! SIGHUP: the daemon's own configuration is read again.

use super::manifests::vm;
use super::site::Site;
use rustix::process::Signal;

/// What the daemon made of the last SIGHUP: the sort of event, and its sentence.
fn said(site: &Site, times: usize) -> (String, String) {
    let events = |site: &Site| -> Vec<(String, String)> {
        let events = site.json(&["events", "--limit", "10000", "-o", "json"]);
        let of_signal = events["items"].as_array().unwrap().iter().filter(|event| event["actor"] == "SIGHUP");
        of_signal.map(|event| (super::site::text(&event["reason"]), super::site::text(&event["message"]))).collect()
    };
    site.until("SIGHUP was heard", |_| events(site).len() == times);
    events(site).pop().unwrap()
}

#[test]
fn another_configuration_is_taken_up_and_nothing_else_happens() {
    let site = Site::settled();
    let domains = site.domains();
    let second = site.path("second.sock");
    site.configure("socket", &second.display().to_string());
    site.configure("memoryReserve", "8000Mi");
    site.signal(Signal::HUP);
    site.until_there("there is another socket", |_| second.exists());
    let at = |site: &Site, arguments: &[&str]| {
        let socket = second.display().to_string();
        site.pinfold(&[arguments, &["--socket", &socket]].concat())
    };
    site.until_there("it answers there", |site| at(site, &["status"]).code == 0);
    assert!(!site.path("pinfold.sock").exists(), "nobody answers there any more");
    let inventory: serde_json::Value = serde_json::from_str(&at(&site, &["inventory"]).out).unwrap();
    assert_eq!(inventory["dom0"]["memory_reserve_kib"], 8000 * 1024);
    assert!(at(&site, &["events"]).out.contains("another configuration is taken up"));

    // And back: verbs and hands reach it as before, its guests have not been touched.
    site.configure("socket", &site.path("pinfold.sock").display().to_string());
    site.configure("memoryReserve", "64Mi");
    site.signal(Signal::HUP);
    site.until("it answers where it did", |_| true);
    assert_eq!(site.domains(), domains);
    let commit = site.commit("one more", &[("vms/more.yaml".to_owned(), Some(vm("more", "")))]);
    assert_eq!(site.pinfold(&["sync"]).code, 0);
    site.until_settled(&commit);
    site.happens("{guest-ends: {domain: more, how: reboot}}");
    site.until("it is started again", |_| site.domains().iter().any(|line| line.starts_with("more 5 ")));
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_and_the_one_in_force_stays() {
    let site = Site::settled();
    let good = std::fs::read_to_string(site.config()).unwrap();
    let mut times = 0;
    let mut check = |key: &str, value: &str, sort: &str, says: &[&str]| {
        site.configure(key, value);
        site.signal(Signal::HUP);
        times += 1;
        let (reason, message) = said(&site, times);
        assert_eq!(reason, sort, "{message}");
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
        site.let_it_look();
        std::fs::write(site.config(), &good).unwrap();
    };
    check("memoryReserve", "lots", "ConfigRefused", &["the configuration in force stays", "memoryReserve"]);
    check("colour", "blue", "ConfigRefused", &["unknown field `colour`"]);
    check("readGroup", "no-such-group", "ConfigRefused", &["no group `no-such-group`"]);
    check("state", "/var/lib/elsewhere", "ConfigRefused", &["`state` cannot change while the daemon runs"]);
    check("host", "xen2", "ConfigRefused", &["`host` cannot change"]);
    check("memoryReserve", "64Mi", "Configured", &["as it was"]);
}
