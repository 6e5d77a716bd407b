//! Judging a configuration against a host, case by case.

use super::{HostFacts, HvmFacts, PathFact, check};
use crate::render;
use crate::tree::{Content, SourceFile, Tree};
use crate::units::{Core, Size};

const TEXT: &str = "apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: '1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11'}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}, {socket: 1, core: 0}]}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec: {bridge: xenbr0}
---
apiVersion: pinfold.dev/v1alpha1
kind: CorePartition
metadata: {name: oracle-a}
spec: {host: xen1, cores: [{socket: 0, core: 2}, {socket: 0, core: 7}]}
---
apiVersion: pinfold.dev/v1alpha1
kind: VirtualMachine
metadata: {name: erp}
spec:
  host: xen1
  type: pvh
  vcpus: 4
  memory: 2Gi
  cpu: {partition: oracle-a}
  boot: {kernel: /boot/vmlinuz, ramdisk: /boot/initrd.img}
  disks: [{name: root, target: xvda, path: /srv/erp/root.img}, {name: log, target: xvdb, path: /dev/vg0/log}]
  nics: [{name: lan0, network: lan}]
---
apiVersion: pinfold.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  host: xen1
  type: pv
  vcpus: 1
  memory: 1Gi
  cpu: {pins: [{socket: 0, core: 9}]}
  boot: {kernel: /boot/vmlinuz}
";

fn report(facts: &HostFacts) -> String {
    report_of(TEXT, facts)
}

fn report_of(text: &str, facts: &HostFacts) -> String {
    let tree = Tree {
        files: vec![SourceFile { path: "all.yaml".to_owned(), content: Content::Text(text.as_bytes().to_vec()) }],
        ignore: None,
    };
    let reading = crate::read(&tree);
    render::human(&check(&reading.desired.unwrap(), &reading.sources, facts), &tree)
}

fn nothing_known() -> HostFacts {
    HostFacts { host: "xen1".parse().unwrap(), cores: None, memory: None, bridges: None, hvm: None, paths: [].into() }
}

#[test]
fn the_unknown_is_not_absent() {
    assert_eq!(report(&nothing_known()), "");
}

#[test]
fn everything_is_missing() {
    let cores = (0..4).map(|core| (Core { socket: 0, core }, 1)).collect();
    let paths = [
        ("/boot/initrd.img", PathFact::Missing),
        ("/srv/erp/root.img", PathFact::Other),
        ("/dev/vg0/log", PathFact::BlockDevice),
    ];
    let facts = HostFacts {
        cores: Some(cores),
        memory: Some(Size::from_mib(2048)),
        bridges: Some(["xenbr1".to_owned()].into()),
        hvm: Some(HvmFacts { device_model: false, bios: true, uefi: false, uefi_for_xen: None }),
        paths: paths.map(|(path, fact)| (path.to_owned(), fact)).into(),
        ..nothing_known()
    };
    insta::assert_snapshot!(report(&facts), @r#"
    error[memory-over-host]: the VMs of host `xen1` need 3Gi of memory together, and it has 2Gi for them
     |
     = help: give some less, or set `power: stopped`; each also needs a little for itself beyond its own

    error[absent-core]: host `xen1` has no core 1.0 for dom0
     --> all.yaml:9:33
      |
    9 | spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}, {socket: 1, core: 0}]}}
      |                                 ^
      |
      = help: its cores, as socket.core: 0.0, 0.1, 0.2, 0.3

    error[absent-core]: host `xen1` has no core 0.7 for partition `oracle-a`
      --> all.yaml:19:27
       |
    19 | spec: {host: xen1, cores: [{socket: 0, core: 2}, {socket: 0, core: 7}]}
       |                           ^
       |
       = help: its cores, as socket.core: 0.0, 0.1, 0.2, 0.3

    error[absent-bridge]: host `xen1` has no bridge `xenbr0`, which VM `erp` needs for network `lan`
      --> all.yaml:23:18
       |
    23 | metadata: {name: erp}
       |                  ^^^
       |
       = help: did you mean `xenbr1`?

    error[not-a-file]: `/srv/erp/root.img` on host `xen1` is neither a file nor a block device, the disk `root` of VM `erp`
      --> all.yaml:23:18
       |
    23 | metadata: {name: erp}
       |                  ^^^

    warning[vcpus-over-pcpus]: VM `erp` has 4 vCPUs on 1 pCPUs
      --> all.yaml:27:10
       |
    27 |   vcpus: 4
       |          ^
       |
       = help: its own vCPUs wait for each other; give it fewer, or more cores

    error[absent-file]: host `xen1` has no `/boot/initrd.img`, the RAM disk of VM `erp`
      --> all.yaml:30:42
       |
    30 |   boot: {kernel: /boot/vmlinuz, ramdisk: /boot/initrd.img}
       |                                          ^^^^^^^^^^^^^^^^

    error[absent-core]: host `xen1` has no core 0.9 for VM `web`
      --> all.yaml:42:15
       |
    42 |   cpu: {pins: [{socket: 0, core: 9}]}
       |               ^
       |
       = help: its cores, as socket.core: 0.0, 0.1, 0.2, 0.3
    "#);
}

