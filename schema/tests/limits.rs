//! Limits that no file in a repository can show, and the forms of findings that programs read.

#![allow(clippy::unwrap_used)]

use schema::tree::{MAX_FILE_BYTES, MAX_FILES};
use schema::{Content, SourceFile, Tree, render};

fn tree(files: Vec<(String, Content)>) -> Tree {
    Tree { files: files.into_iter().map(|(path, content)| SourceFile { path, content }).collect(), ignore: None }
}

fn human(tree: &Tree) -> String {
    render::human(&schema::read(tree).findings, tree)
}

#[test]
fn a_file_of_one_gibibyte() {
    let unread = Content::TooLarge(1 << 30);
    insta::assert_snapshot!(human(&tree(vec![("big.yaml".to_owned(), unread)])), @r#"
    error[too-large]: this file has 1073741824 bytes; a manifest has at most 1048576
    --> big.yaml
     = help: split it into several files, or list it in `.pinfoldignore` if it is no manifest
    "#);
    let read = Content::Text(vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]);
    insta::assert_snapshot!(human(&tree(vec![("big.yaml".to_owned(), read)])), @r#"
    error[too-large]: this file has 1048577 bytes; a manifest has at most 1048576
    --> big.yaml
     = help: split it into several files, or list it in `.pinfoldignore` if it is no manifest
    "#);
}

#[test]
fn a_hundred_thousand_files() {
    let files = (0..=MAX_FILES).map(|index| (format!("{index}.yaml"), Content::Text(Vec::new()))).collect();
    insta::assert_snapshot!(human(&tree(files)), @r#"
    error[too-many-files]: the configuration has 100001 manifest files; pinfold reads at most 100000
     |
     = help: split the configuration, or list folders in `.pinfoldignore`
    "#);
}

#[test]
fn a_quarter_of_a_gibibyte_in_all() {
    let comment = vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()];
    let files = (0..257).map(|index| (format!("{index}.yaml"), Content::Text(comment.clone()))).collect();
    insta::assert_snapshot!(human(&tree(files)), @r#"
    error[too-large]: the manifests have 269484032 bytes together; pinfold reads at most 268435456
     |
     = help: split the configuration, or list folders in `.pinfoldignore`
    "#);
}

#[test]
fn a_document_with_a_thousand_faults() {
    let labels: Vec<_> = (0..1000).map(|index| format!("  l{index}: {index}\n")).collect();
    let text = format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: Network\nmetadata:\n name: lan\n labels:\n{}spec: {{bridge: b}}\n",
        labels.concat()
    );
    let findings = schema::read(&tree(vec![("many.yaml".to_owned(), Content::Text(text.into_bytes()))])).findings;
    assert_eq!(findings.iter().filter(|finding| finding.code == "wrong-type").count(), 50);
}

#[test]
fn forms_for_programs() {
    let text = "apiVersion: pinfold.dev/v1alpha1\nkind: Pool\nmetadata: {name: lab, 100%: x}\nspec: {id: '1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11'}\n";
    let tree = tree(vec![
        ("a:b.yaml".to_owned(), Content::Text(text.into())),
        ("c.YAML".to_owned(), Content::Text(Vec::new())),
    ]);
    let findings = schema::read(&tree).findings;
    insta::assert_snapshot!(render::summary(&findings), @"1 error, 1 warning");
    insta::assert_snapshot!(render::github(&findings, "./xen/"), @r#"
    ::error title=unknown-field,file=xen/a%3Ab.yaml,line=3,endLine=3,col=23,endColumn=27::`metadata` has no field `100%25`%0Ait can be `name` or `labels`
    ::warning title=file-name,file=xen/c.YAML,line=1,endLine=1,col=1,endColumn=1::`c.YAML` is not read: a manifest's name ends in `.yaml` or `.yml`, in lower case%0Arename the file, or list it in `.pinfoldignore`
    "#);
    insta::assert_snapshot!(render::gitlab(&findings, "xen"), @r#"
    [
      {
        "check_name": "unknown-field",
        "description": "`metadata` has no field `100%`; it can be `name` or `labels`",
        "fingerprint": "2c0fd8528c505928bd004e62438eb35c",
        "location": {
          "lines": {
            "begin": 3
          },
          "path": "xen/a:b.yaml"
        },
        "severity": "major"
      },
      {
        "check_name": "file-name",
        "description": "`c.YAML` is not read: a manifest's name ends in `.yaml` or `.yml`, in lower case; rename the file, or list it in `.pinfoldignore`",
        "fingerprint": "2b055477fbb55b6e97885d10a9f696dd",
        "location": {
          "lines": {
            "begin": 1
          },
          "path": "xen/c.YAML"
        },
        "severity": "minor"
      }
    ]
    "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&findings).unwrap(), @r#"
    [
      {
        "code": "unknown-field",
        "severity": "error",
        "message": "`metadata` has no field `100%`",
        "location": {
          "file": "a:b.yaml",
          "line": 3,
          "column": 23,
          "endLine": 3,
          "endColumn": 27
        },
        "label": "unknown",
        "help": [
          "it can be `name` or `labels`"
        ]
      },
      {
        "code": "file-name",
        "severity": "warning",
        "message": "`c.YAML` is not read: a manifest's name ends in `.yaml` or `.yml`, in lower case",
        "location": {
          "file": "c.YAML",
          "line": 1,
          "column": 1,
          "endLine": 1,
          "endColumn": 1
        },
        "help": [
          "rename the file, or list it in `.pinfoldignore`"
        ]
      }
    ]
    "#);
}
