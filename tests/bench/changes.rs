//! Changes of a running guest by a commit, and `xl`'s own command for the same: one lab, one boot, the same guest, in turns. The daemon is stopped while `xl` is
//! measured: it would put right what `xl` changes.

use crate::guests::linux;
use crate::journal::Journal;
use crate::report::{Report, Unit, median, say};
use anyhow::{Result, ensure};
use lab::Lab;
use rig::{Change, PATIENCE, Rig, SITE};
use std::time::Duration;

/// Times that each is measured.
const ROUNDS: usize = 3;
/// A look at the status costs the emulated dom0 about a second: none is taken while a change is under way.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// From an accepted commit to its last step's end, in times of `xl`'s own command. It includes a look, a plan, the journal and a worker's start.
const BOUND: f64 = 6.0;

/// A change: what it is called, the lines of the VM's `spec` that are so before and after it, and `xl`'s commands there and back.
struct Kind {
    name: &'static str,
    line: usize,
    after: &'static str,
    xl: &'static str,
    back: &'static str,
}

/// The guest's `spec`, line by line, before any change.
const BEFORE: [&str; 5] = [
    "  disks: []\n",
    "  nics: []\n",
    "  memory: {target: 128Mi, max: 160Mi}\n",
    "  vcpus: {online: 1, max: 2}\n",
    "  cpu: {pins: [{socket: 0, core: 9}]}\n",
];

/// In this order: a device that is taken away has been there for a while.
const KINDS: [Kind; 7] = [
    Kind {
        name: "a disk is attached",
        line: 0,
        after: "  disks: [{name: more, target: xvdb, path: \"/srv/disks/more.img\"}]\n",
        xl: "xl block-attach web format=raw,vdev=xvdb,access=rw,target=/srv/disks/more.img",
        back: "true",
    },
    Kind {
        name: "a NIC is attached",
        line: 1,
        after: "  nics: [{name: lan0, network: lan}]\n",
        xl: "xl network-attach web bridge=xenbr0",
        back: "true",
    },
    Kind {
        name: "the memory target",
        line: 2,
        after: "  memory: {target: 112Mi, max: 160Mi}\n",
        xl: "xl mem-set web 112m",
        back: "xl mem-set web 128m",
    },
    Kind {
        name: "the number of vCPUs",
        line: 3,
        after: "  vcpus: {online: 2, max: 2}\n",
        xl: "xl vcpu-set web 2",
        back: "xl vcpu-set web 1",
    },
    Kind {
        name: "a pin",
        line: 4,
        after: "  cpu: {pins: [{socket: 0, core: 8}]}\n",
        xl: "xl vcpu-pin web all 8",
        back: "xl vcpu-pin web all 9",
    },
    Kind { name: "a disk is taken away", line: 0, after: BEFORE[0], xl: "xl block-detach web xvdb", back: "true" },
    Kind {
        name: "a NIC is taken away",
        line: 1,
        after: BEFORE[1],
        xl: "xl network-detach web $(xl network-list web | awk 'NR == 2 {print $1}')",
        back: "true",
    },
];

/// Seconds of one change by a commit.
struct ByCommit {
    /// From the accepted commit to its last step's end.
    done: f64,
    worker: f64,
    libxl: f64,
}

