//! Domains of other toolstacks: adopted, claimed, and what keeps them from it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Stage, base, cp, host, line, vm};
use import::Site;
use insta::assert_snapshot;
use operation::Hypervisor;
use planner::{Disposition, Work};
use proptest::prelude::*;
use protocol::{BootConfig, BootDevice, Cdrom, DomainKind, DomainNic, Mark, Reading, Request, ShutdownReason, Target};
use schema::write;
use sim::{Calls, Event, Fault, ForeignDomain};
use uuid::Uuid;

const UUID: &str = "7f3c0b52-9a0e-4d27-8f3e-1f6f0f4b2a10";

fn theirs(more: &serde_json::Value) -> ForeignDomain {
    let mut json = serde_json::json!({"name": "web", "uuid": UUID, "memory-kib": 131_072, "boot": {"kernel": {"kernel": "/srv/vmlinuz"}}});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json).unwrap()
}

/// A host with that domain, and the VM that claims it.
fn stage(domain: ForeignDomain, more: &str) -> Stage {
    let mut host = host();
    host.domains = vec![domain];
    Stage::on(
        host,
        &(base("") + &vm("web", &format!("  uuid: \"{UUID}\"\n  type: pv\n{more}")).replace("  type: pvh\n", "")),
    )
}

fn domid(stage: &Stage) -> u32 {
    stage.xen.domains().find(|(_, domain)| domain.uuid.to_string() == UUID && !domain.is_dying()).unwrap().0
}

#[test]
fn a_domain_as_its_manifest_says_is_claimed_and_nothing_else() {
    let mut stage = stage(theirs(&serde_json::json!({})), "");
    assert_snapshot!(stage.converge(), @"   vm/web claim (Commit; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on) held: `pinfold approve a1e5c7bae3c7` takes it over; a revert leaves it alone");
    stage.approve_all();
    assert_snapshot!(stage.converge(), @" 1 vm/web claim (Verb; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on) now do claim-domain");
    assert_eq!(domid(&stage), 1);
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running
      Ready True AsDeclared: as commit c10000000000 says
    ");
    // From now on it is pinfold's: its guest comes back by it.
    stage.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Reboot });
    assert_snapshot!(stage.converge(), @r"
    1 vm/web settle (Guest; its guest ended by itself (reboot); it is started again) now do destroy-domain
    2 vm/web start (Guest; its guest ended and is started again) now do create-domain
    ");
}

/// libxl keeps our mark in what `xl save` writes. A guest that runs, or that `xl` watches, is no wreckage of ours, whatever it bears.
#[test]
fn what_xl_restores_is_claimed_and_never_cleared_away() {
    for paused in [false, true] {
        let mut stage = Stage::new(&(base("") + &vm("web", "")));
        stage.converge();
        stage.event(&Event::SaveAndRestore { domain: "web".to_owned() });
        if paused {
            stage.event(&Event::Pause { domain: "web".to_owned() });
        }
        let held = stage.converge();
        assert!(
            held.contains("vm/web claim ")
                && held.contains("domain web (domid 2) bears its mark, and another tool made it"),
            "{held}"
        );
        assert!(held.contains("held: ") && held.lines().count() == 1, "{held}");
        stage.approve_all();
        let claimed = stage.converge();
        assert!(claimed.contains("now do claim-domain") && !claimed.contains("do destroy-domain"), "{claimed}");
        let left: Vec<u32> = stage.xen.domains().map(|(domid, _)| domid).filter(|domid| *domid > 0).collect();
        assert_eq!(left, [2], "{claimed}");
        let status = stage.status("vm/web");
        assert!(status.contains("Ready True AsDeclared"), "{status}");
    }
}

/// While `xl restore` builds, nobody watches the domain yet. No record says that it was begun.
#[test]
fn what_xl_is_restoring_is_no_wreckage_of_a_vm_that_is_off() {
    let mut stage = Stage::new(&(base("") + &vm("web", "")));
    stage.converge();
    stage.event(&Event::SaveAndRestore { domain: "web".to_owned() });
    stage.event(&Event::Pause { domain: "web".to_owned() });
    Calls::with_fault(&mut stage.xen, Fault::default()).stop_monitor(2).unwrap();
    for record in stage.records.vms.values_mut() {
        if let Reading::Known(record) = record {
            record.here.intent = None;
        }
    }
    let held = stage.converge();
    assert!(held.contains("vm/web claim ") && !held.contains("destroy-domain"), "{held}");
    assert!(stage.xen.domains().any(|(domid, _)| domid == 2), "{held}");
}

