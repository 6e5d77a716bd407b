//! The lab itself, on real Xen. A boot is most of a test's time, so each test is one boot and what can be seen in it.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Lab, LabError, QUICK_LINUX, Topology, steadily};

/// For what a guest does. Nothing is measured by it: it ends a wait that has become hopeless.
const GUEST: Duration = Duration::from_secs(900);

#[test]
fn dom0_runs_commands_takes_files_and_reaches_one_server() -> Result<()> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = server.local_addr()?.port();
    thread::spawn(move || {
        for connection in server.incoming() {
            let answer = |mut connection: std::net::TcpStream| {
                let mut asked = [0; 5];
                connection.read_exact(&mut asked)?;
                connection.write_all(b"answer")
            };
            connection.and_then(answer).unwrap();
        }
    });
    let lab = Lab::builder()
        .forward_to_host(
            SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 100), 9418),
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        )
        .boot()?;

    let cpus = lab.run("xl info | grep -E '^(nr_cpus|cores_per_socket|threads_per_core|xen_minor)'; nproc")?;
    let words: Vec<_> = cpus.split_whitespace().filter(|word| *word != ":").collect();
    assert_eq!(words, ["nr_cpus", "10", "cores_per_socket", "10", "threads_per_core", "1", "xen_minor", "17", "2"]);
    lab.run("pgrep oxenstored && pgrep xenconsoled && pgrep udevd && ip link show xenbr0 && ls -l /dev/fd/0")?;

    let outcome = lab.sh("echo \"it's\" out; echo err >&2; exit 255")?;
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (255, "it's out\n", "err\n"));
    assert!(lab.run("false").is_err());
    let late = lab.sh_within(Duration::from_secs(2), "sleep 60").unwrap_err().to_string();
    assert!(late.starts_with("not within 2 s: an answer to `sleep 60`"), "{late}");

    let here = tempfile::tempdir()?;
    fs::create_dir(here.path().join("folder"))?;
    fs::write(here.path().join("folder/file"), [0_u8, 255, b'\n'])?;
    lab.copy_in(here.path().join("folder"), "/srv/new/folder")?;
    lab.copy_out("/srv/new/folder/file", here.path().join("back"))?;
    assert_eq!(fs::read(here.path().join("back"))?, [0, 255, b'\n']);
    // A program that runs can be replaced.
    lab.copy_in("/bin/busybox", "/srv/busybox")?;
    let pid = lab.spawn("exec /srv/busybox sleep 1000", "/var/log/sleep.log")?;
    lab.copy_in("/bin/busybox", "/srv/busybox")?;
    lab.run(&format!("kill {pid}"))?;

    for _ in 0..2 {
        let answer = lab.run("printf hello | busybox nc 10.0.2.100 9418")?;
        assert_eq!(answer, "answer");
    }
    Ok(())
}

#[test]
fn guests_idle_obey_and_end_by_themselves() -> Result<()> {
    let lab = Lab::builder().boot()?;
    lab.run("xl create /srv/guests/pv.cfg")?;
    lab.run(&format!(
        "xl create /srv/guests/pv.cfg 'name=\"deaf\"' 'extra=\"console=hvc0 quiet {QUICK_LINUX} pf.ignore-shutdown\"'"
    ))?;
    lab.wait_for_guest("pv1", 1, GUEST)?;
    lab.wait_for_guest("deaf", 1, GUEST)?;
    all_idle(&lab)?;

    lab.run("xl shutdown -w pv1 && xl shutdown deaf")?;
    gone(&lab, "pv1")?;
    lab.wait_until("deaf ignores it", GUEST, |lab| Ok(lab.guest_console("deaf")?.contains("poweroff, ignored")))?;
    lab.run("xl domid deaf && xl destroy deaf")?;

    lab.run("truncate -s 8M /srv/disk.img")?;
    let devices = "disk=[\"/srv/disk.img,raw,xvda,rw\"]' 'vif=[\"bridge=xenbr0\"]";
    let options = format!("console=hvc0 quiet {QUICK_LINUX} pf.ip=192.168.77.11/24 pf.do=reboot pf.once");
    lab.run(&format!("xl create /srv/guests/pv.cfg '{devices}' 'name=\"once\"' 'extra=\"{options}\"'"))?;
    lab.wait_for_guest("once", 2, GUEST)?;
    lab.wait_until("it has its address", GUEST, |lab| Ok(lab.sh("ping -c 1 -W 5 192.168.77.11")?.success()))?;
    lab.type_in_guest("once", "poweroff")?;
    gone(&lab, "once")?;
    assert_eq!(lab.guest_boots("once")?, 2);
    Ok(())
}

