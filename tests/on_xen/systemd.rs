//! The host's own day, as Debian lives it: systemd in dom0, pinfold from its packages, Debian's own scripts of Xen.

use crate::manifests::{partition, vm, vm_with_boot};
use anyhow::{Context, Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, PATIENCE, Rig, SITE, packages, programs};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A guest that acknowledges requests and then ignores them.
const DEAF: &str = "{kernel: \"/srv/guests/vmlinuz\", ramdisk: \"/srv/guests/initrd.gz\", cmdline: \"console=hvc0 pf.ignore-shutdown\"}";

/// Names, domids and pools of what runs.
const DOMIDS: &str = "xl list | awk 'NR>2 {print $1, $2}' | sort";

/// The same without numbers that change with every start.
const PLACEMENT: &str = "xl list -c | awk 'NR>2 {print $1, $NF}' | sort; xl vcpu-list | awk 'NR>1 && $1 != \"Domain-0\" {print $1, $3, $7}' | sort";

fn install(lab: &Lab, packages: &[impl AsRef<Path>]) -> Result<String> {
    lab.run("rm -rf /root/packages; mkdir -p /root/packages")?;
    for package in packages {
        let name = package.as_ref().file_name().context("a package has a name")?.to_string_lossy().into_owned();
        lab.copy_in(package, &format!("/root/packages/{name}"))?;
    }
    Ok(lab.run("dpkg -i --auto-deconfigure /root/packages/*.deb 2>&1")?)
}

fn reasons(rig: &Rig) -> Result<Vec<String>> {
    let output = rig.pinfold("check -o json")?;
    let document: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let findings = document["findings"].as_array().context("findings are a list")?;
    Ok(findings.iter().filter_map(|finding| finding["reason"].as_str().map(str::to_owned)).collect())
}

fn commit(rig: &Rig) -> Result<String> {
    rig.commit(
        "a partition, a guest in it, one outside, one that ignores requests",
        &[
            Change::Write("base.yaml", SITE),
            Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3])),
            Change::Write(
                "db.yaml",
                &vm("db", "  cpu: {partition: oracle-a, weight: 512}\n  shutdown: {timeout: 10m}\n"),
            ),
            Change::Write(
                "web.yaml",
                &vm("web", "  cpu: {pins: [{socket: 0, core: 1}]}\n  shutdown: {timeout: 10m}\n"),
            ),
            Change::Write("deaf.yaml", &vm_with_boot("deaf", DEAF, "  shutdown: {timeout: 20s}\n")),
        ],
    )
}

/// Installed from packages: nothing runs before there is a configuration, and nothing is enforced while xendomains would act.
fn comes_to_life(rig: &Rig) -> Result<()> {
    rig.lab.run("systemctl start pinfold")?;
    let commit = commit(rig)?;
    rig.until("nothing is enforced, and the host says why", |rig| {
        let stalled = rig.status()?.condition("host", "xen1", "Stalled").unwrap_or_default();
        Ok(stalled.starts_with("True OtherToolstack") && stalled.contains("`systemctl mask xendomains`"))
    })?;
    ensure!(rig.lab.run(DOMIDS)?.is_empty(), "something was created");
    ensure!(reasons(rig)? == ["OtherToolstack"], "{:?}", reasons(rig)?);

    // The command that it names, and no other.
    rig.lab.run("systemctl mask xendomains")?;
    rig.until_converged(&commit)?;
    ensure!(reasons(rig)?.is_empty(), "{:?}", reasons(rig)?);
    ensure!(rig.pinfold("check")?.success(), "a host without findings");
    for name in ["db", "web", "deaf"] {
        rig.lab.wait_for_guest(name, 1, PATIENCE)?;
    }
    Ok(())
}

