//! dom0s made of files: Debian's as installed, and what people make of it.

#![allow(clippy::unwrap_used)]

use super::Dom0Health;
use insta::assert_snapshot;
use protocol::Reading;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Debian's /etc/default/xendomains, without its comments.
const DEFAULT: &str = "# a comment\n\nXENDOMAINS_MIGRATE=\"\"\nXENDOMAINS_SAVE=/var/lib/xen/save\nXENDOMAINS_RESTORE=true\nXENDOMAINS_AUTO=/etc/xen/auto\n\
                       XENDOMAINS_STOP_MAXWAIT=300\n";

/// A dom0 below systemd with these files; `-> target` makes a link.
fn dom0(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    for (path, text) in files {
        put(root.path(), path, text);
    }
    root
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match text.strip_prefix("-> ") {
        Some(target) => symlink(target, path).unwrap(),
        None => fs::write(path, text).unwrap(),
    }
}

/// What would act in such a dom0, a line each.
fn acting(files: &[(&str, &str)]) -> String {
    let root = dom0(files);
    let health = Dom0Health::look(root.path());
    let line = |other: &planner::toolstacks::OtherToolstack| {
        let acts = match &other.acts {
            Reading::Known(acts) => acts.clone(),
            Reading::Unknown(cause) => format!("? {}", cause.message),
        };
        format!("{} {acts} [{:?}; {}]", other.name, other.reach, other.fix)
    };
    let all: Vec<String> = health.toolstacks.iter().map(line).collect();
    all.join("\n").replace(root.path().to_str().unwrap(), "")
}

const SCRIPT: (&str, &str) = ("etc/init.d/xendomains", "#!/bin/bash\n");
const SETTINGS: (&str, &str) = ("etc/default/xendomains", DEFAULT);
const ENABLED: (&str, &str) = ("etc/rc3.d/S02xendomains", "-> ../init.d/xendomains");
const GENERATED: (&str, &str) =
    ("run/systemd/generator.late/multi-user.target.wants/xendomains.service", "-> ../xendomains.service");
const ACTIVE: (&str, &str) = ("run/systemd/units/invocation:xendomains.service", "-> 0123456789abcdef");
const MASKED: (&str, &str) = ("etc/systemd/system/xendomains.service", "-> /dev/null");

#[test]
fn xendomains_acts_when_it_is_started_or_will_be() {
    assert_snapshot!(acting(&[SCRIPT, SETTINGS, ENABLED]), @"xendomains is enabled; it saves every domain to /var/lib/xen/save and restores it at the next boot, out of its partition, when the host goes down (/etc/default/xendomains) [AllDomains; systemctl mask xendomains]");
    assert_snapshot!(acting(&[SCRIPT, SETTINGS, GENERATED]), @"xendomains is enabled; it saves every domain to /var/lib/xen/save and restores it at the next boot, out of its partition, when the host goes down (/etc/default/xendomains) [AllDomains; systemctl mask xendomains]");
    // Disabled, and still to be stopped when the host goes down.
    assert_snapshot!(acting(&[SCRIPT, SETTINGS, ("etc/rc3.d/K01xendomains", "-> ../init.d/xendomains"), ACTIVE]), @"xendomains is active; it saves every domain to /var/lib/xen/save and restores it at the next boot, out of its partition, when the host goes down (/etc/default/xendomains) [AllDomains; systemctl mask xendomains]");
}

#[test]
fn xendomains_does_not_act_when_it_is_masked_or_disabled_and_stopped() {
    assert_eq!(acting(&[SCRIPT, SETTINGS, ENABLED, GENERATED, ACTIVE, MASKED]), "");
    let disabled = ("etc/rc3.d/K01xendomains", "-> ../init.d/xendomains");
    let stops = ("etc/rc0.d/K01xendomains", "-> ../init.d/xendomains");
    assert_eq!(acting(&[SCRIPT, SETTINGS, disabled, stops]), "");
    assert_eq!(acting(&[]), "");
}

#[test]
fn xendomains_that_neither_saves_nor_migrates_only_shuts_down_what_is_left() {
    for nothing in [
        "XENDOMAINS_SAVE=\nXENDOMAINS_MIGRATE=\n",
        "XENDOMAINS_SAVE=\"\" # no\n",
        "XENDOMAINS_SAVE=/x\nXENDOMAINS_SAVE=''\n",
        "",
    ] {
        assert_eq!(acting(&[SCRIPT, ("etc/default/xendomains", nothing), ENABLED]), "", "{nothing}");
    }
    assert_eq!(acting(&[SCRIPT, ENABLED]), "", "without the file the script has no settings");
    assert_snapshot!(acting(&[SCRIPT, ("etc/default/xendomains", "export XENDOMAINS_MIGRATE='xen2 --live'\n"), ENABLED]), @"xendomains is enabled; it migrates every domain to xen2 --live when the host goes down (/etc/default/xendomains) [AllDomains; systemctl mask xendomains]");
}

#[test]
fn settings_that_only_a_shell_understands_are_unknown() {
    assert_snapshot!(acting(&[SCRIPT, ("etc/default/xendomains", "XENDOMAINS_SAVE=$HOME/save\n"), ENABLED]), @"xendomains ? it is enabled, and /etc/default/xendomains is more than a list of settings: `XENDOMAINS_SAVE=$HOME/save` [AllDomains; systemctl mask xendomains]");
    assert_snapshot!(acting(&[SCRIPT, ("etc/default/xendomains", "if true; then\nXENDOMAINS_SAVE=\nfi\n"), ENABLED]), @"xendomains ? it is enabled, and /etc/default/xendomains is more than a list of settings: `if true; then` [AllDomains; systemctl mask xendomains]");
}

