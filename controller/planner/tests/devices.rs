//! Disks and NICs that come and go while the guest runs.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, vm};
use insta::assert_snapshot;
use sim::{Event, Fault, Point};

const ROOT: &str = "{name: root, target: xvda, path: /srv/a.img}";
const DATA: &str = "{name: data, target: xvdb, path: /srv/b.img}";

/// A VM with these disks and NICs, in a Pool where no person is asked first.
fn web(disks: &[&str], nics: &[&str]) -> String {
    web_under("allow", disks, nics)
}

fn web_under(restarts: &str, disks: &[&str], nics: &[&str]) -> String {
    let devices = format!("  disks: [{}]\n  nics: [{}]", disks.join(", "), nics.join(", "));
    base(&format!(", changes: {{restarts: {restarts}}}")) + &vm("web", &devices)
}

fn stage(disks: &[&str], nics: &[&str]) -> Stage {
    let mut stage = Stage::new(&web(disks, nics));
    stage.converge();
    stage.wait(5);
    stage
}

fn event(text: &str) -> Event {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_disk_and_a_nic_come_and_go_without_a_restart() {
    let mut stage = stage(&[ROOT], &["{name: lan0, network: lan}"]);
    stage.commit(&web(&[ROOT, DATA], &["{name: lan0, network: lan}", "{name: lan1, network: lan}"]));
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    now
        because it is declared, and not attached yet
        + spec.disks[data]  /srv/b.img
    ~ vm/web                   change    live        commit    waiting
        because it is declared, and not attached yet
        waits: vm/web: change
        + spec.nics[lan1]  ce:fe:40:e1:5e:38
    0 to create, 2 to change, 0 to remove or stop. 1 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[data] /srv/b.img] (Commit; it is declared, and not attached yet) now do attach-disk
    2 vm/web change [spec.nics[lan1] ce:fe:40:e1:5e:38] (Commit; it is declared, and not attached yet) now do attach-nic
    3 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    // lan1 keeps its number when lan0 goes, and the lowest free one is given next.
    stage.commit(&web(&[ROOT], &["{name: lan1, network: lan}"]));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[data] (was /srv/b.img)] (Commit; it is not declared any more; the guest is asked, never forced; unmount it first) now do detach-disk
    2 vm/web change [spec.nics[lan0] (was ca:ed:fe:cb:fb:27)] (Commit; it is not declared any more; it is taken away by force when the guest does not let go of it within 10 s) now do detach-nic
    3 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    stage.commit(&web(&[ROOT], &["{name: lan1, network: lan}", "{name: lan2, network: lan}"]));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.nics[lan2] c6:94:e7:2c:b7:5c] (Commit; it is declared, and not attached yet) now do attach-nic
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c40000000000 says
    ");
}

