//! Operations from start to end, the same for every kind of host: records, order, work, records, journal.
//!
//! An operation exists while its order file does. Only [`take_in`] ends one, and only at the beginning of an observation: what ends
//! during an observation stays busy in it, so nothing is planned from a picture that is older than the last change.

use crate::store::{Entry, Event, OrderFile, Store, StoreError};
use crate::{Moment, StartError};
use planner::observed::UnderWay;
use planner::record::RECORD_VERSION;
use planner::trash::{DiskMark, Removal, TrashedDisk};
use planner::{Disposition, Item, Work};
use protocol::{Done, Failure, FailureKind, Outcome, Reading, Request, Took};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uuid::Uuid;

/// Marks of disks, by path.
pub(crate) type Marks = BTreeMap<String, Reading<DiskMark>>;

/// Whoever carries out requests.
pub(crate) trait Workers {
    /// Starts the worker of an order. A failure means that none runs.
    fn spawn(&mut self, store: &Store, order: &OrderFile, request: &Request) -> Result<(), Failure>;

    /// What became of the worker of an order, whoever started it. One that is past its deadline now is made to end.
    fn fate(&mut self, store: &Store, order: &OrderFile, now: Moment) -> Fate;

    /// Its end is written down: it will not be asked for again.
    fn forget(&mut self, id: Uuid);

    /// What tells disks from others in their place, by path.
    fn marks(&self, paths: &BTreeSet<String>) -> Marks;
}

/// What became of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It works.
    Working,
    /// It does not, and left this.
    Ended(End),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Done, or the failure.
    pub(crate) result: Result<Done, Failure>,
    /// What libxl logged meanwhile.
    pub(crate) log: Vec<String>,
    /// How long it took, when its worker lived to say so.
    pub(crate) took: Option<Took>,
}

/// Whether work goes on after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It does.
    UnderWay,
    /// It was done at once: look again.
    Finished,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self { result: outcome.result, log: outcome.log, took: outcome.took }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self { result: Err(failure), log: Vec::new(), took: None }
    }
}

/// Takes the outcomes of operations that ended into the records, and answers those that have not.
pub(crate) fn take_in(store: &Store, workers: &mut dyn Workers, now: Moment) -> Reading<Vec<UnderWay>> {
    let orders = match store.orders() {
        Reading::Known(orders) => orders,
        Reading::Unknown(cause) => return Reading::Unknown(cause),
    };
    let under_way = orders.into_iter().filter_map(|order| {
        let end = if store.is_locked() { end_of(store, workers, &order, now) } else { None };
        let note = match end.map(|end| settle(store, &order, &end, now)) {
            None => None,
            Some(Ok(())) => {
                workers.forget(order.id);
                return None;
            }
            // Nothing is lost: outcome and order stay, and it is tried again with the next observation.
            Some(Err(error)) => Some(error.chain()),
        };
        Some(under_way(&order, note))
    });
    Reading::Known(under_way.collect())
}

/// Starts the operation of an item.
pub(crate) fn start(store: &Store, workers: &mut dyn Workers, item: &Item, now: Moment) -> Result<Started, StartError> {
    let refused = |message: &str| StartError {
        what: format!("start {}", item.object),
        message: message.to_owned(),
        unwritable: false,
    };
    let operation = item.operation.as_ref().ok_or_else(|| refused("this item has no operation"))?;
    if item.disposition != Disposition::Now {
        return Err(refused("this item is not due"));
    }
    store.apply(&operation.before, None).map_err(|error| start_error("write the records", &error))?;
    let order = OrderFile {
        version: RECORD_VERSION,
        id: Uuid::new_v4(),
        item: item.id.clone(),
        commit: item.commit.clone(),
        object: item.object.clone(),
        action: item.action,
        reason: item.reason.clone(),
        since: now.at,
        up_ms: Some(now.up_ms),
        trail: item.trail.clone(),
        operation: operation.clone(),
    };
    match &operation.work {
        Work::Records => {
            announce(store, &order).map_err(|error| start_error("write the journal", &error))?;
            store.apply(&operation.on_success, None).map_err(|error| start_error("write the records", &error))?;
            Ok(Started::Finished)
        }
        Work::Trash { .. } | Work::Restore { .. } | Work::Purge { .. } => {
            place_order(store, &order)?;
            let end = storage(store, workers, &order);
            // What cannot be settled now is taken in with the next observation.
            let _ = settle(store, &order, &end, now);
            Ok(Started::Finished)
        }
        Work::Xen(request) => {
            place_order(store, &order)?;
            match workers.spawn(store, &order, request) {
                Ok(()) => Ok(Started::UnderWay),
                Err(failure) => {
                    let _ = settle(store, &order, &failure.into(), now);
                    Ok(Started::Finished)
                }
            }
        }
    }
}