#[test]
fn where_system_v_scripts_run_their_links_count_and_elsewhere_nothing_does() {
    let stops = ("etc/rc0.d/K01xendomains", "-> ../init.d/xendomains");
    let with = |pipe: bool| {
        let root = dom0(&[SCRIPT, SETTINGS, stops, ENABLED]);
        fs::remove_dir_all(root.path().join("run/systemd")).unwrap();
        if pipe {
            put(root.path(), "run/initctl", "");
        }
        Dom0Health::look(root.path()).toolstacks
    };
    assert_eq!(with(false), []);
    assert_eq!(with(true).into_iter().map(|other| other.fix).collect::<Vec<_>>(), ["update-rc.d -f xendomains remove"]);
}

#[test]
fn libvirt_acts_on_the_domains_that_it_knows() {
    let guests = ("etc/systemd/system/multi-user.target.wants/libvirt-guests.service", "-> /x");
    let daemon = ("run/systemd/units/invocation:libvirtd.service", "-> 0123");
    let knows = (
        "etc/libvirt/libxl/db.xml",
        "<domain type='xen'>\n  <name>db</name>\n  <uuid>1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11</uuid>\n",
    );
    assert_eq!(acting(&[guests, daemon]), "", "it knows none");
    assert_eq!(acting(&[knows]), "", "it neither runs nor will");
    assert_snapshot!(acting(&[guests, daemon, knows]), @"
    libvirt-guests is enabled; it suspends or shuts down a domain that is also a VM of pinfold's when the host goes down [Domains({1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11}); systemctl mask libvirt-guests]
    libvirtd is active; it manages a domain that is also a VM of pinfold's, and reacts when its guest ends [Domains({1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11}); systemctl disable --now libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket]
    ");
    assert_snapshot!(acting(&[guests, ("run/libvirt/libxl/db.xml", "<domain>")]), @"libvirt-guests ? it is enabled, and /run/libvirt/libxl/db.xml names no domain [AllDomains; systemctl mask libvirt-guests]");
}

#[test]
fn a_dom0_is_looked_at_whole() {
    let root = dom0(&[
        ("proc/xen/capabilities", "control_d\n"),
        ("proc/12/comm", "xenconsoled\n"),
        ("proc/13/comm", "bash\n"),
        ("proc/sys/kernel/osrelease", "6.1.0\n"),
        (
            "proc/self/mountinfo",
            "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n22 21 0:40 / /var/lib/pin\\040fold rw - nfs4 nas:/x ro,vers=4\n",
        ),
        (
            "lib/modules/6.1.0/modules.dep",
            "kernel/drivers/block/xen-blkback/xen-blkback.ko: \nkernel/net/xen-netback.ko.xz:\n",
        ),
        ("lib/modules/6.1.0/modules.builtin", "kernel/drivers/xen/xen-evtchn.ko\nkernel/x/loop.ko\n"),
        ("sys/module/xen_gntdev/version", ""),
        ("etc/xen/scripts/block", ""),
        ("etc/xen/xl.conf", "#autoballoon=\"auto\"\nautoballoon = \"on\"\n"),
        ("etc/group", "root:x:0:\npinfold:x:101:\n"),
        ("etc/systemd/system/multi-user.target.wants/pinfold.service", "-> /lib/systemd/system/pinfold.service"),
        ("run/systemd/units/invocation:pinfold.service", "-> 0123"),
        (
            "etc/systemd/system/pinfold.service.d/harden.conf",
            "[Service]\nPrivateTmp=yes\nProtectSystem=no\nKillMode=control-group\nNice=5\n",
        ),
        ("etc/systemd/system/pinfold-guests.service", "-> /dev/null"),
    ]);
    fs::create_dir_all(root.path().join("sys/class/net/xenbr0/bridge")).unwrap();
    let health = Dom0Health::look(root.path());
    assert_snapshot!(serde_json::to_string_pretty(&health).unwrap(), @r#"
    {
      "systemd": true,
      "capabilities": "control_d\n",
      "daemons": [
        "xenconsoled"
      ],
      "dev_fd": false,
      "scripts_missing": [
        "vif-bridge"
      ],
      "modules_missing": [
        "bridge"
      ],
      "autoballoon": "on",
      "units": {
        "pinfold": {
          "enabled": true,
          "active": true,
          "masked": false
        },
        "pinfold-guests": {
          "enabled": false,
          "active": false,
          "masked": true
        }
      },
      "harmful": [
        {
          "file": "/etc/systemd/system/pinfold.service.d/harden.conf",
          "line": "PrivateTmp=yes"
        },
        {
          "file": "/etc/systemd/system/pinfold.service.d/harden.conf",
          "line": "KillMode=control-group"
        }
      ],
      "toolstacks": [],
      "bridges": [
        "xenbr0"
      ],
      "groups": [
        "pinfold",
        "root"
      ],
      "mounts": [
        {
          "point": "/",
          "kind": "ext4",
          "read_only": false
        },
        {
          "point": "/var/lib/pin fold",
          "kind": "nfs4",
          "read_only": true
        }
      ]
    }
    "#);
    assert_eq!(health.mount_of(Path::new("/var/lib/pin fold/state")).unwrap().kind, "nfs4");
    assert_eq!(health.mount_of(Path::new("/var/lib/pinfold")).unwrap().kind, "ext4");
}
