//! The edges of a VM's power: every state that it can be found in × everything that a commit can want of it. Which those are is read from the
//! table of `docs/power.md`: a row or column that comes there is an edge here, or this does not run.

use super::{Edge, edge, ends_by, vm};
use crate::desired;
use crate::stage::Stage;
use protocol::ShutdownReason::{Poweroff, Reboot, Suspend};
use sim::Event;

/// What administrators read, and what the planner does.
const DOCUMENT: &str = include_str!("../../../../../docs/power.md");

/// Rows that a fault leaves behind: the matrix comes to them by that fault, on the edges to and from `suspended`.
const LEFT_BY_FAULTS: &[&str] = &[
    "killed while its memory was written",
    "killed when its memory was whole",
    "killed while it was restored",
    "killed when its image was used",
];

/// A state that a VM is found in.
#[derive(Clone, Copy)]
pub struct Row {
    it_is: &'static str,
    /// What the commits say that bring it there.
    pub power: &'static str,
    /// What happens then, with time to settle.
    settled: Happens,
    /// What happens right before the next commit.
    at_last: Happens,
}

type Happens = Option<fn() -> Event>;

impl Row {
    /// Brings `v` there, but for what happens at last.
    pub fn reach(&self, stage: &mut Stage) {
        // By way of running, and running for a minute: what is paused or suspended has been up.
        if self.power != GONE {
            stage.commit(desired(&manifests("running")));
            stage.settle(jiff::SignedDuration::from_mins(1));
            stage.commit(desired(&manifests(self.power)));
            stage.settle(jiff::SignedDuration::from_mins(10));
        }
        if let Some(event) = self.settled {
            stage.apply(&event());
        }
    }

    pub fn happens(&self, stage: &mut Stage) {
        if let Some(event) = self.at_last {
            stage.apply(&event());
        }
    }

    /// The last commit alone decides the end, whoever delayed it.
    pub fn is_decided_by_commit(&self) -> bool {
        self.settled.is_none() && self.at_last.is_none() && self.power != "suspended"
    }
}

const GONE: &str = "no manifest";

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let row = |it_is, power, settled, at_last| Row { it_is, power, settled, at_last };
    vec![
        row("never made", GONE, None, None),
        row("running", "running", None, None),
        row("paused", "paused", None, None),
        row("stopped", "stopped", None, None),
        row("suspended", "suspended", None, None),
        row("suspended, and its image is torn", "suspended", None, Some(|| Event::ImagesTorn)),
        row("suspended, and the host booted", "suspended", None, Some(|| Event::PowerLoss)),
        row("running, and the host booted", "running", None, Some(|| Event::PowerLoss)),
        row("switched off by its guest", "running", Some(|| ends_by(Poweroff)), None),
        row("ended: poweroff", "running", None, Some(|| ends_by(Poweroff))),
        row("ended: reboot", "running", None, Some(|| ends_by(Reboot))),
        row("ended: suspend, by another tool", "running", None, Some(|| ends_by(Suspend))),
        row("running, paused by `xl pause`", "running", None, Some(|| Event::Pause { domain: "v".to_owned() })),
        row("paused, let run by `xl unpause`", "paused", None, Some(|| Event::Unpause { domain: "v".to_owned() })),
        row("destroyed by `xl destroy`", "running", None, Some(|| Event::Destroy { domain: "v".to_owned() })),
    ]
}

/// An edge for each cell in which something is done or refused. Where the table says that nothing is, there is no edge.
pub fn edges() -> Vec<Edge> {
    let (_, table) = DOCUMENT.split_once("<!-- the table -->\n").expect("docs/power.md has its table");
    let mut lines = table.lines().map(cells);
    let wanted: Vec<_> = lines.next().unwrap().split_off(1);
    let rows = rows();
    let mut edges = Vec::new();
    for line in lines.skip(1) {
        let (it_is, cells) = line.split_first().unwrap();
        if LEFT_BY_FAULTS.contains(it_is) {
            continue;
        }
        let row = rows.iter().find(|row| row.it_is == *it_is);
        let row = *row.unwrap_or_else(|| panic!("docs/power.md has a state that the matrix does not play: {it_is}"));
        for (wanted, _) in wanted.iter().zip(cells).filter(|(_, cell)| **cell != "nothing") {
            let wanted = wanted.strip_prefix("wanted: ").unwrap();
            let name = format!("{it_is} → {wanted}");
            edges.push(edge(name, before, super::Drive::Power(row, wanted)));
        }
    }
    assert_eq!(
        table.lines().count(),
        2 + rows.len() + LEFT_BY_FAULTS.len(),
        "a state is played that docs/power.md lacks"
    );
    edges
}

fn cells(line: &'static str) -> Vec<&'static str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The other VM is there so that the repository is never empty.
pub fn manifests(wanted: &str) -> Vec<String> {
    const DISK: &str = "disks: [{name: root, target: xvda, path: /srv/a.img}]";
    let other = vm("w", "");
    match wanted {
        GONE => vec![other],
        power => vec![vm("v", &format!("power: {power}\n  {DISK}")), other],
    }
}

fn before() -> Vec<String> {
    manifests(GONE)
}