/// Neither a restart of the daemon nor another version of the package is noticed by a guest.
fn is_upgraded(rig: &Rig, newer: &[impl AsRef<Path>]) -> Result<()> {
    let before = rig.lab.run(DOMIDS)?;
    rig.lab.run("systemctl restart pinfold")?;
    rig.until("the daemon has looked", |rig| Ok(rig.status()?.all_ready()))?;
    let daemon = rig.lab.run("systemctl show -P MainPID pinfold")?;
    install(&rig.lab, newer)?;
    rig.until("the new daemon has looked", |rig| Ok(rig.status()?.all_ready()))?;
    ensure!(rig.lab.run("systemctl show -P MainPID pinfold")? != daemon, "the daemon is the old one");
    ensure!(rig.lab.run("systemctl is-active pinfold-guests")?.trim() == "active", "nobody stops guests any more");
    ensure!(rig.lab.run(DOMIDS)? == before, "a guest was restarted");
    for name in ["db", "web", "deaf"] {
        ensure!(rig.lab.guest_boots(name)? == 1, "{name} has booted again");
    }
    Ok(())
}

/// Guests power off before anything of Xen stops, the one that does not is ended by force, and xendomains saves none.
fn went_down_in_order(rig: &Rig, boots: usize) -> Result<()> {
    let console = rig.lab.console_log();
    let last = |what: &str| console.rfind(what).with_context(|| format!("the console has no `{what}`:\n{console}"));
    ensure!(
        console.matches("no guest of pinfold's runs any more").count() == boots,
        "guests were stopped once in each boot"
    );
    ensure!(
        last("no guest of pinfold's runs any more")? < last("Stopped xen.service")?,
        "Xen's daemons stopped before the guests"
    );
    ensure!(last("Stopped pinfold.service")? < last("no guest of pinfold's runs any more")?, "the daemon stopped last");
    Ok(())
}

#[test]
fn a_debian_host_installs_upgrades_reboots_and_powers_off() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = programs()?;
    let (older, newer) = (packages(&programs, "0.1.0", folder.path())?, packages(&programs, "0.2.0", folder.path())?);
    let lab = Lab::builder().name("systemd").systemd().topology(Topology::Cores(6)).boot()?;
    let said = install(&lab, &older)?;
    ensure!(said.contains("nothing runs yet"), "{said}");
    lab.run("systemctl is-enabled pinfold pinfold-guests && systemctl is-active pinfold-guests && ! systemctl is-active pinfold")?;
    let mut rig = Rig::on(lab)?;
    comes_to_life(&rig)?;
    is_upgraded(&rig, &newer)?;

    let placement = rig.lab.run(PLACEMENT)?;
    rig.lab.reboot()?;
    rig.until("everything is back after a reboot", |rig| Ok(rig.lab.run(PLACEMENT)? == placement))?;
    went_down_in_order(&rig, 1)?;
    for name in ["db", "web"] {
        let console = rig.lab.guest_console(name)?;
        ensure!(console.contains("pinfold-guest: poweroff"), "{name} did not power off by itself:\n{console}");
    }
    ensure!(rig.lab.run("ls -A /var/lib/xen/save 2>/dev/null || true")?.is_empty(), "xendomains saved something");
    let events = |name: &str| -> Result<String> { Ok(rig.pinfold(&format!("events --for vm/{name} -o json"))?.ok()?) };
    ensure!(events("deaf")?.contains("did not power off within 20 s: forced"), "{}", events("deaf")?);
    ensure!(!events("db")?.contains("forced"), "{}", events("db")?);

    // Ready is more than running: what is off with the host must be asked, not found half-built.
    rig.until("the daemon says so too", |rig| Ok(rig.status()?.all_ready()))?;
    rig.lab.sh("(sleep 0.2; poweroff) </dev/null >/dev/null 2>&1 &")?;
    let began = Instant::now();
    while rig.lab.is_on() {
        ensure!(began.elapsed() < PATIENCE, "the host never went off:\n{}", rig.lab.console_log());
        std::thread::sleep(Duration::from_secs(1));
    }
    went_down_in_order(&rig, 2)
}
