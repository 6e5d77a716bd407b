//! Recordings: how they are written, and how they are read back.
//!
//! One file for each scenario, one JSON object in a line: the files of a commit, a moment of the host with its plan, and at last the state
//! directory.

use crate::examples;
use crate::format::Step;
use crate::script::Scenario;
use crate::stage::Stage;
use host::store::Disk;
use jiff::{SignedDuration, Timestamp};
use planner::Observed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Texts by path.
pub type Files = BTreeMap<String, String>;

/// What a version wrote of one scenario.
#[derive(Default)]
pub struct Recording {
    pub commits: BTreeMap<u32, Files>,
    pub moments: Vec<Moment>,
    pub state: Option<Files>,
}

/// One observation with its plan.
#[derive(Serialize, Deserialize)]
pub struct Moment {
    pub when: String,
    /// The commit in force, whose files stand in a line above; none when it cannot be read.
    pub commit: Option<u32>,
    pub observed: Observed,
    pub plan: Recorded,
}

/// What counts of a plan: what is done, and when to look again. How objects are shown is no promise.
#[derive(Serialize, Deserialize)]
pub struct Recorded {
    /// As JSON: a later version's items have more fields.
    pub items: Vec<Value>,
    pub due: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Commit { number: u32, files: Files },
    Moment(Box<Moment>),
    State(Files),
}

/// Versions that were recorded.
pub fn versions() -> Vec<PathBuf> {
    below(&root().join("tests/inventories"))
}

/// Every recording: its version, its name, and itself.
pub fn all() -> Vec<(String, String, Recording)> {
    let mut recordings = Vec::new();
    for version in versions() {
        for file in below(&version) {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut recording = Recording::default();
            for (number, line) in text.lines().enumerate() {
                let line = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{} line {}: {error}", file.display(), number + 1));
                match line {
                    Line::Commit { number, files } => drop(recording.commits.insert(number, files)),
                    Line::Moment(moment) => recording.moments.push(*moment),
                    Line::State(files) => recording.state = Some(files),
                }
            }
            assert!(!recording.moments.is_empty(), "{} holds nothing", file.display());
            let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
            recordings.push((version.file_name().unwrap().to_string_lossy().into_owned(), name(&file), recording));
        }
    }
    recordings
}

/// Records every scenario and example with the version that runs.
pub fn record_all() {
    let folder = root().join("tests/inventories").join(env!("CARGO_PKG_VERSION"));
    assert!(
        !folder.exists(),
        "{} exists, and hosts have such files: a recording is never replaced. Raise the version in Cargo.toml first",
        folder.display()
    );
    std::fs::create_dir_all(&folder).unwrap();
    for scenario in below(&root().join("tests/scenarios")).into_iter().filter(|path| path.is_dir()) {
        write(&folder, &scenario, &record_scenario(&scenario));
    }
    for example in below(&root().join("examples")) {
        let lines = record_example(&example);
        write(&folder, &example.with_file_name(format!("example-{}", name_of(&example))), &lines);
    }
}

fn record_scenario(folder: &Path) -> Vec<Line> {
    let mut lines = Lines::default();
    let mut stage = Scenario::read(folder).play_watched(
        |_| {},
        |stage, files, step| {
            let settles = matches!(step, Step::Settle(_));
            lines.moment(stage, files, &format!("before {step:?}"));
            if settles && stage.has_daemon() {
                // In the middle of things: the first operations run, or ended just now.
                stage.pass();
                lines.moment(stage, files, &format!("one pass into {step:?}"));
                stage.advance(SignedDuration::from_secs(1));
                lines.moment(stage, files, &format!("a second into {step:?}"));
            }
        },
    );
    let last = lines.files.clone();
    lines.moment(&mut stage, &last, "at the end");
    lines.with_state(&stage)
}

/// An example at rest, on the host of the scenario of the same name.
fn record_example(folder: &Path) -> Vec<Line> {
    let (mut stage, files) = examples::begin(folder);
    let mut lines = Lines::default();
    lines.moment(&mut stage, &files, "before the first pass");
    stage.settle(SignedDuration::from_mins(10));
    lines.moment(&mut stage, &files, "at the end");
    lines.with_state(&stage)
}

#[derive(Default)]
struct Lines {
    written: Vec<Line>,
    commits: u32,
    files: BTreeMap<String, Vec<u8>>,
    last: Option<Observed>,
    moments: u32,
}

impl Lines {
    fn moment(&mut self, stage: &mut Stage, files: &BTreeMap<String, Vec<u8>>, when: &str) {
        if !stage.has_daemon() {
            return;
        }
        if *files != self.files {
            self.commits += 1;
            self.files.clone_from(files);
            let text = |(path, text): (&String, &Vec<u8>)| (path.clone(), String::from_utf8(text.clone()).unwrap());
            let files = files.iter().map(text).collect();
            self.written.push(Line::Commit { number: self.commits, files });
        }
        let report = stage.observe_and_plan();
        if self.last.as_ref() == Some(&report.observed) {
            return;
        }
        self.last = Some(report.observed.clone());
        self.moments += 1;
        let items = report.plan.items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
        let plan = Recorded { items, due: report.plan.due };
        let commit = stage.desired.is_some().then_some(self.commits);
        let when = format!("{} {when}", self.moments);
        self.written.push(Line::Moment(Box::new(Moment { when, commit, observed: report.observed, plan })));
    }

    fn with_state(mut self, stage: &Stage) -> Vec<Line> {
        let mut files = Files::new();
        for place in ["/state", "/storage"] {
            take(&stage.disk, Path::new(place), &mut files);
        }
        self.written.push(Line::State(files));
        self.written
    }
}

/// Every file below a directory of the simulated disk, and every directory, which ends with `/`. Links, which are for people, are left out.
fn take(disk: &dyn Disk, path: &Path, files: &mut Files) {
    if let Ok(names) = disk.list(path) {
        files.insert(format!("{}/", path.display()), String::new());
        for name in names {
            take(disk, &path.join(name), files);
        }
    } else if let Ok(text) = disk.read(path) {
        files.insert(path.to_str().unwrap().to_owned(), String::from_utf8(text).unwrap());
    }
}

fn write(folder: &Path, of: &Path, lines: &[Line]) {
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    std::fs::write(folder.join(format!("{}.ndjson", name_of(of))), text).unwrap();
}

/// What lies in a folder, in order.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
