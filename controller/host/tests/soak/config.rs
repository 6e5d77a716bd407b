//! A configuration as a value that can be edited, and its manifests.

use crate::draw::Draw;
use schema::desired::Desired;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uuid::Uuid;

/// What a repository says.
#[derive(Clone, Debug)]
pub struct Config {
    pub cores: u32,
    pub threads: u32,
    pub max_deletions: u32,
    pub restarts: &'static str,
    /// The host's.
    pub mode: &'static str,
    pub networks: BTreeSet<String>,
    pub partitions: BTreeMap<String, Partition>,
    pub vms: BTreeMap<String, Vm>,
    /// Names that were given; none is given twice.
    pub names: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub cores: BTreeSet<u32>,
    pub formerly: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Vm {
    pub kind: &'static str,
    pub power: &'static str,
    pub mode: &'static str,
    pub restart: &'static str,
    pub online: u32,
    pub max: u32,
    pub memory_mib: u32,
    pub memory_max_mib: u32,
    pub place: Place,
    pub weight: u32,
    pub cap: u32,
    pub cmdline: u32,
    pub ramdisk: bool,
    /// Name, target, path, read-only.
    pub disks: Vec<(String, String, String, bool)>,
    /// Media of the drives `hdc` and `hdd`, of those that there are; only HVM has them.
    pub cdroms: Vec<Option<String>>,
    /// Only HVM has it.
    pub firmware: &'static str,
    /// Name, network, address.
    pub nics: Vec<(String, String, Option<String>)>,
    pub timeout_s: u32,
    pub crash_dumps: u32,
    /// The UUID of a domain that another toolstack made, or may make.
    pub uuid: Option<Uuid>,
    pub protect: bool,
    pub label: Option<u32>,
    pub formerly: Vec<String>,
}

/// Of domains.
pub const KINDS: &[&str] = &["pv", "pv", "pvh", "pvh", "hvm"];

/// What may be wanted of a VM.
pub const POWERS: &[&str] = &["running", "running", "running", "stopped", "paused", "suspended"];

#[derive(Clone, Debug)]
pub enum Place {
    Anywhere,
    Pinned(Vec<u32>),
    Partition(String),
}

impl Config {
    /// A small host: core 0 is dom0's, and the last one is in no partition, since Xen wants it in Pool-0.
    pub fn generated(draw: &mut Draw) -> Self {
        let mut config = Self {
            cores: draw.number(4, 9),
            threads: draw.number(1, 2),
            max_deletions: *draw.pick(&[100, 100, 2, 1]),
            restarts: draw.word(&["allow", "allow", "at-next-start", "hold"]),
            mode: "enforce",
            networks: BTreeSet::from(["lan".to_owned()]),
            partitions: BTreeMap::new(),
            vms: BTreeMap::new(),
            names: 0,
        };
        for _ in 0..draw.number(0, 3) {
            let name = config.name("p");
            let cores = config.free_cores(draw, 2);
            if !cores.is_empty() {
                config.partitions.insert(name, Partition { cores, formerly: Vec::new() });
            }
        }
        for _ in 0..draw.number(1, 4) {
            let (name, vm) = (config.name("v"), config.vm(draw));
            config.vms.insert(name, vm);
        }
        config
    }

    pub fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    pub fn vm(&self, draw: &mut Draw) -> Vm {
        let online = draw.number(1, 3);
        let memory_mib = draw.number(32, 128);
        Vm {
            kind: draw.word(KINDS),
            power: if draw.chance(80) { "running" } else { draw.word(POWERS) },
            mode: "enforce",
            restart: draw.word(&["always", "on-failure", "never"]),
            online,
            max: online + draw.number(0, 1),
            memory_mib,
            memory_max_mib: memory_mib + draw.number(0, 1) * 64,
            place: self.place(draw),
            weight: draw.number(1, 1000),
            cap: draw.number(0, 1) * 50,
            cmdline: 0,
            ramdisk: draw.chance(50),
            disks: Vec::new(),
            cdroms: vec![None; draw.number(0, 2) as usize],
            firmware: "bios",
            nics: Vec::new(),
            timeout_s: draw.number(5, 90),
            crash_dumps: 0,
            uuid: None,
            protect: draw.chance(10),
            label: None,
            formerly: Vec::new(),
        }
    }

    pub fn place(&self, draw: &mut Draw) -> Place {
        let names: Vec<_> = self.partitions.keys().cloned().collect();
        match draw.number(0, 3) {
            0 => Place::Anywhere,
            1 => Place::Pinned(vec![0]),
            _ if names.is_empty() => Place::Anywhere,
            _ => Place::Partition(draw.pick(&names).clone()),
        }
    }

    /// Some cores that no partition has.
    pub fn free_cores(&self, draw: &mut Draw, most: u32) -> BTreeSet<u32> {
        let taken: BTreeSet<u32> = self.partitions.values().flat_map(|partition| partition.cores.clone()).collect();
        let mut free: Vec<u32> = (1..self.cores - 1).filter(|core| !taken.contains(core)).collect();
        let mut cores = BTreeSet::new();
        for _ in 0..draw.number(1, most) {
            if !free.is_empty() {
                let at = draw.number(0, u32::try_from(free.len() - 1).unwrap()) as usize;
                cores.insert(free.swap_remove(at));
            }
        }
        cores
    }

