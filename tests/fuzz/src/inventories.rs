//! What older versions recorded (`tests/inventories`), as seeds.

use schema::desired::Desired;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A moment of a recorded host.
pub(crate) struct Moment {
    pub(crate) desired: Option<Desired>,
    pub(crate) observed: Value,
}

/// Moments of every recording, one in five, so that a fuzzer starts soon.
pub(crate) static MOMENTS: LazyLock<Vec<Moment>> = LazyLock::new(|| {
    let mut moments = Vec::new();
    for lines in recordings() {
        let mut commits = BTreeMap::new();
        for (n, line) in lines.iter().enumerate() {
            if let Some(commit) = line.get("commit") {
                commits.insert(commit["number"].clone().to_string(), desired(&commit["files"]));
            } else if let Some(moment) = line.get("moment").filter(|_| n % 5 == 2) {
                let desired = commits.get(&moment["commit"].to_string()).cloned().flatten();
                moments.push(Moment { desired, observed: moment["observed"].clone() });
            }
        }
    }
    assert!(moments.len() > 20, "tests/inventories is nearly empty");
    moments
});

/// State directories: text by path.
pub(crate) static STATES: LazyLock<Vec<BTreeMap<String, String>>> = LazyLock::new(|| {
    let of = |lines: &Vec<Value>| serde_json::from_value(lines.last()?.get("state")?.clone()).ok();
    let states: Vec<_> = recordings().iter().filter_map(of).collect();
    assert!(states.len() > 5, "tests/inventories holds no state directories");
    states
});

fn recordings() -> Vec<Vec<Value>> {
    let folder = crate::root().join("tests/inventories");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|version| std::fs::read_dir(version.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let read = |text: String| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    files.iter().map(|file| read(std::fs::read_to_string(file).unwrap())).collect()
}

fn desired(files: &Value) -> Option<Desired> {
    let text = |value: &Value| schema::Content::Text(value.as_str().unwrap_or_default().as_bytes().to_vec());
    let files = files.as_object()?.iter();
    let files = files.map(|(path, value)| schema::SourceFile { path: path.clone(), content: text(value) }).collect();
    schema::read(&schema::Tree { files, ignore: None }).desired
}
