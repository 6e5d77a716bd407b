//! From a commit to running domains, and `xl create` of the same guests, on real Xen: one lab, one boot, the two in turns.
//!
//! The lab emulates a processor, so only ratios within one boot mean anything. Guests are real Linux guests, all pinned to one pCPU,
//! so that what they do after their start does not take the time of the next ones. (Not by a cap: Xen 4.17 panicked in credit2's
//! `unpark_parked_units` when a capped domain was destroyed.) The daemon is stopped while `xl` is measured.

use crate::guests::linux;
use crate::journal::Journal;
use crate::report::{Report, Unit, least, median, say};
use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use rig::{Change, Rig, SITE};
use std::fmt::Write as _;
use std::fs;

/// Guests at a time.
const SIZES: [usize; 2] = [1, 10];
/// Times that each is measured.
const ROUNDS: usize = 3;

/// Measures and reports.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say("building pinfold and pinfold-xen");
    let programs = rig::released()?;
    say("booting real Xen in QEMU");
    let rig = Rig::boot(Lab::builder(), &programs)?;
    rig.start_daemon()?;
    let base = rig.commit("the host", &[Change::Write("base.yaml", SITE)])?;
    rig.until_converged(&base)?;
    for size in SIZES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            say(&format!("{size} at a time, round {round} of {ROUNDS}"));
            let (one, xl) = (by_commit(&rig, &names(size, round))?, by_xl(&rig, size)?);
            say(&format!(
                "{:.1} s from the commit to all running, {:.1} s in libxl; xl create: {xl:.1} s",
                one.running, one.libxl
            ));
            ours.push(one);
            theirs.push(xl);
        }
        show(report, size, &ours, &theirs);
    }
    Ok(())
}

fn show(report: &mut Report, size: usize, ours: &[ByCommit], xl: &[f64]) {
    let all = |of: fn(&ByCommit) -> f64| ours.iter().map(of).collect::<Vec<_>>();
    let (running, accepted) = (all(|one| one.running), all(|one| one.accepted));
    let (workers, libxl) = (all(|one| one.workers), all(|one| one.libxl));
    let guests = if size == 1 { "one guest".to_owned() } else { format!("{size} guests in one commit") };
    report.part(
        &format!("from a commit to running domains, {guests}"),
        &format!("real Xen in QEMU (software emulation), one boot, PV Linux, 96 MiB; {ROUNDS} rounds, the middle one; `xl create` one after the other"),
    );
    report.figure("pinfold: from the commit in the repository to all running", median(&running), Unit::Seconds);
    report.figure("  the quickest round", least(&running), Unit::Seconds);
    report.figure("  until the commit was accepted (fetch over ssh, validate)", median(&accepted), Unit::Seconds);
    report.figure("  workers together, from start to outcome", median(&workers), Unit::Seconds);
    report.figure("  of these within libxl", median(&libxl), Unit::Seconds);
    report.figure("xl create", median(xl), Unit::Seconds);
    report.figure("  the quickest round", least(xl), Unit::Seconds);
    report.figure("pinfold : xl create", median(&running) / median(xl), Unit::Ratio);
    report.figure(
        "pinfold after the commit was accepted : xl create",
        (median(&running) - median(&accepted)) / median(xl),
        Unit::Ratio,
    );
    report.figure("libxl within pinfold : xl create", median(&libxl) / median(xl), Unit::Ratio);
}

/// Seconds of one round.
struct ByCommit {
    running: f64,
    accepted: f64,
    workers: f64,
    libxl: f64,
}

/// Commits VMs, waits until they run, and commits their removal. Times are dom0's, as pinfold's own journal has them.
fn by_commit(rig: &Rig, names: &[String]) -> Result<ByCommit> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("vms"))?;
    for name in names {
        fs::write(folder.path().join(format!("vms/{name}.yaml")), linux(name, 96, ""))?;
    }
    rig.edit(&[Change::Folder(folder.path())])?;
    let said = rig.lab.run(
        "cd /root/config && git add -A && git commit -q -m 'more VMs' && git push -q origin HEAD:main && \
         git rev-parse HEAD && date +%s.%N && pinfold sync >&2",
    )?;
    let (commit, pushed) = said.trim().split_once('\n').context("git and date say a line each")?;
    let pushed: f64 = pushed.trim().parse()?;
    rig.until_converged(commit)?;
    let listed = rig.lab.run("xl list")?;
    ensure!(names.iter().all(|name| listed.contains(name.as_str())), "{names:?} do not all run:\n{listed}");
    let round = read_journal(&Journal::read(rig)?, commit, names, pushed)?;
    remove(rig, names)?;
    Ok(round)
}

/// What the journal says of one commit.
fn read_journal(journal: &Journal, commit: &str, names: &[String], pushed: f64) -> Result<ByCommit> {
    let mut round = ByCommit { running: 0.0, accepted: journal.accepted(commit)? - pushed, workers: 0.0, libxl: 0.0 };
    for name in names {
        let made = journal.done(name, "CreateDone")?;
        let [made] = made.as_slice() else { bail!("{name} was made {} times", made.len()) };
        round.running = round.running.max(made.at - pushed);
        round.workers += made.worker;
        round.libxl += made.libxl;
    }
    Ok(round)
}

/// Takes the VMs out of the repository, and helps guests that hardly run to their end.
fn remove(rig: &Rig, names: &[String]) -> Result<()> {
    let commit = rig.commit("no VMs", &[Change::Remove("vms")])?;
    rig.until("the removal is accepted", |rig| Ok(rig.status()?.commit() == Some(&*commit)))?;
    for name in names {
        // Those that are gone already are no error.
        rig.lab.sh(&format!("xl destroy {name}"))?;
    }
    rig.until("nothing but dom0 runs", |rig| Ok(rig.lab.run("xl list")?.lines().count() == 2))?;
    rig.until_converged(&commit)
}

/// Seconds that `xl create` takes for as many guests. They are gone afterwards.
fn by_xl(rig: &Rig, size: usize) -> Result<f64> {
    rig.kill_daemon()?;
    let names: Vec<String> = (0..size).map(|number| format!("xl-{number}")).collect();
    let mut prepare = String::from("mkdir -p /root/xl\n");
    for name in &names {
        let _ = writeln!(
            prepare,
            "cat >/root/xl/{name}.cfg <<END\ntype = \"pv\"\nname = \"{name}\"\nkernel = \"/srv/guests/vmlinuz\"\nramdisk = \"/srv/guests/initrd.gz\"\n\
             extra = \"console=hvc0\"\nmemory = 96\nvcpus = 1\ncpus = \"9\"\nEND"
        );
    }
    rig.lab.run(&prepare)?;
    let all = names.join(" ");
    let said = rig.lab.run(&format!(
        "set -e; date +%s.%N; for guest in {all}; do xl create -q /root/xl/$guest.cfg >&2; done; date +%s.%N"
    ))?;
    let times = said.lines().map(|line| Ok(line.trim().parse()?)).collect::<Result<Vec<f64>>>()?;
    let &[began, ended] = times.as_slice() else { bail!("xl create said:\n{said}") };
    rig.lab.run(&format!("for guest in {all}; do xl destroy $guest || exit; done"))?;
    rig.start_daemon()?;
    Ok(ended - began)
}

/// Every guest is a new one: a name that was there before would be another story.
fn names(size: usize, round: usize) -> Vec<String> {
    (0..size).map(|number| format!("vm-{size}-{round}-{number}")).collect()
}
