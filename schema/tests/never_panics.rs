//! Any bytes give findings, never a panic: good manifests with pieces changed, cut out, repeated, and bytes without any sense.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::sample::{Index, select};
use schema::{Content, Severity, SourceFile, Tree, render};

const GOOD: [&str; 5] = [
    include_str!("corpus/base.yaml"),
    include_str!("corpus/good/every-field.yaml"),
    include_str!("corpus/good/json.yaml"),
    include_str!("../../examples/three-partitions/partitions.yaml"),
    include_str!("../../examples/three-partitions/vms/app-1.yaml"),
];

/// What breaks readers of YAML, and what the language is particular about.
const PIECES: [&str; 32] = [
    "\t",
    "\r\n",
    "\n",
    "- ",
    ": ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    ">-\n  ",
    "&a ",
    "*a",
    "!t ",
    "!!str ",
    "<<: ",
    "---\n",
    "...\n",
    "#",
    "\u{feff}",
    "\u{0}",
    "é",
    "𝄞",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "0x1F",
    "~",
];

#[derive(Clone, Copy, Debug)]
enum Edit {
    Cut(Index, usize),
    Insert(Index, &'static str),
    Repeat(Index, usize),
    Byte(Index, u8),
    Truncate(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), 1..40usize).prop_map(|(at, len)| Edit::Cut(at, len)),
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<Index>(), 1..200usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        any::<Index>().prop_map(Edit::Truncate),
    ]
}

fn apply(mut bytes: Vec<u8>, edit: Edit) -> Vec<u8> {
    let length = bytes.len() + 1;
    match edit {
        Edit::Cut(at, len) => {
            let start = at.index(length);
            bytes.drain(start..(start + len).min(bytes.len()));
        }
        Edit::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece.bytes());
        }
        Edit::Repeat(at, len) => {
            let start = at.index(length);
            let copy = bytes[start..(start + len).min(bytes.len())].to_vec();
            bytes.splice(start..start, copy);
        }
        Edit::Byte(at, byte) => {
            if let Some(place) = bytes.get_mut(at.index(length)) {
                *place = byte;
            }
        }
        Edit::Truncate(at) => bytes.truncate(at.index(length)),
    }
    bytes
}

fn path() -> impl Strategy<Value = String> {
    "(/|\\./|\\.\\./|[.]?[a-c]{1,2}/){0,3}[.]?[a-c]{0,2}([.](yaml|yml|YAML|Yml|txt))?"
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        select(&GOOD[..]).prop_map(|text| Content::Text(text.as_bytes().to_vec())),
        "[./a-c]{0,12}".prop_map(Content::Symlink),
        any::<u64>().prop_map(Content::TooLarge),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Content::Text),
    ]
}

/// Reads and renders in every form; checks what holds for any input.
fn check(contents: Vec<Vec<u8>>) {
    let file = |(index, bytes)| SourceFile { path: format!("f{index}.yaml"), content: Content::Text(bytes) };
    check_tree(&Tree { files: contents.into_iter().enumerate().map(file).collect(), ignore: None });
}

fn check_tree(tree: &Tree) {
    let reading = schema::read(tree);
    let is_refused = reading.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(reading.desired.is_none(), is_refused);
    for finding in &reading.findings {
        assert!(!finding.message.is_empty());
        let Some(at) = &finding.location else { continue };
        assert!(at.line >= 1 && at.column >= 1 && (at.line, at.column) <= (at.end_line, at.end_column), "{finding:?}");
    }
    let human = render::human_with(&reading.findings, tree, render::Colour::Always);
    assert_eq!(human.is_empty(), reading.findings.is_empty());
    assert_eq!(render::github(&reading.findings, "").lines().count(), reading.findings.len());
    assert!(serde_json::from_str::<serde_json::Value>(&render::gitlab(&reading.findings, "x")).is_ok());
    assert_eq!(schema::read(tree), reading, "the same input gives the same answer");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn edited_manifests(which in 0..GOOD.len(), edits in prop::collection::vec(edit(), 1..8)) {
        let edited = edits.into_iter().fold(GOOD[which].as_bytes().to_vec(), apply);
        check(vec![GOOD[0].as_bytes().to_vec(), edited]);
    }

    #[test]
    fn any_bytes(files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..3)) {
        check(files);
    }

    #[test]
    fn any_files(files in prop::collection::vec((path(), content()), 0..6), ignore in prop::option::of("[a-z*!/\\\\\\[{#. \n]{0,20}")) {
        let files = files.into_iter().map(|(path, content)| SourceFile { path, content }).collect();
        check_tree(&Tree { files, ignore: ignore.map(String::into_bytes) });
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(select(&PIECES[..]), 0..60)) {
        check(vec![pieces.concat().into_bytes()]);
    }
}
