//! Who may go now: every operation claims what it touches, and what is claimed by an operation under way or by an earlier item waits.
//!
//! The order of items is the order of claims, so releases come before claims. Claims follow the locks that workers take
//! ([`protocol::Request::locks`]), and add what a lock does not say: a cpupool is not reshaped while a domain is on its way into or out of it.

use crate::draft::Draft;
use crate::observed::UnderWay;
use crate::world::World;
use crate::{Disposition, Item, ObjectKind, ObjectRef, Operation, RecordEdit, Work};
use protocol::{CpuSet, Lock, Placement, Request};
use uuid::Uuid;

/// Something that can be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Object(ObjectKind, String),
    Lock(Lock),
    /// The record of grants, which is written whole.
    Grants,
    /// A domain runs in, enters or leaves the pool; `None` is Pool-0.
    Inhabit(Option<Uuid>),
    /// The pool's pCPUs change.
    Reshape(Option<Uuid>),
}

impl Claim {
    fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inhabit(a), Self::Reshape(b)) | (Self::Reshape(a), Self::Inhabit(b)) => a == b,
            (Self::Inhabit(_), Self::Inhabit(_)) => false,
            (a, b) => a == b,
        }
    }
}

/// Decides which drafts go now, in their order; the others wait for the one that is before them.
pub(crate) fn decide(world: &World, mut drafts: Vec<Draft>) -> Vec<Item> {
    drafts.sort_by(|a, b| (a.rank, &a.item.object).cmp(&(b.rank, &b.item.object)));
    let mut taken: Vec<(Claim, String)> = Vec::new();
    for operation in &world.observed.operations {
        let by = format!("{}: {} is under way", operation.object, operation.what);
        taken.extend(claims_under_way(world, operation).into_iter().map(|claim| (claim, by.clone())));
    }
    let mut items = Vec::with_capacity(drafts.len());
    for Draft { mut item, .. } in drafts {
        if let (Disposition::Now, Some(operation)) = (&item.disposition, &item.operation) {
            let claims = claims(world, &item.object, operation);
            if let Some((claim, by)) = taken.iter().find(|(claim, _)| claims.iter().any(|own| own.conflicts(claim))) {
                let on = match claim {
                    Claim::Lock(Lock::Memory) => format!("{by}; one domain is built at a time"),
                    Claim::Lock(Lock::Cpupools) => format!("{by}; one cpupool is changed at a time"),
                    _ => by.clone(),
                };
                item.disposition = Disposition::Waiting { on };
                item.operation = None;
            } else {
                let by = format!("{}: {}", item.object, crate::render::doing(item.action));
                taken.extend(claims.into_iter().map(|claim| (claim, by.clone())));
            }
        }
        items.push(item);
    }
    items
}

fn object_claim(object: &ObjectRef) -> Claim {
    Claim::Object(object.kind, object.uuid.map_or_else(|| object.name.clone(), |uuid| uuid.to_string()))
}

fn claims(world: &World, object: &ObjectRef, operation: &Operation) -> Vec<Claim> {
    let mut claims = vec![object_claim(object)];
    if operation.before.iter().any(|edit| matches!(edit, RecordEdit::Grants(_))) {
        claims.push(Claim::Grants);
    }
    match &operation.work {
        Work::Xen(request) => claims.extend(request_claims(world, request)),
        Work::Trash { uuid, .. } | Work::Restore { uuid, .. } => claims.push(Claim::Lock(Lock::Vm(*uuid))),
        Work::Purge { .. } | Work::Records => {}
    }
    claims
}

/// An operation of an earlier daemon may only be known by its lock: then it may be anything that takes this lock.
fn claims_under_way(world: &World, operation: &UnderWay) -> Vec<Claim> {
    let mut claims = vec![object_claim(&operation.object)];
    if let Some(request) = &operation.request {
        claims.extend(request_claims(world, request));
        return claims;
    }
    match operation.object.kind {
        ObjectKind::VirtualMachine => {
            claims.push(Claim::Lock(Lock::Memory));
            claims.extend(operation.object.uuid.map(|uuid| Claim::Lock(Lock::Vm(uuid))));
            let pools = world.cpupools.unwrap_or_default().iter().filter(|pool| pool.poolid != crate::world::POOL0);
            claims.extend(pools.filter_map(|pool| pool.uuid).map(|uuid| Claim::Inhabit(Some(uuid))));
            claims.push(Claim::Inhabit(None));
        }
        ObjectKind::CorePartition | ObjectKind::ForeignCpupool => claims.push(Claim::Lock(Lock::Cpupools)),
        ObjectKind::Host | ObjectKind::ForeignDomain => {
            claims.extend([Claim::Lock(Lock::Cpupools), Claim::Lock(Lock::Memory)]);
        }
    }
    claims
}

fn request_claims(world: &World, request: &Request) -> Vec<Claim> {
    let mut claims: Vec<Claim> = request.locks().into_iter().map(Claim::Lock).collect();
    match request {
        Request::ShapeCpupool(shape) => {
            claims.push(Claim::Reshape(Some(shape.uuid)));
            if !shape.take.is_empty() {
                claims.push(Claim::Reshape(None));
            }
        }
        Request::DestroyCpupool { uuid } => claims.push(Claim::Reshape(Some(*uuid))),
        Request::CreateDomain(config) | Request::RestoreDomain { config, .. } => {
            claims.extend(inhabit(world, &config.placement));
        }
        Request::UnpauseDomain { target, placement }
        | Request::ResumeDomain { target, placement, .. }
        | Request::MoveDomain { target, placement } => {
            claims.extend(inhabit(world, placement));
            claims.extend(current_pool(world, target.domid));
        }
        Request::SetAffinity { target, hard, soft: _ } => {
            claims.extend(current_pool(world, target.domid).filter(|pool| !everywhere(world, pool, hard)));
        }
        Request::RenameCpupool { .. }
        | Request::FeedPool0 { .. }
        | Request::ShutdownDomain { .. }
        | Request::PressPowerButton { .. }
        | Request::SetMedium { .. }
        | Request::DestroyDomain { .. }
        | Request::DumpDomain { .. }
        | Request::PauseDomain { .. }
        | Request::SaveDomain { .. }
        | Request::DiscardImage { .. }
        | Request::SetSched { .. }
        | Request::SetMemory { .. }
        | Request::SetVcpus { .. }
        | Request::AttachDisk { .. }
        | Request::DetachDisk { .. }
        | Request::AttachNic { .. }
        | Request::DetachNic { .. }
        | Request::RenameDomain { .. }
        | Request::ClaimDomain { .. } => {}
    }
    claims
}

/// A domain in Pool-0 whose masks are *all* does not mind which pCPUs Pool-0 has.
fn everywhere(world: &World, pool: &Claim, hard: &[CpuSet]) -> bool {
    *pool == Claim::Inhabit(None) && hard.iter().all(|mask| world.topology.is_all(mask))
}

fn inhabit(world: &World, placement: &Placement) -> Option<Claim> {
    let claim = Claim::Inhabit(placement.cpupool);
    (!everywhere(world, &claim, &placement.hard)).then_some(claim)
}

fn current_pool(world: &World, domid: u32) -> Option<Claim> {
    let domain = world.domains?.iter().find(|domain| domain.domid == domid)?;
    let pool = world.cpupools?.iter().find(|pool| Some(pool.poolid) == domain.poolid)?;
    Some(Claim::Inhabit(if pool.poolid == crate::world::POOL0 { None } else { pool.uuid }))
}
