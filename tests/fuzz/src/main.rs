//! `pinfold-fuzz`: builds the targets with coverage and runs them, one after the other.
//!
//! ```text
//! pinfold-fuzz                       every target, as many runs as `make test` gives it
//! pinfold-fuzz --seconds 600 state   one target, for ten minutes
//! ```
//!
//! What it learns is kept in `<target>/fuzz/TARGET`, and so the next run begins where this one ended. An input that crashes is written to
//! `tests/fuzz/crashes/TARGET/`, which is part of the tree: commit it together with what corrects it.
#![allow(clippy::print_stderr, reason = "it talks to whoever started it")]

use anyhow::{Context, bail, ensure};
use fuzz::{TARGETS, Target, root};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A single input that takes longer, in seconds, is a crash.
const HANGS: u32 = 60;
/// Memory in MiB that a target may take.
const MEMORY: u32 = 3072;

fn main() -> anyhow::Result<()> {
    let (mut seconds, mut names) = (None, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => seconds = Some(arguments.next().context("--seconds N")?.parse::<u32>()?),
            name => names.push(fuzz::target(name).with_context(|| format!("`{name}` is no target: {}", list()))?),
        }
    }
    if names.is_empty() {
        names = TARGETS.iter().collect();
    }
    let program = build()?;
    for target in names {
        run(&program, target, seconds)?;
    }
    Ok(())
}

fn list() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
}

/// Where cargo puts what it builds: this program lies in it.
fn target_dir() -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).context("a program of cargo's lies in <target>/<profile>")?.to_owned())
}

fn build() -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "pinfold-fuzz", "--bin", "pinfold-fuzz-target", "--target-dir"])
        .arg(target_dir()?)
        .env("RUSTC_WORKSPACE_WRAPPER", root().join("tests/fuzz/with-coverage"))
        .current_dir(root())
        .status()?;
    ensure!(built.success(), "the targets cannot be built with coverage");
    // The next ordinary build puts its own, without coverage, in the same place.
    let program = target_dir()?.join("debug/pinfold-fuzz-target");
    let copy = target_dir()?.join("fuzz/pinfold-fuzz-target");
    fs::create_dir_all(copy.parent().context("a folder")?)?;
    let _ = fs::remove_file(&copy);
    fs::copy(&program, &copy).with_context(|| format!("{}", program.display()))?;
    Ok(copy)
}

fn run(program: &Path, target: &Target, seconds: Option<u32>) -> anyhow::Result<()> {
    let learned = target_dir()?.join("fuzz").join(target.name);
    let crashes = root().join("tests/fuzz/crashes").join(target.name);
    fs::create_dir_all(&learned)?;
    fs::create_dir_all(&crashes)?;
    for (n, seed) in (target.seeds)().into_iter().enumerate() {
        fs::write(learned.join(format!("seed-{n:05}")), seed)?;
    }
    let found: Vec<PathBuf> = fs::read_dir(&crashes)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    let command = |bounds: &[String]| {
        let mut command = Command::new(program);
        command.env("PINFOLD_FUZZ", target.name).args(bounds).arg(format!("-timeout={HANGS}"));
        command.arg(format!("-rss_limit_mb={MEMORY}")).arg(format!("-artifact_prefix={}/", crashes.display()));
        command.args([
            format!("-max_len={}", target.longest),
            "-len_control=0".to_owned(),
            "-report_slow_units=600".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        command
    };
    if !found.is_empty() {
        let again = command(&[]).args(&found).status()?;
        ensure!(again.success(), "{}: an input in {} crashes it again", target.name, crashes.display());
    }
    let bound = match seconds {
        Some(seconds) => format!("-max_total_time={seconds}"),
        // From the same seed, the same inputs: a failure of `make test` is no matter of luck.
        None => format!("-runs={}", target.runs),
    };
    eprintln!("pinfold-fuzz: {} with {bound}", target.name);
    let bounds = if seconds.is_some() { vec![bound] } else { vec![bound, "-seed=1".to_owned()] };
    let ended = command(&bounds).arg(&learned).status()?;
    if !ended.success() {
        bail!("{}: see above; the input is in {}", target.name, crashes.display());
    }
    Ok(())
}
