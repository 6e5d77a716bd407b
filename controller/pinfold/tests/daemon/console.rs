//! `pinfold console` against the real daemon: guests of the simulated host are on real pseudo-terminals.

use super::manifests::{first, vm};
use super::site::{Site, text};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// Somebody at a console, through pipes.
struct Seat {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
}

impl Seat {
    fn at(site: &Site, arguments: &[&str]) -> Self {
        let mut command = site.command(&[&["console"], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Self { stdin: child.stdin.take(), child, out, err }
    }

    fn types(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn printed(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    fn said(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    fn until_printed(&self, site: &Site, text: &str, times: usize) {
        site.until_soon(&format!("{text} is printed"), |_| self.printed().matches(text).count() >= times);
    }

    fn until_said(&self, site: &Site, text: &str, times: usize) {
        let hint = self.said();
        site.until_soon(&format!("{text} is said, after: {hint}"), |_| self.said().matches(text).count() >= times);
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes from a stream, as it comes.
fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count) = stream.read(&mut bytes) {
            if count == 0 {
                return;
            }
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    text
}

fn with_web(site: &Site, what: &str, more: &str) -> String {
    site.commit(what, &[("vms/web.yaml".to_owned(), Some(vm("web", more)))])
}

/// Domain numbers in the order in which a session was attached to them.
fn attached(said: &str) -> Vec<u32> {
    said.lines()
        .filter_map(|line| line.strip_prefix("-- vm/web: attached to domain ")?.strip_suffix(" --")?.parse().ok())
        .collect()
}

#[test]
fn from_before_its_boot_across_its_reboots_until_it_is_off() {
    let mut site = Site::new();
    let mut files = first();
    files.push(("vms/web.yaml".to_owned(), Some(vm("web", "  power: stopped\n"))));
    let commit = site.commit("web is off", &files);
    site.start();
    site.until_settled(&commit);

    let mut seat = Seat::at(&site, &["vm/web"]);
    seat.until_said(&site, "-- vm/web: off: ", 1);
    with_web(&site, "web is on", "");
    seat.until_printed(&site, "pinfold-guest up", 1);
    assert!(seat.printed().starts_with("Linux version "), "its first words: {}", seat.printed());
    seat.types("hello");
    seat.until_printed(&site, "sh: hello: not found", 1);
    seat.types("reboot");
    seat.until_printed(&site, "pinfold-guest up", 2);
    seat.until_said(&site, "attached", 2);
    seat.types("poweroff");
    assert!(seat.ended().success(), "{}", seat.said());
    let (printed, said) = (seat.printed(), seat.said());
    assert!(printed.contains("reboot: Restarting system") && printed.contains("reboot: Power down"), "{printed}");
    let domids = attached(&said);
    assert_eq!(domids.len(), 2, "{said}");
    for (domid, how, then) in [(domids[0], "reboot", "started again"), (domids[1], "poweroff", "stays off")] {
        let line = said.lines().find(|line| line.starts_with(&format!("-- vm/web: domain {domid} ended at 20")));
        let line = line.unwrap_or_default();
        assert!(line.contains(&format!("Z: {how}; ")) && line.contains(then), "{said}");
    }
    assert!(said.trim_end().lines().last().unwrap().starts_with("-- vm/web: off: off by guest"), "{said}");
    let events = site.events(Some("vm/web"));
    site.until("its end is noted", |_| site.events(Some("vm/web")).contains(&"ConsoleClosed".to_owned()));
    assert!(events.contains(&"ConsoleOpened".to_owned()), "{events:?}");
}

#[test]
fn what_is_refused_is_refused_at_once() {
    let site = Site::settled();
    site.happens("{create: {domain: {name: stranger}}}");
    site.until("the stranger is seen", |status| !super::site::object(status, "foreign-domain", "stranger").is_null());
    let refused = |arguments: &[&str], code: i32, why: &[&str]| {
        let said = site.pinfold(&[&["console"], arguments].concat());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert!(said.out.is_empty() && why.iter().all(|why| said.err.contains(why)), "{arguments:?}: {}", said.err);
    };
    refused(&["vm/nobody"], 1, &["there is no vm/nobody", "pinfold get vm"]);
    refused(&["domain/stranger"], 70, &["not ours", "xl console stranger"]);
    refused(&["cp/oracle-a"], 70, &["has no console"]);
    refused(&["web"], 64, &["KIND/NAME"]);
    refused(&["vm/web", "--escape", "^["], 64, &["--escape"]);
    let mut first = Seat::at(&site, &["vm/web"]);
    first.until_said(&site, "attached", 1);
    refused(&["vm/web"], 70, &["uid 0 has been attached", "--force"]);
    let second = Seat::at(&site, &["vm/web", "--force"]);
    second.until_said(&site, "attached", 1);
    assert_eq!(first.ended().code(), Some(1));
    assert!(first.said().contains("uid 0 has taken the console over"), "{}", first.said());
    // Nobody is behind the terminals any more: one who is attached is told, others are refused.
    site.happens("xenconsoled-lost");
    second.until_said(&site, "has no console now", 1);
    refused(&["vm/db"], 70, &["cannot be reached", "xenconsoled"]);
    site.happens("xenconsoled-back");
    second.until_said(&site, "attached", 2);
    let nowhere = site.path("nowhere.sock").display().to_string();
    refused(&["vm/db", "--socket", &nowhere], 70, &["cannot reach the daemon"]);
}

#[test]
fn a_daemon_that_is_away_is_waited_for() {
    let mut site = Site::settled();
    let mut seat = Seat::at(&site, &["vm/web"]);
    seat.until_said(&site, "attached", 1);
    site.kill();
    seat.until_said(&site, "the daemon went away", 1);
    site.start();
    seat.until_said(&site, "attached", 2);
    let domids = attached(&seat.said());
    assert_eq!(domids[0], domids[1], "the guest ran on");
    seat.types("after");
    seat.until_printed(&site, "sh: after: not found", 1);
    // Another configuration is another set of connections, too.
    site.configure("memoryReserve", "32Mi");
    site.signal(Signal::HUP);
    seat.until_said(&site, "attached", 3);
    seat.types("again");
    seat.until_printed(&site, "sh: again: not found", 1);
}

#[test]
fn a_destroyed_domain_and_a_removed_vm_are_told_apart() {
    let site = Site::settled();
    let mut seat = Seat::at(&site, &["vm/web"]);
    seat.until_said(&site, "attached", 1);
    site.happens("{destroy: {domain: web}}");
    seat.until_said(&site, "attached", 2);
    assert!(seat.said().contains(": destroyed"), "{}", seat.said());
    let mut once = Seat::at(&site, &["vm/db", "--once", "-o", "json"]);
    once.until_printed(&site, "\"type\":\"Attached\"", 1);
    once.types("crash");
    assert!(once.ended().success());
    let lines = once.printed();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<String> = lines.iter().map(|line| text(&line["type"])).collect();
    assert_eq!((types.first(), types.last()), (Some(&"Attached".to_owned()), Some(&"Ended".to_owned())), "{lines:?}");
    let printed: String =
        lines.iter().filter(|line| line["type"] == "Output").map(|line| text(&line["text"])).collect();
    assert!(printed.contains("Kernel panic"), "{printed}");
    assert_eq!(lines.last().unwrap()["how"], "crash");
    site.commit("web goes", &[("vms/web.yaml".to_owned(), None)]);
    assert!(seat.ended().success(), "{}", seat.said());
    assert!(seat.said().contains(": poweroff; "), "{}", seat.said());
}

/// A terminal with `pinfold console` on it.
struct Terminal {
    master: OwnedFd,
    slave: File,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn with(site: &Site, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(path).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = site.command(&[&["console"], arguments].concat()).stdin(end()).stdout(end()).stderr(end()).spawn();
        let shown = collect(File::from(master.try_clone().unwrap()));
        Self { master, slave, child: child.unwrap(), shown }
    }

    fn types(&self, keys: &[u8]) {
        rustix::io::write(&self.master, keys).unwrap();
    }

    fn until_shown(&self, site: &Site, text: &str) {
        site.until_soon(&format!("{text} is shown"), |_| self.shown.lock().unwrap().contains(text));
    }

    /// Whether it echoes and has lines, as a shell wants it.
    fn is_as_it_was(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }
}

#[test]
fn every_key_but_one_reaches_the_guest_and_the_terminal_is_given_back() {
    let site = Site::settled();
    let mut terminal = Terminal::with(&site, &["vm/web"]);
    terminal.until_shown(&site, "-- console of vm/web; ^] ends it --\r\n");
    terminal.until_shown(&site, "attached to domain");
    assert!(!terminal.is_as_it_was(), "keys go to the guest");
    terminal.types(b"hi\x03there\r");
    terminal.until_shown(&site, "sh: hi\x03there: not found");
    terminal.types(b"poweroff\x1d\r");
    assert!(terminal.child.wait().unwrap().success());
    assert!(terminal.is_as_it_was());
    let mut signalled = Terminal::with(&site, &["vm/web", "--escape", "^T"]);
    signalled.until_shown(&site, "^T ends it");
    signalled.until_shown(&site, "attached to domain");
    kill_process(Pid::from_child(&signalled.child), Signal::TERM).unwrap();
    signalled.child.wait().unwrap();
    assert!(signalled.is_as_it_was());
    assert!(
        !site.events(Some("vm/web")).contains(&"SettleDone".to_owned()),
        "what came before the escape key was no line"
    );
}
