//! Facts made by hand, and what is said of them.

use super::{ConfigFacts, Facts, HvmHealth, XenFacts, findings, human};
use host::{Dom0Health, HarmfulLine, Mount, UnitHealth};
use insta::assert_snapshot;
use planner::toolstacks::{OtherToolstack, Reach};
use protocol::Reading;

fn unit(enabled: bool, active: bool, masked: bool) -> UnitHealth {
    UnitHealth { enabled, active, masked }
}

/// A host as it should be.
fn good() -> Facts {
    let mount = |point: &str, kind: &str| Mount { point: point.into(), kind: kind.to_owned(), read_only: false };
    let units = ["pinfold", "pinfold-guests"].map(|name| (name.to_owned(), unit(true, true, false)));
    Facts {
        is_root: true,
        now: "2026-06-01T00:00:00Z".parse().unwrap(),
        config: Ok(ConfigFacts {
            state: "/var/lib/pinfold".into(),
            storage: "/srv/pinfold".into(),
            groups: vec!["pinfold".to_owned()],
            sockets: vec![("/run/pinfold/pinfold.sock".into(), 0o660)],
        }),
        dom0: Dom0Health {
            systemd: true,
            capabilities: Some("control_d\n".to_owned()),
            daemons: ["oxenstored", "xenconsoled"].map(str::to_owned).into(),
            dev_fd: true,
            units: units.into(),
            bridges: ["xenbr0".to_owned()].into(),
            groups: ["pinfold".to_owned()].into(),
            mounts: vec![mount("/", "ext4"), mount("/srv", "xfs")],
            ..Dom0Health::default()
        },
        xen: Reading::Known(XenFacts {
            hvm: HvmHealth { can_be_built: true, lacks_qemu: false, doubtful_uefi: false },
            pcpus: 16,
            dom0_vcpus: 4,
            dom0_kib: 2 << 20,
            dom0_is_limited: true,
        }),
    }
}

#[test]
fn a_host_as_it_should_be_has_no_findings() {
    assert_eq!(findings(&good()), []);
}