    pub fn host(&self) -> sim::HostFile {
        let mut host = sim::HostFile::plain(self.cores, 4 << 20);
        host.topology.threads = self.threads;
        host.bridges.extend(["xenbr0".to_owned(), "xenbr1".to_owned()]);
        for (file, size) in [("vmlinuz", 8_000_000), ("initrd", 2_000_000)] {
            host.files.insert(format!("/srv/{file}"), sim::File::File { size });
        }
        for disk in 0..40 {
            host.files.insert(format!("/srv/disk{disk}.img"), sim::File::File { size: 1 << 30 });
        }
        host
    }

    /// The configuration, through the language; none when a commit of it would be refused.
    pub fn read(&self) -> Option<Desired> {
        let files = BTreeMap::from([("all.yaml".to_owned(), self.text().into_bytes())]);
        schema::read(&crate::stage::tree(&files)).desired
    }

    pub fn text(&self) -> String {
        let head = "apiVersion: pinfold.dev/v1alpha1\nkind: ";
        let Self { max_deletions, restarts, mode, .. } = self;
        let mut text = format!(
            "{head}Pool\nmetadata: {{name: lab}}\nspec: {{id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\", changes: {{maxDeletions: \
             {max_deletions}, restarts: {restarts}}}}}\n---\n{head}Host\nmetadata: {{name: xen1}}\nspec: {{pool: lab, mode: {mode}, \
             dom0: {{cores: [{{socket: 0, core: 0}}]}}}}\n"
        );
        for (n, name) in self.networks.iter().enumerate() {
            let _ = writeln!(text, "---\n{head}Network\nmetadata: {{name: {name}}}\nspec: {{bridge: xenbr{}}}", n % 2);
        }
        for (name, Partition { cores: of, formerly }) in &self.partitions {
            let of = cores(of);
            let formerly = formerly.join(", ");
            let _ = writeln!(
                text,
                "---\n{head}CorePartition\nmetadata: {{name: {name}}}\nspec: {{host: xen1, cores: {of}, formerly: [{formerly}]}}"
            );
        }
        for (name, vm) in &self.vms {
            let _ = write!(text, "---\n{head}VirtualMachine\n{}", vm.text(name));
        }
        text
    }
}

impl Vm {
    fn text(&self, name: &str) -> String {
        let place = match &self.place {
            Place::Anywhere => String::new(),
            Place::Pinned(of) => format!("pins: {}, ", cores(of)),
            Place::Partition(partition) => format!("partition: {partition}, "),
        };
        let label = self.label.map(|label| format!(", labels: {{n: \"{label}\"}}")).unwrap_or_default();
        let ramdisk = if self.ramdisk { ", ramdisk: /srv/initrd" } else { "" };
        let Self { kind, power, mode, restart, online, max, memory_mib, memory_max_mib, weight, cap, cmdline, .. } =
            self;
        let mut text = format!(
            "metadata: {{name: {name}{label}}}\nspec:\n  host: xen1\n  type: {kind}\n  power: {power}\n  mode: {mode}\n  restart: {restart}\n  vcpus: \
             {{online: {online}, max: {max}}}\n  memory: {{target: {memory_mib}Mi, max: {memory_max_mib}Mi}}\n  cpu: {{{place}weight: \
             {weight}, cap: {cap}}}\n  boot: {{kernel: /srv/vmlinuz{ramdisk}, cmdline: \"n={cmdline}\"}}\n  shutdown: {{timeout: {}s}}\n",
            self.timeout_s
        );
        if self.crash_dumps > 0 {
            let _ = writeln!(text, "  crashDumps: {}", self.crash_dumps);
        }
        if let Some(uuid) = self.uuid {
            let _ = writeln!(text, "  uuid: \"{uuid}\"");
        }
        if self.protect {
            text.push_str("  protect: true\n");
        }
        if !self.formerly.is_empty() {
            let _ = writeln!(text, "  formerly: [{}]", self.formerly.join(", "));
        }
        if !self.disks.is_empty() {
            text.push_str("  disks:\n");
        }
        for (name, target, path, read_only) in &self.disks {
            let _ = writeln!(text, "  - {{name: {name}, target: {target}, path: {path}, readOnly: {read_only}}}");
        }
        if *kind == "hvm" {
            text.push_str(&self.of_hvm());
        }
        if !self.nics.is_empty() {
            text.push_str("  nics:\n");
        }
        for (name, network, mac) in &self.nics {
            let mac = mac.as_ref().map(|mac| format!(", mac: \"{mac}\"")).unwrap_or_default();
            let _ = writeln!(text, "  - {{name: {name}, network: {network}{mac}}}");
        }
        text
    }
}

impl Vm {
    fn of_hvm(&self) -> String {
        let mut text = format!("  firmware: {}\n", self.firmware);
        if !self.cdroms.is_empty() {
            text.push_str("  cdroms:\n");
        }
        for (medium, target) in self.cdroms.iter().zip(["hdc", "hdd"]) {
            let medium = medium.as_ref().map(|path| format!(", medium: {path}")).unwrap_or_default();
            let _ = writeln!(text, "  - {{name: {target}, target: {target}{medium}}}");
        }
        text
    }
}

fn cores<'a>(of: impl IntoIterator<Item = &'a u32>) -> String {
    let of: Vec<String> = of.into_iter().map(|core| format!("{{socket: 0, core: {core}}}")).collect();
    format!("[{}]", of.join(", "))
}