/// Paths in dom0 that the records name: what brings guests back when the manifests cannot be read must be looked at too.
pub(crate) fn recorded_paths(records: &planner::record::Records) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for record in records.vms.values().filter_map(Reading::known) {
        paths.extend(record.wanted.disks.iter().map(|disk| disk.path.clone()));
        paths.extend(record.wanted.drives().iter().filter_map(|drive| drive.medium.clone()));
        if let protocol::BootConfig::Kernel { kernel, ramdisk, cmdline: _ } = &record.wanted.boot {
            paths.insert(kernel.clone());
            paths.extend(ramdisk.clone());
        }
    }
    paths
}

fn place_order(store: &Store, order: &OrderFile) -> Result<(), StartError> {
    store.write_order(order).map_err(|error| start_error("write the order", &error))?;
    announce(store, order).map_err(|error| {
        // Nothing has begun: an order that cannot be taken back is found without a worker, and ends as a failure.
        let _ = store.close_order(order.id);
        start_error("write the journal", &error)
    })
}

fn announce(store: &Store, order: &OrderFile) -> Result<(), StoreError> {
    let event = Event::Started {
        operation: order.id,
        item: order.item.clone(),
        action: order.action,
        reason: order.reason.clone(),
        approved: order.trail.approved.clone(),
        work: Box::new(order.operation.work.clone()),
    };
    store.journal(&entry(order, order.since, event))
}

fn end_of(store: &Store, workers: &mut dyn Workers, order: &OrderFile, now: Moment) -> Option<End> {
    match &order.operation.work {
        // Found by another daemon than the one that began it. Both may be done again.
        Work::Trash { .. } | Work::Restore { .. } | Work::Purge { .. } => Some(storage(store, workers, order)),
        Work::Records => Some(done()),
        Work::Xen(_) => match workers.fate(store, order, now) {
            Fate::Working => None,
            Fate::Ended(end) => Some(end),
        },
    }
}

/// Writes down how an operation ended, then forgets its order.
fn settle(store: &Store, order: &OrderFile, end: &End, now: Moment) -> Result<(), StoreError> {
    match &end.result {
        Ok(_) => store.apply(&order.operation.on_success, None)?,
        // The request reached the guest, which is all that can be asked of it: what follows is the planner's patience.
        Err(failure) if failure.kind == FailureKind::GuestIgnored => store.apply(&order.operation.on_success, None)?,
        Err(failure) => {
            let message = message(failure, &end.log);
            let failed = crate::store::Failed { message: &message, at: now.at };
            store.apply(&order.operation.on_failure, Some(failed))?;
        }
    }
    let event = Event::Ended {
        operation: order.id,
        item: Some(order.item.clone()),
        action: order.action,
        failure: end.result.as_ref().err().cloned(),
        log: bounded(&end.log),
        took: end.took,
    };
    store.journal(&entry(order, now.at, event))?;
    store.close_order(order.id)
}

/// Work on the storage, which needs no worker. Doing it again changes nothing.
fn storage(store: &Store, workers: &dyn Workers, order: &OrderFile) -> End {
    let done_or_not = match &order.operation.work {
        Work::Trash { uuid, name, purge_after } => {
            let removal = removal(store, workers, order, *uuid, *purge_after);
            store.trash(name, &removal)
        }
        Work::Restore { uuid, folder } => store.restore(*uuid, folder),
        Work::Purge { folder } => store.purge(folder),
        Work::Xen(_) | Work::Records => Ok(()),
    };
    match done_or_not {
        Ok(()) => done(),
        Err(error) => Failure::new(FailureKind::Refused, "rename", error.chain()).into(),
    }
}

/// How a VM comes into the trash. Its domain is gone: its disks are as they stay.
fn removal(
    store: &Store,
    workers: &dyn Workers,
    order: &OrderFile,
    uuid: Uuid,
    purge_after: jiff::Timestamp,
) -> Removal {
    let record = store.vm(uuid);
    let record = record.as_ref().and_then(Reading::known);
    let paths: BTreeSet<String> =
        record.iter().flat_map(|record| &record.wanted.disks).map(|disk| disk.path.clone()).collect();
    let disks = workers.marks(&paths).into_iter().map(|(path, mark)| TrashedDisk { path, mark });
    Removal {
        version: RECORD_VERSION,
        uuid,
        at: order.since,
        purge_after,
        commit: order.commit.clone(),
        author: order.trail.author.clone(),
        approved: order.trail.approved.clone(),
        disks: disks.collect(),
    }
}

