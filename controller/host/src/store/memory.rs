//! A file system in memory that behaves like a bad day: it forgets what was not synchronised when its power is cut, is full, or takes
//! its user down at any step.

use super::disk::{Disk, Lock, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file system in memory. Clones are the same file system, used by the same process.
#[derive(Clone)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
    /// Used by another process: what kills the first does not kill it.
    other: bool,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// After this many changing steps the process that uses the disk is dead: this step is half done and every later one fails, until
    /// [`MemoryDisk::revive`].
    KillAfter(u64),
    /// Every changing step from now on fails for this reason, until [`MemoryDisk::relieve`].
    Refuse(io::ErrorKind),
    /// The same, after this many changing steps.
    RefuseAfter(u64, io::ErrorKind),
}

struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Names that changed since a directory was synchronised: what each stood for before.
    history: Vec<Vec<(u64, String, Option<u64>)>>,
    steps: u64,
    kill_at: Option<u64>,
    /// From this step on, for this reason.
    refuse: Option<(u64, io::ErrorKind)>,
    locks: BTreeSet<PathBuf>,
    /// Counts revivals: a lock of an earlier process is void.
    life: u64,
}

#[derive(Clone)]
enum Node {
    File { now: Vec<u8>, durable: Vec<u8>, version: u64 },
    Dir { now: BTreeMap<String, u64>, durable: BTreeMap<String, u64> },
    Link,
}

const ROOT: u64 = 1;

impl Default for MemoryDisk {
    fn default() -> Self {
        let root = Node::Dir { now: BTreeMap::new(), durable: BTreeMap::new() };
        let nodes = BTreeMap::from([(ROOT, root)]);
        let locks = BTreeSet::new();
        let tree =
            Tree { nodes, next: ROOT + 1, history: Vec::new(), steps: 0, kill_at: None, refuse: None, locks, life: 0 };
        Self { tree: Arc::new(Mutex::new(tree)), other: false }
    }
}

impl MemoryDisk {
    /// The same file system as another process sees it, whose steps are not counted and which [`DiskFault::KillAfter`] does not strike.
    #[must_use]
    pub fn other_process(&self) -> Self {
        Self { tree: Arc::clone(&self.tree), other: true }
    }

    /// How many changing steps were made so far.
    pub fn steps(&self) -> u64 {
        self.tree().steps
    }

    /// Lets something go wrong. The count of [`DiskFault::KillAfter`] starts here.
    pub fn inject(&self, fault: DiskFault) {
        let mut tree = self.tree();
        match fault {
            DiskFault::KillAfter(steps) => tree.kill_at = Some(tree.steps + steps),
            DiskFault::Refuse(kind) => tree.refuse = Some((tree.steps, kind)),
            DiskFault::RefuseAfter(steps, kind) => tree.refuse = Some((tree.steps + steps, kind)),
        }
    }

    /// Whether a [`DiskFault::KillAfter`] has struck.
    pub fn is_dead(&self) -> bool {
        let tree = self.tree();
        tree.is_dead()
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        let mut tree = self.tree();
        (tree.kill_at, tree.refuse) = (None, None);
    }

    /// The disk has room again, and may be written to.
    pub fn relieve(&self) {
        self.tree().refuse = None;
    }

    /// A new process: no lock is held. A death that is yet to come still comes, and a full disk stays full.
    pub fn revive(&self) {
        let mut tree = self.tree();
        if tree.is_dead() {
            tree.kill_at = None;
        }
        tree.locks.clear();
        tree.life += 1;
    }

    /// Cuts the power: what was not synchronised is gone. Ends in a new process.
    pub fn cut_power(&self) {
        for node in self.tree().nodes.values_mut() {
            match node {
                Node::File { now, durable, .. } => now.clone_from(durable),
                Node::Dir { now, durable } => now.clone_from(durable),
                Node::Link => {}
            }
        }
        self.tree().history.clear();
        self.revive();
    }

    /// Cuts the power when a part of what was not synchronised had reached the disk all the same; `seed` says which. As on a file system with
    /// a journal, names survive in the order in which they changed, and synchronising one directory takes all changes before it along;
    /// of what was added to a file, any part may be there.
    pub fn cut_power_midway(&self, seed: u64) {
        let mut tree = self.tree();
        let of = |count: usize| usize::try_from(seed).unwrap_or(usize::MAX) % (count + 1);
        let lost = of(tree.history.len());
        for _ in 0..lost {
            for (dir, name, before) in tree.history.pop().into_iter().flatten().rev() {
                let Some(Node::Dir { now, .. }) = tree.nodes.get_mut(&dir) else { continue };
                match before {
                    Some(inode) => drop(now.insert(name, inode)),
                    None => drop(now.remove(&name)),
                }
            }
        }
        tree.history.clear();
        for node in tree.nodes.values_mut() {
            match node {
                Node::Dir { now, durable } => durable.clone_from(now),
                Node::File { now, durable, version } if now != durable => {
                    *version += 1;
                    now.truncate(durable.len() + of(now.len().saturating_sub(durable.len())));
                    durable.clone_from(now);
                }
                Node::File { .. } | Node::Link => {}
            }
        }
        drop(tree);
        self.revive();
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                at = *self.entries(at)?.get(&*name.to_string_lossy()).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(at)
    }

