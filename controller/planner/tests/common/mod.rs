//! A stage for plans: manifests, a simulated host, records in memory. One pass plans once and carries out what goes now.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub, missing_docs)]

mod carry;
mod manifests;
mod shown;

use jiff::{SignedDuration, Timestamp};
use planner::observed::{AcceptedCommit, Dom0Facts, FileFact, HostShutdown, INVENTORY_VERSION, Observed, Uptime};
use planner::record::{Approval, Grant, Records};
use planner::toolstacks::OtherToolstack;
use planner::{Disposition, Item, Plan, laws, plan};
use protocol::{ImageRef, ImageState, Reading};
use schema::desired::Desired;
use sim::{Event, Fault, File, HostFile, World};
use std::collections::BTreeMap;
use std::fmt::Write;
use uuid::Uuid;

pub use manifests::*;
pub use shown::line;

/// Ten cores, 4 GiB, a bridge, a kernel and two disks.
pub fn host() -> HostFile {
    let mut host = HostFile::plain(10, 4 * 1024 * 1024);
    host.bridges.insert("xenbr0".to_owned());
    for path in ["/srv/vmlinuz", "/srv/a.img", "/srv/b.img", "/srv/c.img"] {
        host.files.insert(path.to_owned(), File::File { size: 1 << 20 });
    }
    host
}

pub struct Stage {
    pub xen: World,
    pub host: HostFile,
    pub records: Records,
    pub desired: Option<Desired>,
    pub commits: u32,
    /// Added to virtual time: a host that is off for a while.
    pub epoch: Timestamp,
    /// Look at every vCPU after every call.
    pub law_of_cores: bool,
    /// The host goes down.
    pub host_shutdown: Option<HostShutdown>,
    /// Others in dom0.
    pub toolstacks: Vec<OtherToolstack>,
    /// Who is there when drift is seen.
    pub suspects: Vec<String>,
}

impl Stage {
    pub fn new(yaml: &str) -> Self {
        Self::on(host(), yaml)
    }