/// PVH guests need a lab with a thread per processor, in which everything takes longer: only what is theirs is looked at here.
#[test]
fn pvh_guests_idle_reboot_and_crash() -> Result<()> {
    steadily(pvh_guests_live)
}

fn pvh_guests_live() -> Result<()> {
    let lab = Lab::builder().parallel().boot()?;
    lab.run("xl create /srv/guests/pvh.cfg 'on_crash=\"preserve\"'")?;
    lab.wait_for_guest("pvh1", 1, GUEST)?;
    all_idle(&lab)?;
    lab.type_in_guest("pvh1", "reboot")?;
    lab.wait_for_guest("pvh1", 2, GUEST)?;
    lab.type_in_guest("pvh1", "crash")?;
    lab.wait_until("Xen sees the crash", GUEST, |lab| Ok(lab.run("xl list pvh1")?.contains("---sc-")))?;
    lab.run("xl destroy pvh1")?;
    Ok(())
}

/// A guest that spins never blocks. Seconds of CPU would say less: under emulation they count the emulator's own waits.
fn all_idle(lab: &Lab) -> Result<()> {
    let awake = "xl vcpu-list | awk 'NR > 1 && $1 != \"Domain-0\" && $5 !~ /b/'";
    Ok(lab.wait_until("all vCPUs of all guests idle", GUEST, |lab| Ok(lab.run(awake)?.is_empty()))?)
}

fn gone(lab: &Lab, name: &str) -> Result<()> {
    Ok(lab.wait_until(&format!("{name} is gone"), GUEST, |lab| Ok(!lab.sh(&format!("xl domid {name}"))?.success()))?)
}

#[test]
fn the_hosts_disk_survives_reboot_power_loss_and_poweroff() -> Result<()> {
    let mut lab = Lab::builder().topology(Topology::Cores(4)).boot()?;
    lab.run("xl create -p /srv/guests/pv.cfg && echo written > /srv/file")?;
    let before = lab.run("cat /proc/sys/kernel/random/boot_id")?;

    lab.reboot()?;
    assert_ne!(lab.run("cat /proc/sys/kernel/random/boot_id")?, before);
    assert_eq!(lab.run("cat /srv/file")?, "written\n");
    assert!(!lab.sh("xl domid pv1")?.success(), "a domain outlived its host");

    lab.run("echo synced > /srv/file && sync /srv/file /srv")?;
    lab.power_loss()?;
    assert_eq!(lab.run("cat /srv/file; cat /run/lab/.authorized_keys | wc -l")?, "synced\n1\n");
    assert!(lab.console_log().matches("lab: dom0 is up").count() == 3);

    // Its answer comes or not, as with any host that one switches off over ssh.
    let _ = lab.sh("poweroff");
    let until = Instant::now() + GUEST;
    while lab.is_on() && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
    }
    let error = lab.run("true").unwrap_err().to_string();
    assert!(error.starts_with("the lab's QEMU ended while running `true`"), "{error}");
    lab.power_on()?;
    assert_eq!(lab.run("cat /srv/file")?, "synced\n");
    Ok(())
}

