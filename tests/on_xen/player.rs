//! Plays a scenario's steps on real Xen: commits are pushed to a real repository, and *settling* is `pinfold run --once`. Between two
//! settlings no daemon runs, so each of them also begins with nothing in memory.

use crate::disk;
use crate::events;
use crate::format::{Disk, Script, Step, read};
use crate::killer::{self, ENVIRONMENT, arm};
use crate::summary::summary;
use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, LabError, Topology};
use protocol::{Observation, Reading};
use rig::{Change, LOG, PATIENCE, Rig};
use schema::units::Span;
use serde_json::Value;
use sim::{Event, Fault, GuestRequest, HostFile, Point};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `timeout`'s exit status when the time was over.
const OVER: i32 = 124;

/// `pinfold run --once`'s exit status when something is stalled.
const STALLED: i32 = 1;

/// A scenario's host, and what is known of its guests.
pub(crate) struct Player {
    pub(crate) rig: Rig,
    folder: PathBuf,
    /// Bridges that something outside pinfold makes at each boot of the host.
    pub(crate) bridges: BTreeSet<String>,
    /// Domids that each name has had since the host booted: so many times its guest must have come up.
    domids: BTreeMap<String, BTreeSet<u32>>,
    /// Guests that do not even see requests: GRUB, which never says that it is up.
    silent: BTreeSet<String>,
    pub(crate) has_xenstore: bool,
    /// A worker was told to die: what it was doing has failed, and is tried again at its time.
    has_killed: bool,
}

impl Player {
    /// Boots a lab that is the scenario's host.
    pub(crate) fn prepare(folder: &Path, script: &Script) -> Result<Self> {
        let host: HostFile = read(&folder.join("host.yaml")).map_err(anyhow::Error::msg)?;
        ensure!(host.topology.sockets == 1 && host.topology.threads == 1, "no such lab: {:?}", host.topology);
        let name = folder.file_name().context("a scenario has a name")?.to_string_lossy();
        let mut lab = Lab::builder()
            .name(format!("scenario-{name}"))
            .topology(Topology::Cores(u8::try_from(host.topology.cores)?))
            .memory_mib(u32::try_from(host.memory.total_kib / 1024)?);
        if has_pvh(folder)? || host.files.keys().any(|path| events::is_pc(path)) {
            lab = lab.parallel();
        }
        let rig = killer::boot(lab)?;
        if script.steps.iter().any(|step| matches!(step, Step::Disk(_))) {
            disk::make(&rig)?;
        }
        let silent = host.guests.iter().filter(|(_, guest)| guest.ignores.contains(&GuestRequest::Shutdown));
        let mut player = Self {
            rig,
            folder: folder.to_owned(),
            bridges: host.bridges.clone(),
            domids: BTreeMap::new(),
            silent: silent.map(|(name, _)| name.clone()).collect(),
            has_xenstore: true,
            has_killed: false,
        };
        // QEMU's NICs need it, and the lab's udev does not load what a device file stands for.
        player.run("modprobe tun")?;
        events::make_real(&mut player, &host)?;
        Ok(player)
    }

    /// One step. The last settling has all the time it needs: what comes after it is looked at.
    pub(crate) fn step(&mut self, step: &Step, is_last: bool) -> Result<()> {
        match step {
            Step::Commit(folder) => self.commit(&[Change::Folder(&self.folder.join(folder))]),
            Step::Remove(files) => self.commit(&files.iter().map(|file| Change::Remove(file)).collect::<Vec<_>>()),
            Step::Settle(span) => self.settle(if is_last { None } else { Some(*span) }),
            Step::Advance(span) => {
                self.rig.lab.run(&format!("date -s \"@$(( $(date +%s) + {} ))\"", span.as_secs())).map(drop)?;
                Ok(())
            }
            Step::Event(event) => self.event(event),
            // No daemon runs between two settlings.
            Step::KillDaemon | Step::StartDaemon => Ok(()),
            Step::Approve(object) => self.approve(object),
            Step::Freeze(object) => self.verb(&format!("freeze {object} --for 1h --reason test")),
            Step::Unfreeze(object) => self.verb(&format!("unfreeze {object}")),
            Step::Start(vm) => self.verb(&format!("start {vm} --for 1h --reason test")),
            Step::Stop(vm) => self.verb(&format!("stop {vm} --for 1h --reason test")),
            Step::Pause(vm) => self.verb(&format!("pause {vm} --for 1h --reason test")),
            Step::Restart(vm) => self.verb(&format!("restart {vm} --for 1h --reason test")),
            Step::Follow(vm) => self.verb(&format!("follow {vm}")),
            Step::LoseManifests => {
                self.rig.lab.run("rm -r /srv/config.git /var/lib/pinfold/mirror*").map(drop)?;
                Ok(())
            }
            Step::Disk(Disk::Full) => disk::fill(&self.rig),
            Step::Disk(Disk::ReadOnly) => {
                self.run("mount -o remount,ro /var/lib/pinfold").map(drop).map_err(Into::into)
            }
            Step::Disk(Disk::Fine) => {
                self.run("mount -o remount,rw /var/lib/pinfold")?;
                disk::free(&self.rig)
            }
        }
    }

    /// What the host looks like, as `pinfold inventory` and its folders say.
    pub(crate) fn summary(&self) -> Result<String> {
        self.rig.start_daemon()?;
        let events = self.rig.pinfold("events --limit 10000")?.ok()?;
        ensure!(!events.contains("xen-qemu"), "a device model is told of as one who changes things:\n{events}");
        let inventory: Value = serde_json::from_str(&self.rig.pinfold("inventory")?.ok()?)?;
        let xen: Reading<Observation> = serde_json::from_value(inventory["xen"].clone())?;
        let names = |folder: &str| -> Result<Vec<String>> {
            let listed =
                self.rig.lab.run(&format!("cd /var/lib/pinfold/storage && [ ! -e {folder} ] || ls {folder}"))?;
            Ok(listed.lines().map(str::to_owned).collect())
        };
        Ok(summary(&xen, &names("by-name")?, &names("trash")?))
    }

