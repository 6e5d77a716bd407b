//! `make bench`: what pinfold costs on this machine, beside another tool that does the same work in the same run where there is one.
//!
//! `cargo run --release -p pinfold-tests --bin bench -- [--json FILE] [validate|daemon|xen|changes|watching …]`; without a name, all of them. Programs are built with
//! `--release` and used as a person uses them: nothing here knows what is inside pinfold. A figure that passes a bound ends the run with 1;
//! a figure that cannot be had ends it with an error, never with a gap in the report.

mod changes;
mod cost;
mod daemon;
mod fleet;
mod guests;
mod journal;
mod on_xen;
mod report;
mod validate;
mod watching;

use anyhow::{Context, Result, bail};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Every part, in the order in which they run: what needs least comes first.
const PARTS: [&str; 5] = ["validate", "daemon", "xen", "changes", "watching"];

fn main() -> Result<ExitCode> {
    let Arguments { json, parts } = arguments(std::env::args().skip(1))?;
    let mut report = Report::default();
    for part in parts {
        match part {
            "validate" => validate::measure(&mut report)?,
            "daemon" => daemon::measure(&mut report)?,
            "changes" => changes::measure(&mut report)?,
            "watching" => watching::measure(&mut report)?,
            _ => on_xen::measure(&mut report)?,
        }
    }
    if let Some(file) = json {
        std::fs::write(&file, report.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let broken = report.broken();
    for figure in &broken {
        report::say(&format!("over its bound: {figure}"));
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Arguments {
    json: Option<PathBuf>,
    parts: Vec<&'static str>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut wanted = Arguments { json: None, parts: Vec::new() };
    while let Some(argument) = given.next() {
        if argument == "--json" {
            wanted.json = Some(given.next().context("--json needs the name of a file")?.into());
        } else if let Some(part) = PARTS.into_iter().find(|part| *part == argument) {
            wanted.parts.push(part);
        } else {
            bail!("`{argument}` is no part: write some of {}, or nothing for all", PARTS.join(", "));
        }
    }
    if wanted.parts.is_empty() {
        wanted.parts = PARTS.to_vec();
    }
    Ok(wanted)
}
