//! Every edge of the state machine: from where, and what drives it. To add one: a row in [`EDGES`].

mod power;
mod verbs;

use power::Row;
pub use power::manifests as of_power;

use crate::stage::Stage;
use protocol::ShutdownReason;
use sim::Event;
use std::fmt::Write;

/// A way from one state to another.
pub struct Edge {
    pub name: String,
    /// The manifests that are in force and settled before.
    pub before: fn() -> Vec<String>,
    pub drive: Drive,
}

/// What sets it off.
pub enum Drive {
    /// A commit of these manifests.
    Commit(fn() -> Vec<String>),
    /// Another commit, once the host came to rest after a first one: where a state can only be reached from another.
    Second(fn() -> Vec<String>, fn() -> Vec<String>),
    /// What a VM's power is, and what a commit wants it to be.
    Power(Row, &'static str),
    /// Something that happens on the host.
    Event(fn() -> Event),
    /// What a person does, once the host came to rest after something else.
    Person(fn(&mut Stage), fn(&mut Stage)),
}

impl Edge {
    /// The manifests that were in force right before, and those that are in force after it.
    pub fn commits(&self) -> (Vec<String>, Vec<String>) {
        let before = (self.before)();
        match &self.drive {
            Commit(after) => (before, after()),
            Second(first, after) => (first(), after()),
            Power(row, wanted) => (power::manifests(row.power), power::manifests(wanted)),
            Happens(_) | Person(..) => (before.clone(), before),
        }
    }
}

use Drive::{Commit, Event as Happens, Person, Power, Second};

fn edge(name: impl Into<String>, before: fn() -> Vec<String>, drive: Drive) -> Edge {
    Edge { name: name.into(), before, drive }
}

pub fn edges() -> Vec<Edge> {
    let mut edges = life();
    edges.extend(power::edges());
    edges.extend(changes());
    edges.extend(plugs());
    edges.extend(hvm());
    edges.extend(places());
    edges.extend(ends());
    edges.extend(verbs::edges());
    edges
}

fn life() -> Vec<Edge> {
    vec![
        edge("absent to running", Vec::new, Commit(|| vec![vm("v", "")])),
        edge(
            "absent to running in a partition",
            Vec::new,
            Commit(|| vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")]),
        ),
        edge("renamed", || vec![vm("v", "")], Commit(|| vec![vm("new", "formerly: [v]")])),
        edge(
            "stopped and renamed",
            || vec![vm("v", "")],
            Commit(|| vec![vm("new", "formerly: [v]\n  power: stopped")]),
        ),
    ]
}

fn changes() -> Vec<Edge> {
    let built = || vec![vm("v", "boot: {kernel: /srv/vmlinuz, cmdline: other}")];
    vec![
        edge("restart for a changed field", || vec![vm("v", "")], Commit(built)),
        edge("another kind of domain", || vec![vm("v", "")], Commit(|| vec![vm("v", "type: pvh")])),
        edge("live: weight and cap", || vec![vm("v", "")], Commit(|| vec![vm("v", "cpu: {weight: 900, cap: 50}")])),
        edge("live: less memory", || vec![vm("v", "")], Commit(|| vec![vm("v", "memory: {target: 48Mi, max: 64Mi}")])),
        edge(
            "live: more memory",
            || vec![vm("v", "memory: {target: 48Mi, max: 96Mi}")],
            Commit(|| vec![vm("v", "memory: {target: 96Mi, max: 96Mi}")]),
        ),
        edge("live: fewer vCPUs", || vec![vm("v", "")], Commit(|| vec![vm("v", "vcpus: {online: 1, max: 2}")])),
        edge(
            "live: more vCPUs",
            || vec![vm("v", "vcpus: {online: 1, max: 2}")],
            Commit(|| vec![vm("v", "vcpus: {online: 2, max: 2}")]),
        ),
        edge("live: pins", || vec![vm("v", "")], Commit(|| vec![vm("v", "cpu: {pins: [{socket: 0, core: 1}]}")])),
        edge(
            "live: several at once",
            || vec![vm("v", "")],
            Commit(|| {
                vec![vm("v", "cpu: {weight: 900, pins: [{socket: 0, core: 1}]}\n  memory: {target: 48Mi, max: 64Mi}")]
            }),
        ),
    ]
}

fn plugs() -> Vec<Edge> {
    const DISK: &str = "disks: [{name: data, target: xvdb, path: /srv/a.img}]";
    const NIC: &str = "nics: [{name: lan0, network: lan}]";
    vec![
        edge("a disk attached", || vec![vm("v", "")], Commit(|| vec![vm("v", DISK)])),
        edge("a disk taken away", || vec![vm("v", DISK)], Commit(|| vec![vm("v", "")])),
        edge("a NIC attached", || vec![vm("v", "")], Commit(|| vec![vm("v", NIC)])),
        edge("a NIC taken away", || vec![vm("v", NIC)], Commit(|| vec![vm("v", "")])),
        edge("a disk's other file", || vec![vm("v", DISK)], Commit(|| vec![vm("v", &DISK.replace("a.img", "b.img"))])),
    ]
}

/// What is otherwise where QEMU emulates a PC.
fn hvm() -> Vec<Edge> {
    let filled = || vec![pc("cdroms: [{name: cd, target: hdc, medium: /srv/a.img}]"), vm("w", "")];
    let empty = || vec![pc("cdroms: [{name: cd, target: hdc}]"), vm("w", "")];
    let other = || vec![pc("cdroms: [{name: cd, target: hdc, medium: /srv/b.img}]"), vm("w", "")];
    let suspended = || vec![pc("power: suspended"), vm("w", "")];
    vec![
        edge("HVM: absent to running", Vec::new, Commit(filled)),
        edge("HVM: running to stopped", filled, Commit(|| vec![pc("power: stopped"), vm("w", "")])),
        edge("HVM: running to gone", filled, Commit(|| vec![vm("w", "")])),
        edge("HVM: a medium ejected", filled, Commit(empty)),
        edge("HVM: a medium inserted", empty, Commit(filled)),
        edge("HVM: another medium", filled, Commit(other)),
        edge("HVM: a drive taken away", filled, Commit(|| vec![pc(""), vm("w", "")])),
        edge("HVM: other firmware", filled, Commit(|| vec![pc("firmware: uefi"), vm("w", "")])),
        edge("HVM: running to suspended", || vec![pc(""), vm("w", "")], Commit(suspended)),
        edge("HVM: suspended to running", || vec![pc(""), vm("w", "")], Second(suspended, filled)),
        edge("HVM: QEMU dies", filled, Happens(|| Event::DeviceModelDies { domain: "v".to_owned() })),
        edge(
            "HVM: its medium changed by hand",
            filled,
            Happens(|| Event::CdInsert { domain: "v".to_owned(), device: "hdc".to_owned(), path: None }),
        ),
    ]
}

fn places() -> Vec<Edge> {
    vec![
        edge(
            "into a partition",
            || vec![cp("p", "2 3"), vm("v", "")],
            Commit(|| vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")]),
        ),
        edge(
            "out of a partition",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![cp("p", "2 3"), vm("v", "")]),
        ),
        edge(
            "from one partition to another",
            || vec![cp("p", "2"), cp("q", "3 4"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![cp("p", "2"), cp("q", "3 4"), vm("v", "cpu: {partition: q}")]),
        ),
        edge("a partition made", || vec![vm("v", "")], Commit(|| vec![cp("p", "2 3"), vm("v", "")])),
        edge(
            "a partition grown",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![cp("p", "2 3 4"), vm("v", "cpu: {partition: p}")]),
        ),
        edge(
            "a partition shrunk",
            || vec![cp("p", "2 3 4"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")]),
        ),
        edge(
            "a partition on other cores",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![cp("p", "4 5"), vm("v", "cpu: {partition: p}")]),
        ),
        edge(
            "a core from one partition to another",
            || vec![cp("p", "2 3"), cp("q", "4"), vm("v", "cpu: {partition: p}"), vm("w", "cpu: {partition: q}")],
            Commit(|| {
                vec![cp("p", "2"), cp("q", "3 4"), vm("v", "cpu: {partition: p}"), vm("w", "cpu: {partition: q}")]
            }),
        ),
        edge(
            "partitions that swap cores",
            || vec![cp("p", "2 3"), cp("q", "4 5"), vm("v", "cpu: {partition: p}"), vm("w", "cpu: {partition: q}")],
            Commit(|| {
                vec![cp("p", "2 4"), cp("q", "3 5"), vm("v", "cpu: {partition: p}"), vm("w", "cpu: {partition: q}")]
            }),
        ),
        edge(
            "a partition dissolved",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Commit(|| vec![vm("v", "")]),
        ),
        edge(
            "a partition renamed",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Commit(|| {
                vec![cp("np", "2 3").replace("cores:", "formerly: [p], cores:"), vm("v", "cpu: {partition: np}")]
            }),
        ),
    ]
}

fn ends() -> Vec<Edge> {
    use ShutdownReason::{Crash, Poweroff, Reboot, Watchdog};
    let on_failure = || vec![vm("v", "")];
    let always = || vec![vm("v", "restart: always")];
    let never = || vec![vm("v", "restart: never")];
    vec![
        edge("guest powers off under `always`", always, Happens(|| ends_by(Poweroff))),
        edge("guest reboots under `never`", never, Happens(|| ends_by(Reboot))),
        edge("guest crashes", on_failure, Happens(|| ends_by(Crash))),
        edge("guest crashes under `never`", never, Happens(|| ends_by(Crash))),
        edge("guest crashes and is dumped", || vec![vm("v", "crashDumps: 2")], Happens(|| ends_by(Crash))),
        edge("guest's watchdog fires", on_failure, Happens(|| ends_by(Watchdog))),
        edge(
            "guest in a partition reboots",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}")],
            Happens(|| ends_by(Reboot)),
        ),
        edge(
            "host reboots",
            || vec![cp("p", "2 3"), vm("v", "cpu: {partition: p}"), vm("w", "")],
            Happens(|| Event::HostReboot),
        ),
    ]
}

fn ends_by(how: ShutdownReason) -> Event {
    Event::GuestEnds { domain: "v".to_owned(), how }
}

const HEAD: &str = "apiVersion: pinfold.dev/v1alpha1\nkind: ";

/// The Pool, the host, and these.
pub fn manifests(objects: &[String]) -> String {
    let pool = "{id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\", changes: {maxDeletions: 100, restarts: allow}}";
    let host = "{pool: lab, dom0: {cores: [{socket: 0, core: 0}]}}";
    let mut text = format!(
        "{HEAD}Pool\nmetadata: {{name: lab}}\nspec: {pool}\n---\n{HEAD}Host\nmetadata: {{name: xen1}}\nspec: {host}\n\
         ---\n{HEAD}Network\nmetadata: {{name: lan}}\nspec: {{bridge: xenbr0}}\n"
    );
    for object in objects {
        text.push_str("---\n");
        text.push_str(object);
    }
    text
}

/// A VM of 64 MiB and two vCPUs, unless its further lines say otherwise.
pub fn vm(name: &str, more: &str) -> String {
    let mut text = format!("{HEAD}VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n");
    let defaults = [
        ("type:", "type: pv"),
        ("vcpus:", "vcpus: {online: 2, max: 2}"),
        ("memory:", "memory: {target: 64Mi, max: 64Mi}"),
        ("boot:", "boot: {kernel: /srv/vmlinuz, cmdline: one}"),
        ("shutdown:", "shutdown: {timeout: 20s}"),
    ];
    let lines: Vec<&str> = more.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let kept = defaults.iter().filter(|(field, _)| !lines.iter().any(|line| line.starts_with(field)));
    for line in kept.map(|(_, line)| *line).chain(lines.iter().copied()) {
        writeln!(text, "  {line}").unwrap();
    }
    text
}

/// `v` as an HVM guest.
fn pc(more: &str) -> String {
    vm("v", &format!("type: hvm\n{more}"))
}

fn cp(name: &str, cores: &str) -> String {
    let cores: Vec<String> = cores.split(' ').map(|core| format!("{{socket: 0, core: {core}}}")).collect();
    format!("{HEAD}CorePartition\nmetadata: {{name: {name}}}\nspec: {{host: xen1, cores: [{}]}}\n", cores.join(", "))
}
