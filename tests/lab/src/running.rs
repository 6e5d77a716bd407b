//! A lab that runs.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::channel::{Channel, Silence};
use crate::command::{Output, quote};
use crate::console::{Console, say, tail};
use crate::guard::Guard;
use crate::image::Init;
use crate::machine::Files;
use crate::patience::Patience;
use crate::slot::Slot;
use crate::{Builder, LabError, freeze, image};

/// For a boot. It takes about 15 s on an idle machine; this only ends a wait that has become hopeless.
const BOOT: Duration = Duration::from_secs(180);

/// For a boot of systemd, which includes what a reboot does before: guests power off within their own timeouts.
const SYSTEMD_BOOT: Duration = Duration::from_secs(900);

/// How often a boot is begun. QEMU 7.2 with a thread per processor sometimes hangs or dies of a segmentation fault while dom0's kernel
/// starts, before anything of a test has run. Each was seen once.
const BOOT_ATTEMPTS: u32 = 4;

/// For a command in dom0.
const COMMAND: Duration = Duration::from_secs(300);

/// One emulated host with real Xen. Dropped, it is gone with all its files, except the serial console's log.
#[derive(Debug)]
pub struct Lab {
    builder: Builder,
    image: PathBuf,
    console: Console,
    channel: Channel,
    // Dropped before the slot: the next lab starts when this one is gone.
    guard: Guard,
    exchange: AtomicU32,
    frozen: Arc<AtomicBool>,
    _slot: Slot,
}