    pub fn on(host: HostFile, yaml: &str) -> Self {
        Self {
            xen: World::new(host.clone()).unwrap(),
            host,
            records: Records::default(),
            desired: Some(desired(yaml)),
            commits: 1,
            epoch: "2026-01-01T00:00:00Z".parse().unwrap(),
            law_of_cores: false,
            host_shutdown: None,
            toolstacks: Vec::new(),
            suspects: Vec::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        let ran = SignedDuration::from_millis(i64::try_from(self.xen.now_ms()).unwrap());
        self.epoch + ran + SignedDuration::from_secs(self.xen.clock_skew_s())
    }

    /// Accepts a commit: what it removes gets a grant, unless `over` says that these are too many.
    pub fn commit_with(&mut self, yaml: &str, over: Option<planner::record::OverBudget>) {
        let next = desired(yaml);
        let last = self.desired.as_ref().unwrap();
        let pool = last.pool.id;
        self.commits += 1;
        let mut grants = self.records.grants.as_ref().and_then(Reading::known).cloned().unwrap_or_default();
        grants.version = 1;
        grants.over_budget = over;
        let kept: Vec<Uuid> =
            next.vms.values().map(|vm| vm.uuid(pool)).chain(next.partitions.values().map(|cp| cp.uuid(pool))).collect();
        let before = last
            .vms
            .values()
            .map(|vm| (vm.uuid(pool), &vm.name))
            .chain(last.partitions.values().map(|cp| (cp.uuid(pool), &cp.name)));
        grants.removed.retain(|uuid, _| !kept.contains(uuid));
        if grants.over_budget.is_none() {
            for (uuid, name) in before.filter(|(uuid, _)| !kept.contains(uuid)) {
                let (commit, at) = (self.commit_id(), self.now());
                let grant = Grant { name: name.clone(), commit, at, author: None, approved: None };
                grants.removed.insert(uuid, grant);
            }
        }
        self.records.grants = Some(Reading::Known(grants));
        self.desired = Some(next);
    }

    pub fn commit(&mut self, yaml: &str) {
        self.commit_with(yaml, None);
    }

    pub fn commit_id(&self) -> String {
        format!("{:0<40}", format!("c{}", self.commits))
    }

    pub fn event(&mut self, event: &Event) {
        self.xen.apply(event).unwrap();
    }

    pub fn observe(&self) -> Observed {
        let file = |file: &File| match file {
            File::File { size } => FileFact::File { size: *size },
            File::Block { size, mounted } => FileFact::Block { size: *size, mounted: *mounted },
            File::Directory => FileFact::Unusable("it is a folder".to_owned()),
        };
        Observed {
            version: INVENTORY_VERSION,
            host: "xen1".parse().unwrap(),
            pool_id: Some(POOL.parse().unwrap()),
            now: self.now(),
            uptime: Some(Uptime { ms: self.xen.now_ms(), steady_ms: self.xen.now_ms() }),
            unwritable: None,
            xen: match self.xen.observe() {
                Ok(observation) => Reading::Known(observation),
                Err(failure) => Reading::unknown("XenstoreLost", failure.message),
            },
            dom0: Dom0Facts {
                bridges: self.host.bridges.clone(),
                allow_paths: vec!["/srv".to_owned()],
                files: self.host.files.iter().map(|(path, at)| (path.clone(), file(at))).collect(),
                files_complete: true,
                marks: BTreeMap::new(),
                memory_reserve_kib: 64 * 1024,
                core_dump_quota_kib: 1024 * 1024,
                toolstacks: self.toolstacks.clone(),
            },
            records: self.records.clone(),
            images: self.images(),
            operations: Vec::new(),
            accepted: Some(AcceptedCommit {
                id: self.commit_id(),
                subject: String::new(),
                author: String::new(),
                at: self.epoch,
            }),
            host_shutdown: self.host_shutdown.clone(),
        }
    }

    fn images(&self) -> BTreeMap<Uuid, Reading<ImageState>> {
        let named = self.records.vms.values().filter_map(Reading::known);
        let named = named.filter_map(|record| Some(ImageRef { vm: record.uuid, image: record.saved.as_ref()?.image }));
        named.map(|image| (image.image, Reading::Known(self.xen.image_state(image)))).collect()
    }

    pub fn plan(&self) -> Plan {
        let observed = self.observe();
        let plan = plan(self.desired.as_ref(), &observed);
        laws::all(self.desired.as_ref(), &observed, &plan)
            .unwrap_or_else(|broken| panic!("{broken}\n{}", planner::render::plan(&plan)));
        plan
    }

    /// One pass: what was planned, and what of it failed.
    pub fn pass(&mut self) -> (Plan, String) {
        let plan = self.plan();
        let mut failures = String::new();
        self.edit(&plan.notes, "");
        for item in plan.items.iter().filter(|item| item.disposition == Disposition::Now) {
            if let Err(message) = self.carry_out(item, Fault::default()) {
                let _ = writeln!(failures, "  failed: {}: {message}", item.object);
            }
        }
        (plan, failures)
    }

    /// Passes until nothing goes now and nothing comes due: what happened, one line per item that went, then what remains.
    pub fn converge(&mut self) -> String {
        let mut text = String::new();
        for pass in 1..=60 {
            let (plan, failures) = self.pass();
            let went: Vec<&Item> = plan.items.iter().filter(|item| item.disposition == Disposition::Now).collect();
            for item in &went {
                let _ = writeln!(text, "{pass:2} {}", line(item));
            }
            text.push_str(&failures);
            if went.is_empty() {
                if let Some(ms) = self.next_moment(&plan) {
                    self.xen.advance(ms);
                    continue;
                }
                for item in &plan.items {
                    let _ = writeln!(text, "   {}", line(item));
                }
                return text;
            }
        }
        panic!("does not settle:\n{text}");
    }

    fn next_moment(&self, plan: &Plan) -> Option<u64> {
        let due = plan.due.map(|due| {
            u64::try_from(due.duration_since(self.now()).as_millis()).unwrap_or(0).max(1) + self.xen.now_ms()
        });
        let waits = plan.items.iter().any(|item| matches!(item.disposition, Disposition::Waiting { .. }));
        let event = self.xen.next_event_ms().filter(|_| waits || due.is_some());
        due.into_iter().chain(event).min()
    }

    /// Approves everything that is held.
    pub fn approve_all(&mut self) {
        for item in self.plan().items.iter().filter(|item| matches!(item.disposition, Disposition::Held { .. })) {
            let (at, expires) = (self.now(), "2027-01-01T00:00:00Z".parse().unwrap());
            let approval = Approval { actor: "root".to_owned(), reason: "test".to_owned(), at, expires };
            self.records.approvals.insert(item.id.clone(), approval);
        }
    }

    /// Lets virtual time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.xen.advance(self.xen.now_ms() + seconds * 1000);
    }
}
