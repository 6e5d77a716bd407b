//! The stage of the simulated host: the same daemon, the same command line, a real repository, and a Xen host in memory.

use crate::stage::{Deed, Stage, View};
use crate::story::say;
use anyhow::{Context, Result, bail, ensure};
use rig::{Change, PATIENCE, Status};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// pinfold on a simulated host, in a folder of its own.
pub(crate) struct OnSim {
    pinfold: PathBuf,
    home: TempDir,
    daemon: Option<Child>,
}

impl OnSim {
    /// Builds pinfold, makes the folder and the repository.
    pub(crate) fn prepare() -> Result<Self> {
        say("building pinfold");
        let pinfold = rig::pinfold()?;
        let home = tempfile::tempdir()?;
        let stage = Self { pinfold, home, daemon: None };
        std::fs::write(stage.path("host.yaml"), include_str!("ten-cores.yaml"))?;
        let config = format!(
            "host: xen1\nrepository: {{url: \"{repository}\", branch: main}}\nstate: \"{state}\"\nsocket: \"{socket}\"\n\
             allowPaths: [/srv/guests]\nmemoryReserve: 64Mi\n",
            repository = stage.path("config.git").display(),
            state = stage.path("state").display(),
            socket = stage.path("pinfold.sock").display(),
        );
        std::fs::write(stage.path("pinfold.yaml"), config)?;
        git(stage.home.path(), &["init", "-q", "--bare", "-b", "main", "config.git"])?;
        git(stage.home.path(), &["clone", "-q", "config.git", "config"])?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let socket = self.path("pinfold.sock");
        Command::new(&self.pinfold).args(arguments).env("PINFOLD_SOCKET", socket).output().context("pinfold")
    }

    fn status(&self) -> Result<Status> {
        Status::read(&String::from_utf8(self.run(&["status", "-o", "json"])?.stdout)?)
    }

    /// The observation of the simulated Xen, as the inventory has it.
    fn xen(&self) -> Result<serde_json::Value> {
        let inventory: serde_json::Value = serde_json::from_slice(&self.run(&["inventory"])?.stdout)?;
        Ok(inventory["xen"]["known"].clone())
    }

    fn edit_one(&self, change: &Change<'_>) -> Result<()> {
        let at = |path: &str| self.path("config").join(path);
        match change {
            Change::Write(path, text) => std::fs::write(at(path), text)?,
            Change::Remove(path) => std::fs::remove_file(at(path))?,
            Change::Replace(path, from, to) => {
                let text = std::fs::read_to_string(at(path))?;
                ensure!(text.contains(from), "{path} does not hold `{from}`");
                std::fs::write(at(path), text.replace(from, to))?;
            }
            Change::Folder(folder) => {
                let copied = Command::new("cp").arg("-r").arg(folder.join(".")).arg(at(".")).status()?;
                ensure!(copied.success(), "cannot copy {}", folder.display());
            }
        }
        Ok(())
    }
}

impl Stage for OnSim {
    fn describe(&self) -> String {
        "the simulated host: real git, real daemon, real command line; Xen is in memory. `make demo` shows the same on real Xen".to_owned()
    }

    fn clone_path(&self) -> String {
        self.path("config").display().to_string()
    }

    fn pinfold(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    fn start_daemon(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.path("daemon.log"))?;
        let backend = format!("sim:{}", self.path("host.yaml").display());
        let daemon = Command::new(&self.pinfold)
            .args(["run", "--backend", &backend, "--config"])
            .arg(self.path("pinfold.yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.daemon = Some(daemon);
        self.wait("the daemon answers", &mut |_| true)
    }

    fn edit(&self, changes: &[Change<'_>]) -> Result<()> {
        changes.iter().try_for_each(|change| self.edit_one(change))
    }

    fn push(&self, message: &str) -> Result<String> {
        let clone = self.path("config");
        git(&clone, &["add", "-A"])?;
        git(&clone, &["commit", "-q", "--allow-empty", "-m", message])?;
        git(&clone, &["push", "-q", "origin", "HEAD:main"])?;
        Ok(git(&clone, &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    fn look(&self, view: View) -> Result<(String, String)> {
        let xen = self.xen()?;
        let mut out = String::new();
        let name = match view {
            View::Domains => {
                writeln!(out, "{:<12} {:>5} {:>6}  State", "Name", "ID", "Pool")?;
                for domain in list(&xen["domains"]["known"]) {
                    let (name, state) = (text(&domain["name"]), text(&domain["state"]));
                    writeln!(out, "{name:<12} {:>5} {:>6}  {state}", domain["domid"], domain["poolid"])?;
                }
                "domains"
            }
            View::Cpupools => {
                writeln!(out, "{:<12} CPU list", "Name")?;
                for pool in list(&xen["cpupools"]["known"]) {
                    writeln!(out, "{:<12} {}", text(&pool["name"]), text(&pool["cpus"]))?;
                }
                "cpupools"
            }
            View::Vcpus => {
                writeln!(out, "{:<12} {:>5}  Hard affinity", "Name", "VCPU")?;
                for domain in list(&xen["domains"]["known"]) {
                    for vcpu in list(&domain["vcpus"]["known"]) {
                        writeln!(out, "{:<12} {:>5}  {}", text(&domain["name"]), vcpu["id"], text(&vcpu["hard"]))?;
                    }
                }
                "vcpus"
            }
            View::Trash => {
                for entry in std::fs::read_dir(self.path("state/storage/trash"))? {
                    writeln!(out, "{}", entry?.file_name().to_string_lossy())?;
                }
                return Ok(("ls trash".to_owned(), out));
            }
        };
        Ok((format!("pinfold inventory   # the simulated Xen's {name}"), out))
    }

    fn meddle(&self, deed: Deed) -> Result<()> {
        let event = match deed {
            Deed::WidenPin(vm) => format!("{{vcpu-pin: {{domain: {vm}, vcpu: 0, hard: \"0-9\"}}}}"),
            Deed::RebootInside(vm) => format!("{{guest-ends: {{domain: {vm}, how: reboot}}}}"),
        };
        let output = self.run(&["sim-event", &event, "--host", &self.path("host.yaml").display().to_string()])?;
        ensure!(output.status.success(), "sim-event: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn wait(&self, what: &str, holds: &mut dyn FnMut(&Status) -> bool) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.status().is_ok_and(|status| holds(&status)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        bail!("it never came to this: {what}\n{}\n{log}", self.pinfold(&["status"])?)
    }
}

impl Drop for OnSim {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It may be gone already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let author = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org", "-c", "core.hooksPath=/dev/null"];
    let output = Command::new("git").current_dir(folder).args(author).args(arguments).output().context("git")?;
    ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn list(value: &serde_json::Value) -> &[serde_json::Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string as it is, anything else as JSON.
fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
