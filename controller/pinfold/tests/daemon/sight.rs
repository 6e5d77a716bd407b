//! `pinfold top`, `pinfold get --watch` and the metrics against the real daemon.

use super::manifests::vm;
use super::site::{Site, text};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// Somebody who watches: the lines that came so far.
struct Watcher {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    fn of(site: &Site, arguments: &[&str]) -> Self {
        let mut command = site.command(&[&["get"], arguments].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, out: lines(out), err: lines(err) }
    }

    fn until_told(&self, site: &Site, what: &str, is_it: impl Fn(&str) -> bool) {
        site.until_soon(&format!("{what}, after {:?}", self.told()), |_| self.told().iter().any(|line| is_it(line)));
    }

    fn told(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    fn said(&self) -> Vec<String> {
        self.err.lock().unwrap().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

#[test]
fn a_watched_list_goes_on_with_every_change() {
    let mut site = Site::settled();
    let mut human = Watcher::of(&site, &["vm", "-w"]);
    let json = Watcher::of(&site, &["vm", "--watch", "-o", "json"]);
    let one = Watcher::of(&site, &["vm/web", "-w", "-o", "name"]);
    let starts =
        |name: &'static str, power: &'static str| move |line: &str| line.split_whitespace().take(2).eq([name, power]);
    human.until_told(&site, "the list is there", starts("web", "running"));
    json.until_told(&site, "the list is there", |line| line.contains("\"type\":\"List\""));
    assert_eq!(human.told()[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "POWER", "READY", "SINCE", "WHY"]);

    site.happens("{guest-ends: {domain: web, how: poweroff}}");
    human.until_told(&site, "it is off", |line| line.starts_with("web ") && line.contains("off by guest"));
    one.until_told(&site, "only it is told", |line| line == "vm/web");
    let commit = site.commit(
        "more comes, crm goes",
        &[("vms/more.yaml".to_owned(), Some(vm("more", ""))), ("vms/crm.yaml".to_owned(), None)],
    );
    site.until_settled(&commit);
    human.until_told(&site, "crm is gone", starts("crm", "removed"));
    human.until_told(&site, "more is there", starts("more", "running"));
    json.until_told(&site, "crm is gone", |line| line.contains("\"type\":\"Removed\""));
    let told: Vec<Value> = json.told().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, name: &str| {
        told.iter().any(|change| change["type"] == kind && change["object"]["object"]["name"] == name)
    };
    assert!(of("Added", "more") && of("Removed", "crm") && of("Changed", "web"), "{told:?}");
    let of_db = human.told().into_iter().filter(|line| line.starts_with("db ")).count();
    assert_eq!(of_db, 1, "nothing became of db: {:?}", human.told());

    // What happens while the daemon is away is told when it is back, and nothing is told twice.
    let before = human.told().len();
    site.kill();
    site.until_soon("the watchers have noticed", |_| human.said().iter().any(|line| line.contains("went away")));
    site.commit("more goes", &[("vms/more.yaml".to_owned(), None)]);
    site.start();
    human.until_told(&site, "more is gone", starts("more", "removed"));
    assert!(human.said().iter().any(|line| line.contains("is back")), "{:?}", human.said());
    let repeated = human.told().into_iter().skip(before).filter(|line| line.starts_with("db ")).count();
    assert_eq!(repeated, 0, "{:?}", human.told());
    // ^C.
    rustix::process::kill_process(rustix::process::Pid::from_child(&human.child), rustix::process::Signal::INT)
        .unwrap();
    assert!(human.child.wait().unwrap().success());
    for refused in ["wide", "yaml"] {
        assert_eq!(site.pinfold(&["get", "vm", "-w", "-o", refused]).code, 64);
    }
}

#[test]
fn top_shows_what_each_domain_uses() {
    let site = Site::settled();
    let disk =
        "  disks: [{name: root, target: xvda, path: /srv/guests/more.img}]\n  nics: [{name: lan0, network: lan}]\n";
    site.happens("{file: {path: /srv/guests/more.img, file: {file: {size: 1048576}}}}");
    let network = "apiVersion: pinfold.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\nspec: {bridge: xenbr0}\n";
    let commit = site.commit(
        "one with devices",
        &[("lan.yaml".to_owned(), Some(network.to_owned())), ("vms/more.yaml".to_owned(), Some(vm("more", disk)))],
    );
    site.until_settled(&commit);
    let looks = site.pinfold(&["top", "-n", "2", "--interval", "1s", "-o", "json"]);
    assert_eq!(looks.code, 0, "{}", looks.err);
    let looks: Vec<Value> = looks.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    let of =
        |name: &str| looks[1]["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone();
    let (more, db, dom0) = (of("more"), of("db"), of("Domain-0"));
    // Two simulated vCPUs, each a hundredth of a pCPU.
    let percent = more["cpuPercent"].as_f64().unwrap();
    assert!((1.0..4.0).contains(&percent), "{percent}");
    assert!(more["diskWrittenBytesPerSecond"].as_f64().unwrap() > 0.0, "{more}");
    assert!(more["networkReceivedBytesPerSecond"].as_f64().unwrap() > 0.0, "{more}");
    assert_eq!((&db["diskReadBytesPerSecond"], &db["networkSentBytesPerSecond"]), (&0.0.into(), &0.0.into()));
    assert_eq!(dom0["diskReadBytesPerSecond"], Value::Null, "dom0's own devices are not counted");
    assert_eq!(text(&more["object"]["kind"]), "virtual-machine");
    let human = site.pinfold(&["top", "--interval", "1s"]);
    assert_eq!(human.code, 0, "{}", human.err);
    for name in ["vm/more", "vm/db", "Domain-0"] {
        assert!(human.out.lines().any(|line| line.starts_with(name)), "{}", human.out);
    }
    let (_, metrics) = site.http("pinfold.sock", "GET /metrics");
    for line in [
        "pinfold_domain_disk_reads_total{kind=\"vm\",name=\"more\"} 1024\n",
        "pinfold_domain_memory_bytes{kind=\"vm\",name=\"more\"} 134217728\n",
        "pinfold_vm_power{name=\"more\",power=\"running\"} 1\n",
        "pinfold_vm_starts_total{name=\"more\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(metrics.contains("pinfold_domain_cpu_seconds_total{kind=\"dom0\",name=\"Domain-0\"} "), "{metrics}");
    site.happens("{guest-ends: {domain: more, how: crash}}");
    site.until("its crash is counted", |_| {
        let (_, metrics) = site.http("pinfold.sock", "GET /metrics");
        metrics.contains("pinfold_vm_guest_ends_total{name=\"more\",reason=\"crash\"} 1\n")
            && metrics.contains("pinfold_vm_starts_total{name=\"more\"} 2\n")
    });
    for wrong in [["--interval", "soon"], ["-n", "0"]] {
        assert_eq!(site.pinfold(&[&["top"], wrong.as_slice()].concat()).code, 64);
    }
}
