//! What pinfold notices by itself on real Xen: what watching costs dom0, how soon a pin that somebody widened is narrow again, and how soon the status
//! says that a guest has powered off. One lab, one boot.

use crate::guests::{GRUB, linux, paused};
use crate::journal::Journal;
use crate::report::{Report, Unit, median, percentile, say};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use lab::Lab;
use rig::{Change, PATIENCE, Rig, SITE};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Paused domains that are watched.
const PAUSED: usize = 50;
/// Seconds for which they are.
const WATCHED_S: u32 = 60;
/// Looks that `xl` takes, for comparison.
const LOOKS: u32 = 20;
/// Guests that run, and power off: few, since each takes a part of the one processor that emulates them all.
const GUESTS: usize = 4;
/// What watching costs, in times of what asking `xl` as often costs.
const BOUND: f64 = 0.5;
/// Clock ticks in a second of `/proc/PID/stat` (proc(5), `sysconf(_SC_CLK_TCK)`).
const TICKS: f64 = 100.0;

/// Measures and reports.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say("building pinfold and pinfold-xen");
    let programs = rig::released()?;
    say("booting real Xen in QEMU");
    let rig = Rig::boot(Lab::builder().memory_mib(8192), &programs)?;
    rig.lab.run(&format!("cp {}", GRUB.join(" ")))?;
    rig.start_daemon()?;
    let still: Vec<String> = (0..PAUSED).map(|number| format!("still-{number}")).collect();
    make(&rig, &still, paused)?;
    watch(report, &rig)?;
    repairs(report, &rig, &still)?;
    let guests: Vec<String> = (0..GUESTS).map(|number| format!("guest-{number}")).collect();
    make(&rig, &guests, |name| linux(name, 96, ""))?;
    for guest in &guests {
        rig.lab.wait_for_guest(guest, 1, PATIENCE)?;
    }
    ends(report, &rig, &guests)
}

/// Commits VMs beside those that are there.
fn make(rig: &Rig, names: &[String], manifest: impl Fn(&str) -> String) -> Result<()> {
    say(&format!("making {} domains", names.len()));
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("base.yaml"), SITE)?;
    for name in names {
        std::fs::write(folder.path().join(format!("{name}.yaml")), manifest(name))?;
    }
    rig.edit(&[Change::Folder(folder.path())])?;
    let commit = rig.commit("more VMs", &[])?;
    rig.until_converged(&commit)
}

/// Domains that do nothing, and what looking at them costs.
fn watch(report: &mut Report, rig: &Rig) -> Result<()> {
    say(&format!("watching {PAUSED} paused domains for {WATCHED_S} s"));
    let look = "for name in '^pinfold run' '[p]infold-xen serve' '[x]enstored'; do cat /proc/$(pgrep -of \"$name\")/stat; done; date +%s.%N";
    let said = rig.lab.sh_within(PATIENCE, &format!("sleep 10; {look}; sleep {WATCHED_S}; {look}"))?.ok()?;
    let lines: Vec<&str> = said.lines().collect();
    let [daemon, serve, store, began, daemon_after, serve_after, store_after, ended] = lines[..] else {
        anyhow::bail!("dom0 said:\n{said}")
    };
    let seconds = ended.parse::<f64>()? - began.parse::<f64>()?;
    let percent =
        |before: &str, after: &str| -> Result<f64> { Ok((ticks(after)? - ticks(before)?) / TICKS / seconds * 100.0) };
    let (daemon, serve) = (percent(daemon, daemon_after)?, percent(serve, serve_after)?);
    let store = percent(store, store_after)?;
    // What a script would ask once a second.
    let asking = format!(
        "bash -c 'TIMEFORMAT=\"%U %S\"; time for n in $(seq {LOOKS}); do xl list; xl vcpu-list; xl cpupool-list; done >/dev/null' 2>&1"
    );
    let times = rig.lab.sh_within(PATIENCE, &asking)?.ok()?;
    let used = times.split_whitespace().map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    let xl = used / f64::from(LOOKS) * 100.0;
    report.part(
        &format!("watching {PAUSED} paused domains"),
        &format!(
            "real Xen in QEMU (software emulation), a look each second unless one takes long, for {WATCHED_S} s; user and system time in dom0"
        ),
    );
    report.figure("pinfold and pinfold-xen serve", daemon + serve, Unit::Percent);
    report.figure("  of this pinfold", daemon, Unit::Percent);
    report.figure("xenstored meanwhile", store, Unit::Percent);
    report.figure("xl list, vcpu-list and cpupool-list once a second", xl, Unit::Percent);
    report.bounded("pinfold and pinfold-xen serve : xl", (daemon + serve) / xl, Unit::Ratio, BOUND);
    Ok(())
}