#[test]
fn a_guest_keeps_a_disk_that_it_uses_until_it_lets_go() {
    let mut stage = stage(&[ROOT, DATA], &[]);
    stage.event(&event(r#"{"guest-behaves": {"name": "web", "guest": {"ignores": ["disks"]}}}"#));
    stage.commit(&web(&[ROOT], &[]));
    let (_, failures) = stage.pass();
    assert_snapshot!(failures, @"  failed: vm/web: libxl_device_disk_safe_remove: the guest of domain 1 (web) did not let go of xvdb within 10 s, so it keeps it; unmount it in the guest");
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    waiting
        because it is not declared any more; the guest is asked, never forced
        waits: the next try at 2026-01-01T00:00:25Z, after 1 failure(s)
        - spec.disks[data]  /srv/b.img
    ~ vm/web                   settle    live        commit    now
        because nothing on the host differs; that is recorded
    0 to create, 2 to change, 0 to remove or stop. 1 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready False PlugFailed: libxl_device_disk_safe_remove: the guest of domain 1 (web) did not let go of xvdb within 10 s, so it keeps it; unmount it in the guest
      Reconciling True Progressing: change spec.disks[data] (was /srv/b.img) (it is not declared any more; the guest is asked, never forced): waits: the next try at 2026-01-01T00:00:25Z, after 1 failure(s); settle (nothing on the host differs; that is recorded)
      Stalled True PlugFailed: libxl_device_disk_safe_remove: the guest of domain 1 (web) did not let go of xvdb within 10 s, so it keeps it; unmount it in the guest
    ");
    // Wanted again meanwhile: what was begun is ended first, so that the guest gets a disk that works.
    stage.commit(&web(&[ROOT, DATA], &[]));
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    now
        because its removal was begun; the guest is asked, never forced
        - spec.disks[data]  /srv/b.img
    0 to create, 1 to change, 0 to remove or stop. 1 now, 0 waiting, 0 held, 0 at next start.
    ");
    stage.event(&event(r#"{"guest-behaves": {"name": "web", "guest": {}}}"#));
    stage.wait(600);
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[data] (was /srv/b.img)] (Commit; its removal was begun; the guest is asked, never forced) now do detach-disk
    2 vm/web change [spec.disks[data] /srv/b.img] (Commit; it is declared, and not attached yet) now do attach-disk
    ");
}

#[test]
fn a_guest_does_not_keep_a_nic() {
    let mut stage = stage(&[ROOT], &["{name: lan0, network: lan}", "{name: lan1, network: lan}"]);
    stage.event(&event(r#"{"guest-behaves": {"name": "web", "guest": {"ignores": ["nics"]}}}"#));
    stage.commit(&web(&[ROOT], &["{name: lan0, network: lan}"]));
    let began = stage.xen.now_ms();
    let (_, failures) = stage.pass();
    assert_eq!(failures, "");
    let took = stage.xen.now_ms() - began;
    assert!((10_000..11_000).contains(&took), "libxl gives the guest 10 s, and it took {took} ms");
    let nics: Vec<_> = stage.observe().xen.known().unwrap().domains.known().unwrap()[0].nics.clone();
    assert_eq!(nics.iter().map(|nic| nic.devid).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_device_that_waits_for_something_says_for_what() {
    let mut stage = stage(&[ROOT], &[]);
    let bad = web(
        &[ROOT, "{name: data, target: xvdb, path: /srv/none.img}"],
        &["{name: lan0, network: lan, mac: \"00:16:3e:00:00:01\"}"],
    );
    stage.event(&event(r#"{"bridge-removed": {"bridge": "xenbr0"}}"#));
    stage.host.bridges.clear();
    stage.commit(&bad);
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    waiting
        because it is declared, and not attached yet
        waits: disk data: /srv/none.img does not exist; create it, or correct the path
        + spec.disks[data]  /srv/none.img
    ~ vm/web                   change    live        commit    waiting
        because it is declared, and not attached yet
        waits: dom0 has no bridge xenbr0 (NIC lan0); make it, or correct the Network
        + spec.nics[lan0]  00:16:3e:00:00:01
    ~ vm/web                   settle    live        commit    now
        because nothing on the host differs; that is recorded
    0 to create, 3 to change, 0 to remove or stop. 1 now, 2 waiting, 0 held, 0 at next start.
    ");
    // Another device of the same number is no place for it.
    stage.commit(&web(&["{name: other, target: xvda, path: /srv/b.img}"], &[]));
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   change    live        commit    now
        because it is not declared any more; the guest is asked, never forced; unmount it first
        - spec.disks[root]  /srv/a.img
    ~ vm/web                   change    live        commit    waiting
        because it is declared, and not attached yet
        waits: xvda, which is /srv/a.img now, is taken away
        + spec.disks[other]  /srv/b.img
    0 to create, 2 to change, 0 to remove or stop. 1 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[root] (was /srv/a.img)] (Commit; it is not declared any more; the guest is asked, never forced; unmount it first) now do detach-disk
    2 vm/web change [spec.disks[other] /srv/b.img] (Commit; it is declared, and not attached yet) now do attach-disk
    3 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}

#[test]
fn a_device_is_renamed_without_a_word_to_the_guest() {
    let mut stage = stage(&[ROOT], &["{name: lan0, network: lan, mac: \"00:16:3e:00:00:01\"}"]);
    stage.commit(&web(
        &["{name: system, target: xvda, path: /srv/a.img}"],
        &["{name: front, network: lan, mac: \"00:16:3e:00:00:01\"}"],
    ));
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records");
}

#[test]
fn what_other_hands_plugged_is_put_right() {
    let mut stage = stage(&[ROOT], &["{name: lan0, network: lan}"]);
    stage.event(&event(r#"{"block-attach": {"domain": "web", "device": "xvdc", "path": "/srv/b.img"}}"#));
    stage.event(&event(r#"{"network-detach": {"domain": "web", "devid": 0}}"#));
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   repair    live        drift     now
        because it was attached outside pinfold; the guest is asked, never forced; unmount it first
        seen since 2026-01-01T00:00:05Z
        - spec.disks[xvdc]  /srv/b.img
    ~ vm/web                   repair    live        drift     waiting
        because it was detached outside pinfold
        seen since 2026-01-01T00:00:05Z
        waits: vm/web: repair
        + spec.nics[lan0]  ca:ed:fe:cb:fb:27
    0 to create, 2 to change, 0 to remove or stop. 1 now, 1 waiting, 0 held, 0 at next start.
    ");
    assert_snapshot!(stage.converge(), @r"
    1 vm/web repair [spec.disks[xvdc] (was /srv/b.img)] (Drift; it was attached outside pinfold; the guest is asked, never forced; unmount it first) now do detach-disk
    2 vm/web repair [spec.nics[lan0] ca:ed:fe:cb:fb:27] (Drift; it was detached outside pinfold) now do attach-nic
    ");
    stage.event(&event(r#"{"block-detach": {"domain": "web", "device": "xvda"}}"#));
    assert_snapshot!(stage.converge(), @" 1 vm/web repair [spec.disks[root] /srv/a.img] (Drift; it was detached outside pinfold) now do attach-disk");
}

#[test]
fn an_attach_that_was_cut_off_is_begun_again() {
    let mut stage = stage(&[ROOT], &[]);
    stage.commit(&web(&[ROOT, DATA], &[]));
    let item = stage.plan().items.into_iter().find(|item| item.operation.is_some()).unwrap();
    let fault = Fault { die_at: Some(Point::DeviceEntered), ..Fault::default() };
    stage.carry_out(&item, fault).unwrap_err();
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[xvdb] (was /srv/b.img)] (Commit; its attaching was cut off; the guest is asked, never forced) now do detach-disk
    2 vm/web change [spec.disks[data] /srv/b.img] (Commit; it is declared, and not attached yet) now do attach-disk
    3 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}

#[test]
fn a_disk_that_its_guest_may_have_mounted_waits_for_a_person_or_the_next_start() {
    let of = |restarts, disks: &[&str]| web_under(restarts, disks, &[]);
    let begin = |restarts, after: &[&str]| {
        let mut stage = Stage::new(&of(restarts, &[ROOT, DATA]));
        stage.converge();
        stage.wait(5);
        stage.commit(&of(restarts, after));
        stage
    };
    let mut approved = begin("at-next-start", &[ROOT]);
    let plan = planner::render::plan(&approved.plan());
    assert_snapshot!(plan, @r"
    ~ vm/web                   change    live        commit    held  [78dc54ea2d2e]
        because it is not declared any more; the guest is asked, never forced; unmount it first
        held: Linux lets go of a mounted disk too, and loses what it has not written: unmount it, then `pinfold approve 78dc54ea2d2e`; when it starts next, it starts without
        - spec.disks[data]  /srv/b.img
    ~ vm/web                   settle    live        commit    now
        because nothing on the host differs; that is recorded
    0 to create, 2 to change, 0 to remove or stop. 1 now, 0 waiting, 1 held, 0 at next start.
    ");
    assert_eq!(planner::render::plan(&begin("hold", &[ROOT]).plan()), plan);
    approved.approve_all();
    assert_snapshot!(approved.converge(), @r"
    1 vm/web change [spec.disks[data] (was /srv/b.img)] (Commit; it is not declared any more; the guest is asked, never forced; unmount it first) now do detach-disk
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
    assert!(approved.records.approvals.is_empty());

    let started = |restarts| {
        let mut stage = begin(restarts, &[ROOT]);
        stage.converge();
        stage.event(&event(r#"{"guest-ends": {"domain": "web", "how": "reboot"}}"#));
        let went = stage.converge();
        let disks = stage.observe().xen.known().unwrap().domains.known().unwrap()[0].disks.len();
        format!("{went}disks: {disks}")
    };
    assert_eq!(started("hold"), started("at-next-start"));
    assert_snapshot!(started("hold"), @r"
     1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
     2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    disks: 1
    ");

    // Another file in its place waits for the same.
    let mut other = begin("at-next-start", &[ROOT, "{name: more, target: xvdb, path: /srv/c.img}"]);
    assert_snapshot!(other.converge(), @r"
    1 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change [spec.disks[data] (was /srv/b.img)] (Commit; it is not declared any more; the guest is asked, never forced; unmount it first) held: Linux lets go of a mounted disk too, and loses what it has not written: unmount it, then `pinfold approve 78dc54ea2d2e`; when it starts next, it starts without
      vm/web change [spec.disks[more] /srv/c.img] (Commit; it is declared, and not attached yet) waits: xvdb, which is /srv/b.img now, is taken away
    ");
    // What other hands attached, too.
    let mut foreign = begin("at-next-start", &[ROOT, DATA]);
    foreign.event(&event(r#"{"block-attach": {"domain": "web", "device": "xvdc", "path": "/srv/c.img"}}"#));
    assert_snapshot!(foreign.converge(), @"   vm/web repair [spec.disks[xvdc] (was /srv/c.img)] (Drift; it was attached outside pinfold; the guest is asked, never forced; unmount it first) held: Linux lets go of a mounted disk too, and loses what it has not written: unmount it, then `pinfold approve 582fd5660885`; when it starts next, it starts without");
}

#[test]
fn a_disk_that_its_guest_cannot_write_to_goes_at_once() {
    const READ_ONLY: &str = "{name: media, target: xvdb, path: /srv/b.img, readOnly: true}";
    let mut stage = Stage::new(&web_under("hold", &[ROOT, READ_ONLY], &[]));
    stage.converge();
    stage.wait(5);
    stage.commit(&web_under("hold", &[ROOT], &[]));
    assert_snapshot!(stage.converge(), @r"
    1 vm/web change [spec.disks[media] (was /srv/b.img)] (Commit; it is not declared any more; the guest is asked, never forced) now do detach-disk
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
    ");
}