impl Lab {
    /// A lab as most tests want it: ten cores, 4 GiB of memory.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn boot(builder: Builder) -> Result<Self, LabError> {
        let image = image::ready(builder.init)?;
        let slot = Slot::take(&image::cache_folder()?)?;
        let console = Console::create(&builder.name.clone().unwrap_or_else(test_name))?;
        let guard = Guard::start().map_err(LabError::io("starting the lab's guard"))?;
        let share = guard.folder().join("share");
        fs::create_dir(&share).map_err(LabError::io("making the lab's shared folder"))?;
        make_disk(&image.join("root.img"), &guard.folder().join("disk.qcow2"))?;
        let channel = Channel::create(guard.folder(), &share, &image)?;
        let (exchange, frozen) = (AtomicU32::new(0), Arc::default());
        let mut lab = Self { builder, image, console, channel, guard, exchange, frozen, _slot: slot };
        lab.power_on()?;
        Ok(lab)
    }

    /// Runs a command by `sh` in dom0 as root, whatever its exit status; five minutes at most.
    ///
    /// What it leaves running in the background must not keep its output open: use [`Lab::spawn`] for that.
    pub fn sh(&self, command: &str) -> Result<Output, LabError> {
        self.sh_within(COMMAND, command)
    }

    /// [`Lab::sh`] with a deadline of its own. At the deadline the connection is cut; the command may go on in dom0.
    pub fn sh_within(&self, deadline: Duration, command: &str) -> Result<Output, LabError> {
        self.channel.sh(command, &self.patience(deadline)).map_err(|silence| match silence {
            Silence::Local(error) => error,
            Silence::Deadline => self.late(format!("an answer to `{command}`"), deadline),
            Silence::Broken(why) => {
                self.trouble(&format!("running `{command}`")).unwrap_or_else(|| LabError::Channel {
                    command: command.into(),
                    why,
                    log: self.console.path().into(),
                    console: self.console.tail(),
                })
            }
        })
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub fn run(&self, command: &str) -> Result<String, LabError> {
        self.sh(command)?.ok()
    }

    /// Starts a command that keeps running, in a session of its own, its output appended to `log` in dom0; returns its
    /// process id there.
    pub fn spawn(&self, command: &str, log: &str) -> Result<u32, LabError> {
        let (command, log) = (quote(command), quote(log));
        let pid = self.run(&format!("setsid sh -c {command} </dev/null >>{log} 2>&1 & echo $!"))?;
        pid.trim().parse().map_err(|_| LabError::Channel {
            command,
            why: format!("`{}` is no process id", pid.trim()),
            log: self.console.path().into(),
            console: self.console.tail(),
        })
    }

    /// Copies a file or folder into dom0, to exactly that path; its parent folders are made, permissions are kept, and a
    /// program that runs from there goes on with its old file.
    pub fn copy_in(&self, local: impl AsRef<Path>, remote: &str) -> Result<(), LabError> {
        let name = self.exchange_name();
        let shared = self.share().join(&name);
        copy(local.as_ref(), &shared)?;
        let to = quote(remote);
        let copied = self.run(&format!(
            "mkdir -p \"$(dirname {to})\" && cp -rT --preserve=mode,timestamps,links --remove-destination /run/lab/{name} {to}"
        ));
        remove(&shared)?;
        copied.map(drop)
    }

    /// Copies a file or folder out of dom0, to exactly that path.
    pub fn copy_out(&self, remote: &str, local: impl AsRef<Path>) -> Result<(), LabError> {
        let name = self.exchange_name();
        self.run(&format!("cp -rT --preserve=mode,timestamps,links {} /run/lab/{name}", quote(remote)))?;
        let shared = self.share().join(&name);
        let copied = copy(&shared, local.as_ref());
        remove(&shared)?;
        copied
    }

    /// Asks again and again, four times a second, until the answer is yes; an error ends it at once.
    ///
    /// Time in which the lab waits for a processor of this machine does not count towards any deadline.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut holds: impl FnMut(&Self) -> Result<bool, LabError>,
    ) -> Result<(), LabError> {
        let patience = self.patience(deadline);
        while !holds(self)? {
            if patience.is_over() {
                return Err(self.late(what.into(), deadline));
            }
            thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }

    /// Types a line on a guest's console, where its root shell listens.
    pub fn type_in_guest(&self, domain: &str, line: &str) -> Result<(), LabError> {
        self.run(&format!("guest-type {} {}", quote(domain), quote(line))).map(drop)
    }

    /// All that guests of this name have printed on their console.
    pub fn guest_console(&self, domain: &str) -> Result<String, LabError> {
        let log = quote(&format!("/var/log/xen/console/guest-{domain}.log"));
        self.run(&format!("[ ! -e {log} ] || cat {log}"))
    }

    /// How many times a guest of this name has come up.
    pub fn guest_boots(&self, domain: &str) -> Result<usize, LabError> {
        Ok(self.guest_console(domain)?.matches("pinfold-guest up").count())
    }

    /// Waits until a guest of this name has come up so many times; if it does not, the error shows its console.
    pub fn wait_for_guest(&self, domain: &str, boots: usize, deadline: Duration) -> Result<(), LabError> {
        let what = format!("{domain} is up (boot {boots})");
        self.wait_until(&what, deadline, |lab| Ok(lab.guest_boots(domain)? >= boots)).map_err(|error| match error {
            LabError::Deadline { what, after, log, console } => {
                let text = |output: Result<String, LabError>| output.unwrap_or_else(|error| error.to_string());
                let (guest, list) = (text(self.guest_console(domain)), text(self.run("xl list")));
                let what = format!("{what}\nxl list:\n{list}its console:\n{}", tail(&guest, 25));
                LabError::Deadline { what, after, log, console }
            }
            error => error,
        })
    }

    /// Reboots the host from inside, as an administrator would: the disk stays, guests and everything else in memory go.
    pub fn reboot(&mut self) -> Result<(), LabError> {
        let boots = self.console.boots();
        // Its answer may or may not come through before the connection goes.
        self.run("(sleep 0.2; reboot) </dev/null >/dev/null 2>&1 &")?;
        self.finish_boot(boots)
    }

    /// Cuts the power and gives it back: what was not on the disk is lost.
    pub fn power_loss(&mut self) -> Result<(), LabError> {
        self.cut_power()?;
        self.power_on()
    }

    /// Cuts the power.
    pub fn cut_power(&mut self) -> Result<(), LabError> {
        self.guard.cut_power().map_err(LabError::io("ending QEMU"))
    }

    /// Gives the power back after [`Lab::cut_power`], or after a `poweroff` in dom0, and waits until dom0 answers.
    pub fn power_on(&mut self) -> Result<(), LabError> {
        if self.is_on() {
            return Ok(());
        }
        let boots = self.console.boots();
        self.start_qemu()?;
        self.finish_boot(boots)
    }

    /// Whether the machine is on; a `poweroff` in dom0 switches it off.
    pub fn is_on(&self) -> bool {
        self.guard.qemu_runs()
    }

    /// The serial console: Xen's lines and dom0's, over all boots.
    pub fn console_log(&self) -> String {
        self.console.text()
    }

    /// The folder whose files dom0 sees in `/run/lab`.
    pub fn share(&self) -> PathBuf {
        self.guard.folder().join("share")
    }

    /// A shell in dom0 on this process's terminal; returns when the person leaves it.
    pub fn shell(&self) -> Result<ExitStatus, LabError> {
        self.channel.ssh().args(["-t", "lab"]).status().map_err(LabError::io("running ssh"))
    }

    fn start_qemu(&mut self) -> Result<(), LabError> {
        let port = free_port()?;
        self.channel.set_port(port)?;
        let qemu = self.builder.qemu(&Files {
            console: self.console.path(),
            disk: &self.guard.folder().join("disk.qcow2"),
            share: &self.share(),
            ssh_port: port,
        })?;
        self.guard.start_qemu(&self.image, &qemu).map_err(LabError::io("starting QEMU"))?;
        self.frozen = Arc::default();
        if let Some(qemu) = self.guard.qemu() {
            freeze::watch(qemu, Arc::clone(&self.frozen));
        }
        Ok(())
    }

    /// Waits for a boot that has begun. One that the emulator has spoilt is begun again, which to the host is a loss of power.
    fn finish_boot(&mut self, boots_before: usize) -> Result<(), LabError> {
        for attempt in 2.. {
            match self.wait_for_boot(boots_before) {
                // A port that somebody else took between our look and QEMU's ends here too.
                Err(error @ (LabError::Ended { .. } | LabError::Frozen { .. } | LabError::Deadline { .. }))
                    if attempt <= BOOT_ATTEMPTS =>
                {
                    say(&format!("{error}\nbooting again ({attempt} of {BOOT_ATTEMPTS})"));
                    self.cut_power()?;
                    self.start_qemu()?;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    fn wait_for_boot(&self, boots_before: usize) -> Result<(), LabError> {
        let mut answer = String::new();
        let patience = if self.builder.init == Init::Systemd { SYSTEMD_BOOT } else { BOOT };
        self.wait_until("dom0 boots and answers", patience, |lab| {
            if let Some(trouble) = lab.trouble("booting") {
                return Err(trouble);
            }
            if lab.console.boots() <= boots_before {
                return Ok(false);
            }
            match lab.channel.connect() {
                Ok(()) => Ok(true),
                Err(words) => {
                    answer = words;
                    Ok(false)
                }
            }
        })
        .map_err(|error| match error {
            LabError::Deadline { what, after, log, console } if !answer.is_empty() => {
                LabError::Deadline { what: format!("{what} (ssh says: {answer})"), after, log, console }
            }
            error => error,
        })
    }

    /// What is plainly wrong with the machine, if anything.
    fn trouble(&self, doing: &str) -> Option<LabError> {
        let (doing, log, console) = (doing.to_owned(), self.console.path().to_owned(), self.console.tail());
        if self.frozen.load(Ordering::SeqCst) {
            return Some(LabError::Frozen { doing, log, console });
        }
        if !self.is_on() {
            return Some(LabError::Ended { doing, qemu: self.guard.qemu_words(), log, console });
        }
        self.console.panicked().then_some(LabError::Panicked { doing, log, console })
    }

    fn late(&self, what: String, after: Duration) -> LabError {
        self.trouble(&format!("waiting for: {what}")).unwrap_or_else(|| LabError::Deadline {
            what,
            after,
            log: self.console.path().into(),
            console: self.console.tail(),
        })
    }

    fn patience(&self, limit: Duration) -> Patience {
        Patience::new(limit, self.guard.qemu())
    }

    fn exchange_name(&self) -> String {
        format!(".exchange-{}", self.exchange.fetch_add(1, Ordering::Relaxed))
    }
}

fn make_disk(image: &Path, disk: &Path) -> Result<(), LabError> {
    local(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).args([image, disk]))
}

/// Copies a file or folder on this machine, whole, to a path that must not exist.
fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    local(Command::new("cp").args(["-rT", "--preserve=mode,timestamps,links"]).args([from, to]))
}

fn remove(path: &Path) -> Result<(), LabError> {
    local(Command::new("rm").arg("-rf").arg(path))
}

fn local(command: &mut Command) -> Result<(), LabError> {
    let doing = format!("{command:?}");
    let output = command.output().map_err(LabError::io(format!("running {doing}")))?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    let code = output.status.code().unwrap_or(-1);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Output { command: doing, code, stdout, stderr }.ok().map(drop)
}

fn free_port() -> Result<u16, LabError> {
    let look = || TcpListener::bind(("127.0.0.1", 0))?.local_addr();
    look().map(|address| address.port()).map_err(LabError::io("looking for a free port"))
}

/// `PROGRAM-THREAD`, without cargo's hash and as a file name: under a test harness the thread has the test's name.
fn test_name() -> String {
    let program = std::env::current_exe().ok().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let program = program.unwrap_or_else(|| "lab".into());
    let program = match program.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => &program,
    };
    let name = match thread::current().name() {
        Some(thread) if thread != "main" => format!("{program}-{thread}"),
        _ => program.to_owned(),
    };
    name.replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_', "_")
}
