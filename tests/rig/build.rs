//! The programs under test, built as they are in this tree.

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Paths of the built programs.
pub struct Programs {
    /// The daemon and CLI.
    pub pinfold: PathBuf,
    /// The worker.
    pub worker: PathBuf,
}

/// Builds both programs for the lab, in one go: apart from each other, dependencies would be built twice for their features.
pub fn programs() -> Result<Programs> {
    let both = [&["--profile", "lab", "-p", "pinfold", "-p", "pinfold-xen"], tls()].concat();
    let [pinfold, worker] = build(&both, ["pinfold", "pinfold-xen"])?;
    Ok(Programs { pinfold, worker })
}

/// Builds both programs as they are released: for figures.
pub fn released() -> Result<Programs> {
    let [worker] = build(&["--release", "-p", "pinfold-xen"], ["pinfold-xen"])?;
    Ok(Programs { pinfold: released_pinfold()?, worker })
}

/// Builds `pinfold` as it is released, where nothing of Xen is needed.
pub fn released_pinfold() -> Result<PathBuf> {
    let [pinfold] = build(&[&["--release", "-p", "pinfold"], tls()].concat(), ["pinfold"])?;
    Ok(pinfold)
}

/// Builds the library that kills a worker before or after one of its calls, into `folder`. `die_at.c` says how it is used: with
/// `LD_PRELOAD`, so that the worker under test is the one that is installed.
pub fn killer(folder: &Path) -> Result<PathBuf> {
    compile("die_at.c", &["-shared", "-fPIC"], &folder.join("die_at.so"))
}

/// Builds the program that keeps Xen from taking a pCPU out of its cpupool, into `folder`. `hold_pcpu.c` says how it is used.
pub fn holder(folder: &Path) -> Result<PathBuf> {
    compile("hold_pcpu.c", &[], &folder.join("hold_pcpu"))
}

/// Packs programs as Debian packages of this version, into `folder`; answers their paths.
pub fn packages(programs: &Programs, version: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let built = folder.join("built");
    std::fs::create_dir_all(&built)?;
    for program in [&programs.pinfold, &programs.worker] {
        std::fs::copy(program, built.join(program.file_name().context("a program has a name")?))?;
    }
    let out = folder.join(version);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian/build");
    let output =
        Command::new(script).arg(&built).arg(&out).arg(version).output().context("cannot run deploy/debian/build")?;
    if !output.status.success() {
        bail!("deploy/debian/build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut packages: Vec<PathBuf> = std::fs::read_dir(&out)?.flatten().map(|entry| entry.path()).collect();
    packages.sort();
    Ok(packages)
}

fn compile(source: &str, flags: &[&str], result: &Path) -> Result<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rig").join(source);
    // Built beside it and renamed: another test may be copying it.
    let unfinished = result.with_extension(std::process::id().to_string());
    let mut cc = Command::new("cc");
    let status = cc.args(flags).args(["-Wall", "-o"]).arg(&unfinished).arg(&source).arg("-ldl").status();
    if !status.context("cannot run cc")?.success() {
        bail!("{} does not compile", source.display());
    }
    std::fs::rename(unfinished, result)?;
    Ok(result.to_owned())
}

/// Builds `pinfold` for this machine, where it needs nothing of Xen.
pub fn pinfold() -> Result<PathBuf> {
    let [pinfold] = build(&[&["-p", "pinfold"], tls()].concat(), ["pinfold"])?;
    Ok(pinfold)
}

/// Where the system has no OpenSSL to link with, pinfold brings its own.
fn tls() -> &'static [&'static str] {
    let system = Command::new("pkg-config").args(["--exists", "openssl"]).status().is_ok_and(|status| status.success());
    if system { &[] } else { &["--features", "pinfold/vendored-tls"] }
}

/// Runs `cargo build` and answers where the programs lie.
fn build<const N: usize>(arguments: &[&str], names: [&str; N]) -> Result<[PathBuf; N]> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut programs: [Option<PathBuf>; N] = std::array::from_fn(|_| None);
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(at) = names.iter().position(|name| *name == artifact.target.name)
            && let Some(path) = artifact.executable
        {
            programs[at] = Some(path.into_std_path_buf());
        }
    }
    if !child.wait()?.success() {
        bail!("cargo build {} failed", arguments.join(" "));
    }
    if let Some(missing) = programs.iter().position(Option::is_none) {
        bail!("cargo built no program `{}`", names[missing]);
    }
    Ok(programs.map(Option::unwrap_or_default))
}
