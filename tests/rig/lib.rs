//! pinfold on a lab's dom0, as an administrator would install it: the two programs, a host configuration, a repository behind a real
//! transport, and the daemon. Tests, the demo and the figures all stand on it.
//!
//! Entry point: [`Rig::boot`]. Nothing here knows what is inside pinfold: everything goes through its command line, git and `xl`.

mod build;
mod manifests;
mod repository;
mod status;

pub use build::{Programs, holder, killer, packages, pinfold, programs, released, released_pinfold};
pub use manifests::SITE;
pub use repository::Change;
pub use status::Status;

use anyhow::{Context, Result, bail};
use lab::{Builder, Lab, Output};
use serde_json::Value;
use std::time::Duration;

/// How long anything under emulation may take before a test gives up. Generous: it is a bound, not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Where the daemon's log goes in dom0.
pub const LOG: &str = "/var/log/pinfold.log";

/// A lab with pinfold on it.
pub struct Rig {
    /// The lab.
    pub lab: Lab,
}

impl Rig {
    /// Boots a lab and installs pinfold: programs, keys, an empty repository, the host configuration. The daemon does not run yet.
    pub fn boot(lab: Builder, programs: &Programs) -> Result<Self> {
        let lab = lab.boot()?;
        lab.copy_in(&programs.pinfold, "/usr/bin/pinfold")?;
        lab.copy_in(&programs.worker, "/usr/lib/pinfold/pinfold-xen")?;
        Self::on(lab)
    }

    /// A lab that has the programs already: keys, an empty repository, the host configuration.
    pub fn on(lab: Lab) -> Result<Self> {
        let rig = Self { lab };
        rig.make_repository()?;
        rig.configure("")?;
        Ok(rig)
    }

    /// Writes the host configuration; `more` is added to it as it is.
    pub fn configure(&self, more: &str) -> Result<()> {
        let config = format!(
            "host: xen1\n\
             repository:\n  url: {}\n  branch: main\n  poll: 60s\n  ssh: {{key: /etc/pinfold/key, knownHosts: /etc/pinfold/known_hosts}}\n\
             allowPaths: [/srv/guests, /srv/disks]\n\
             memoryReserve: 64Mi\n\
             {more}",
            repository::URL
        );
        self.write("/etc/pinfold/pinfold.yaml", &config)
    }

    /// Writes a text file in dom0.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        Ok(self.lab.copy_in(file.path(), path)?)
    }

    /// Starts the daemon and waits until it answers.
    pub fn start_daemon(&self) -> Result<()> {
        self.spawn_daemon("")?;
        self.until("the daemon answers", |rig| Ok(rig.pinfold("status -o json")?.success()))
    }

    /// Starts the daemon with something in its environment, such as `PINFOLD_XEN_DIE_AFTER=…`, and waits for nothing.
    pub fn spawn_daemon(&self, environment: &str) -> Result<()> {
        self.lab.spawn(&format!("exec env {environment} pinfold run"), LOG)?;
        Ok(())
    }

    /// Kills the daemon, as the kernel would, and nothing else.
    pub fn kill_daemon(&self) -> Result<()> {
        self.lab.sh("pkill -KILL -f '^pinfold run'")?;
        self.until("the daemon is gone", |rig| Ok(!rig.lab.sh("pgrep -f '^pinfold run'")?.success()))
    }

    /// Runs `pinfold` in dom0; any outcome.
    pub fn pinfold(&self, arguments: &str) -> Result<Output> {
        Ok(self.lab.sh(&format!("pinfold {arguments}"))?)
    }

    /// What `pinfold status` says.
    pub fn status(&self) -> Result<Status> {
        let output = self.pinfold("status -o json")?.ok()?;
        Status::read(&output)
    }

    /// Waits until something holds. When it does not come, the error shows what the daemon says.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let started = std::time::Instant::now();
        loop {
            match holds(self) {
                Ok(true) => return Ok(()),
                Ok(false) if started.elapsed() < PATIENCE => {}
                Ok(false) => bail!("it never came to this: {what}\n{}", self.story()),
                // A machine that is off has no second answer.
                Err(error) if started.elapsed() < PATIENCE && self.lab.is_on() => drop(error),
                Err(error) => return Err(error).with_context(|| format!("{what}\n{}", self.story())),
            }
            // Every look costs the emulated dom0 a second of work that it needs for other things.
            std::thread::sleep(Duration::from_secs(4));
        }
    }

    /// Waits until the daemon follows `commit` and everything is as it says.
    pub fn until_converged(&self, commit: &str) -> Result<()> {
        self.until(&format!("commit {commit} is in force and everything is ready"), |rig| {
            let status = rig.status()?;
            Ok(status.commit() == Some(commit) && status.all_ready())
        })
    }

    /// Approves what is held for a VM, as soon as something is.
    pub fn approve_vm(&self, name: &str) -> Result<()> {
        let mut id = None;
        self.until(&format!("something is held for {name}"), |rig| {
            let plan: Value = serde_json::from_str(&rig.pinfold("plan -o json")?.ok()?)?;
            let items = plan["plan"]["items"].as_array().context("a plan has items")?;
            let held = |item: &&Value| {
                item["object"]["kind"] == "virtual-machine"
                    && item["object"]["name"] == name
                    && item["disposition"]["when"] == "held"
            };
            id = items.iter().find(held).and_then(|item| item["id"].as_str().map(str::to_owned));
            Ok(id.is_some())
        })?;
        let id = id.context("an item has an id")?;
        self.pinfold(&format!("approve {id} --reason test"))?.ok()?;
        Ok(())
    }

    /// All that a person would look at when something went wrong.
    pub fn story(&self) -> String {
        let commands =
            ["pinfold status", "pinfold plan", "pinfold events", "xl list -c", "xl cpupool-list -c", "xl vcpu-list"];
        let logs = [&*format!("tail -n 40 {LOG}"), "tail -n 20 /var/log/xen/xen-hotplug.log"];
        let shown = |command: &str| match self.lab.sh(command) {
            Ok(output) => format!("$ {command}\n{}{}", output.stdout, output.stderr),
            Err(error) => format!("$ {command}\n{error}\n"),
        };
        commands.into_iter().chain(logs).map(shown).collect()
    }
}
