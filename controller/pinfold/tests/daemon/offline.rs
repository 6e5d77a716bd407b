//! The same answer everywhere: a recorded inventory plans what the daemon plans.

use super::manifests::{first, vm};
use super::site::Site;
use std::fs;
use std::path::PathBuf;

/// A folder with the first configuration and these changes.
fn folder(site: &Site, changes: &[(&str, Option<String>)]) -> PathBuf {
    let folder = site.path("checkout");
    for (path, text) in first() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.unwrap()).unwrap();
    }
    for (path, text) in changes {
        match text {
            Some(text) => fs::write(folder.join(path), text).unwrap(),
            None => fs::remove_file(folder.join(path)).unwrap(),
        }
    }
    folder
}

/// The items without their operations, which hold times: the daemon may have looked again since the inventory was printed.
fn items(mut plan: serde_json::Value) -> Vec<serde_json::Value> {
    let mut items = std::mem::take(plan["plan"]["items"].as_array_mut().unwrap());
    for item in &mut items {
        item.as_object_mut().unwrap().remove("operation").unwrap();
    }
    items
}

#[test]
fn an_inventory_plans_offline_what_the_daemon_would_do() {
    let mut site = Site::settled();
    let inventory = site.path("xen1.json");
    fs::write(&inventory, site.pinfold(&["inventory"]).out).unwrap();
    let inventory = inventory.display().to_string();
    let moved = vm("web", "  cpu: {partition: oracle-b}\n");
    let checkout = folder(&site, &[("vms/web.yaml", Some(moved.clone()))]).display().to_string();
    let live = site.json(&["plan", &checkout, "-o", "json"]);
    site.kill();
    let offline = site.json(&["plan", &checkout, "--inventory", &inventory, "-o", "json"]);
    assert_eq!(items(live), items(offline));
    let code = |arguments: &[&str]| {
        site.pinfold(&[&["plan", "--detailed-exitcode", "--inventory", &inventory], arguments].concat()).code
    };
    assert_eq!(code(&[&checkout]), 2);
    let same = folder(&site, &[]).display().to_string();
    assert_eq!(code(&[&same]), 0);
    let two = folder(&site, &[("vms/web.yaml", None), ("vms/db.yaml", None)]).display().to_string();
    assert_eq!(code(&[&two]), 3, "more removals than the budget allows are held");
}

#[test]
fn an_inventory_tells_what_the_host_lacks() {
    let site = Site::settled();
    let inventory = site.path("xen1.json");
    fs::write(&inventory, site.pinfold(&["inventory"]).out).unwrap();
    let inventory = inventory.display().to_string();
    let missing = vm("web", "").replace("/srv/guests/vmlinuz", "/srv/guests/none");
    let checkout = folder(&site, &[("vms/web.yaml", Some(missing))]).display().to_string();
    assert_eq!(site.pinfold(&["validate", &checkout]).code, 0);
    let said = site.pinfold(&["validate", &checkout, "--inventory", &inventory]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("/srv/guests/none") && said.out.contains("vms/web.yaml"), "{}", said.out);
    let newer = fs::read_to_string(&inventory).unwrap().replacen("\"version\": 1", "\"version\": 99", 1);
    fs::write(&inventory, newer).unwrap();
    let said = site.pinfold(&["validate", &checkout, "--inventory", &inventory]);
    assert!(said.code == 70 && said.err.contains("version 99"), "{}", said.err);
}
