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
const ROUNDS: usize = 5;
/// A look at the status costs the emulated dom0 about a second: none is taken while a change is under way.
const LEFT_ALONE: Duration = Duration::from_secs(10);

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
    "  memory: {target: 96Mi, max: 128Mi}\n",
    "  vcpus: {online: 1, max: 2}\n",
    "  cpu: {pins: [{socket: 0, core: 9}]}\n",
];

const KINDS: [Kind; 5] = [
    Kind {
        name: "a disk is attached",
        line: 0,
        after: "  disks: [{name: more, target: xvdb, path: \"/srv/disks/more.img\"}]\n",
        xl: "xl block-attach web format=raw,vdev=xvdb,access=rw,target=/srv/disks/more.img",
        back: "xl block-detach web xvdb",
    },
    Kind {
        name: "a NIC is attached",
        line: 1,
        after: "  nics: [{name: lan0, network: lan}]\n",
        xl: "xl network-attach web bridge=xenbr0",
        back: "xl network-detach web $(xl network-list web | awk 'NR == 2 {print $1}')",
    },
    Kind {
        name: "the memory target",
        line: 2,
        after: "  memory: {target: 80Mi, max: 128Mi}\n",
        xl: "xl mem-set web 80m",
        back: "xl mem-set web 96m",
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
    let first = rig.commit("the site", &[Change::Write("base.yaml", SITE), Change::Write("web.yaml", &web(None))])?;
    rig.until_converged(&first)?;
    rig.lab.wait_for_guest("web", 1, PATIENCE)?;
    for kind in &KINDS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let (one, xl) = (by_commit(&rig, kind)?, by_xl(&rig, kind)?);
            say(&format!(
                "{}, round {round} of {ROUNDS}: {:.2} s, {:.2} s in libxl; xl: {xl:.2} s",
                kind.name, one.done, one.libxl
            ));
            ours.push(one);
            theirs.push(xl);
        }
        show(report, kind, &ours, &theirs);
    }
    Ok(())
}

fn show(report: &mut Report, kind: &Kind, ours: &[ByCommit], xl: &[f64]) {
    let middle = |of: fn(&ByCommit) -> f64| median(&ours.iter().map(of).collect::<Vec<_>>());
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
    report.figure("pinfold : xl", done / median(xl), Unit::Ratio);
}

/// The guest, with one line changed.
fn web(kind: Option<&Kind>) -> String {
    let mut lines = BEFORE;
    if let Some(kind) = kind {
        lines[kind.line] = kind.after;
    }
    linux("web", 96, &lines.concat())
}

/// One change by a commit, and its taking back, which is not measured.
fn by_commit(rig: &Rig, kind: &Kind) -> Result<ByCommit> {
    let steps = Journal::read(rig)?.done("web", "ChangeDone")?.len();
    let commit = rig.commit(kind.name, &[Change::Write("web.yaml", &web(Some(kind)))])?;
    std::thread::sleep(LEFT_ALONE);
    rig.until_converged(&commit)?;
    let journal = Journal::read(rig)?;
    let accepted = journal.accepted(&commit)?;
    let done = journal.done("web", "ChangeDone")?;
    ensure!(done.len() == steps + 1, "{}: {} steps instead of one:\n{}", kind.name, done.len() - steps, rig.story());
    let back = rig.commit("as before", &[Change::Write("web.yaml", &web(None))])?;
    rig.until_converged(&back)?;
    let step = &done[steps];
    Ok(ByCommit { done: step.at - accepted, worker: step.worker, libxl: step.libxl })
}

/// The same by `xl`, and back.
fn by_xl(rig: &Rig, kind: &Kind) -> Result<f64> {
    rig.kill_daemon()?;
    let said = rig.lab.run(&format!("set -e; date +%s.%N; {} >&2; date +%s.%N", kind.xl))?;
    let times = said.lines().map(|line| Ok(line.trim().parse()?)).collect::<Result<Vec<f64>>>()?;
    let &[began, ended] = times.as_slice() else { anyhow::bail!("xl said:\n{said}") };
    // The guest has followed before it is asked again.
    std::thread::sleep(Duration::from_secs(3));
    rig.lab.run(kind.back)?;
    rig.start_daemon()?;
    Ok(ended - began)
}
