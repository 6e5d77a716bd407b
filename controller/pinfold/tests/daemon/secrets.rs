//! No secret is in state, log, process list, metrics, status, or anything else that pinfold shows or keeps: they are planted, everything
//! is used in which they are needed, and then they are searched for everywhere.
//!
//! A new kind of secret is one more [`Hunt::plant`]; a new place to look is one more line in [`Hunt::places`].

use super::https_server::Server;
use super::manifests::first;
use super::site::Site;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Secrets, in every form in which one could leak, and what a watcher of the process list saw.
struct Hunt {
    secrets: BTreeMap<&'static str, Vec<String>>,
    /// Files that hold secrets because they are the place for them.
    allowed: BTreeSet<PathBuf>,
}

impl Hunt {
    fn new() -> Self {
        Self { secrets: BTreeMap::new(), allowed: BTreeSet::new() }
    }

    /// A secret that nobody else in the world has.
    fn plant(&mut self, what: &'static str) -> String {
        let secret = format!("planted-{}", uuid::Uuid::new_v4().simple());
        let base64 = |text: &str| openssl::base64::encode_block(text.as_bytes());
        let hex = secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let forms = vec![
            secret.clone(),
            base64(&secret).trim_end_matches('=').to_owned(),
            base64(&format!("x-access-token:{secret}")).trim_end_matches('=').to_owned(),
            hex,
        ];
        self.secrets.insert(what, forms);
        secret
    }

    /// A file for one.
    fn file(&mut self, path: PathBuf, text: &str) -> PathBuf {
        fs::write(&path, text).unwrap();
        self.allowed.insert(path.clone());
        path
    }