#[test]
fn xen_finds_the_processors_that_were_asked_for() -> Result<()> {
    check_topology(Topology::EightThreads, "0:0:0 1:0:0 2:1:0 3:1:0 4:2:0 5:2:0 6:3:0 7:3:0")?;
    check_topology(Topology::TwoSockets, "0:0:0 1:1:0 2:2:0 3:3:0 4:0:1 5:1:1 6:2:1 7:3:1")
}

/// `cpus` is CPU:core:socket of each.
fn check_topology(topology: Topology, cpus: &str) -> Result<()> {
    let lab = Lab::builder().topology(topology).boot()?;
    let table =
        lab.run("xl info -n | awk '/^cpu:/ { on = 1; next } !/^ *[0-9]+:/ { on = 0 } on { print $1 $2 \":\" $3 }'")?;
    assert_eq!(table.split_whitespace().collect::<Vec<_>>().join(" "), cpus, "{topology:?}");
    Ok(())
}

#[test]
fn a_frozen_emulator_is_told_and_the_test_begins_again() -> Result<()> {
    let begun = Cell::new(0);
    steadily::<anyhow::Error>(|| {
        begun.set(begun.get() + 1);
        let lab = Lab::builder().topology(Topology::Cores(1)).boot()?;
        if begun.get() == 1 {
            let share = lab.share();
            let mine = share.to_str().context("a folder that is not UTF-8")?;
            ensure!(Command::new("pkill").args(["-STOP", "-f", &format!("^qemu.*{mine}")]).status()?.success());
            let error = lab.run("true").unwrap_err();
            assert!(matches!(error, LabError::Frozen { .. }), "{error}");
            return Err(error.into());
        }
        lab.run("true")?;
        Ok(())
    })?;
    assert_eq!(begun.get(), 2);
    Ok(())
}

#[test]
fn a_lab_that_cannot_boot_shows_its_console() {
    let error = Lab::builder().memory_mib(512).boot().unwrap_err().to_string();
    assert!(error.starts_with("Xen panicked while booting"), "{error}");
    assert!(error.contains("(XEN) Panic on CPU 0:"), "{error}");
}

#[test]
fn nothing_outlives_the_process_that_booted_a_lab() -> Result<()> {
    // At the first sign of life, and once QEMU runs.
    for (signal, program) in [("KILL", ""), ("KILL", "qemu-system"), ("TERM", "qemu-system"), ("INT", "qemu-system")] {
        let temporary = tempfile::tempdir()?;
        let path = temporary.path().to_str().context("a temporary folder that is not UTF-8")?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_pinfold-lab"))
            .args(["run", "true"])
            .env("TMPDIR", path)
            .env("PINFOLD_LAB_LOGS", path)
            .stderr(Stdio::null())
            .spawn()?;
        // Its own turn may be long in coming, as others use labs meanwhile.
        while processes_that_name(path, program)? == 0 {
            ensure!(process.try_wait()?.is_none(), "pinfold-lab ended before it had a QEMU");
            thread::sleep(Duration::from_millis(50));
        }
        ensure!(Command::new("kill").args(["-s", signal, &process.id().to_string()]).status()?.success());
        process.wait()?;
        let until = Instant::now() + GUEST;
        let left = || -> Result<bool> {
            let folders = fs::read_dir(path)?.flatten().filter(|entry| entry.path().is_dir()).count();
            Ok(folders > 0 || processes_that_name(path, "")? > 0)
        };
        while left()? {
            ensure!(Instant::now() < until, "after SIG{signal} something is left in {path} or runs there");
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Processes of a program, by the start of its name, with this folder in an argument.
fn processes_that_name(folder: &str, program: &str) -> Result<usize> {
    let processes = fs::read_dir("/proc")?.flatten();
    let arguments = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let matches = |bytes: &Vec<u8>| {
        let words = String::from_utf8_lossy(bytes);
        words.starts_with(program) && words.contains(folder)
    };
    Ok(arguments.filter(matches).count())
}
