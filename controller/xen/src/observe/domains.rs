//! Domains: what Xen keeps of them, and what libxl wrote to xenstore about them.

use super::devices::Backends;
use super::stored::{is_libvirts, stored};
use crate::device_model;
use crate::libxl::{List, Store, uuid_of};
use crate::monitor;
use crate::xen::Xen;
use libxl_sys as sys;
use operation::Identity;
use protocol::{
    Domain, DomainHvm, DomainKind, DomainMemory, DomainState, Failure, FailureKind, Mark, Reading, ShutdownReason,
    Stored, Toolstack, Vcpu,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use uuid::Uuid;

/// All domains but dom0, dying ones included.
pub(crate) fn domains(xen: &Xen) -> Result<Vec<Domain>, Failure> {
    read(xen, |_| true)
}

/// One of them, if there is one of this number.
pub(crate) fn domain(xen: &Xen, domid: u32) -> Result<Option<Domain>, Failure> {
    Ok(read(xen, |other| other == domid)?.pop())
}

/// What tells all of them apart.
pub(crate) fn identities(xen: &Xen) -> Result<Vec<Identity>, Failure> {
    check_remembers(xen)?;
    let identity = |info: &sys::libxl_dominfo| -> Result<Identity, Failure> {
        let name = xen.store.read(&format!("/local/domain/{}/name", info.domid))?;
        Ok(Identity { domid: info.domid, uuid: uuid_of(info.uuid), name, dying: info.dying })
    };
    List::domains(&xen.libxl)?.iter().filter(|info| info.domid != 0).map(identity).collect()
}

/// The domains that are `asked` for by their numbers, dom0 never.
///
/// Domains come and go while they are read, so Xen is asked twice: one that is gone the second time is left out, since what xenstore said about it was torn.
fn read(xen: &Xen, asked: impl Fn(u32) -> bool) -> Result<Vec<Domain>, Failure> {
    check_remembers(xen)?;
    let first = List::domains(&xen.libxl)?;
    let backends = Backends::read(&xen.store)?;
    let watched = monitor::watched()?;
    let mut domains = first
        .iter()
        .filter(|info| info.domid != 0 && asked(info.domid))
        .map(|info| read_one(xen, &backends, &watched, info))
        .collect::<Result<Vec<_>, _>>()?;
    let second = List::domains(&xen.libxl)?;
    let still: BTreeMap<u32, &sys::libxl_dominfo> = second.iter().map(|info| (info.domid, info)).collect();
    xen.origins.borrow_mut().retain(|domid, _| still.contains_key(domid));
    let mut lost = None;
    domains.retain_mut(|domain| {
        let Some(info) = still.get(&domain.domid).filter(|info| uuid_of(info.uuid) == domain.uuid) else {
            return false;
        };
        // Every toolstack introduces a domain before it runs and pauses it before its entries go: one that ran before and after its
        // name was looked for has been forgotten.
        if domain.name.is_none() && domain.state == DomainState::Running && state(info) == DomainState::Running {
            lost = Some(domain.domid);
        }
        // The end of a domain is never older than what was read about it.
        domain.state = state(info);
        true
    });
    if let Some(domid) = lost {
        return Err(forgotten(&format!("domain {domid} runs and is not in it")));
    }
    Ok(domains)
}

/// One domain. What dies while it is read shows as unknown vCPUs, or goes in the second listing.
fn read_one(
    xen: &Xen,
    backends: &Backends,
    watched: &BTreeSet<String>,
    info: &sys::libxl_dominfo,
) -> Result<Domain, Failure> {
    let store = &xen.store;
    let domid = info.domid;
    let home = format!("/local/domain/{domid}");
    let kib = |node: &str| -> Result<Option<u64>, Failure> {
        Ok(store.read(&format!("{home}/memory/{node}"))?.and_then(|text| text.parse().ok()))
    };
    let name = store.read(&format!("{home}/name"))?;
    let Origin { kind, mark, ready, is_libvirts, stored, .. } = origin(xen, info, name.is_some())?;
    let is_watched = name.as_ref().is_some_and(|name| watched.contains(name));
    let toolstack = if is_libvirts { Some(Toolstack::Libvirt) } else { is_watched.then_some(Toolstack::Xl) };
    let (vcpus_asked, console) = match mark {
        Some(_) => (vcpus_asked(store, &home)?, console(store, &home, kind)?),
        None => (None, None),
    };
    let mut hvm = match kind {
        Some(DomainKind::Hvm) => hvm(xen, &home, info)?,
        _ => None,
    };
    let disks = backends.disks(store, domid, mark.is_some(), hvm.as_mut().map(|hvm| &mut hvm.cdroms))?;
    // libxl keeps the graphics card's memory out of what it asks for (`libxl_set_memory_target`, libxl_mem.c), and not out of what is asked of it.
    let video_kib = if kind == Some(DomainKind::Hvm) { kib("videoram")?.unwrap_or(0) } else { 0 };
    let target_kib = kib("target")?.map(|target| target.saturating_add(video_kib));
    Ok(Domain {
        domid,
        uuid: uuid_of(info.uuid),
        name,
        kind,
        state: state(info),
        // A dying domain has left its pool (XEN_DOMCTL_getdomaininfo: CPUPOOLID_NONE).
        poolid: Some(info.cpupool).filter(|poolid| *poolid != u32::MAX),
        vcpus: match List::vcpus(&xen.libxl, domid) {
            // For a domain that has just been made, and has no vCPU yet, libxl fails.
            Err(_) if info.vcpu_max_id == NO_VCPU => Reading::Known(Vec::new()),
            Ok(vcpus) => Reading::Known(
                vcpus.readings().map(|(id, online, hard, soft)| Vcpu { id, online, hard, soft: Some(soft) }).collect(),
            ),
            Err(failure) => Reading::unknown("VcpusUnreadable", failure.to_string()),
        },
        vcpus_asked,
        memory: DomainMemory { current_kib: info.current_memkb, target_kib, static_max_kib: kib("static-max")? },
        sched: match xen.libxl.sched(domid) {
            Ok(sched) => Reading::Known(sched),
            Err(failure) => Reading::unknown("SchedUnreadable", failure.to_string()),
        },
        mark,
        ready,
        disks,
        nics: backends.nics(store, domid, mark.is_some())?,
        hvm,
        cpu_time_ns: info.cpu_time,
        console,
        stored: stored.map(Box::new),
        toolstack,
    })
}

/// What only HVM has. One that ends while it is asked has none.
fn hvm(xen: &Xen, home: &str, info: &sys::libxl_dominfo) -> Result<Option<DomainHvm>, Failure> {
    let pv_drivers = match xen.control.has_pv_drivers(info.domid) {
        Ok(pv_drivers) => pv_drivers,
        Err(failure) if failure.kind == FailureKind::Stale || info.dying => return Ok(None),
        Err(failure) => return Err(failure),
    };
    // QEMU's own word for where it listens, which libxl asks it for when it has started it (libxl_dm.c, `device_model_postconfig_vnc`). Of a
    // Unix socket QEMU says that its path is the port.
    let vnc = xen.store.read(&format!("{home}/console/vnc-port"))?.filter(|port| port.starts_with('/'));
    // Guests cannot write this node. libxl removes it with the domain (`libxl__spawn_local_dm` and `kill_device_model`, libxl_dm.c).
    let pid = xen.store.read(&format!("{home}/image/device-model-pid"))?.and_then(|pid| pid.parse().ok());
    let device_model_gone = pid.is_some_and(|pid| device_model::is_gone(Path::new("/proc"), pid, info.domid));
    Ok(Some(DomainHvm { pv_drivers, cdroms: Vec::new(), vnc, device_model_gone }))
}

/// Where its text console is, as `libxl_primary_console_get_tty` looks for it. Read every time: xenconsoled, started again, puts all
/// consoles onto other terminals, and an old number may by then be another guest's, or somebody's login. Guests cannot write these nodes.
fn console(store: &Store, home: &str, kind: Option<DomainKind>) -> Result<Option<String>, Failure> {
    let node = match kind {
        Some(DomainKind::Hvm) => "serial/0/tty",
        Some(DomainKind::Pv | DomainKind::Pvh) => "console/tty",
        None => return Ok(None),
    };
    // xenconsoled makes the node when the domain is introduced, empty until it has a terminal.
    Ok(store.read(&format!("{home}/{node}"))?.filter(|tty| !tty.is_empty()))
}

/// How many vCPUs the guest is asked to use: libxl writes a node for each that the domain was built with (`libxl__build_post`, libxl_dom.c),
/// and changes them on request (`libxl_set_vcpuonline`).
fn vcpus_asked(store: &Store, home: &str) -> Result<Option<u32>, Failure> {
    let mut asked = None;
    for vcpu in store.names(&format!("{home}/cpu"))? {
        let Some(text) = store.read(&format!("{home}/cpu/{vcpu}/availability"))? else { continue };
        *asked.get_or_insert(0) += u32::from(text == "online");
    }
    Ok(asked)
}

/// `XEN_INVALID_MAX_VCPU_ID` (xen/include/public/domctl.h).
const NO_VCPU: u32 = u32::MAX;

/// What it does.
fn state(info: &sys::libxl_dominfo) -> DomainState {
    if info.dying {
        DomainState::Dying
    } else if info.shutdown {
        DomainState::Shutdown(shutdown_reason(info.shutdown_reason))
    } else if info.paused {
        DomainState::Paused
    } else {
        DomainState::Running
    }
}

/// Why it ended; what no header names counts as a crash.
fn shutdown_reason(reason: sys::libxl_shutdown_reason) -> ShutdownReason {
    match reason {
        sys::libxl_shutdown_reason::LIBXL_SHUTDOWN_REASON_POWEROFF => ShutdownReason::Poweroff,
        sys::libxl_shutdown_reason::LIBXL_SHUTDOWN_REASON_REBOOT => ShutdownReason::Reboot,
        sys::libxl_shutdown_reason::LIBXL_SHUTDOWN_REASON_SUSPEND => ShutdownReason::Suspend,
        sys::libxl_shutdown_reason::LIBXL_SHUTDOWN_REASON_WATCHDOG => ShutdownReason::Watchdog,
        sys::libxl_shutdown_reason::LIBXL_SHUTDOWN_REASON_SOFT_RESET => ShutdownReason::SoftReset,
        _ => ShutdownReason::Crash,
    }
}

/// How libxl built it.
fn kind(text: Option<&str>) -> Option<DomainKind> {
    match text? {
        "pv" => Some(DomainKind::Pv),
        "pvh" => Some(DomainKind::Pvh),
        "hvm" => Some(DomainKind::Hvm),
        _ => None,
    }
}

/// How a domain was made: what is written while it is made, and never again but for a claim.
#[derive(Clone)]
pub(crate) struct Origin {
    uuid: Uuid,
    kind: Option<DomainKind>,
    mark: Option<Mark>,
    ready: bool,
    /// Only of domains without our mark, and of those that are not ready.
    stored: Option<Stored>,
    is_libvirts: bool,
}

/// Reads how a domain was made; once that is complete it is remembered, which halves the reads of an observation.
///
/// Name and mark are written in one transaction, and `ready` is the last to come; but a domain without a mark may be claimed at any time, so its mark is looked for again.
fn origin(xen: &Xen, info: &sys::libxl_dominfo, named: bool) -> Result<Origin, Failure> {
    let uuid = uuid_of(info.uuid);
    let mut origins = xen.origins.borrow_mut();
    if let Some(origin) = origins.get(&info.domid).filter(|origin| origin.uuid == uuid) {
        let is_claimed = origin.mark.is_none() && !xen.store.names(&mark_folder(info.domid))?.is_empty();
        if !is_claimed {
            return Ok(origin.clone());
        }
    }
    let kind = kind(xen.store.read(&format!("/libxl/{}/type", info.domid))?.as_deref());
    let (mark, ready) = mark(&xen.store, info.domid)?;
    // One that bears our mark and was never verified may be another tool's: libxl keeps the mark in what `xl save` writes.
    let (stored, is_libvirts) = match mark {
        Some(_) if ready => (None, false),
        _ => (stored(info.domid, uuid)?, is_libvirts(info.domid, uuid)),
    };
    let origin = Origin { uuid, kind, mark, ready, stored, is_libvirts };
    // libxl writes its configuration near the end of a creation.
    let is_complete = if mark.is_some() { ready } else { origin.stored.is_some() };
    if named && kind.is_some() && is_complete {
        origins.insert(info.domid, origin.clone());
    }
    Ok(origin)
}

fn mark_folder(domid: u32) -> String {
    format!("/local/domain/{domid}/pinfold")
}

/// Our mark and whether the domain was verified. A mark that cannot be read whole is none: libxl writes it in one transaction.
fn mark(store: &Store, domid: u32) -> Result<(Option<Mark>, bool), Failure> {
    let folder = mark_folder(domid);
    let names = store.names(&folder)?;
    if names.is_empty() {
        return Ok((None, false));
    }
    let node = |name: &str| -> Result<Option<Uuid>, Failure> {
        Ok(store.read(&format!("{folder}/{name}"))?.and_then(|text| text.parse().ok()))
    };
    let mark = match (node("pool")?, node("uuid")?, node("incarnation")?) {
        (Some(pool_id), Some(uuid), Some(incarnation)) => Some(Mark { pool_id, uuid, incarnation }),
        _ => None,
    };
    Ok((mark, names.iter().any(|name| name == "ready")))
}

/// Refuses a xenstored that does not know what it always knows.
fn check_remembers(xen: &Xen) -> Result<(), Failure> {
    match xen.store.read("/local/domain/0/name")? {
        Some(_) => Ok(()),
        None => Err(forgotten("it does not know dom0")),
    }
}

/// xenstored answers, but what it held is gone: it was started again. No mark and no name can be trusted to be absent.
fn forgotten(what: &str) -> Failure {
    Failure::new(
        FailureKind::XenstoreLost,
        "xs_read",
        format!(
            "xenstored was restarted and has lost its contents: {what}. Guests run on; reboot the host when they may stop"
        ),
    )
}