    fn entries(&self, dir: u64) -> io::Result<&BTreeMap<String, u64>> {
        match self.nodes.get(&dir) {
            Some(Node::Dir { now, .. }) => Ok(now),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut BTreeMap<String, u64>, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let parent = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        match self.nodes.get_mut(&parent) {
            Some(Node::Dir { now, .. }) => Ok((now, name)),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let inode = self.next;
        let change = self.point(path, Some(inode))?;
        self.history.push(vec![change]);
        self.nodes.insert(inode, node);
        self.next += 1;
        Ok(inode)
    }

    /// Lets a name stand for something else; answers what it stood for.
    fn point(&mut self, path: &Path, inode: Option<u64>) -> io::Result<(u64, String, Option<u64>)> {
        let dir = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let (entries, name) = self.parent(path)?;
        let before = match inode {
            Some(inode) => entries.insert(name.clone(), inode),
            None => entries.remove(&name),
        };
        Ok((dir, name, before))
    }

    fn is_dead(&self) -> bool {
        self.kill_at.is_some_and(|at| self.steps >= at)
    }

    /// One changing step. `Ok(false)`: the process dies in the middle of it.
    fn step(&mut self, other: bool) -> io::Result<bool> {
        if self.is_dead() && !other {
            return Err(killed());
        }
        if let Some((_, kind)) = self.refuse.filter(|(from, _)| self.steps >= *from) {
            return Err(kind.into());
        }
        if !other {
            self.steps += 1;
        }
        Ok(other || !self.is_dead())
    }

    /// A change that happens or does not, and nothing between; a process that dies in it may have made it.
    fn whole(&mut self, other: bool, change: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let alive = self.step(other)?;
        change(self)?;
        if alive { Ok(()) } else { Err(killed()) }
    }

    fn put(&mut self, other: bool, path: &Path, content: &[u8], keep: bool) -> io::Result<()> {
        let (alive, full) = match self.step(other) {
            // What still fits is written.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => (false, Some(error)),
            stepped => (stepped?, None),
        };
        let inode = match self.find(path) {
            Ok(inode) => inode,
            Err(_) => self.add(path, Node::File { now: Vec::new(), durable: Vec::new(), version: 0 })?,
        };
        let Some(Node::File { now, durable, version }) = self.nodes.get_mut(&inode) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        if !keep {
            now.clear();
        }
        *version += 1;
        if !alive {
            now.extend_from_slice(&content[..content.len() / 2]);
            return Err(full.unwrap_or_else(killed));
        }
        now.extend_from_slice(content);
        durable.clone_from(now);
        Ok(())
    }
}

fn killed() -> io::Error {
    io::Error::other("this process was killed (simulated)")
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let tree = self.tree();
        match tree.nodes.get(&tree.find(path)?) {
            Some(Node::File { now, .. }) => Ok(now.clone()),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let tree = self.tree();
        Ok(tree.entries(tree.find(dir)?)?.keys().cloned().collect())
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let tree = self.tree();
        let inode = tree.find(path)?;
        match tree.nodes.get(&inode) {
            Some(Node::File { now, version, .. }) => {
                Ok(Stamp { inode, size: now.len() as u64, changed_ns: i128::from(*version) })
            }
            _ => Ok(Stamp { inode, size: 0, changed_ns: 0 }),
        }
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        if let Ok(inode) = tree.find(dir) {
            return tree.entries(inode).map(|_| ());
        }
        let node = Node::Dir { now: BTreeMap::new(), durable: BTreeMap::new() };
        tree.whole(self.other, |tree| tree.add(dir, node).map(|_| ()))
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.tree().put(self.other, path, content, false)
    }

    fn append(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.tree().put(self.other, path, content, true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tree().whole(self.other, |tree| {
            let inode = tree.find(from)?;
            if let Ok(there) = tree.find(to)
                && tree.entries(there).is_ok_and(|entries| !entries.is_empty())
            {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let changes = vec![tree.point(to, Some(inode))?, tree.point(from, None)?];
            tree.history.push(changes);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().whole(self.other, |tree| {
            let inode = tree.find(path)?;
            if tree.entries(inode).is_ok() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let change = tree.point(path, None)?;
            tree.history.push(vec![change]);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.tree().whole(self.other, |tree| {
            let inode = tree.find(dir)?;
            if !tree.entries(inode)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let change = tree.point(dir, None)?;
            tree.history.push(vec![change]);
            Ok(())
        })
    }

    fn link(&self, _target: &Path, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        if tree.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.whole(self.other, |tree| tree.add(path, Node::Link).map(|_| ()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tree().whole(self.other, |tree| {
            let inode = tree.find(dir)?;
            if let Some(Node::Dir { now, durable }) = tree.nodes.get_mut(&inode) {
                durable.clone_from(now);
            }
            tree.history.clear();
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut tree = self.tree();
        if !tree.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Lock::new(Held { disk: self.clone(), path: path.to_owned(), life: tree.life })))
    }
}

struct Held {
    disk: MemoryDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut tree = self.disk.tree();
        if tree.life == self.life {
            tree.locks.remove(&self.path);
        }
    }
}