/// Measures and reports.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    say("building pinfold and pinfold-xen");
    let programs = rig::released()?;
    say("booting real Xen in QEMU");
    let rig = Rig::boot(Lab::builder(), &programs)?;
    rig.lab.run("truncate -s 64M /srv/disks/more.img")?;
    rig.start_daemon()?;
    // Nobody is asked before a disk is taken away.
    let site = SITE.replace("maxDeletions:", "restarts: allow, maxDeletions:");
    let first = rig.commit("the site", &[Change::Write("base.yaml", &site), Change::Write("web.yaml", &web(0))])?;
    rig.until_converged(&first)?;
    rig.lab.wait_for_guest("web", 1, PATIENCE)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        for changed in 1..=KINDS.len() {
            let one = by_commit(&rig, changed)?;
            let name = KINDS[changed - 1].name;
            say(&format!("{name}, round {round} of {ROUNDS}: {:.2} s, {:.2} s in libxl", one.done, one.libxl));
            ours.push(one);
        }
        let back = rig.commit("as before", &[Change::Write("web.yaml", &web(0))])?;
        rig.until_converged(&back)?;
        theirs.extend(by_xl(&rig)?);
        say(&format!("xl, round {round} of {ROUNDS}: {:.2?} s", &theirs[theirs.len() - KINDS.len()..]));
    }
    for (number, kind) in KINDS.iter().enumerate() {
        let ours: Vec<&ByCommit> = ours.iter().skip(number).step_by(KINDS.len()).collect();
        let theirs: Vec<f64> = theirs.iter().skip(number).step_by(KINDS.len()).copied().collect();
        show(report, kind, &ours, &theirs);
    }
    Ok(())
}

fn show(report: &mut Report, kind: &Kind, ours: &[&ByCommit], xl: &[f64]) {
    let middle = |of: fn(&ByCommit) -> f64| median(&ours.iter().map(|one| of(one)).collect::<Vec<_>>());
    let (done, worker, libxl) = (middle(|one| one.done), middle(|one| one.worker), middle(|one| one.libxl));
    report.part(
        &format!("changes of a running guest: {}", kind.name),
        &format!(
            "real Xen in QEMU (software emulation), one boot, PV Linux; {ROUNDS} rounds in turns, the middle one; `{}`",
            kind.xl
        ),
    );
    report.figure("pinfold: from the accepted commit to done", done, Unit::Seconds);
    report.figure("  the worker, from start to outcome", worker, Unit::Seconds);
    report.figure("  of this within libxl", libxl, Unit::Seconds);
    report.figure("xl", median(xl), Unit::Seconds);
    report.bounded("pinfold : xl", done / median(xl), Unit::Ratio, BOUND);
}

/// The guest, with so many of its lines changed.
fn web(changed: usize) -> String {
    let line = |number: usize| KINDS[..changed].iter().rfind(|kind| kind.line == number).map(|kind| kind.after);
    let lines: String = BEFORE.iter().enumerate().map(|(number, before)| line(number).unwrap_or(before)).collect();
    linux("web", 128, &lines)
}

/// One more change by a commit.
fn by_commit(rig: &Rig, changed: usize) -> Result<ByCommit> {
    let name = KINDS[changed - 1].name;
    let steps = Journal::read(rig)?.done("web", "ChangeDone")?.len();
    let commit = rig.commit(name, &[Change::Write("web.yaml", &web(changed))])?;
    std::thread::sleep(LEFT_ALONE);
    rig.until_converged(&commit)?;
    let journal = Journal::read(rig)?;
    let accepted = journal.accepted(&commit)?;
    let done = journal.done("web", "ChangeDone")?;
    ensure!(done.len() == steps + 1, "{name}: {} steps instead of one:\n{}", done.len() - steps, rig.story());
    let step = &done[steps];
    Ok(ByCommit { done: step.at - accepted, worker: step.worker, libxl: step.libxl })
}

/// The same by `xl`, one after the other, and all of it back. Seconds of each.
fn by_xl(rig: &Rig) -> Result<Vec<f64>> {
    rig.kill_daemon()?;
    let one = |kind: &Kind| {
        let said = rig.lab.run(&format!("set -e; date +%s.%N; {} >&2; date +%s.%N", kind.xl))?;
        let times = said.lines().map(|line| Ok(line.trim().parse()?)).collect::<Result<Vec<f64>>>()?;
        let &[began, ended] = times.as_slice() else { anyhow::bail!("xl said:\n{said}") };
        Ok(ended - began)
    };
    let times = KINDS.iter().map(one).collect::<Result<Vec<f64>>>()?;
    // The guest has followed before it is asked again.
    std::thread::sleep(LEFT_ALONE);
    KINDS.iter().try_for_each(|kind| rig.lab.run(kind.back).map(drop))?;
    std::thread::sleep(LEFT_ALONE);
    rig.start_daemon()?;
    Ok(times)
}