#[test]
fn what_differs_is_shown_before_and_put_right_after() {
    let domain =
        theirs(&serde_json::json!({"name": "old-web", "weight": 300, "hard": "3", "vcpus": 2, "paused": true}));
    let mut stage = stage(domain, "  cpu: {pins: [{socket: 0, core: 2}]}\n");
    assert_snapshot!(stage.converge(), @"   vm/web claim (Commit; domain old-web (domid 1) has its UUID and is not pinfold's; its guest runs on; 5 field(s) change after it live, 1 not live) held: `pinfold approve ed455b08cdc3` takes it over; a revert leaves it alone");
    assert_snapshot!(planner::render::plan(&stage.plan()), @r"
    ~ vm/web                   claim     live        commit    held  [ed455b08cdc3]
        because domain old-web (domid 1) has its UUID and is not pinfold's; its guest runs on; 5 field(s) change after it live, 1 not live
        held: `pinfold approve ed455b08cdc3` takes it over; a revert leaves it alone
        ~ metadata.name      old-web -> web
        ~ spec.power         paused -> running
        ~ spec.vcpus.online  2 -> 1
        ~ spec.vcpus.max     2 -> 1
        ~ spec.cpu.weight    300 -> 256
        ~ hard affinity      3 -> 2
    0 to create, 1 to change, 0 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    ");
    stage.approve_all();
    assert_snapshot!(stage.converge(), @r"
    1 vm/web claim (Verb; domain old-web (domid 1) has its UUID and is not pinfold's; its guest runs on; 5 field(s) change after it live, 1 not live) now do claim-domain
    2 vm/web rename [metadata.name old-web -> web] (Commit; it has a new name) now do rename-domain
    3 vm/web change [hard affinity 3 -> 2] (Commit; it is not as declared) now do set-affinity
    4 vm/web change [spec.power paused -> running] (Commit; it is not as declared) now do unpause-domain
    5 vm/web change [spec.cpu.weight 300 -> 256] (Commit; it is not as declared) now do set-sched
    6 vm/web change [spec.vcpus.online 2 -> 1] (Commit; it is not as declared) now do set-vcpus
    7 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change [spec.vcpus.max 2 -> 1] (Commit; it takes a restart) at next start
    ");
}

#[test]
fn who_else_looks_after_it_keeps_it() {
    let mut stage = stage(theirs(&serde_json::json!({"toolstack": "libvirt"})), "");
    assert_snapshot!(stage.converge(), @"   vm/web claim (Commit; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on) waits: domain web (domid 1): libvirt looks after it and would act on its end too; shut it down, `virsh undefine` it, and let pinfold create it");
    assert_snapshot!(stage.status("vm/web"), @r"
    vm/web: running, not pinfold's
      Ready False LibvirtDomain: domain web (domid 1): libvirt looks after it and would act on its end too; shut it down, `virsh undefine` it, and let pinfold create it
      Reconciling True Progressing: claim (domain web (domid 1) has its UUID and is not pinfold's; its guest runs on): waits: domain web (domid 1): libvirt looks after it and would act on its end too; shut it down, `virsh undefine` it, and let pinfold create it
      Stalled True LibvirtDomain: domain web (domid 1): libvirt looks after it and would act on its end too; shut it down, `virsh undefine` it, and let pinfold create it
    ");
}

/// Its QEMU stays: a medium is changed in it, its screen waits for the next one, and so does suspending it.
#[test]
fn an_hvm_domain_keeps_its_qemu() {
    let drive = |medium: &str| format!("  cdroms: [{{name: cd, target: hdc{medium}}}]\n");
    let more = |power: &str, rest: &str| {
        format!("  power: {power}\n  disks: [{{name: root, target: hda, path: /srv/a.img}}]\n{rest}")
    };
    let manifest = |power: &str, rest: &str| {
        let kind = format!("  uuid: \"{UUID}\"\n  type: hvm\n  boot: {{order: [disk, cdrom]}}\n");
        let vm = vm("web", &(kind + &more(power, rest))).replace("  type: pvh\n", "");
        base("") + &vm.replace("  boot: {kernel: \"/srv/vmlinuz\"}\n", "")
    };
    let cdroms = vec![Cdrom { target: "hdc".to_owned(), medium: Some("/srv/b.img".to_owned()) }];
    let theirs = theirs(&serde_json::json!({"kind": "hvm", "disks": ["/srv/a.img"], "boot": null}));
    let mut host = host();
    host.domains = vec![ForeignDomain { cdroms, ..theirs }];
    let mut stage = Stage::on(host, &manifest("running", &(drive(", medium: /srv/b.img") + "  vnc: true\n")));
    assert_snapshot!(stage.converge(), @"   vm/web claim [spec.vnc true] (Commit; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on; 1 field(s) change after it, not live) held: `pinfold approve 10f873520bcd` takes it over; a revert leaves it alone");
    stage.approve_all();
    assert_snapshot!(stage.converge(), @r"
    1 vm/web claim [spec.vnc true] (Verb; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on; 1 field(s) change after it, not live) now do claim-domain
    2 vm/web settle (Commit; nothing on the host differs; that is recorded) now records
      vm/web change [spec.vnc true] (Commit; it takes a restart) at next start
    ");
    stage.commit(&manifest("suspended", &drive("")));
    assert_snapshot!(stage.converge(), @"   vm/web suspend [spec.power running -> suspended] (Commit; it should be suspended) waits: the guest starts again: another toolstack chose the devices of its QEMU, and what they hold fits no QEMU of pinfold's");
    assert_eq!(domid(&stage), 1);
    stage.event(&Event::GuestEnds { domain: "web".to_owned(), how: ShutdownReason::Reboot });
    assert_snapshot!(stage.converge(), @" 1 vm/web settle (Guest; its guest ended by itself (reboot); it stays off) now do destroy-domain");
}

/// Its CD-ROM drive alone would be what is left to boot from.
#[test]
fn an_hvm_domain_that_boots_from_a_pv_name_is_not_adopted() {
    let cdroms = vec![Cdrom { target: "hdc".to_owned(), medium: None }];
    let theirs = theirs(&serde_json::json!({"kind": "hvm", "disks": ["/srv/a.img"], "boot": null}));
    let mut host = host();
    host.domains = vec![ForeignDomain { cdroms, ..theirs }];
    let mut observed = Stage::on(host, &base("")).observe();
    let Reading::Known(observation) = &mut observed.xen else { panic!("Xen is known") };
    let Reading::Known(domains) = &mut observation.domains else { panic!("its domains are known") };
    "xvda".clone_into(&mut domains[0].disks[0].target);
    let domain = domains[0].clone();
    let around = Site {
        host: "xen1".parse().unwrap(),
        networks: Vec::new(),
        partitions: [].into(),
        vms: [].into(),
        pcpus: None,
    };
    let adopted = import::domains(&[&domain], observation, &around);
    assert!(adopted.vms.is_empty());
    assert!(
        adopted.findings.iter().any(|finding| finding.message.contains("name of a PV one")),
        "{:?}",
        adopted.findings
    );
}

#[test]
fn another_pools_mark_is_respected() {
    let mut stage = stage(theirs(&serde_json::json!({})), "");
    let mark = Mark { pool_id: Uuid::from_u128(9), uuid: UUID.parse().unwrap(), incarnation: Uuid::from_u128(8) };
    let target = Target { domid: 1, uuid: UUID.parse().unwrap() };
    operation::run(&mut sim::Calls::new(&mut stage.xen), &Request::ClaimDomain { target, mark }).unwrap();
    assert_snapshot!(stage.converge(), @"   vm/web claim (Commit; domain web (domid 1) has its UUID and is not pinfold's; its guest runs on) waits: domain web (domid 1): it bears the mark of another Pool, which has to let go of it");
}

#[test]
fn a_uuid_that_pinfold_made_is_no_reason_to_take_a_domain_over() {
    let mut host = host();
    let uuid = Uuid::new_v5(&common::POOL.parse().unwrap(), b"web");
    host.domains = vec![theirs(&serde_json::json!({"uuid": uuid}))];
    let mut stage = Stage::on(host, &(base("") + &vm("web", "")));
    assert_snapshot!(stage.converge(), @"   vm/web create (Commit; it is declared and does not exist yet) waits: domain web (domid 1) has its UUID and is not pinfold's, so it is not created; end that domain, or give one of them another UUID");
}

#[test]
fn nobody_knows_what_it_booted() {
    let stage = stage(theirs(&serde_json::json!({})), "");
    let mut observed = stage.observe();
    let Reading::Known(observation) = &mut observed.xen else { panic!("Xen is known") };
    let Reading::Known(domains) = &mut observation.domains else { panic!("its domains are known") };
    domains[0].stored = None;
    assert_snapshot!(planner::render::plan(&planner::plan(stage.desired.as_ref(), &observed)), @r"
    ~ vm/web                   claim     live        commit    held  [0b411debae67]
        because domain web (domid 1) has its UUID and is not pinfold's; its guest runs on; 1 field(s) change after it, not live
        held: `pinfold approve 0b411debae67` takes it over; a revert leaves it alone
        ~ spec.boot  unknown: libxl does not say what it booted -> as the manifest says
    0 to create, 1 to change, 0 to remove or stop. 0 now, 0 waiting, 1 held, 0 at next start.
    ");
}

/// The approval is used up before the work: what it began goes on without another.
#[test]
fn a_claim_that_failed_half_way_goes_on() {
    for call in ["stop-monitor", "claim-domain"] {
        let mut stage = stage(theirs(&serde_json::json!({})), "");
        let fault: Fault =
            serde_json::from_value(serde_json::json!({"fail": [{"call": call, "message": "refused"}]})).unwrap();
        stage.approve_all();
        let plan = stage.plan();
        stage.carry_out(&plan.items[0], fault).unwrap_err();
        assert!(stage.records.approvals.is_empty());
        let went = stage.converge();
        assert!(went.contains("do claim-domain") && stage.plan().items.is_empty(), "{call}: {went}");
        assert_eq!(domid(&stage), 1);
    }
}

/// The worker dies after each of its calls, and so does the daemon before it wrote the end down.
#[test]
fn a_claim_that_was_cut_off_anywhere_ends_the_same() {
    for points in 1..=12 {
        let mut stage = stage(theirs(&serde_json::json!({})), "");
        stage.approve_all();
        let plan = stage.plan();
        let fault = Fault { die_after: Some(points), ..Fault::default() };
        if stage.carry_out(&plan.items[0], fault).is_ok() {
            return;
        }
        stage.converge();
        let left: Vec<String> = stage.plan().items.iter().map(line).collect();
        assert_eq!((left, domid(&stage)), (Vec::new(), 1), "cut off after {points} points");
    }
    panic!("a claim has fewer points");
}

/// `xl` made it again between the approval and the work: that is another domain, which somebody has to look at.
#[test]
fn another_incarnation_asks_again() {
    let mut stage = stage(theirs(&serde_json::json!({})), "");
    stage.approve_all();
    let plan = stage.plan();
    stage.event(&Event::Destroy { domain: "web".to_owned() });
    stage.event(&Event::Create { domain: theirs(&serde_json::json!({})).into(), raced: false });
    stage.carry_out(&plan.items[0], Fault::default()).unwrap_err();
    let held = stage.plan();
    assert!(matches!(held.items[0].disposition, Disposition::Held { .. }), "{:?}", held.items);
}

fn foreign() -> impl Strategy<Value = ForeignDomain> {
    let boot = prop_oneof![
        Just(BootConfig::Kernel {
            kernel: "/srv/vmlinuz".to_owned(),
            ramdisk: None,
            cmdline: Some("a=\"b\" c".to_owned())
        }),
        Just(BootConfig::Grub),
    ];
    let place = prop_oneof![
        Just((None, None, None)),
        (2_u32..6).prop_map(|core| (None, Some(core.to_string()), None)),
        (2_u32..5).prop_map(|core| (None, Some(format!("{core}-5")), Some(core.to_string()))),
        // Within a partition a VM's hard affinity is all of it.
        Just((Some("fold"), Some("6-7".to_owned()), None)),
        Just((Some("fold"), Some("6-7".to_owned()), Some("7".to_owned()))),
    ];
    let numbers = (1_u32..4, 4096_u64..200_000, 1_u16.., 0_u16..100);
    (boot, place, numbers, any::<bool>(), 0_usize..3, "[a-z][a-z0-9.]{0,9}[a-z]").prop_map(
        |(boot, (pool, cpus, soft), (vcpus, memory, weight, cap), restarts, nics, name)| {
            let mut domain = theirs(
                &serde_json::json!({"name": name, "vcpus": vcpus, "memory-kib": memory, "weight": weight, "cap": cap}),
            );
            domain.boot = Some(boot);
            domain.disks = vec!["/srv/a.img".to_owned()];
            domain.cpupool = pool.map(str::to_owned);
            domain.hard = cpus.map(|cpus| cpus.parse().unwrap());
            domain.soft = soft.map(|cpus| cpus.parse().unwrap());
            domain.restarts_after_crash = restarts;
            let nic = |id: usize| DomainNic {
                devid: 0,
                mac: format!("00:16:3e:00:00:{id:02x}"),
                bridge: Some("xenbr0".to_owned()),
                state: protocol::DeviceState::Attached,
            };
            domain.nics = (0..nics).map(nic).collect();
            domain
        },
    )
}

/// The same as an HVM domain: with an emulated disk and drives, whatever its firmware looks on first.
fn foreign_pc() -> impl Strategy<Value = ForeignDomain> {
    let medium = || prop_oneof![Just(None), Just(Some("/srv/b.img".to_owned()))];
    let drives = (medium(), medium()).prop_map(|(one, other)| {
        let drive = |target: &str, medium| Cdrom { target: target.to_owned(), medium };
        vec![drive("hdc", one), drive("hdd", other)]
    });
    let devices = vec![BootDevice::Disk, BootDevice::Cdrom, BootDevice::Network];
    let order = Just(devices).prop_shuffle().prop_map(BootConfig::Devices);
    (foreign(), drives, 0_usize..3, prop_oneof![Just(None), order.prop_map(Some)]).prop_map(
        |(domain, mut cdroms, drives, boot)| {
            cdroms.truncate(drives);
            ForeignDomain { kind: DomainKind::Hvm, memory_kib: domain.memory_kib + 32 * 1024, boot, cdroms, ..domain }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What `adopt` writes describes the domain: its claim shows no difference but the name's, and after it the plan is empty.
    #[test]
    fn an_adopted_domain_is_claimed_to_an_empty_plan(domain in prop_oneof![foreign(), foreign_pc()]) {
        let site = base("") + &cp("fold", &[6, 7]);
        let mut stage = Stage::on(host(), &site);
        stage.converge();
        stage.event(&Event::Create { domain: domain.clone().into(), raced: false });
        let observed = stage.observe();
        let observation = observed.xen.known().unwrap();
        let which: Vec<_> = observation.domains.known().unwrap().iter().collect();
        let desired = stage.desired.as_ref().unwrap();
        let around = Site {
            host: "xen1".parse().unwrap(),
            networks: desired.networks.values().cloned().collect(),
            partitions: desired.partitions.keys().cloned().collect(),
            vms: [].into(),
            pcpus: None,
        };
        let adopted = import::domains(&which, observation, &around);
        prop_assert_eq!(adopted.vms.len(), 1, "{:?}", adopted.findings);
        let manifest = write::vm(&adopted.vms[0].1);
        stage.commit(&format!("{site}\n---\n{manifest}"));
        let held = stage.plan();
        prop_assert_eq!(held.items.len(), 1, "{:?}", held.items);
        let fields: Vec<_> = held.items[0].changes.iter().map(|change| change.field.as_str()).collect();
        let renamed = !domain.name.parse::<schema::units::Name>().is_ok_and(|name| name == adopted.vms[0].1.name);
        prop_assert_eq!(fields, if renamed { vec!["metadata.name"] } else { vec![] }, "{}", manifest);
        stage.approve_all();
        stage.converge();
        let left: Vec<String> = stage.plan().items.iter().map(line).collect();
        prop_assert!(left.is_empty(), "{left:?}\n{manifest}");
        let works: Vec<_> = held.items.iter().filter_map(|item| item.operation.as_ref()).map(|operation| &operation.work).collect();
        prop_assert!(works.iter().all(|work| matches!(work, Work::Records)), "nothing goes before the approval");
    }
}

/// Somebody starts what pinfold took over from its old file again. It may run, and it is not what a worker of ours left.
#[test]
fn one_that_its_old_toolstack_starts_again_is_never_destroyed() {
    let again = || Event::Create { domain: Box::new(theirs(&serde_json::json!({"name": "old-web"}))), raced: false };
    // After a boot of the host, before pinfold looks.
    let mut booted = stage(theirs(&serde_json::json!({})), "");
    booted.converge();
    booted.approve_all();
    booted.converge();
    booted.event(&Event::HostReboot);
    booted.event(&again());
    assert_snapshot!(booted.converge(), @"   vm/web claim [metadata.name old-web -> web] (Commit; domain old-web (domid 1) has its UUID and is not pinfold's; its guest runs on; 1 field(s) change after it, live) held: `pinfold approve 93c9c073bb1a` takes it over; a revert leaves it alone");
    // Beside the one that runs.
    let mut beside = stage(theirs(&serde_json::json!({})), "");
    beside.converge();
    beside.approve_all();
    beside.converge();
    beside.event(&again());
    let (plan, _) = beside.pass();
    assert!(plan.items.is_empty(), "{}", planner::render::plan(&plan));
    assert_snapshot!(beside.status("vm/web"), @r"
    vm/web: running
      Ready False ForeignTwin: domain old-web (domid 2) has its UUID too and is not pinfold's; stop its guests from writing to the same disks: end the wrong one with `xl destroy`
      Stalled True ForeignTwin: domain old-web (domid 2) has its UUID too and is not pinfold's; stop its guests from writing to the same disks: end the wrong one with `xl destroy`
    ");
}
