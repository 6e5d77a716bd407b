//! `kill -9` while the daemon is in charge: of the worker that changes the host, of the one that observes, and of the daemon itself. Each
//! time the same end is reached, no other guest notices, and there are never two domains of one VM.

use crate::killer::{self, ENVIRONMENT, arm, has_fired};
use crate::manifests::{partition, vm};
use anyhow::{Context, Result, ensure};
use lab::{Lab, Topology};
use rig::{Change, Rig, SITE};
use std::cell::RefCell;
use std::time::Duration;

/// A host with the daemon in charge and a guest that nothing may disturb.
struct Story {
    rig: Rig,
    bystander: String,
    /// UUIDs that two domains had at once, whenever one looked.
    doubled: RefCell<String>,
}

#[test]
fn a_killed_worker_or_daemon_changes_no_end() -> Result<()> {
    let story = Story::begin()?;
    story.making()?;
    story.moves()?;
    story.deletion()?;
    story.observer_and_daemon()
}

impl Story {
    fn begin() -> Result<Self> {
        let rig = killer::boot(Lab::builder().name("kills").topology(Topology::TenCores))?;
        let story = Self { rig, bystander: String::new(), doubled: RefCell::default() };
        story.start_daemon()?;
        let commit = story.rig.commit(
            "a guest that nothing may disturb",
            &[Change::Write("base.yaml", SITE), Change::Write("bystander.yaml", &vm("bystander", ""))],
        )?;
        story.rig.until_converged(&commit)?;
        story.until_up("bystander", 1)?;
        let bystander = story.standing("bystander")?;
        Ok(Self { bystander, ..story })
    }

    fn start_daemon(&self) -> Result<()> {
        self.rig.spawn_daemon(ENVIRONMENT)?;
        self.rig.until("the daemon answers", |rig| Ok(rig.pinfold("status -o json")?.success()))
    }

    /// A cpupool and a domain are made.
    fn making(&self) -> Result<()> {
        let first = Change::Write("oracle-a.yaml", &partition("oracle-a", &[2, 3]));
        // The cpupool is made and has no name yet.
        self.dies_at("before:xs_transaction_end:1", "a partition", &[first])?;
        // The domain exists and has no mark yet.
        self.dies_at("before:xs_transaction_end:1", "a guest in it", &[Change::Write("db.yaml", &db(true))])?;
        self.is_placed("oracle-a", "2-3")?;
        self.until_up("db", 1)?;
        for (at, boots) in [
            // It is marked, and not ready.
            ("after:libxl_domain_create_new:1", 2),
            // It is ready, and paused.
            ("before:libxl_domain_unpause:1", 3),
        ] {
            arm(&self.rig, at)?;
            self.rig.lab.run("xl destroy db")?;
            self.comes_back(at)?;
            self.is_placed("oracle-a", "2-3")?;
            self.until_up("db", boots)?;
        }
        Ok(())
    }

    /// A guest moves out of its partition and back. It is the same one all the time.
    fn moves(&self) -> Result<()> {
        let (before, boots) = (self.standing("db")?, self.rig.lab.guest_boots("db")?);
        for (at, inside) in [
            ("after:libxl_domain_pause:1", false),
            // Between the masks of its two vCPUs.
            ("after:libxl_set_vcpuaffinity:1", true),
            ("after:libxl_cpupool_movedomain:1", false),
            ("before:libxl_domain_unpause:1", true),
        ] {
            self.dies_at(at, "db moves", &[Change::Write("db.yaml", &db(inside))])?;
            if inside { self.is_placed("oracle-a", "2-3") } else { self.is_placed("Pool-0", "all") }?;
        }
        ensure!(self.standing("db")? == before, "db was {before} and is {}", self.standing("db")?);
        ensure!(self.rig.lab.guest_boots("db")? == boots, "db was started again");
        Ok(())
    }

    /// A VM and its partition go.
    fn deletion(&self) -> Result<()> {
        self.dies_at("before:xs_rm:1", "no db", &[Change::Remove("db.yaml")])?;
        ensure!(
            self.rig.lab.run("ls /var/lib/pinfold/storage/trash")?.contains("--db--"),
            "no folder of db in the trash"
        );
        self.dies_at("after:libxl_cpupool_cpuremove:1", "no oracle-a", &[Change::Remove("oracle-a.yaml")])?;
        let pools = self.rig.lab.run("xl cpupool-list -c | awk 'NR > 1 {print $1, $2}'")?;
        ensure!(pools.trim() == "Pool-0 0,1,2,3,4,5,6,7,8,9", "{pools}");
        Ok(())
    }