    /// Every secret that is somewhere in these bytes.
    fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let within = |form: &String| bytes.windows(form.len()).any(|window| window == form.as_bytes());
        let found = self.secrets.iter().filter(|(_, forms)| forms.iter().any(within));
        found.map(|(what, _)| format!("{what} in {place}")).collect()
    }

    /// Everything that pinfold shows or keeps: what it is, and its content.
    fn places(&self, site: &Site) -> Vec<(String, Vec<u8>)> {
        let mut places = vec![("the log".to_owned(), site.log().into_bytes())];
        for arguments in [
            &["status"][..],
            &["status", "-o", "json"],
            &["plan"],
            &["plan", "-o", "json"],
            &["get", "vm", "-o", "wide"],
            &["get", "vm", "-o", "json"],
            &["describe", "vm/web"],
            &["inventory"],
            &["events", "--limit", "10000"],
            &["events", "--limit", "10000", "-o", "json"],
        ] {
            let said = site.pinfold(arguments);
            places.push((format!("`pinfold {}`", arguments.join(" ")), [said.out, said.err].concat().into_bytes()));
        }
        if site.pid().is_some() {
            let (status, metrics) = site.http("pinfold.sock", "GET /metrics");
            assert!(status.contains("200"), "{status}");
            places.push(("the metrics".to_owned(), metrics.into_bytes()));
        }
        let mut files = Vec::new();
        gather(site.home(), &mut files);
        // The daemon's own configuration is the administrator's.
        files.retain(|path| !self.allowed.contains(path));
        places.extend(files.into_iter().filter_map(|path| Some((path.display().to_string(), fs::read(&path).ok()?))));
        places
    }

    fn assert_nothing(&self, site: &Site, at_least: usize) {
        let places = self.places(site);
        let filled = places.iter().filter(|(_, bytes)| !bytes.is_empty()).count();
        assert!(filled >= at_least, "only {filled} places were searched: {:?}", places.iter().map(|(place, _)| place));
        let found: Vec<String> = places.iter().flat_map(|(place, bytes)| self.found_in(place, bytes)).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => gather(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

/// Looks at the command lines of all processes, and the environments of those that the daemon started, as often as can be.
struct Watcher {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start() -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let (stopped, lines) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let processes = fs::read_dir("/proc").unwrap().flatten();
                let numbered = processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
                for process in numbered.map(|entry| entry.path()) {
                    let Ok(line) = fs::read(process.join("cmdline")) else { continue };
                    // The child that fetches gets its secret on its standard input, and neither here nor there.
                    if line.windows(6).any(|window| window == b"\0fetch") {
                        let environment = fs::read(process.join("environ")).unwrap_or_default();
                        lines.lock().unwrap().insert([b"environment of fetch\0", &environment[..]].concat());
                    }
                    lines.lock().unwrap().insert(line);
                }
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    fn end(mut self) -> BTreeSet<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.seen.lock().unwrap().clone()
    }
}

#[test]
fn no_secret_is_shown_or_kept() {
    let mut hunt = Hunt::new();
    let mut site = Site::new();
    let (token, wrong) = (hunt.plant("the token"), hunt.plant("a wrong token"));
    let (key, url) = (hunt.plant("an ssh key"), hunt.plant("a password in a url"));
    let inherited = hunt.plant("the environment");
    let path = std::env::var("PATH").unwrap_or_default();
    let git = path.split(':').map(|folder| Path::new(folder).join("git")).find(|git| git.is_file()).expect("git");
    let login = format!("x-access-token:{token}");
    let server = Server::start(git, site.home(), Some(&login));
    let ca = fs::copy(server.folder.path().join("ca.pem"), site.path("ca.pem")).map(|_| site.path("ca.pem")).unwrap();
    let file = hunt.file(site.path("token"), &format!("{token}\n"));
    let commit = site.commit("first commit", &first());
    let https = |url: &str| {
        format!("{{url: \"{url}\", poll: 1s, https: {{tokenFile: {}, caFile: {}}}}}", file.display(), ca.display())
    };
    let good = format!("https://127.0.0.1:{}/config.git", server.port);
    site.configure("repository", &https(&good));
    // As if the daemon were started from a shell that has it; and everything that can be logged is.
    site.set("GIT_PASSWORD", inherited.clone().into());
    site.set("PINFOLD_LOG", "trace".into());
    let watcher = Watcher::start();
    site.start();
    site.until_settled(&commit);
    hunt.assert_nothing(&site, 30);

    // Refused by the server: the error is shown, and not what was tried.
    fs::write(&file, format!("{wrong}\n")).unwrap();
    site.until("the wrong token is refused", |status| status["source"]["failing"].is_object());
    hunt.assert_nothing(&site, 30);
    assert!(site.stop());

    // A key that is none, towards a server that is not there.
    let key = hunt.file(site.path("key"), &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{key}\n"));
    let known = site.path("known_hosts");
    fs::write(&known, "127.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ\n").unwrap();
    let ssh = format!("{{key: {}, knownHosts: {}}}", key.display(), known.display());
    site.configure("repository", &format!("{{url: \"ssh://git@127.0.0.1:9/x.git\", poll: 1s, ssh: {ssh}}}"));
    site.start();
    site.until("ssh fails", |status| status["source"]["failing"].is_object());
    hunt.assert_nothing(&site, 30);
    assert!(site.stop());

    // A password where none belongs is refused without being repeated.
    let with_password = format!("https://ada:{url}@127.0.0.1/x.git");
    site.configure("repository", &https(&with_password));
    hunt.allowed.insert(site.path("pinfold.yaml"));
    let said = site.pinfold(&["run", "--backend", &site.backend(), "--config", &site.config()]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("password"), "{}", said.err);
    assert_eq!(hunt.found_in("what it says of its configuration", said.err.as_bytes()), Vec::<String>::new());
    hunt.assert_nothing(&site, 20);

    let lines = watcher.end();
    assert!(lines.iter().any(|line| line.starts_with(b"environment of fetch")), "the child that fetches was seen");
    hunt.secrets.remove("the environment");
    let found: Vec<String> = lines
        .iter()
        .flat_map(|line| hunt.found_in(&format!("the process list: {}", String::from_utf8_lossy(line)), line))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The search finds what is there: in plain text, and as it would stand in a header.
#[test]
fn a_planted_secret_is_found() {
    let mut hunt = Hunt::new();
    let secret = hunt.plant("a secret");
    let header = openssl::base64::encode_block(format!("x-access-token:{secret}").as_bytes());
    for text in [format!("… {secret} …"), format!("Authorization: Basic {header}")] {
        assert_eq!(hunt.found_in("here", text.as_bytes()), ["a secret in here"]);
    }
    let site = Site::new();
    fs::write(site.path("somewhere"), &secret).unwrap();
    let places = hunt.places(&site);
    assert!(places.iter().any(|(place, bytes)| !hunt.found_in(place, bytes).is_empty()), "a file in the state is read");
}
