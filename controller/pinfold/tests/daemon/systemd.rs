//! What systemd hears from the daemon, on a socket of the test.

use super::manifests::first;
use super::site::Site;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Ends a wait that has become hopeless.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the daemon reports to, and what it has said.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn of(site: &mut Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        site.set("NOTIFY_SOCKET", site.path("notify"));
        Self { socket, heard: Vec::new() }
    }

    /// Waits until a line is said that begins so.
    fn until(&mut self, line: &str) {
        let mut buffer = [0; 4096];
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut buffer) else { break };
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
            if text.lines().any(|said| said.starts_with(line)) {
                return;
            }
        }
        panic!("`{line}` was never said, only {:#?}", self.heard);
    }
}

#[test]
fn systemd_hears_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let mut site = Site::new();
    let commit = site.commit("first commit", &first());
    let mut manager = Manager::of(&mut site);
    site.spawn();
    manager.until("READY=1");
    assert_eq!(manager.heard, ["READY=1"], "nothing comes before it is ready");
    assert_eq!(site.pinfold(&["status"]).code, 0, "ready is: it answers");
    // One for each pass, and a pass at least each second.
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    site.until_settled(&commit);
    manager.until(&format!("STATUS={}: 6 of 6 objects ready, 0 held, 0 stalled", &commit[..7]));
    assert!(site.stop());
    manager.until("STOPPING=1");
}

#[test]
fn systemd_hears_of_a_reload() {
    let mut site = Site::settled();
    site.kill();
    let mut manager = Manager::of(&mut site);
    site.spawn();
    manager.until("READY=1");
    for another in [false, true] {
        if another {
            site.configure("memoryReserve", "128Mi");
        }
        site.signal(Signal::HUP);
        manager.until("RELOADING=1");
        assert!(manager.heard.last().unwrap().starts_with("MONOTONIC_USEC="), "{:?}", manager.heard);
        manager.until("READY=1");
    }
}
