//! `GET /v1/console/vm/{name}`: refuses at once where there is no console, and otherwise becomes one ([`crate::console`]).

use super::documents;
use super::server::{Api, Peer, Refusal, kind, snapshot};
use crate::console::{self, PROTOCOL, Session, Target, Tty, look};
use crate::reconcile::{Note, Reason, note};
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use planner::{ObjectKind, ObjectRef};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct ConsoleQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn attach(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((of, name)): Path<(String, String)>,
    Query(query): Query<ConsoleQuery>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let vm = find(&api, &of, &name)?;
    refuse_without_console(&api, &vm).await?;
    if request.headers().get(header::UPGRADE).is_none_or(|protocol| protocol != PROTOCOL) {
        let message = format!("ask for an upgrade to `{PROTOCOL}`, as `pinfold console` does");
        return Err(Refusal(StatusCode::UPGRADE_REQUIRED, message));
    }
    let actor = peer.actor();
    let key = vm.uuid.map_or_else(|| vm.name.clone(), |uuid| uuid.to_string());
    let hold = api.consoles.take(&key, &actor, query.force, Timestamp::now());
    let hold = hold.map_err(|in_use| Refusal(StatusCode::CONFLICT, in_use.to_string()))?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        tell(&api, &vm, Reason::ConsoleOpened, &actor).await;
        let (snapshot, wake) = (api.snapshot.clone(), api.wake.clone());
        console::run(TokioIo::new(upgraded), Session { vm: vm.clone(), snapshot, wake, hold }).await;
        tell(&api, &vm, Reason::ConsoleClosed, &actor).await;
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

/// The VM of this name.
fn find(api: &Api, of: &str, name: &str) -> Result<ObjectRef, Refusal> {
    let kind = kind(of)?;
    let snapshot = snapshot(api)?;
    let found = snapshot.objects.iter().find(|view| view.object.kind == kind && view.object.name == name);
    match (kind, found) {
        (_, None) => Err(Refusal(StatusCode::NOT_FOUND, documents::missing(&snapshot, kind, name))),
        (ObjectKind::VirtualMachine, Some(view)) => Ok(view.object.clone()),
        (ObjectKind::ForeignDomain, Some(_)) => Err(Refusal(
            StatusCode::CONFLICT,
            format!("domain/{name} is not ours, and pinfold never touches it; `xl console {name}` in dom0 does"),
        )),
        (_, Some(_)) => Err(Refusal(StatusCode::CONFLICT, format!("{}/{name} has no console; a VM has", kind.short()))),
    }
}

/// A VM that is off is waited for; one that runs and cannot be reached is refused.
async fn refuse_without_console(api: &Api, vm: &ObjectRef) -> Result<(), Refusal> {
    let conflict = |message: String| Refusal(StatusCode::CONFLICT, message);
    match look(&*snapshot(api)?, vm) {
        Target::Bare { domid } => {
            Err(conflict(format!("{vm} (domain {domid}) has no text console: an HVM guest has one only with `serial`")))
        }
        Target::At(place) => {
            let opened = tokio::task::spawn_blocking(move || Tty::open(&place.tty).map(drop)).await;
            let opened = opened.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            opened.map_err(|error| conflict(format!("the console of {vm} cannot be reached: {error}")))
        }
        Target::Missing | Target::Unknown(_) | Target::Off { .. } | Target::Building { .. } => Ok(()),
    }
}

/// Whoever had a guest's console is in the journal.
async fn tell(api: &Api, vm: &ObjectRef, reason: Reason, actor: &str) {
    let store = Arc::clone(&api.store);
    let commit = api.snapshot.borrow().as_ref().and_then(|snapshot| snapshot.observed.accepted.clone());
    let message = match reason {
        Reason::ConsoleOpened => format!("somebody is at the console of {vm}"),
        _ => format!("nobody is at the console of {vm} any more"),
    };
    let one = Note { object: Some(vm.clone()), reason, message, actor: Some(actor.to_owned()) };
    // The note itself says so when the journal cannot be written.
    let _ = tokio::task::spawn_blocking(move || note(&store, Timestamp::now(), commit.as_ref(), [one])).await;
}