/// User and system time of a `/proc/PID/stat` (proc(5)).
fn ticks(stat: &str) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(')').with_context(|| format!("{stat} is no stat"))?;
    let used = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(used.sum::<Result<f64, _>>()?)
}

/// Somebody widens pins, each once: what is corrected again and again is a fight.
fn repairs(report: &mut Report, rig: &Rig, names: &[String]) -> Result<()> {
    say(&format!("widening the pins of {PAUSED} domains, one after the other"));
    let mut script = String::from("set -e\n");
    for (number, name) in names.iter().enumerate() {
        // Not in step with the daemon's own second.
        let pause = 3.0 + f64::from(u32::try_from(number * 37 % 100)?) / 100.0;
        let _ = writeln!(script, "sleep {pause}; xl vcpu-pin {name} all all; echo {name} $(date +%s.%N)");
    }
    let said = rig.lab.sh_within(PATIENCE, &script)?.ok()?;
    rig.until("all pins are narrow again", |rig| {
        Ok(rig.lab.run("xl vcpu-list | awk 'NR > 1 && $1 != \"Domain-0\" && $7 != 9'")?.is_empty())
    })?;
    // The last outcome is in the journal once its worker is gone.
    std::thread::sleep(Duration::from_secs(10));
    let (took, libxl) = repaired(&Journal::read(rig)?, &said, names)?;
    report.part(
        "from a widened pin to its repair",
        &format!(
            "the same boot and domains, {} repairs; from the end of `xl vcpu-pin` to the repair in the journal",
            took.len()
        ),
    );
    report.figure("the middle one", median(&took), Unit::Seconds);
    report.figure("  of this within libxl", median(&libxl), Unit::Seconds);
    report.figure("95 of 100 are within", percentile(&took, 95), Unit::Seconds);
    Ok(())
}

/// Seconds from each widening, as the script said it, to its repair, and those within libxl.
fn repaired(journal: &Journal, said: &str, names: &[String]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut took, mut libxl) = (Vec::new(), Vec::new());
    for name in names {
        let of_it = |line: &str| line.strip_prefix(&format!("{name} "))?.parse::<f64>().ok();
        let widened = said.lines().find_map(of_it);
        let repaired = journal.done(name, "RepairDone")?;
        let (Some(widened), [repaired]) = (widened, &repaired[..]) else {
            anyhow::bail!("{name}: {widened:?}, {} repairs:\n{}", repaired.len(), journal.story(name))
        };
        ensure!(repaired.at > widened, "{name} was repaired at {}, and widened at {widened}", repaired.at);
        took.push(repaired.at - widened);
        libxl.push(repaired.libxl);
    }
    Ok((took, libxl))
}

/// Guests power off.
fn ends(report: &mut Report, rig: &Rig, guests: &[String]) -> Result<()> {
    say("letting guests power off, one after the other");
    let process = rig.lab.spawn("exec pinfold get vm --watch -o json", "/tmp/watched")?;
    let mut script = String::from("set -e\nsleep 5\n");
    for guest in guests {
        // The first event of a watch is its registration, the next one is the end.
        let _ = writeln!(
            script,
            "(xenstore-watch -n 2 @releaseDomain >/dev/null; echo {guest} $(date +%s.%N)) & sleep 1; guest-type {guest} poweroff; wait $!; sleep 8"
        );
    }
    let said = rig.lab.sh_within(PATIENCE, &script)?.ok()?;
    rig.lab.run(&format!("kill {process}"))?;
    let watched = rig.lab.run("cat /tmp/watched")?;
    let mut times = Vec::new();
    for guest in guests {
        let of_guest = |line: &str| line.strip_prefix(&format!("{guest} "))?.parse::<f64>().ok();
        let off = said.lines().find_map(of_guest).with_context(|| format!("{guest} did not end:\n{said}"))?;
        times.push(told(&watched, guest)? - off);
    }
    report.part(
        "from a guest's power-off to the status that says so",
        &format!(
            "the same boot, {} guests; from Xen's event to the first status in which the guest does not run, as `pinfold get --watch` is told",
            times.len()
        ),
    );
    report.figure("the middle one", median(&times), Unit::Seconds);
    report.figure("95 of 100 are within", percentile(&times, 95), Unit::Seconds);
    Ok(())
}

/// When it was first said that a VM does not run.
fn told(watched: &str, vm: &str) -> Result<f64> {
    for line in watched.lines().filter(|line| line.starts_with('{')) {
        let change: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        if change["object"]["object"]["name"] == vm && change["object"]["power"] != "running" {
            let now: Timestamp = change["now"].as_str().context("a change has a time")?.parse()?;
            return Ok(now.as_duration().as_secs_f64());
        }
    }
    anyhow::bail!("nobody said that {vm} does not run:\n{watched}")
}
