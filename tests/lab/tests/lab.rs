//! The lab itself, on real Xen. A boot is most of a test's time, so each test is one boot and what can be seen in it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use lab::Lab;

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