    /// The worker that observes is killed, and then the daemon, each while a domain is made.
    fn observer_and_daemon(&self) -> Result<()> {
        let commit = self.rig.commit("one more", &[Change::Write("one.yaml", &vm("one", ""))])?;
        self.until_a_worker_works()?;
        // The brackets: no command line with this pattern in it matches the pattern.
        self.rig.lab.run("pkill -KILL -f '[p]infold-xen serve'")?;
        self.converges(&commit)?;
        let commit = self.rig.commit("and another", &[Change::Write("two.yaml", &vm("two", ""))])?;
        self.until_a_worker_works()?;
        self.rig.kill_daemon()?;
        self.start_daemon()?;
        self.converges(&commit)?;
        let domains = self.rig.lab.run("xl list | awk 'NR > 2 {print $1}' | sort")?;
        ensure!(domains == "bystander\none\ntwo\n", "{domains}");
        Ok(())
    }

    /// A commit whose worker dies at a point, and which comes to its end all the same.
    fn dies_at(&self, at: &str, message: &str, changes: &[Change<'_>]) -> Result<()> {
        arm(&self.rig, at)?;
        let commit = self.rig.commit(message, changes)?;
        self.converges(&commit).with_context(|| format!("{message}, killed {at}"))?;
        ensure!(has_fired(&self.rig)?, "no worker came to {at}");
        Ok(())
    }

    /// The worker has died at its point, and then db runs again.
    fn comes_back(&self, at: &str) -> Result<()> {
        self.rig.until(&format!("a worker dies {at}"), has_fired)?;
        self.rig.until("db runs again", |rig| {
            self.look_for_doubles()?;
            Ok(rig.status()?.all_ready())
        })?;
        self.is_undisturbed()
    }

    fn converges(&self, commit: &str) -> Result<()> {
        self.rig.until(&format!("commit {commit} is in force and everything is ready"), |rig| {
            self.look_for_doubles()?;
            let status = rig.status()?;
            Ok(status.commit() == Some(commit) && status.all_ready())
        })?;
        self.is_undisturbed()
    }

    fn until_up(&self, name: &str, boots: usize) -> Result<()> {
        self.rig.until(&format!("{name} is up (boot {boots})"), |rig| Ok(rig.lab.guest_boots(name)? >= boots))
    }

    fn until_a_worker_works(&self) -> Result<()> {
        let works = |lab: &Lab| Ok(lab.sh("pgrep -f '[p]infold-xen do'")?.success());
        Ok(self.rig.lab.wait_until("a worker works", Duration::from_secs(300), works)?)
    }

    /// Xen itself would let two domains have one UUID.
    fn look_for_doubles(&self) -> Result<()> {
        let doubled = self.rig.lab.run("xl vm-list | awk 'NR > 1 {print $1}' | sort | uniq -d")?;
        self.doubled.borrow_mut().push_str(&doubled);
        Ok(())
    }

    fn is_undisturbed(&self) -> Result<()> {
        ensure!(self.doubled.borrow().is_empty(), "two domains of one VM: {}", self.doubled.borrow());
        let now = self.standing("bystander")?;
        ensure!(now == self.bystander, "the bystander was {} and is {now}", self.bystander);
        ensure!(self.rig.lab.guest_boots("bystander")? == 1, "the bystander was started again");
        Ok(())
    }

    /// A domain's name and number.
    fn standing(&self, name: &str) -> Result<String> {
        Ok(self.rig.lab.run(&format!("xl list {name} | awk 'NR == 2 {{print $1, $2}}'"))?)
    }

    /// Where db is, and where each of its vCPUs may run.
    fn is_placed(&self, pool: &str, hard: &str) -> Result<()> {
        let found =
            self.rig.lab.run("xl list -c db | awk 'NR == 2 {print $NF}'; xl vcpu-list db | awk 'NR > 1 {print $7}'")?;
        ensure!(found == format!("{pool}\n{hard}\n{hard}\n"), "db is not in {pool} on {hard}:\n{found}");
        Ok(())
    }
}

/// A guest with two vCPUs, in the partition or outside.
fn db(inside: bool) -> String {
    let cpu = if inside { "  cpu: {partition: oracle-a}\n" } else { "  cpu: {}\n" };
    vm("db", cpu).replace("vcpus: 1", "vcpus: 2")
}
