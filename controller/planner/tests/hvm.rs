//! HVM guests: made when dom0 can, media changed while they run, stopped by their power button when they hear nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, host};
use insta::assert_snapshot;
use planner::observed::HostShutdown;
use protocol::HvmParts;
use sim::Event;

const CD: &str = "cdroms: [{name: cd, target: hdc, medium: /srv/b.img}, {name: more, target: hdd}]";
const EMPTY: &str = "cdroms: [{name: cd, target: hdc}, {name: more, target: hdd}]";

/// An HVM guest; `more` are further lines of its spec.
fn pc(more: &str) -> String {
    let more = more.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
    base("")
        + &format!(
            "---\napiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: pc}}\nspec:\n  host: xen1\n  type: hvm\n  vcpus: 1\n  \
             memory: 128Mi\n  disks: [{{name: root, target: hda, path: /srv/a.img}}]\n  shutdown: {{timeout: 20s}}\n{more}"
        )
}

fn behaves(ignores: &str) -> Event {
    serde_json::from_str(&format!(r#"{{"guest-behaves": {{"name": "pc", "guest": {{"ignores": [{ignores}]}}}}}}"#))
        .unwrap()
}

fn stage(ignores: &str, more: &str) -> Stage {
    let mut stage = Stage::new(&pc(more));
    stage.event(&behaves(ignores));
    stage.converge();
    stage.wait(5);
    stage
}

#[test]
fn media_change_while_the_guest_runs_and_drives_at_the_next_start() {
    let mut stage = stage("", CD);
    stage.commit(&pc(EMPTY));
    assert_snapshot!(stage.converge(), @r"
    1 vm/pc change [spec.cdroms[cd].medium (was /srv/b.img)] (Commit; another medium is declared) now do set-medium
    2 vm/pc settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    stage.commit(&pc("firmware: uefi\nvnc: true\ncdroms: [{name: cd, target: hdc, medium: /srv/b.img}]"));
    assert_snapshot!(stage.converge(), @r"
    1 vm/pc change [spec.cdroms[cd].medium /srv/b.img] (Commit; another medium is declared) now do set-medium
    2 vm/pc settle (Commit; nothing on the host differs; that is recorded) now records
      vm/pc change [spec.firmware bios -> uefi, spec.vnc true, spec.cdroms[more].target (was hdd)] (Commit; it takes a restart) at next start
    ");
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/pc                    change    restart     commit    at next start
        because it takes a restart
        ~ spec.firmware             bios -> uefi
        + spec.vnc                  true
        - spec.cdroms[more].target  hdd
    0 to create, 1 to change, 0 to remove or stop. 0 now, 0 waiting, 0 held, 1 at next start.
    ");
}

#[test]
fn a_host_that_goes_down_presses_the_power_button() {
    let mut stage = stage("\"shutdown\"", "");
    let boot_id = stage.observe().xen.known().unwrap().hypervisor.boot_id;
    let up_ms = Some(stage.xen.now_ms());
    stage.host_shutdown =
        Some(HostShutdown { since: stage.now(), up_ms, boot_id, until: None, why: "test".to_owned() });
    assert_snapshot!(stage.converge(), @r#"
    1 vm/pc stop [domain (was 1)] (HostShutdown; the host shuts down; it has no PV drivers, so its ACPI power button is pressed) now do press-power-button
    3 vm/pc stop [domain (was 1)] (HostShutdown; the host shuts down; its guest has ended) now do destroy-domain
      vm/pc start (HostShutdown; the host shuts down) waits: the next boot of the host
    "#);
    stage.event(&Event::HostReboot);
    assert_snapshot!(stage.converge(), @r#"
     1 vm/pc start (HostBoot; the host booted) now do create-domain
    "#);
}

#[test]
fn what_other_hands_put_into_a_drive_is_taken_out_again() {
    let mut stage = stage("", EMPTY);
    let insert = r#"{"cd-insert": {"domain": "pc", "device": "hdd", "path": "/srv/b.img"}}"#;
    stage.event(&serde_json::from_str(insert).unwrap());
    assert_snapshot!(stage.converge(), @" 1 vm/pc repair [spec.cdroms[more].medium (was /srv/b.img)] (Drift; it was changed outside pinfold, or by the guest) now do set-medium");
}

#[test]
fn a_medium_that_is_not_there_waits_and_says_so() {
    let mut stage = stage("", EMPTY);
    stage.commit(&pc("cdroms: [{name: cd, target: hdc, medium: /srv/none.iso}, {name: more, target: hdd}]"));
    stage.converge();
    assert_snapshot!(stage.status("vm/pc"), @r"
    vm/pc: running
      Ready False FileMissing: medium of drive cd: /srv/none.iso does not exist; create it, or correct the path
      Reconciling True Progressing: change spec.cdroms[cd].medium /srv/none.iso (another medium is declared): waits: medium of drive cd: /srv/none.iso does not exist; create it, or correct the path
      Stalled True FileMissing: medium of drive cd: /srv/none.iso does not exist; create it, or correct the path
    ");
}

#[test]
fn a_guest_without_drivers_is_stopped_by_its_power_button() {
    let mut stage = stage(r#""shutdown""#, CD);
    stage.commit(&pc("power: stopped"));
    assert_snapshot!(stage.converge(), @r"
    1 vm/pc stop [spec.power running -> stopped] (Commit; it should be stopped; it has no PV drivers, so its ACPI power button is pressed) now do press-power-button
    3 vm/pc stop [spec.power running -> stopped] (Commit; it should be stopped) now do destroy-domain
    ");
}

#[test]
fn and_by_force_when_it_does_not_mind_that() {
    let mut stage = stage(r#""shutdown", "power-off""#, "");
    stage.commit(&pc("power: stopped"));
    stage.pass();
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    - vm/pc                    stop      stop        commit    waiting
        because it should be stopped
        waits: the guest powers off, whose ACPI power button was pressed (it has no PV drivers); it is destroyed at 2026-01-01T00:00:25Z if it does not
        ~ spec.power  running -> stopped
    0 to create, 0 to change, 1 to remove or stop. 0 now, 1 waiting, 0 held, 0 at next start.
    ");
    stage.wait(25);
    assert_snapshot!(stage.converge(), @" 1 vm/pc stop [spec.power running -> stopped] (Commit; it should be stopped; the guest did not power off in time after its ACPI power button was pressed) now do destroy-domain");
}

#[test]
fn a_lost_qemu_is_told_of_and_nothing_is_asked_of_it() {
    let mut stage = stage(r#""shutdown", "power-off""#, CD);
    stage.event(&Event::DeviceModelDies { domain: "pc".to_owned() });
    assert_snapshot!(stage.converge(), @"");
    assert_snapshot!(stage.status("vm/pc"), @r"
    vm/pc: running
      Ready False DeviceModelGone: the QEMU that emulates its devices has ended under it: whatever its guest does with one of them stops it for good; look into /var/log/xen/qemu-dm-pc.log, then `pinfold restart vm/pc`
      Stalled True DeviceModelGone: the QEMU that emulates its devices has ended under it: whatever its guest does with one of them stops it for good; look into /var/log/xen/qemu-dm-pc.log, then `pinfold restart vm/pc`
    ");
    stage.commit(&pc(EMPTY));
    assert_snapshot!(stage.converge(), @r"
    1 vm/pc settle (Commit; nothing on the host differs; that is recorded) now records
      vm/pc change [spec.cdroms[cd].medium (was /srv/b.img)] (Commit; another medium is declared) waits: the guest starts again, with another QEMU
    ");
    stage.commit(&pc(&format!("power: suspended\n{CD}")));
    assert_snapshot!(stage.converge(), @"   vm/pc suspend [spec.power running -> suspended] (Commit; it should be suspended) waits: the guest starts again, with another QEMU");
    stage.commit(&pc(&format!("power: stopped\n{CD}")));
    stage.converge();
    stage.commit(&pc(CD));
    stage.converge();
    assert_snapshot!(stage.status("vm/pc"), @r"
    vm/pc: running
      Ready True AsDeclared: as commit c50000000000 says
    ");
}

#[test]
fn a_host_without_qemu_says_what_to_install() {
    let mut without = host();
    without.hvm_parts = HvmParts { device_model: false, uefi: false, ..HvmParts::default() };
    let mut stage = Stage::on(without, &pc("firmware: uefi"));
    assert_snapshot!(stage.converge(), @"   vm/pc create (Commit; it is declared and does not exist yet) waits: dom0 has no QEMU for Xen, which HVM guests need; install it: `apt-get install qemu-system-xen`; dom0 has no OVMF, the firmware `uefi`; install it: `apt-get install ovmf`");
    assert_snapshot!(stage.status("vm/pc"), @r"
    vm/pc: absent
      Ready False DeviceModelMissing: dom0 has no QEMU for Xen, which HVM guests need; install it: `apt-get install qemu-system-xen`; dom0 has no OVMF, the firmware `uefi`; install it: `apt-get install ovmf`
      Reconciling True Progressing: create (it is declared and does not exist yet): waits: dom0 has no QEMU for Xen, which HVM guests need; install it: `apt-get install qemu-system-xen`; dom0 has no OVMF, the firmware `uefi`; install it: `apt-get install ovmf`
      Stalled True DeviceModelMissing: dom0 has no QEMU for Xen, which HVM guests need; install it: `apt-get install qemu-system-xen`; dom0 has no OVMF, the firmware `uefi`; install it: `apt-get install ovmf`
    ");
}

#[test]
fn a_suspended_guest_goes_on_with_the_medium_that_is_wanted_then() {
    let mut stage = stage(r#""shutdown""#, CD);
    stage.commit(&pc(&format!("power: suspended\n{CD}")));
    stage.converge();
    stage.wait(5);
    stage.commit(&pc(EMPTY));
    assert_snapshot!(stage.converge(), @r"
    1 vm/pc resume [spec.power suspended -> running] (Commit; its guest goes on from its memory on disk) now do restore-domain
    2 vm/pc discard (Commit; its guest has gone on from it) now do discard-image
    ");
}
