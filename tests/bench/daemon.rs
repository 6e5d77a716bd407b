//! The daemon with nothing to do: the program as it is installed, on the simulated host, following a git repository.
//!
//! Xen's own share is not in here: the simulated host answers in the daemon's process. What the simulator does by itself, in a thread of its
//! own, is left out; what it does within a pass is counted.

use crate::cost::{self, cpu, memory};
use crate::fleet;
use crate::report::{Report, Unit, say};
use anyhow::{Context, Result, bail, ensure};
use rig::{PATIENCE, Status};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// VMs of the host that is measured idle.
const IDLE_VMS: usize = 100;
/// VMs of the host whose passes are measured.
const MANY_VMS: usize = 1_000;
/// CPU seconds of one pass over so many.
const BOUND: f64 = 0.050;
/// For how long a daemon is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// What a daemon does once after everything came to rest is over after this.
const CALM: Duration = Duration::from_secs(5);

/// Measures and reports.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say("building pinfold");
    let pinfold = rig::released_pinfold()?;
    let idle = Site::settled(&pinfold, IDLE_VMS)?.watch()?;
    report.part(
        &format!("daemon, idle, {IDLE_VMS} domains"),
        &format!(
            "pinfold run --backend sim, looking every second, watched for {} s; without the simulator's own thread",
            WATCHED.as_secs()
        ),
    );
    report.figure("CPU", idle.cpu / idle.seconds * 100.0, Unit::Percent);
    report.figure("resident memory", idle.resident, Unit::Bytes);
    report.figure("resident memory at its peak, while the domains were made", idle.peak, Unit::Bytes);

    let site = Site::settled(&pinfold, MANY_VMS)?;
    let many = site.watch()?;
    let read = cost::run(Command::new(&pinfold).arg("validate").arg(site.path("config")), 0)?;
    report.part(
        &format!("daemon, passes with nothing to do, {MANY_VMS} domains"),
        "the same; the pass is all of it: observe, plan, publish; CPU of the driver's thread by the number of passes",
    );
    let pass = many.driver / many.passes;
    report.bounded("one pass", pass, Unit::CpuSeconds, BOUND);
    report.figure("pinfold validate of the same manifests, for comparison", read.cpu, Unit::CpuSeconds);
    report.figure("pass : validate", pass / read.cpu, Unit::Ratio);
    report.figure("CPU of the daemon", many.cpu / many.seconds * 100.0, Unit::Percent);
    report.figure("resident memory", many.resident, Unit::Bytes);
    report.figure("from the commit to all domains running", site.settling, Unit::Seconds);
    Ok(())
}

/// What a daemon used while it was watched.
struct Rest {
    seconds: f64,
    /// CPU seconds of all threads but the simulator's.
    cpu: f64,
    /// CPU seconds of the driver's thread.
    driver: f64,
    passes: f64,
    resident: f64,
    peak: f64,
}

/// Counters of a daemon at one moment.
struct Counters {
    at: Instant,
    cpu: f64,
    driver: f64,
    passes: f64,
}

/// A daemon on a simulated host, in a folder of its own.
struct Site {
    home: TempDir,
    daemon: Child,
    /// Seconds from the commit until everything ran.
    settling: f64,
}

impl Site {
    /// One whose daemon has made that many domains.
    fn settled(pinfold: &Path, vms: usize) -> Result<Self> {
        say(&format!("letting a daemon make {vms} domains"));
        let home = tempfile::tempdir()?;
        let at = |name: &str| home.path().join(name);
        fs::write(at("host.yaml"), fleet::host(vms))?;
        let config = format!(
            "host: xen1\nrepository: {{url: \"{repository}\", branch: main}}\nstate: \"{state}\"\nsocket: \"{socket}\"\nallowPaths: [/srv]\n",
            repository = at("config").display(),
            state = at("state").display(),
            socket = at("pinfold.sock").display(),
        );
        fs::write(at("pinfold.yaml"), config)?;
        fleet::write(&at("config"), vms, |vm| vm)?;
        commit_all(&at("config"))?;
        let log = File::create(at("daemon.log"))?;
        let daemon = Command::new(pinfold)
            .args(["run", "--backend", &format!("sim:{}", at("host.yaml").display()), "--config"])
            .arg(at("pinfold.yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        let began = Instant::now();
        let mut site = Self { home, daemon, settling: 0.0 };
        site.wait(pinfold, vms)?;
        site.settling = began.elapsed().as_secs_f64();
        Ok(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn wait(&mut self, pinfold: &Path, vms: usize) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.daemon.try_wait()? {
                bail!("the daemon ended with {status}:\n{}", self.log());
            }
            let mut ask = Command::new(pinfold);
            let said = ask.args(["status", "-o", "json"]).env("PINFOLD_SOCKET", self.path("pinfold.sock")).output()?;
            if said.status.success() {
                let status = Status::read(&String::from_utf8(said.stdout)?)?;
                if status.all_ready() && status.json()["objects"].as_array().is_some_and(|all| all.len() > vms) {
                    return Ok(());
                }
            }
            sleep(Duration::from_secs(1));
        }
        bail!("the daemon never came to rest:\n{}", self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Watches the daemon do nothing.
    fn watch(&self) -> Result<Rest> {
        sleep(CALM);
        let before = self.counters()?;
        sleep(WATCHED);
        let after = self.counters()?;
        let passes = after.passes - before.passes;
        ensure!(passes >= 5.0, "the daemon made {passes} passes in {} s:\n{}", WATCHED.as_secs(), self.log());
        Ok(Rest {
            seconds: (after.at - before.at).as_secs_f64(),
            cpu: after.cpu - before.cpu,
            driver: after.driver - before.driver,
            passes,
            resident: memory(self.daemon.id(), "VmRSS")?,
            peak: memory(self.daemon.id(), "VmHWM")?,
        })
    }

    fn counters(&self) -> Result<Counters> {
        let pid = self.daemon.id();
        let (mut all, mut driver) = (0.0, 0.0);
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.path();
            let used = cpu(&thread.join("stat").display().to_string())?;
            let name = fs::read_to_string(thread.join("comm"))?;
            if name.trim() != "sim" {
                all += used;
            }
            // The driver is the thread that the process began with.
            if thread.file_name().is_some_and(|name| *name == *pid.to_string()) {
                driver = used;
            }
        }
        Ok(Counters {
            at: Instant::now(),
            cpu: all,
            driver,
            passes: self.metric("pinfold_reconcile_duration_seconds_count")?,
        })
    }

    /// A metric without labels.
    fn metric(&self, name: &str) -> Result<f64> {
        let mut stream = UnixStream::connect(self.path("pinfold.sock"))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: pinfold\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no metric {name}:\n{text}"))?.parse()?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn commit_all(folder: &Path) -> Result<()> {
    let author = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org", "-c", "core.hooksPath=/dev/null"];
    for command in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "all VMs"]] {
        let output = Command::new("git").current_dir(folder).args(author).args(command).output().context("git")?;
        ensure!(output.status.success(), "git {command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
