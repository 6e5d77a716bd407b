//! Hosts and configurations that fit them.

use proptest::prelude::*;
use protocol::CpuSet;
use schema::desired::Desired;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A host and a configuration: partitions take cores from 1 upwards, one after the other.
#[derive(Clone, Debug)]
pub struct Layout {
    pub cores: u32,
    pub threads: u32,
    /// How many cores each partition takes, and how many it leaves out before.
    pub partitions: Vec<(u32, u32)>,
    pub vms: Vec<Vm>,
}

#[derive(Clone, Debug)]
pub struct Vm {
    /// Modulo the number of partitions and one more, which is Pool-0.
    pub partition: usize,
    pub pinned: bool,
    pub vcpus: u32,
    pub memory_mib: u32,
    pub weight: u16,
    pub pv: bool,
    pub runs: bool,
    pub restart: &'static str,
}

pub fn layout() -> impl Strategy<Value = Layout> {
    let partitions = prop::collection::vec((1_u32..=3, 0_u32..=1), 0..=3);
    (3_u32..=9, 1_u32..=2, partitions, prop::collection::vec(vm(), 0..=4))
        .prop_map(|(cores, threads, partitions, vms)| Layout { cores, threads, partitions, vms }.fitted())
}

fn vm() -> impl Strategy<Value = Vm> {
    let restart = prop::sample::select(vec!["always", "on-failure", "never"]);
    (
        0_usize..4,
        any::<bool>(),
        1_u32..=4,
        32_u32..=256,
        1_u16..=1000,
        any::<bool>(),
        prop::bool::weighted(0.85),
        restart,
    )
        .prop_map(|(partition, pinned, vcpus, memory_mib, weight, pv, runs, restart)| Vm {
            partition,
            pinned,
            vcpus,
            memory_mib,
            weight,
            pv,
            runs,
            restart,
        })
}

impl Layout {
    /// Leaves out partitions that no longer fit: core 0 and the last one are Pool-0's.
    pub fn fitted(mut self) -> Self {
        let mut next = 1;
        self.partitions.retain(|(count, skip)| {
            let fits = next + skip + count < self.cores;
            if fits {
                next += skip + count;
            }
            fits
        });
        self
    }

    pub fn host(&self) -> sim::HostFile {
        let mut host = sim::HostFile::plain(self.cores, 4 << 20);
        host.topology.threads = self.threads;
        host.bridges.insert("xenbr0".to_owned());
        host.files.insert("/srv/vmlinuz".to_owned(), sim::File::File { size: 8_000_000 });
        host
    }

    pub fn partitions(&self) -> BTreeMap<String, Vec<u32>> {
        let mut next = 1;
        let named = self.partitions.iter().enumerate().map(|(n, (count, skip))| {
            let first = next + skip;
            next = first + count;
            (format!("p{n}"), (first..next).collect())
        });
        named.collect()
    }

    pub fn vms(&self) -> impl Iterator<Item = (String, &Vm)> {
        self.vms.iter().enumerate().map(|(n, vm)| (format!("v{n}"), vm))
    }

    /// The pCPUs of cores.
    pub fn cpus(&self, cores: &[u32]) -> CpuSet {
        cores.iter().flat_map(|core| (0..self.threads).map(move |thread| core * self.threads + thread)).collect()
    }
}

impl Vm {
    pub fn partition_name(&self, layout: &Layout) -> Option<String> {
        let n = self.partition % (layout.partitions.len() + 1);
        (n < layout.partitions.len()).then(|| format!("p{n}"))
    }
}

/// The configuration, through the language.
pub fn manifests(layout: &Layout) -> Desired {
    let head = "apiVersion: pinfold.dev/v1alpha1\nkind: ";
    let mut text = format!(
        "{head}Pool\nmetadata: {{name: lab}}\nspec: {{id: \"6c1d3f5a-2b47-4e0c-9d8e-7a50c1b2e394\", changes: {{maxDeletions: 100, \
         restarts: allow}}}}\n---\n{head}Host\nmetadata: {{name: xen1}}\nspec: {{pool: lab, dom0: {{cores: [{{socket: 0, core: 0}}]}}}}\n"
    );
    for (name, cores) in layout.partitions() {
        let cores: Vec<String> = cores.iter().map(|core| format!("{{socket: 0, core: {core}}}")).collect();
        let _ = writeln!(
            text,
            "---\n{head}CorePartition\nmetadata: {{name: {name}}}\nspec: {{host: xen1, cores: [{}]}}",
            cores.join(", ")
        );
    }
    for (name, vm) in layout.vms() {
        let place = match vm.partition_name(layout) {
            Some(partition) => format!("partition: {partition}, "),
            None if vm.pinned => "pins: [{socket: 0, core: 0}], ".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "---\n{head}VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: {}\n  power: {}\n  restart: {}\n  \
             vcpus: {}\n  memory: {}Mi\n  cpu: {{{place}weight: {}}}\n  boot: {{kernel: \"/srv/vmlinuz\"}}",
            if vm.pv { "pv" } else { "pvh" },
            if vm.runs { "running" } else { "stopped" },
            vm.restart,
            vm.vcpus,
            vm.memory_mib,
            vm.weight,
        );
    }
    let files = BTreeMap::from([("all.yaml".to_owned(), text.into_bytes())]);
    let tree = crate::stage::tree(&files);
    let reading = schema::read(&tree);
    let said = schema::render::human(&reading.findings, &tree);
    reading.desired.unwrap_or_else(|| panic!("{said}"))
}
