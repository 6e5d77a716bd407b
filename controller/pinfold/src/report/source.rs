//! The commit in force, and how it stands with its repository.

use super::age::{age, ago};
use super::table::{WIDTH, paragraph};
use super::{count, short};
use crate::api::view::{Refused, SourceView};
use jiff::Timestamp;
use owo_colors::OwoColorize;
use planner::observed::AcceptedCommit;
use std::fmt::Write as _;

/// Findings of a refused commit that are shown; the rest is counted.
const SHOWN: usize = 5;

/// `commit 91c07ee  erp: join oracle-a`, and who and when below it.
pub fn commit_line(commit: Option<&AcceptedCommit>, now: Timestamp) -> String {
    let Some(commit) = commit else { return "commit   none is accepted yet\n".to_owned() };
    let author = commit.author.split(" <").next().unwrap_or(&commit.author);
    format!(
        "commit   {}  {}\n         {author}, accepted {}\n",
        short(&commit.id).bold(),
        commit.subject,
        ago(commit.at, now)
    )
}

/// Where commits come from, and what stands in the way.
pub fn source_lines(source: &SourceView, now: Timestamp) -> String {
    let mut text = format!("source   {} {}", source.url, source.branch);
    if let Some(fetched) = source.fetched {
        let _ = write!(text, ", read {}", ago(fetched, now));
    }
    text.push('\n');
    for trouble in [&source.failing, &source.blocked, &source.unreadable].into_iter().flatten() {
        let _ = writeln!(
            text,
            "         {} for {}; the host stays as it is",
            trouble.reason.yellow(),
            age(trouble.since, now)
        );
        text.push_str(&paragraph(&trouble.message, 11, WIDTH));
    }
    if let Some(refused) = &source.refused {
        text.push_str(&refused_lines(refused, now));
    }
    text
}

fn refused_lines(refused: &Refused, now: Timestamp) -> String {
    let Refused { commit, subject, author, since, reason, findings } = refused;
    let author = author.split(" <").next().unwrap_or(author);
    let what = if reason == "Findings" { count(findings.len(), "error") } else { reason.clone() };
    let mut text = format!(
        "{}  {}  {subject}\n         {author}, refused {}: {what}; the commit above stays in force\n",
        "refused".red(),
        short(commit).bold(),
        ago(*since, now),
    );
    for finding in findings.iter().take(SHOWN) {
        let place = finding.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        text.push_str(&paragraph(&format!("{place}{}", finding.message), 9, WIDTH));
        for help in &finding.help {
            text.push_str(&paragraph(&format!("help: {help}"), 11, WIDTH));
        }
    }
    if findings.len() > SHOWN {
        let _ = writeln!(text, "         and {} more; `pinfold validate` shows all", findings.len() - SHOWN);
    }
    text
}
