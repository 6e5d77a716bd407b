//! A scenario: `host.yaml`, folders of manifests, and a script, played on the simulator.

use crate::format::{Disk, Lab, Script, Step, read};
use crate::stage::verbs::{Order, SPAN};
use crate::stage::{Stage, tree};
use host::store::DiskFault;
use jiff::SignedDuration;
use schema::units::Span;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A scenario as it was read.
pub struct Scenario {
    pub folder: PathBuf,
    host: sim::HostFile,
    steps: Vec<Step>,
}

impl Scenario {
    pub fn read(folder: &Path) -> Self {
        let script: Script = read(&folder.join("script.yaml")).unwrap();
        assert_ne!(script.lab, Lab::Not(String::new()), "{}: say why real Xen cannot play it", folder.display());
        Self { folder: folder.to_owned(), host: read(&folder.join("host.yaml")).unwrap(), steps: script.steps }
    }

    /// Plays it on a machine of its own, which `prepare` may spoil.
    pub fn play(&self, prepare: impl FnOnce(&mut Stage)) -> Stage {
        self.play_watched(prepare, |_, _, _| {})
    }

    /// Plays it, and shows the stage before each step, with the manifests of the commit in force.
    pub fn play_watched(
        &self,
        prepare: impl FnOnce(&mut Stage),
        mut before: impl FnMut(&mut Stage, &BTreeMap<String, Vec<u8>>, &Step),
    ) -> Stage {
        let mut stage = Stage::new(self.host.clone());
        prepare(&mut stage);
        let mut files = BTreeMap::new();
        for step in &self.steps {
            before(&mut stage, &files, step);
            self.step(&mut stage, &mut files, step);
        }
        stage
    }

    fn step(&self, stage: &mut Stage, files: &mut BTreeMap<String, Vec<u8>>, step: &Step) {
        match step {
            Step::Commit(folder) => {
                stage.note(&format!("commit {folder}"));
                files.extend(manifests(&self.folder.join(folder)));
                self.commit(stage, files);
            }
            Step::Remove(paths) => {
                stage.note(&format!("commit without {}", paths.join(", ")));
                for path in paths {
                    assert!(files.remove(path).is_some(), "{path} is no file of the commit");
                }
                self.commit(stage, files);
            }
            Step::LoseManifests => {
                stage.note("the manifests cannot be read");
                stage.lose_manifests();
            }
            Step::Settle(span) => drop(stage.settle(seconds(*span))),
            Step::Advance(span) => {
                stage.note(&format!("{span} pass"));
                stage.advance(seconds(*span));
            }
            Step::Event(event) => {
                stage.note(&format!("{event:?}"));
                stage.apply(event);
            }
            Step::Disk(disk) => {
                stage.note(&format!("the disk: {disk:?}"));
                match disk {
                    Disk::Full => stage.disk.inject(DiskFault::Refuse(ErrorKind::StorageFull)),
                    Disk::ReadOnly => stage.disk.inject(DiskFault::Refuse(ErrorKind::ReadOnlyFilesystem)),
                    Disk::Fine => stage.disk.relieve(),
                }
            }
            Step::KillDaemon => {
                stage.note("the daemon is killed");
                stage.kill_daemon();
            }
            Step::StartDaemon => {
                stage.note("the daemon starts");
                assert!(!stage.has_daemon(), "a daemon runs already");
                stage.start_daemon();
            }
            Step::Approve(object) => {
                stage.note(&format!("ada approves what is held for {object}"));
                stage.approve(object);
            }
            Step::Freeze(object) => {
                stage.note(&format!("ada freezes {object}"));
                stage.freeze(object);
            }
            Step::Unfreeze(object) => {
                stage.note(&format!("ada unfreezes {object}"));
                stage.unfreeze(object);
            }
            Step::Start(vm) => order(stage, vm, Order::Start),
            Step::Stop(vm) => order(stage, vm, Order::Stop),
            Step::Pause(vm) => order(stage, vm, Order::Pause),
            Step::Restart(vm) => order(stage, vm, Order::Restart),
            Step::Follow(vm) => {
                stage.note(&format!("ada lets {vm} follow its manifest"));
                stage.follow(vm);
            }
        }
    }

    fn commit(&self, stage: &mut Stage, files: &BTreeMap<String, Vec<u8>>) {
        let tree = tree(files);
        let reading = schema::read(&tree);
        let said = schema::render::human(&reading.findings, &tree);
        let desired = reading.desired.unwrap_or_else(|| panic!("{}: {said}", self.folder.display()));
        stage.commit(desired);
    }
}

fn order(stage: &mut Stage, vm: &str, order: Order) {
    stage.note(&format!("ada orders of {vm}: {order:?}"));
    stage.order(vm, order, SPAN);
}

fn manifests(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

fn seconds(span: Span) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(span.as_secs()).unwrap())
}
