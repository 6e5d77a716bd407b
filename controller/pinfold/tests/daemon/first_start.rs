//! Killed in its very first start, at the moments at which something of it first lies on disk.

use super::manifests::first;
use super::site::Site;
use std::path::Path;

/// In the order in which they come about. A folder counts once something lies in it.
const MOMENTS: [&str; 10] = [
    "state",
    "state/daemon.lock",
    "pinfold.sock",
    "state/simulated-host.json",
    "state/mirror.git",
    "state/source/accepted.jsonl",
    "state/identity.json",
    "state/partitions",
    "state/operations",
    "state/storage/by-name",
];

#[test]
fn killed_in_its_first_start_it_reaches_the_same_end() {
    for moment in MOMENTS {
        let mut site = Site::new();
        let commit = site.commit("first commit", &first());
        site.spawn();
        site.until_there(&format!("there is {moment}"), |site| has_begun(&site.path(moment)));
        site.kill();
        site.start();
        site.until_settled(&commit);
        assert_eq!(
            site.shape(),
            ["crm oracle-b running 4-5 4-5", "db oracle-a running 2-3 2-3", "web Pool-0 running 0-9 0-9"],
            "killed when there was {moment}"
        );
    }
}

fn has_begun(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    }
}
