//! YAML of manifests, and `.pinfoldignore`.

use schema::{Content, SourceFile, Tree, render};

/// Between two files of one input; what stands after [`IGNORE`] is the ignore file.
const NEXT: &[u8] = b"\n#---file---\n";
const IGNORE: &[u8] = b"\n#---ignore---\n";

pub(crate) fn run(bytes: &[u8]) {
    let (bytes, ignore) = match split(bytes, IGNORE) {
        Some((before, after)) => (before, Some(after.to_vec())),
        None => (bytes, None),
    };
    let mut files = Vec::new();
    let mut rest = Some(bytes);
    while let Some(text) = rest.filter(|_| files.len() < 4) {
        let (file, after) = split(text, NEXT).map_or((text, None), |(file, after)| (file, Some(after)));
        let path = format!("{}/f{}.yaml", ["a", "b"][files.len() % 2], files.len());
        files.push(SourceFile { path, content: Content::Text(file.to_vec()) });
        rest = after;
    }
    let tree = Tree { files, ignore };
    let reading = schema::read(&tree);
    let refused = reading.findings.iter().any(|finding| finding.severity == schema::Severity::Error);
    assert_eq!(reading.desired.is_none(), refused, "refused exactly when there is an error");
    let human = render::human(&reading.findings, &tree);
    assert_eq!(human.is_empty(), reading.findings.is_empty());
    assert_eq!(render::github(&reading.findings, "").lines().count(), reading.findings.len());
    assert!(serde_json::from_str::<serde_json::Value>(&render::gitlab(&reading.findings, "x")).is_ok());
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..found], &bytes[found + at.len()..]))
}

/// The corpus of the language's tests, and the examples.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for folder in ["schema/tests/corpus", "examples"] {
        gather(&crate::root().join(folder), &mut seeds);
    }
    let base = std::fs::read(crate::root().join("schema/tests/corpus/base.yaml")).unwrap();
    let with_base = seeds.iter().map(|seed| [&base[..], NEXT, seed].concat());
    let mut seeds: Vec<_> = with_base.collect();
    seeds.push([&base[..], IGNORE, b"*.yml\n!a/\n"].concat());
    seeds
}

fn gather(folder: &std::path::Path, seeds: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            gather(&path, seeds);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            seeds.extend(std::fs::read(&path));
        }
    }
}