#[test]
fn another_host() {
    insta::assert_snapshot!(report(&HostFacts { host: "xen2".parse().unwrap(), ..nothing_known() }), @r#"
    error[unknown-host]: the inventory is of host `xen2`, which no manifest declares
     |
     = help: did you mean `xen1`?
    "#);
}

#[test]
fn what_hvm_guests_are_made_of() {
    let vm = |name: &str, firmware: &str| {
        format!(
            "---\napiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: hvm\n  \
             firmware: {firmware}\n  vcpus: 1\n  memory: 1Gi\n  boot: {{order: [cdrom]}}\n  cdroms: [{{name: cd, target: hdc, medium: /srv/none.iso}}]\n"
        )
    };
    let text = TEXT.to_owned() + &vm("old", "bios") + &vm("new", "uefi");
    let facts = HostFacts {
        hvm: Some(HvmFacts { device_model: true, bios: true, uefi: false, uefi_for_xen: None }),
        paths: [("/srv/none.iso".to_owned(), PathFact::Missing)].into(),
        ..nothing_known()
    };
    insta::assert_snapshot!(report_of(&text, &facts), @r"
    error[absent-file]: host `xen1` has no `/srv/none.iso`, the medium of drive `cd` of VM `old`
      --> all.yaml:55:19
       |
    55 |   cdroms: [{name: cd, target: hdc, medium: /srv/none.iso}]
       |                   ^^

    error[absent-hvm-part]: host `xen1` has no OVMF, which VM `new` of type `hvm` needs
      --> all.yaml:62:9
       |
    62 |   type: hvm
       |         ^^^
       |
       = help: install Debian's package `ovmf` there

    error[absent-file]: host `xen1` has no `/srv/none.iso`, the medium of drive `cd` of VM `new`
      --> all.yaml:67:19
       |
    67 |   cdroms: [{name: cd, target: hdc, medium: /srv/none.iso}]
       |                   ^^
    ");
}

#[test]
fn firmware_that_may_know_nothing_of_xen() {
    let vm = "---\napiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: new}\nspec:\n  host: xen1\n  type: hvm\n  \
              firmware: uefi\n  vcpus: 1\n  memory: 1Gi\n  boot: {order: [cdrom]}\n  cdroms: [{name: cd, target: hdc}]\n";
    let said = |uefi_for_xen| {
        let hvm = HvmFacts { device_model: true, bios: true, uefi: true, uefi_for_xen };
        report_of(&(TEXT.to_owned() + vm), &HostFacts { hvm: Some(hvm), ..nothing_known() })
    };
    assert_eq!((said(None), said(Some(true))), (String::new(), String::new()));
    insta::assert_snapshot!(said(Some(false)), @r"
    warning[firmware-not-for-xen]: the OVMF of host `xen1` may not start VM `new`: it was not built for Xen alone
      --> all.yaml:51:13
       |
    51 |   firmware: uefi
       |             ^^^^
       |
       = help: builds of edk2's OvmfPkgX64 since 2021, Debian 12's and 13's among them, come to nothing on Xen; docs/hvm.md says which do not
    ");
}
