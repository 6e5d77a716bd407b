//! A real sshd on a free port, with throwaway keys.

use crate::fixture::{Daemon, Origin, location, program, run};
use pinfold::source::{FetchErrorKind, Settings, Ssh};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

struct Sshd {
    folder: TempDir,
    port: u16,
    process: Child,
    user: String,
}

impl Sshd {
    fn start() -> Self {
        let sshd = program(&["sshd"], "openssh-server");
        let git = program(&["git"], "git");
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "host-rsa", "user", "stranger"] {
            let kind = if name == "host-rsa" { "rsa" } else { "ed25519" };
            keygen(folder.path(), name, kind);
        }
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized_keys")).unwrap();
        let user = run(Command::new("id").arg("-un"));
        if user == "root" {
            // What the package's own unit makes before it starts sshd.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let exec_path = run(Command::new(&git).arg("--exec-path"));
        let at = folder.path().display();
        let path = std::env::var("PATH").unwrap_or_default();
        let config = |port| {
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nHostKey {at}/host-rsa\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             AuthorizedKeysFile {at}/authorized_keys\nSetEnv PATH={path}:{exec_path}\n"
            )
        };
        // A free port may be taken by another test before sshd has it.
        let (port, process) = std::iter::repeat_with(|| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            fs::write(folder.path().join("sshd_config"), config(port)).unwrap();
            listening(&sshd, folder.path(), port).map(|process| (port, process))
        })
        .take(10)
        .flatten()
        .next()
        .expect("sshd gets one of ten free ports");
        Self { folder, port, process, user }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a known_hosts file with the public key of this name.
    fn known_hosts(&self, key: &str) -> PathBuf {
        let public = fs::read_to_string(self.file(&format!("{key}.pub"))).unwrap();
        let path = self.file(&format!("known-{key}"));
        fs::write(&path, format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
        path
    }

    fn daemon(&self, path: &Path, key: &str, known_hosts: PathBuf) -> Daemon {
        let url = format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display());
        let ssh = Ssh { key: self.file(key), known_hosts };
        Daemon::new(Settings { ssh: Some(ssh), ..Settings::new(location(&url)) })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// sshd, once it listens; `None` when its port was taken.
fn listening(sshd: &Path, folder: &Path, port: u16) -> Option<Child> {
    let log = folder.join("log");
    let mut command = Command::new(sshd);
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
    let mut process = command.stdin(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    loop {
        let said = fs::read_to_string(&log).unwrap();
        if said.contains("Server listening on") && TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(process);
        }
        if let Some(status) = process.try_wait().unwrap() {
            assert!(said.contains("in use") || said.is_empty(), "sshd ended ({status}): {said}");
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn keygen(folder: &Path, name: &str, kind: &str) {
    let keygen = program(&["ssh-keygen"], "openssh-client");
    run(Command::new(keygen).args(["-q", "-N", "", "-t", kind, "-f"]).arg(folder.join(name)));
}

#[test]
fn a_key_and_a_known_host_let_us_in() {
    let (sshd, origin) = (Sshd::start(), Origin::with_vms(&["web"]));
    // By either key of the server: the one that known_hosts names is the one that is asked for.
    for key in ["host", "host-rsa"] {
        let mut daemon = sshd.daemon(&origin.path(), "user", sshd.known_hosts(key));
        assert_eq!(daemon.accept().commit.id, origin.head());
        let next = origin.commit("next", &[("note.txt", crate::fixture::File::Text(key))]);
        assert_eq!(daemon.fetch().unwrap().head, next);
    }
}

#[test]
fn a_server_that_is_not_known_is_refused() {
    let (sshd, origin) = (Sshd::start(), Origin::with_vms(&[]));
    let fingerprint = |key: &str| {
        let keygen = program(&["ssh-keygen"], "openssh-client");
        let line = run(Command::new(keygen).arg("-lf").arg(sshd.file(&format!("{key}.pub"))));
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let empty = sshd.file("empty");
    fs::write(&empty, "").unwrap();
    let unknown = sshd.daemon(&origin.path(), "user", empty.clone()).fetch().unwrap_err();
    assert_eq!(unknown.kind, FetchErrorKind::HostKey, "{unknown}");
    assert!(unknown.message.contains(empty.to_str().unwrap()) && unknown.message.contains("ssh-keyscan"), "{unknown}");
    assert!(["host", "host-rsa"].iter().any(|key| unknown.message.contains(&fingerprint(key))), "{unknown}");

    let changed = sshd.daemon(&origin.path(), "user", sshd.known_hosts("stranger")).fetch().unwrap_err();
    assert_eq!(changed.kind, FetchErrorKind::HostKey, "{changed}");
    assert!(changed.message.contains("names another one for it"), "{changed}");
    assert!(changed.message.contains(&fingerprint("host")), "{changed}");

    let missing = sshd.daemon(&origin.path(), "user", sshd.file("nowhere")).fetch().unwrap_err();
    assert_eq!(missing.kind, FetchErrorKind::HostKey, "{missing}");
}

#[test]
fn a_key_that_is_not_taken_and_a_repository_that_is_not_there_are_told_apart() {
    let (sshd, origin) = (Sshd::start(), Origin::with_vms(&[]));
    let known = sshd.known_hosts("host");
    let cases = [
        (sshd.daemon(&origin.path(), "stranger", known.clone()), FetchErrorKind::Auth, "does not take the key in"),
        (sshd.daemon(&origin.path(), "nowhere", known.clone()), FetchErrorKind::Auth, "cannot read `ssh.key:"),
        (
            sshd.daemon(Path::new("/no/such.git"), "user", known),
            FetchErrorKind::NoRepository,
            "there is no repository at",
        ),
    ];
    for (daemon, kind, message) in cases {
        let error = daemon.fetch().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}