/// Disks that the accepted commit names and that a VM in the trash had: nobody else's are looked into.
pub(crate) fn marked_paths(records: &planner::record::Records, named: &BTreeSet<String>) -> BTreeSet<String> {
    let removals = records.trash.values().filter(|trashed| !records.vms.contains_key(&trashed.uuid));
    let removals = removals.filter_map(|trashed| trashed.removal.as_ref().and_then(Reading::known));
    removals
        .flat_map(|removal| &removal.disks)
        .map(|disk| disk.path.clone())
        .filter(|path| named.contains(path))
        .collect()
}

/// The end of what no worker did.
fn done() -> End {
    End { result: Ok(Done::default()), log: Vec::new(), took: None }
}

/// Log lines that a record and a condition can hold: the last ones, which tell the cause.
const LINES: usize = 8;
/// Characters of one such line.
const LINE: usize = 240;

fn bounded(log: &[String]) -> Vec<String> {
    let tail = &log[log.len().saturating_sub(LINES)..];
    tail.iter().map(|line| line.chars().take(LINE).collect()).collect()
}

/// A failure in a sentence: the call, its return code, and libxl's own words.
fn message(failure: &Failure, log: &[String]) -> String {
    let mut text: String = failure.to_string().chars().take(4 * LINE).collect();
    let codes: Vec<String> = [("rc", failure.rc), ("errno", failure.errno)]
        .into_iter()
        .filter_map(|(name, code)| code.map(|code| format!("{name} {code}")))
        .collect();
    if !codes.is_empty() {
        let _ = write!(text, " ({})", codes.join(", "));
    }
    let lines = bounded(log);
    if !lines.is_empty() {
        let _ = write!(text, "; libxl said: {}", lines.join(" | "));
    }
    text
}

fn under_way(order: &OrderFile, unwritten: Option<String>) -> UnderWay {
    let work = match &order.operation.work {
        Work::Xen(request) => verb(request),
        Work::Trash { .. } => "move to the trash",
        Work::Restore { .. } => "move back from the trash",
        Work::Purge { .. } => "purge from the trash",
        Work::Records => "write records",
    };
    UnderWay {
        id: order.id,
        object: order.object.clone(),
        what: work.to_owned(),
        since: order.since,
        request: order.request().cloned(),
        unwritten,
    }
}

fn verb(request: &Request) -> &'static str {
    match request {
        Request::ShapeCpupool(_) => "shape cpupool",
        Request::RenameCpupool { .. } => "rename cpupool",
        Request::DestroyCpupool { .. } => "destroy cpupool",
        Request::FeedPool0 { .. } => "give pCPUs to Pool-0",
        Request::CreateDomain(_) => "create domain",
        Request::ShutdownDomain { .. } => "ask the guest to power off",
        Request::PressPowerButton { .. } => "press the guest's ACPI power button",
        Request::DestroyDomain { .. } => "destroy domain",
        Request::DumpDomain { .. } => "dump core",
        Request::PauseDomain { .. } => "pause",
        Request::SaveDomain { .. } => "write its memory to disk",
        Request::ResumeDomain { .. } => "let it go on",
        Request::RestoreDomain { .. } => "build it from its memory on disk",
        Request::DiscardImage { .. } => "take its memory on disk away",
        Request::UnpauseDomain { .. } => "verify and unpause",
        Request::MoveDomain { .. } => "move to another cpupool",
        Request::SetAffinity { .. } => "set hard affinity",
        Request::SetSched { .. } => "set weight and cap",
        Request::SetMemory { .. } => "set memory target",
        Request::SetVcpus { .. } => "set online vCPUs",
        Request::AttachDisk { .. } => "attach disk",
        Request::DetachDisk { .. } => "detach disk",
        Request::SetMedium { .. } => "change the medium in a drive",
        Request::AttachNic { .. } => "attach NIC",
        Request::DetachNic { .. } => "detach NIC",
        Request::RenameDomain { .. } => "rename domain",
        Request::ClaimDomain { .. } => "claim domain",
    }
}

fn entry(order: &OrderFile, at: jiff::Timestamp, event: Event) -> Entry {
    let (object, commit, author) = (Some(order.object.clone()), order.commit.clone(), order.trail.author.clone());
    Entry { object, commit, author, ..Entry::new(at, event) }
}

fn start_error(what: &str, error: &StoreError) -> StartError {
    StartError { what: what.to_owned(), message: error.chain(), unwritable: true }
}
