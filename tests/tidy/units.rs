//! The systemd units that we ship are what systemd takes them for.

use std::fs;
use std::process::Command;

#[test]
fn systemd_understands_every_line_of_our_units() {
    let copies = tempfile::tempdir().expect("a folder for copies");
    let units = fs::read_dir(super::root().join("deploy/systemd")).expect("deploy/systemd is there");
    let units: Vec<_> = units.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!units.is_empty());
    for unit in units {
        // systemd also looks whether the program is there. Ours need not be installed for this.
        let text = fs::read_to_string(&unit).expect("a unit is text").replace("/usr/bin/pinfold", "/bin/true");
        let copy = copies.path().join(unit.file_name().expect("it has a name"));
        fs::write(&copy, text).expect("a copy");
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--generators=no"])
            .arg(&copy)
            .output()
            .expect("systemd-analyze is installed: run deploy/prerequisites");
        // It ends well with a line that it does not know, and says so.
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && said.is_empty(), "{}: {said}", unit.display());
    }
}
