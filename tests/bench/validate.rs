//! `pinfold validate` of 10,000 VM files, and check-jsonschema on the very same files with pinfold's own generated schema.

use crate::cost::{self, Cost};
use crate::fleet;
use crate::report::{Report, Unit, least, median, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// VM files.
const VMS: usize = 10_000;
/// Times that each is run; check-jsonschema, which takes a minute, once.
const RUNS: usize = 5;
/// Seconds on the wall for all files.
const BOUND: f64 = 2.0;

/// Measures and reports.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let home = tempfile::tempdir()?;
    let other = CheckJsonschema::find(home.path())?;
    say("building pinfold");
    let pinfold = rig::released_pinfold()?;
    let (good, bad) = (home.path().join("good"), home.path().join("bad"));
    fleet::write(&good, VMS, |vm| vm)?;
    let fault = |vm: String| vm.replace("memory: {target: 2Gi", "memory: {target: 2G").replace("weight", "wieght");
    fleet::write(&bad, VMS, fault)?;

    report.part(
        &format!("validate, {VMS} VM files"),
        "whole processes; the least of five runs each, check-jsonschema one run on the same VM files with schema/v1alpha1/virtualmachine.schema.json",
    );
    let ours = runs(&pinfold, &good, 0)?;
    report.bounded("pinfold validate", ours.wall, Unit::Seconds, BOUND);
    report.figure("pinfold validate", ours.cpu, Unit::CpuSeconds);
    let faulty = runs(&pinfold, &bad, 1)?;
    report.figure("pinfold validate, two faults in each file, all shown", faulty.wall, Unit::Seconds);
    say("running check-jsonschema");
    let theirs = other.check(&good.join("vms"))?;
    report.figure(&other.version, theirs.wall, Unit::Seconds);
    report.figure(&other.version, theirs.cpu, Unit::CpuSeconds);
    report.figure("check-jsonschema : pinfold", theirs.wall / ours.wall, Unit::Ratio);
    report.figure("check-jsonschema : pinfold, CPU", theirs.cpu / ours.cpu, Unit::Ratio);
    Ok(())
}

/// The quickest run: everything that is slower is somebody else's doing.
fn runs(pinfold: &Path, folder: &Path, code: i32) -> Result<Cost> {
    let run = |_| cost::run(Command::new(pinfold).arg("validate").arg(folder), code);
    let costs = (0..RUNS).map(run).collect::<Result<Vec<_>>>()?;
    let (wall, cpu): (Vec<f64>, Vec<f64>) = costs.iter().map(|cost| (cost.wall, cost.cpu)).unzip();
    say(&format!("validate: {:.2} s wall at best, {:.2} s in the middle", least(&wall), median(&wall)));
    Ok(Cost { wall: least(&wall), cpu: least(&cpu) })
}

/// The other tool.
struct CheckJsonschema {
    program: PathBuf,
    version: String,
}

impl CheckJsonschema {
    /// The installed one, or one that is installed into `home` for this run.
    fn find(home: &Path) -> Result<Self> {
        if let Ok(found) = Self::at("check-jsonschema".into()) {
            return Ok(found);
        }
        say("check-jsonschema is not installed: installing it for this run");
        let venv = home.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).context(
            "check-jsonschema, which pinfold is compared with, needs Python: install python3-venv, or check-jsonschema itself",
        )?;
        run(Command::new(venv.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "check-jsonschema",
        ]))
        .context(
            "check-jsonschema cannot be installed: this machine needs network once, or an installed check-jsonschema",
        )?;
        Self::at(venv.join("bin/check-jsonschema"))
    }

    fn at(program: PathBuf) -> Result<Self> {
        let output = Command::new(&program).arg("--version").output()?;
        if !output.status.success() {
            bail!("{} --version failed", program.display());
        }
        // `check-jsonschema, version 0.39.0`
        let version = String::from_utf8(output.stdout)?.trim().replace(", version", "");
        Ok(Self { program, version })
    }

    /// Checks every file of a folder in one process.
    fn check(&self, vms: &Path) -> Result<Cost> {
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/v1alpha1/virtualmachine.schema.json");
        let names = std::fs::read_dir(vms)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        cost::run(
            Command::new(&self.program).current_dir(vms).arg("--schemafile").arg(schema.canonicalize()?).args(names),
            0,
        )
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
