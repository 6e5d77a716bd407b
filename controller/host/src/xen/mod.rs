//! The real host: `pinfold-xen serve` is asked what there is, one `pinfold-xen do` carries out each operation.

mod adopted;
mod deadlines;
mod launch;
mod lines;
mod serve;
mod worker;

pub use deadlines::Deadlines;

use crate::clock::Watched;
use crate::dom0::{Eyes, suspects};
use crate::observe::on_disk;
use crate::operations::{self, Marks, Started, Workers};
use crate::store::Store;
use crate::usage::{Meter, Sysfs};
use crate::{Clock, Host, Interest, StartError, Waker};
use planner::{Item, Observed};
use serve::Serve;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use worker::Children;

/// What a daemon's own configuration says about its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The `pinfold-xen` that was built for the running Xen.
    pub worker: PathBuf,
    /// Folders that manifests may name files and devices in, absolute.
    pub allow_paths: Vec<String>,
    /// Host memory that is never given to guests, in KiB.
    pub memory_reserve_kib: u64,
    /// Room in storage for the core dumps of all VMs together, in KiB.
    pub core_dump_quota_kib: u64,
}

/// The host this process runs on.
pub struct XenHost {
    store: Arc<Store>,
    clock: Clock,
    watched: Watched,
    waker: Waker,
    eyes: Eyes,
    serve: Serve,
    children: Children,
}

impl XenHost {
    /// Takes the host over. Nothing is started before the first observation.
    pub fn new(settings: Settings, store: Arc<Store>, clock: Clock, waker: Waker) -> Self {
        Self::with_deadlines(settings, Deadlines::default(), store, clock, waker)
    }

    /// The same with other deadlines.
    pub fn with_deadlines(
        settings: Settings,
        deadlines: Deadlines,
        store: Arc<Store>,
        clock: Clock,
        waker: Waker,
    ) -> Self {
        let Settings { worker, allow_paths, memory_reserve_kib, core_dump_quota_kib } = settings;
        Self {
            store,
            clock,
            watched: Watched::default(),
            eyes: Eyes::new(allow_paths, memory_reserve_kib, core_dump_quota_kib),
            serve: Serve::new(worker.clone(), Arc::clone(&waker), deadlines.answer),
            children: Children::new(worker, Arc::clone(&waker), deadlines),
            waker,
        }
    }
}

impl Host for XenHost {
    fn observe(&mut self, interest: &Interest) -> Observed {
        let now = (self.clock)();
        let under_way = operations::take_in(&self.store, &mut self.children, now);
        let on_disk = on_disk(&self.store, under_way);
        let xen = self.serve.observe();
        let mut paths = operations::recorded_paths(&on_disk.records);
        paths.extend(interest.paths.iter().cloned());
        let mut dom0 = self.eyes.look(&paths);
        dom0.marks = self.children.marks(&operations::marked_paths(&on_disk.records, &interest.paths));
        let images = on_disk.images(|image| self.store.image(image));
        on_disk.with(&self.store, (now.at, self.watched.look(now)), xen, dom0, images, interest)
    }

    fn start(&mut self, item: &Item) -> Result<(), StartError> {
        let now = (self.clock)();
        if operations::start(&self.store, &mut self.children, item, now)? == Started::Finished {
            (self.waker)();
        }
        Ok(())
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(Sysfs { root: PathBuf::from("/") })
    }

    fn suspects(&self) -> Vec<String> {
        suspects(Path::new("/"))
    }

    fn marks(&self, paths: &BTreeSet<String>) -> Marks {
        self.children.marks(paths)
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
