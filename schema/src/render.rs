//! Findings as text: for people, and for the CI systems that show them beside the changed lines.

use crate::finding::{Finding, Location, Severity};
use crate::text::without_mark;
use crate::tree::{Content, Tree};
use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Message, Origin, Renderer, Snippet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use uuid::Uuid;

/// Whether text for people has colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    #[default]
    Never,
    /// ANSI colours.
    Always,
}

/// Findings for people: each with the lines that it speaks of.
pub fn human(findings: &[Finding], tree: &Tree) -> String {
    human_with(findings, tree, Colour::Never)
}

/// Findings for people, with or without colour.
pub fn human_with(findings: &[Finding], tree: &Tree, colour: Colour) -> String {
    let texts = texts(tree);
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    };
    let mut output = String::new();
    for finding in findings {
        if !output.is_empty() {
            output.push('\n');
        }
        output.push_str(&renderer.render(&[group(finding, &texts)]));
        output.push('\n');
    }
    output
}

/// How many there are, such as `2 errors, 1 warning`.
pub fn summary(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    match (errors, findings.len() - errors) {
        (0, 0) => "no findings".to_owned(),
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// Findings as GitHub's workflow commands, one per line. `root` is the path of the configuration within the repository, or empty.
pub fn github(findings: &[Finding], root: &str) -> String {
    let mut output = String::new();
    for finding in findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut properties = vec![format!("title={}", property(finding.code))];
        if let Some(Location { file, line, column, end_line, end_column, .. }) = &finding.location {
            properties.push(format!("file={}", property(&below(root, file))));
            properties.push(format!("line={line},endLine={end_line}"));
            if line == end_line {
                properties.push(format!("col={column},endColumn={end_column}"));
            }
        }
        let text =
            std::iter::once(&finding.message).chain(&finding.help).map(String::as_str).collect::<Vec<_>>().join("\n");
        let _ = writeln!(output, "::{command} {}::{}", properties.join(","), command_text(&text));
    }
    output
}

/// Findings as GitLab's code quality report: a JSON array. `root` is the path of the configuration within the repository, or empty.
pub fn gitlab(findings: &[Finding], root: &str) -> String {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let issues: Vec<Value> = findings.iter().map(|finding| gitlab_issue(finding, root, &mut seen)).collect();
    format!("{:#}\n", Value::Array(issues))
}

fn gitlab_issue(finding: &Finding, root: &str, seen: &mut BTreeMap<String, usize>) -> Value {
    let severity = match finding.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
    };
    // A finding about no file still needs a place; the report's reader shows it at the root.
    let (file, line) = finding.location.as_ref().map_or((".", 1), |at| (at.file.as_str(), at.line));
    let file = below(root, file);
    // Stable while lines move, so that a known finding is not shown as new.
    let identity = format!("{}\0{file}\0{}", finding.code, finding.message);
    // The same again in the same file is another one; the reader of the report would take the second for the first.
    let times = seen.entry(identity.clone()).or_default();
    let identity = if *times == 0 { identity } else { format!("{identity}\0{times}") };
    *times += 1;
    json!({
        "description": std::iter::once(&finding.message).chain(&finding.help).map(String::as_str).collect::<Vec<_>>().join("; "),
        "check_name": finding.code,
        "fingerprint": Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes()).simple().to_string(),
        "severity": severity,
        "location": {"path": file, "lines": {"begin": line}},
    })
}

fn below(root: &str, file: &str) -> String {
    let root = root.trim_end_matches('/').trim_start_matches("./");
    if root.is_empty() || root == "." { file.to_owned() } else { format!("{root}/{file}") }
}

/// Escapes as `@actions/core` does.
fn command_text(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    command_text(text).replace(':', "%3A").replace(',', "%2C")
}

/// The decoded files by path.
fn texts<'t>(tree: &'t Tree) -> BTreeMap<&'t str, &'t str> {
    let text = |content: &'t Content| match content {
        Content::Text(bytes) => std::str::from_utf8(bytes).ok().map(without_mark),
        Content::Symlink(_) | Content::TooLarge(_) => None,
    };
    tree.files.iter().filter_map(|file| Some((file.path.as_str(), text(&file.content)?))).collect()
}

fn group<'f>(finding: &'f Finding, texts: &BTreeMap<&'f str, &'f str>) -> annotate_snippets::Group<'f> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&finding.message).id(finding.code);
    let helps = finding.help.iter().map(|help| Element::from(help_message(help)));
    title.elements(places(finding, texts)).elements(helps)
}

fn help_message(help: &str) -> Message<'_> {
    Level::HELP.message(help)
}

/// The place of a finding and those related to it, one snippet for each file.
fn places<'f>(finding: &'f Finding, texts: &BTreeMap<&'f str, &'f str>) -> Vec<Element<'f>> {
    let mut snippets: Vec<(&Location, Vec<Annotation<'f>>)> = Vec::new();
    let primary = finding.location.iter().map(|at| (at, AnnotationKind::Primary, finding.label.as_deref()));
    let related = finding
        .related
        .iter()
        .map(|related| (&related.location, AnnotationKind::Context, Some(related.message.as_str())));
    for (location, kind, label) in primary.chain(related) {
        let annotation = kind.span(location.bytes.into()).label(label);
        match snippets.iter_mut().find(|(other, _)| other.file == location.file) {
            Some((_, annotations)) => annotations.push(annotation),
            None => snippets.push((location, vec![annotation])),
        }
    }
    let element = |(location, annotations): (&'f Location, Vec<Annotation<'f>>)| match texts.get(location.file.as_str())
    {
        Some(text) if is_in(location, text) => {
            Snippet::source(*text).path(&location.file).annotations(annotations).into()
        }
        _ => origin(location).into(),
    };
    snippets.into_iter().map(element).collect()
}

/// A place without text beside it: the file could not be read, or has changed since.
fn origin(location: &Location) -> Origin<'_> {
    let origin = Origin::path(&location.file);
    if *location == Location::of_file(&location.file) {
        return origin;
    }
    origin.line(location.line as usize).char_column(location.column as usize)
}

/// Whether the place is one in this text, and not the file as a whole.
fn is_in(location: &Location, text: &str) -> bool {
    *location != Location::of_file(&location.file) && text.get(location.bytes.start..location.bytes.end).is_some()
}
