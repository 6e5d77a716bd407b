//! Repositories to fetch from, and the state directory of a daemon that does.

use super::entry::entry;
use git2::{ObjectType, Oid, Signature};
use pinfold::source::{
    Accept, Accepted, CommitId, Considered, FetchError, Fetched, Fetcher, Location, Mirror, Settings, SubPath, commit,
    consider, prepare,
};
use planner::record::Grants;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const POOL: &str = r#"apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: "1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11"}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}]}}
"#;

/// A VM's manifest; `more` is added to its `spec`.
pub(crate) fn vm(name: &str, more: &str) -> String {
    format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pvh\n  vcpus: 1\n  \
         memory: 128Mi\n  boot: {{kernel: /boot/vmlinuz}}\n{more}"
    )
}

/// A bare repository to fetch from.
pub(crate) struct Origin {
    pub(crate) folder: TempDir,
    pub(crate) git: git2::Repository,
}

/// A file of a commit.
pub(crate) enum File<'f> {
    Text(&'f str),
    Bytes(&'f [u8]),
    Link(&'f str),
    Submodule,
    Gone,
}

impl Origin {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git = git2::Repository::init_bare(folder.path().join("xen.git")).unwrap();
        git.set_head("refs/heads/main").unwrap();
        Self { folder, git }
    }

    /// One with a pool, a host and these VMs.
    pub(crate) fn with_vms(names: &[&str]) -> Self {
        let origin = Self::new();
        // Two repositories made in the same second must not share a history.
        origin.commit(&format!("begin {}", uuid::Uuid::new_v4()), &[("pool.yaml", File::Text(POOL))]);
        let texts: Vec<_> = names.iter().map(|name| (format!("{name}.yaml"), vm(name, ""))).collect();
        let files: Vec<_> = texts.iter().map(|(path, text)| (path.as_str(), File::Text(text))).collect();
        origin.commit("VMs", &files);
        origin
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("xen.git")
    }

    pub(crate) fn location(&self) -> Location {
        location(self.path().to_str().unwrap())
    }

    /// A commit on `main` that changes these files.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, File)]) -> CommitId {
        self.commit_to("main", message, files)
    }

    pub(crate) fn commit_to(&self, branch: &str, message: &str, files: &[(&str, File)]) -> CommitId {
        let parent = self.git.find_branch(branch, git2::BranchType::Local).ok();
        let parent = parent.map(|branch| branch.get().peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        let tree = self.tree(parent.as_ref().map(|parent| parent.tree().unwrap()).as_ref(), files);
        self.write(&format!("refs/heads/{branch}"), message, tree, &parents)
    }

    /// A commit with these parents and the files of the first, changed; `main` is put on it.
    pub(crate) fn commit_on(&self, parents: &[&CommitId], message: &str, files: &[(&str, File)]) -> CommitId {
        let parents: Vec<_> =
            parents.iter().map(|id| self.git.find_commit(Oid::from_str(id.as_str()).unwrap()).unwrap()).collect();
        let tree = self.tree(parents.first().map(|parent| parent.tree().unwrap()).as_ref(), files);
        let id = self.write_unnamed(message, tree, &parents.iter().collect::<Vec<_>>());
        self.put_back(&id);
        id
    }

    /// Puts `main` on a commit, as a forced push does.
    pub(crate) fn put_back(&self, id: &CommitId) {
        self.git.reference("refs/heads/main", Oid::from_str(id.as_str()).unwrap(), true, "forced").unwrap();
    }

    pub(crate) fn head(&self) -> CommitId {
        self.git.refname_to_id("refs/heads/main").unwrap().to_string().parse().unwrap()
    }

    fn tree(&self, base: Option<&git2::Tree>, files: &[(&str, File)]) -> Oid {
        let mut index = git2::Index::new().unwrap();
        if let Some(base) = base {
            index.read_tree(base).unwrap();
        }
        for (path, file) in files {
            let blob = |bytes: &[u8]| self.git.blob(bytes).unwrap();
            let (mode, id) = match file {
                File::Text(text) => (0o100_644, blob(text.as_bytes())),
                File::Bytes(bytes) => (0o100_644, blob(bytes)),
                File::Link(target) => (0o120_000, blob(target.as_bytes())),
                File::Submodule => (0o160_000, self.git.refname_to_id("refs/heads/main").unwrap()),
                File::Gone => {
                    index.remove_path(Path::new(path)).unwrap();
                    continue;
                }
            };
            index.add(&entry(path.as_bytes(), mode, id)).unwrap();
        }
        index.write_tree_to(&self.git).unwrap()
    }

    fn write(&self, name: &str, message: &str, tree: Oid, parents: &[&git2::Commit]) -> CommitId {
        let id = self.write_unnamed(message, tree, parents);
        self.git.reference(name, Oid::from_str(id.as_str()).unwrap(), true, message).unwrap();
        id
    }

    fn write_unnamed(&self, message: &str, tree: Oid, parents: &[&git2::Commit]) -> CommitId {
        let tree = self.git.find_tree(tree).unwrap();
        let who = Signature::now("Ada", "ada@example.org").unwrap();
        self.git.commit(None, &who, &who, message, &tree, parents).unwrap().to_string().parse().unwrap()
    }

    /// A commit whose tree has one more entry with a name of any bytes.
    pub(crate) fn commit_raw_name(&self, name: &[u8], text: &str) -> CommitId {
        let parent = self.git.find_commit(Oid::from_str(self.head().as_str()).unwrap()).unwrap();
        let blob = self.git.blob(text.as_bytes()).unwrap();
        let odb = self.git.odb().unwrap();
        let mut raw = odb.read(parent.tree_id()).unwrap().data().to_vec();
        // git sorts entries by name; the names used here sort last.
        raw.extend_from_slice(b"100644 ");
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(blob.as_bytes());
        let tree = odb.write(ObjectType::Tree, &raw).unwrap();
        self.write("refs/heads/main", "raw name", tree, &[&parent])
    }
}

pub(crate) fn location(text: &str) -> Location {
    Location::try_from(text.to_owned()).unwrap()
}

/// The state directory of a daemon, and what it would do with it.
pub(crate) struct Daemon {
    pub(crate) state: TempDir,
    pub(crate) settings: Settings,
    pub(crate) grants: Option<Grants>,
}

impl Daemon {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { state: tempfile::tempdir().unwrap(), settings, grants: None }
    }

    pub(crate) fn of(origin: &Origin) -> Self {
        Self::new(Settings::new(origin.location()))
    }

    pub(crate) fn fetcher(&self) -> Fetcher {
        Fetcher::with_program(env!("CARGO_BIN_EXE_pinfold").into(), self.state.path(), self.settings.clone())
    }

    pub(crate) fn fetch(&self) -> Result<Fetched, FetchError> {
        self.settings.check().unwrap();
        self.fetcher().fetch(&AtomicBool::new(false), &mut |_| {})
    }

    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::open(self.state.path()).unwrap()
    }

    pub(crate) fn consider(&self) -> Considered {
        consider(&self.mirror(), &self.settings.path, &|_| None, jiff::Timestamp::now()).unwrap()
    }

    /// Fetches, and expects the head to be acceptable.
    pub(crate) fn acceptable(&self) -> Box<Accept> {
        self.fetch().unwrap();
        match self.consider() {
            Considered::Accept(accept) => accept,
            other => panic!("not acceptable: {other:#?}"),
        }
    }

    /// Puts the head into force, as the daemon does.
    pub(crate) fn accept(&mut self) -> Box<Accept> {
        let accept = self.acceptable();
        let now = jiff::Timestamp::now();
        self.grants = Some(prepare(&accept, self.grants.as_ref(), now));
        commit(&self.mirror(), &accept, now).unwrap();
        accept
    }

    /// Fetches, and says why the head is refused.
    pub(crate) fn refused(&self) -> String {
        self.fetch().unwrap();
        match self.consider() {
            Considered::Refused { refusal, .. } => refusal.reason.to_string(),
            other => panic!("not refused: {other:#?}"),
        }
    }

    pub(crate) fn accepted(&self) -> Accepted {
        self.mirror().accepted().unwrap()
    }

    pub(crate) fn with_path(mut self, path: &str) -> Self {
        self.settings.path = SubPath::try_from(path.to_owned()).unwrap();
        self
    }

    pub(crate) fn with_deadline(mut self, seconds: u64) -> Self {
        self.settings.deadline = Duration::from_secs(seconds);
        self
    }
}

/// Names in the grants.
pub(crate) fn granted(daemon: &Daemon) -> Vec<String> {
    let grants = daemon.grants.iter().flat_map(|grants| grants.removed.values());
    let mut names: Vec<_> = grants.map(|grant| grant.name.to_string()).collect();
    names.sort();
    names
}

/// A program that a test needs, or the package that has it.
pub(crate) fn program(candidates: &[&str], package: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders: Vec<_> = path.split(':').chain(["/usr/sbin", "/usr/bin", "/usr/local/bin"]).collect();
    let places = candidates.iter().flat_map(|name| folders.iter().map(move |folder| Path::new(folder).join(name)));
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("this test needs {}; install it with `apt-get install {package}`", candidates.join(" or "))
    })
}

/// Output of a command that must work.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