#[test]
fn a_laptop_is_told_the_most_important_first() {
    let facts = Facts {
        is_root: false,
        config: Err("cannot read the daemon's configuration /etc/pinfold/pinfold.yaml: no such file".to_owned()),
        dom0: Dom0Health { dev_fd: true, bridges: ["br0".to_owned()].into(), ..Dom0Health::default() },
        xen: Reading::unknown("WorkerDied", "cannot start `/usr/lib/pinfold/pinfold-xen`"),
        ..good()
    };
    assert_snapshot!(human(&findings(&facts)), @"
    NotRoot: this does not run as root
      why: Xen cannot be asked, and what root alone can read is not known
      fix: sudo pinfold check

    NoXen: this is not Xen's control domain: /proc/xen/capabilities does not say `control_d`
      why: there is nothing here that pinfold could run
      fix: boot the Xen entry of GRUB; `/etc/init.d/xen start` mounts /proc/xen

    NoConfiguration: cannot read the daemon's configuration /etc/pinfold/pinfold.yaml: no such file
      why: the daemon does not run without it
      fix: write it after the example /usr/share/pinfold/pinfold.yaml
    ");
}

#[test]
fn a_host_with_everything_wrong_is_told_everything() {
    let mut facts = good();
    facts.now = "1970-01-01T00:10:00Z".parse().unwrap();
    let hvm = HvmHealth { can_be_built: false, lacks_qemu: true, doubtful_uefi: true };
    facts.xen = Reading::Known(XenFacts { hvm, pcpus: 16, dom0_vcpus: 16, dom0_kib: 32 << 20, dom0_is_limited: false });
    facts.config = Ok(ConfigFacts {
        state: "/var/lib/pinfold".into(),
        storage: "/srv/pinfold".into(),
        groups: vec!["operators".to_owned()],
        sockets: vec![("/run/pinfold/pinfold.sock".into(), 0o666)],
    });
    facts.dom0 = Dom0Health {
        daemons: ["oxenstored".to_owned()].into(),
        dev_fd: false,
        scripts_missing: vec!["vif-bridge".to_owned()],
        modules_missing: vec!["xen-netback".to_owned()],
        autoballoon: Some("on".to_owned()),
        units: [
            ("pinfold".to_owned(), unit(true, false, false)),
            ("pinfold-guests".to_owned(), unit(false, false, true)),
        ]
        .into(),
        harmful: vec![HarmfulLine {
            file: "/etc/systemd/system/pinfold.service.d/x.conf".into(),
            line: "PrivateTmp=yes".to_owned(),
        }],
        toolstacks: vec![OtherToolstack {
            name: "xendomains".to_owned(),
            acts: Reading::Known("is active; it saves every domain to /var/lib/xen/save".to_owned()),
            reach: Reach::AllDomains,
            fix: "systemctl mask xendomains".to_owned(),
        }],
        bridges: [].into(),
        mounts: vec![
            Mount { point: "/".into(), kind: "ext4".to_owned(), read_only: true },
            Mount { point: "/srv".into(), kind: "nfs4".to_owned(), read_only: false },
        ],
        ..facts.dom0
    };
    assert_snapshot!(human(&findings(&facts)), @r#"
    NoHardwareVirtualisation: Xen can build PV guests only
      why: VMs of type pvh and hvm cannot start
      fix: switch VT-x or AMD-V on in the machine's firmware

    NoDeviceModel: dom0 has no QEMU for Xen
      why: VMs of type hvm cannot start
      fix: apt-get install qemu-system-xen ovmf

    FirmwareNotForXen: /usr/share/ovmf/OVMF.fd was not built for Xen alone
      why: edk2's OvmfPkgX64 knows nothing of Xen since 2021: guests with `firmware: uefi` would run and never boot
      fix: see one of them boot, or put edk2's OvmfXen there (docs/hvm.md)

    Dom0OwnsMemory: dom0 has 32768 MiB and no limit
      why: guests take their memory from what dom0 does not have
      fix: put `dom0_mem=2048M,max:2048M` into GRUB_CMDLINE_XEN in /etc/default/grub, then `update-grub` and reboot

    Dom0ManyVcpus: dom0 has 16 vCPUs, as many as the host has pCPUs
      why: dom0 shares the few pCPUs that partitions leave; with more vCPUs than these they wait for each other
      fix: put `dom0_max_vcpus=` with the number of dom0's threads into GRUB_CMDLINE_XEN in /etc/default/grub, then `update-grub` and reboot

    NoXenconsoled: xenconsoled does not run
      why: no guest has a console, and creating one waits for it in vain
      fix: /etc/init.d/xen start

    OtherToolstack: xendomains is active; it saves every domain to /var/lib/xen/save
      why: it would undo what the repository says, so pinfold changes nothing while it can. Do not stop it: its stop is what saves every domain
      fix: systemctl mask xendomains

    Autoballoon: `autoballoon=on` in /etc/xen/xl.conf
      why: an `xl create` by hand takes memory from dom0, below what it needs
      fix: write `autoballoon="off"` in /etc/xen/xl.conf

    NoDevFd: /dev/fd does not lead to /proc/self/fd
      why: Xen's script for disks locks through it: every disk fails after 40 s
      fix: ln -s /proc/self/fd /dev/fd

    ModulesMissing: the kernel has no module xen-netback
      why: guests get no disks, NICs or consoles without
      fix: boot a kernel that has them, such as Debian's linux-image-amd64

    ScriptsMissing: /etc/xen/scripts has no vif-bridge
      why: libxl runs them for each disk and NIC
      fix: apt-get install --reinstall xen-utils-common

    NoBridge: dom0 has no bridge
      why: a VM with a NIC cannot start
      fix: declare one in /etc/network/interfaces (bridge-utils-interfaces(5)); Networks name it

    GroupMissing: the configuration names the group operators, which /etc/group does not have
      why: the daemon cannot give its socket to it, and does not start
      fix: addgroup --system operators

    SocketOpen: /run/pinfold/pinfold.sock has mode 666
      why: everybody on this host may use it
      fix: systemctl restart pinfold

    FolderReadOnly: `state`, /var/lib/pinfold, lies on / (ext4), which is mounted read-only
      why: nothing can be recorded, so nothing is done
      fix: mount -o remount,rw /

    FolderNotLocal: `storage`, /srv/pinfold, lies on /srv (nfs4)
      why: another host can change it, and when the network is away nothing is known
      fix: set `storage:` to a folder of a local file system

    ClockWrong: the clock says 1970-01-01T00:10:00Z
      why: deadlines, back-offs and approvals are moments
      fix: timedatectl set-ntp true

    HarmfulDropIn: /etc/systemd/system/pinfold.service.d/x.conf says `PrivateTmp=yes`
      why: workers, hotplug scripts or QEMU break under it, or die with the daemon
      fix: take the line out, then `systemctl daemon-reload && systemctl restart pinfold`

    UnitNotActive: pinfold.service does not run
      why: nobody brings guests back after a boot
      fix: systemctl start pinfold

    UnitNotEnabled: pinfold-guests.service is masked
      why: nobody stops the guests when the host goes down
      fix: systemctl unmask pinfold-guests && systemctl enable --now pinfold-guests
    "#);
}

#[test]
fn a_host_that_cannot_be_asked_says_what_to_do() {
    for reason in ["XenstoreLost", "WorkerDied", "XenUnreadable"] {
        let facts = Facts { xen: Reading::unknown(reason, "in its own words"), ..good() };
        let found = findings(&facts);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.starts_with(reason), "{found:?}");
    }
}