    /// All that a person would look at when something went wrong.
    pub(crate) fn story(&self) -> String {
        self.rig.story()
    }

    fn commit(&self, changes: &[Change<'_>]) -> Result<()> {
        self.rig.commit("a step of the scenario", changes)?;
        // What the scenario's person has pushed is on the disk; what pinfold writes is its own affair.
        self.run("sync")?;
        Ok(())
    }

    /// Lets the daemon work until nothing is left to do, or the time is over, and then the guests come up.
    fn settle(&mut self, at_most: Option<Span>) -> Result<()> {
        let limit = at_most.map_or(PATIENCE, |span| Duration::from_secs(span.as_secs()));
        let once = format!("{ENVIRONMENT} timeout {} pinfold run --once 2>>{LOG}", limit.as_secs());
        let began = std::time::Instant::now();
        loop {
            let output = self.rig.lab.sh_within(limit + PATIENCE, &once)?;
            ensure!(output.code != OVER || at_most.is_some(), "never settled:\n{}", self.story());
            ensure!(output.code == OVER || !output.stdout.is_empty(), "the daemon did not run:\n{}", self.story());
            // A host that is unknown has nothing to do: it is looked at again, as a daemon would.
            let is_unknown = output.stdout.contains("Unknown") && self.has_xenstore;
            let tries_again = output.code == STALLED && self.has_killed;
            if output.code == OVER || !(is_unknown || tries_again) || began.elapsed() > limit {
                break;
            }
        }
        self.has_killed = false;
        self.wait_for_guests()
    }

    /// Waits until every guest that runs has come up: whatever is done to it then is done to a guest that can answer.
    fn wait_for_guests(&mut self) -> Result<()> {
        if !self.has_xenstore {
            return Ok(());
        }
        for line in self.rig.lab.run("xl list | awk 'NR > 2 {print $1, $2, $5}'")?.lines() {
            if let [name, domid, state] = line.split_whitespace().collect::<Vec<_>>()[..]
                && !state.contains(['p', 's', 'c', 'd'])
                && !self.silent.contains(name)
            {
                let domid = domid.parse()?;
                // One that was renamed goes on writing to the log of its first name.
                if !self.domids.values().any(|domids| domids.contains(&domid)) {
                    self.domids.entry(name.to_owned()).or_default().insert(domid);
                }
            }
        }
        self.rig.until("all guests that run have come up", |rig| {
            // One that goes on from its memory does not boot: its kernel says that it lets its tasks go on.
            let up = "-e 'pinfold-guest up' -e 'Restarting tasks'";
            let counted =
                rig.lab.run(&format!("cd /var/log/xen/console && grep -c {up} /dev/null guest-*.log; true"))?;
            let boots = |name: &str| {
                let of = |line: &str| line.strip_prefix(&format!("guest-{name}.log:"))?.parse().ok();
                counted.lines().find_map(of).unwrap_or(0)
            };
            Ok(self.domids.iter().all(|(name, domids)| boots(name) >= domids.len()))
        })
    }

    /// A person asks the daemon what is held, and approves it.
    fn approve(&self, object: &str) -> Result<()> {
        let Some(("vm", name)) = object.split_once('/') else { bail!("only VMs are approved in scenarios") };
        self.rig.start_daemon()?;
        self.rig.approve_vm(name)?;
        self.rig.kill_daemon()
    }

    /// A person asks something of the daemon.
    fn verb(&self, arguments: &str) -> Result<()> {
        self.rig.start_daemon()?;
        self.rig.until(arguments, |rig| Ok(rig.pinfold(arguments)?.success()))?;
        self.rig.kill_daemon()
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::HostReboot => self.rig.lab.reboot()?,
            Event::PowerLoss => self.rig.lab.power_loss()?,
            Event::NextOperation(fault) => return self.next_operation(fault),
            _ => return events::happen(self, event),
        }
        self.has_xenstore = true;
        self.domids.clear();
        self.rig.lab.run("rm -f /var/log/xen/console/guest-*")?;
        events::make_bridges(self)
    }

    /// The next operation dies at a point.
    fn next_operation(&mut self, fault: &Fault) -> Result<()> {
        let at = match fault.die_at {
            Some(Point::CpupoolCreated) => "after:xc_cpupool_create:1",
            Some(Point::DomainCreated) => "after:xc_domain_create:1",
            Some(Point::DomainMarked) => "after:xs_transaction_end:1",
            Some(Point::ConsoleReady) => "after:libxl_domain_create_new:1",
            _ => bail!("real Xen does not do {fault:?} on order"),
        };
        self.has_killed = true;
        arm(&self.rig, at)
    }

    /// Whether a guest of this name never says that it is up.
    pub(crate) fn is_silent(&self, name: &str) -> bool {
        self.silent.contains(name)
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, command: &str) -> Result<String, LabError> {
        self.rig.lab.run(command)
    }
}

/// Whether one of the scenario's VMs is a PVH guest, for which the lab emulates processors in another way.
fn has_pvh(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_pvh =
            if path.is_dir() { has_pvh(&path)? } else { std::fs::read_to_string(&path)?.contains("\n  type: pvh\n") };
        if is_pvh {
            return Ok(true);
        }
    }
    Ok(false)
}
