//! Serves the API. Reads the last snapshot, never the host; hands verbs to the driver and waits for its answer.

use super::access::Sockets;
use super::console;
use super::documents;
use super::usage::{Counters, usage};
use super::view::{
    AcceptHistoryCall, Answer, ApproveCall, FreezeCall, Head, OverrideCall, OverrideKind, TrashPurgeCall,
    TrashRestoreCall, UnfreezeCall,
};
use super::watch;
use crate::console::Holders;
use crate::metrics;
use crate::reconcile::{self, Event, Snapshot, Verb, VerbCall, Wake};
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Json, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use host::{Meter, Store};
use jiff::Timestamp;
use planner::ObjectKind;
use planner::config::Power;
use serde::Deserialize;
use std::future::IntoFuture;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::sync::watch::Receiver;

/// The driver answers a verb between two passes; longer than this and it hangs.
const VERB_DEADLINE: Duration = Duration::from_secs(30);

/// Entries of the journal that are looked through.
const JOURNAL_ENTRIES: usize = 10_000;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    /// The last pass; `None` before the first one.
    pub snapshot: Receiver<Option<Arc<Snapshot>>>,
    /// Verbs, bounded: a full queue is an answer too.
    pub verbs: SyncSender<VerbCall>,
    /// Makes the driver look at its verbs.
    pub wake: Wake,
    /// For the journal.
    pub store: Arc<Store>,
    /// What domains have used.
    pub meter: Arc<dyn Meter>,
    /// Who is at which console.
    pub consoles: Holders,
}

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

impl Peer {
    pub(super) fn actor(self) -> String {
        match self.uid {
            Some(uid) => format!("uid {uid}"),
            None => "unknown uid".to_owned(),
        }
    }
}

/// Serves both sockets, for ever.
pub async fn serve(sockets: Sockets, api: Api) -> io::Result<()> {
    let read = UnixListener::from_std(sockets.read)?;
    let admin = UnixListener::from_std(sockets.admin)?;
    let reading = reading().with_state(api.clone()).into_make_service_with_connect_info::<Peer>();
    let changing = reading_and_changing().with_state(api).into_make_service_with_connect_info::<Peer>();
    let (one, other) =
        tokio::join!(axum::serve(read, reading).into_future(), axum::serve(admin, changing).into_future());
    one.and(other)
}

fn reading() -> Router<Api> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/objects", get(objects))
        .route("/v1/objects/{kind}/{name}", get(object))
        .route("/v1/plan", get(plan))
        .route("/v1/inventory", get(inventory))
        .route("/v1/events", get(events))
        .route("/v1/usage", get(usage_now))
        .route("/v1/trash", get(trash))
        .route("/metrics", get(metrics_text))
        .fallback(|| async { Refusal(StatusCode::NOT_FOUND, "there is nothing here; see `pinfold status`".to_owned()) })
}

fn reading_and_changing() -> Router<Api> {
    reading()
        .route("/v1/sync", post(sync))
        .route("/v1/approve", post(approve))
        .route("/v1/freeze", post(freeze))
        .route("/v1/unfreeze", post(unfreeze))
        .route("/v1/override", post(override_power))
        .route("/v1/follow", post(follow))
        .route("/v1/trash/restore", post(trash_restore))
        .route("/v1/trash/purge", post(trash_purge))
        .route("/v1/accept-history", post(accept_history))
        .route("/v1/console/{kind}/{name}", get(console::attach))
}

/// An answer that says what is wrong.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Answer { head: Head::of("Error"), message: self.1 })).into_response()
    }
}

pub(super) fn snapshot(api: &Api) -> Result<Arc<Snapshot>, Refusal> {
    let starting = || {
        Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon starts: it has not looked at the host yet; try again".to_owned(),
        )
    };
    api.snapshot.borrow().clone().ok_or_else(starting)
}

pub(super) fn kind(text: &str) -> Result<ObjectKind, Refusal> {
    parse_kind(text).ok_or_else(|| {
        Refusal(StatusCode::BAD_REQUEST, format!("`{text}` is no kind: use vm, cp, host, domain or cpupool"))
    })
}

/// A kind by any of its names, such as `vm`, `vms`, `VirtualMachine`.
pub fn parse_kind(text: &str) -> Option<ObjectKind> {
    let lower = text.to_ascii_lowercase();
    match lower.strip_suffix('s').unwrap_or(&lower) {
        "vm" | "virtualmachine" | "virtual-machine" => Some(ObjectKind::VirtualMachine),
        "cp" | "corepartition" | "core-partition" => Some(ObjectKind::CorePartition),
        "host" => Some(ObjectKind::Host),
        "domain" | "foreign-domain" | "foreigndomain" => Some(ObjectKind::ForeignDomain),
        "cpupool" | "foreign-cpupool" | "foreigncpupool" => Some(ObjectKind::ForeignCpupool),
        _ => None,
    }
}

async fn status(State(api): State<Api>) -> Result<Response, Refusal> {
    Ok(Json(documents::status(&*snapshot(&api)?, Timestamp::now())).into_response())
}

#[derive(Deserialize)]
struct ObjectsQuery {
    kind: Option<String>,
    name: Option<String>,
    #[serde(default)]
    watch: bool,
}

async fn objects(State(api): State<Api>, Query(query): Query<ObjectsQuery>) -> Result<Response, Refusal> {
    let kind = query.kind.as_deref().map(kind).transpose()?;
    if query.watch {
        snapshot(&api)?;
        return Ok(watch::answer(api.snapshot, watch::Wanted { kind, name: query.name }));
    }
    Ok(Json(documents::list(&*snapshot(&api)?, kind, Timestamp::now())).into_response())
}

async fn object(State(api): State<Api>, Path((of, name)): Path<(String, String)>) -> Result<Response, Refusal> {
    let kind = kind(&of)?;
    let journal = journal(&api).await?;
    let snapshot = snapshot(&api)?;
    let missing = || Refusal(StatusCode::NOT_FOUND, documents::missing(&snapshot, kind, &name));
    let detail = documents::detail(&snapshot, journal, (kind, &name), Timestamp::now()).ok_or_else(missing)?;
    Ok(Json(detail).into_response())
}

async fn plan(State(api): State<Api>) -> Result<Response, Refusal> {
    Ok(Json(documents::plan(&*snapshot(&api)?)).into_response())
}

async fn inventory(State(api): State<Api>) -> Result<Response, Refusal> {
    Ok(Json(&*snapshot(&api)?.observed).into_response())
}

/// The journal's end, read from disk off the server's own thread.
async fn journal(api: &Api) -> Result<Vec<Event>, Refusal> {
    let store = Arc::clone(&api.store);
    let refused = |message| Refusal(StatusCode::INTERNAL_SERVER_ERROR, message);
    let entries = tokio::task::spawn_blocking(move || store.journal_lines(JOURNAL_ENTRIES)).await;
    let entries = entries.map_err(|error| refused(error.to_string()))?.map_err(|error| refused(error.chain()))?;
    Ok(reconcile::events(entries))
}

#[derive(Deserialize)]
struct EventsQuery {
    kind: Option<String>,
    name: Option<String>,
    limit: Option<usize>,
    /// Only those after this number.
    after: Option<u64>,
    /// Only those from this moment on.
    since: Option<Timestamp>,
}

async fn events(State(api): State<Api>, Query(query): Query<EventsQuery>) -> Result<Response, Refusal> {
    let kind = query.kind.as_deref().map(kind).transpose()?;
    let wanted = documents::Wanted {
        object: kind.zip(query.name.as_deref()),
        after: query.after,
        since: query.since,
        limit: query.limit.unwrap_or(100),
    };
    Ok(Json(documents::events(journal(&api).await?, &wanted, Timestamp::now())).into_response())
}

/// The last pass, and what the counters say now, read off the server's own thread.
async fn counted(api: &Api) -> Result<(Arc<Snapshot>, Counters), Refusal> {
    let (snapshot, meter) = (snapshot(api)?, Arc::clone(&api.meter));
    let seen = Arc::clone(&snapshot);
    let counters = tokio::task::spawn_blocking(move || Counters::read(&*meter, &seen, Timestamp::now())).await;
    let counters = counters.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok((snapshot, counters))
}

async fn usage_now(State(api): State<Api>) -> Result<Response, Refusal> {
    let (snapshot, counters) = counted(&api).await?;
    Ok(Json(usage(&snapshot, &counters)).into_response())
}

async fn metrics_text(State(api): State<Api>) -> Result<Response, Refusal> {
    let (snapshot, counters) = counted(&api).await?;
    let text = metrics::text(&snapshot, &usage(&snapshot, &counters), Timestamp::now());
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn sync(State(api): State<Api>, ConnectInfo(peer): ConnectInfo<Peer>) -> Result<Response, Refusal> {
    ask(&api, peer, Verb::Sync).await
}

async fn approve(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<ApproveCall>,
) -> Result<Response, Refusal> {
    let ApproveCall { id, reason, expires_seconds } = call;
    ask(&api, peer, Verb::Approve { id, reason, expires: Duration::from_secs(expires_seconds) }).await
}

async fn freeze(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<FreezeCall>,
) -> Result<Response, Refusal> {
    let FreezeCall { what, seconds, reason } = call;
    ask(&api, peer, Verb::Freeze { what, span: Duration::from_secs(seconds), reason }).await
}

async fn unfreeze(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<UnfreezeCall>,
) -> Result<Response, Refusal> {
    ask(&api, peer, Verb::Unfreeze { what: call.what }).await
}

async fn override_power(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<OverrideCall>,
) -> Result<Response, Refusal> {
    let OverrideCall { what, kind, seconds, reason } = call;
    let power = match kind {
        OverrideKind::Start => Some(Power::Running),
        OverrideKind::Stop => Some(Power::Stopped),
        OverrideKind::Pause => Some(Power::Paused),
        OverrideKind::Restart => None,
    };
    ask(&api, peer, Verb::Power { what, power, span: Duration::from_secs(seconds), reason }).await
}

async fn follow(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<UnfreezeCall>,
) -> Result<Response, Refusal> {
    ask(&api, peer, Verb::Follow { what: call.what }).await
}

async fn trash(State(api): State<Api>) -> Result<Response, Refusal> {
    Ok(Json(documents::trash(&*snapshot(&api)?, Timestamp::now())).into_response())
}

async fn trash_restore(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<TrashRestoreCall>,
) -> Result<Response, Refusal> {
    let TrashRestoreCall { what, reason, any_disks } = call;
    ask(&api, peer, Verb::TrashRestore { what, reason, any_disks }).await
}

async fn trash_purge(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<TrashPurgeCall>,
) -> Result<Response, Refusal> {
    let TrashPurgeCall { what, older_than, reason } = call;
    ask(&api, peer, Verb::TrashPurge { what, older_than, reason }).await
}

async fn accept_history(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(call): Json<AcceptHistoryCall>,
) -> Result<Response, Refusal> {
    let AcceptHistoryCall { commit, reason } = call;
    ask(&api, peer, Verb::AcceptHistory { commit, reason }).await
}

/// Hands a verb to the driver. Dropping the answer is safe: the driver does the verb and notes it either way.
async fn ask(api: &Api, peer: Peer, verb: Verb) -> Result<Response, Refusal> {
    let (reply, answer) = oneshot::channel();
    let busy = |_| Refusal(StatusCode::SERVICE_UNAVAILABLE, "too many verbs at once; try again".to_owned());
    api.verbs.try_send(VerbCall { verb, actor: peer.actor(), reply }).map_err(busy)?;
    api.wake.wake();
    match tokio::time::timeout(VERB_DEADLINE, answer).await {
        Ok(Ok(Ok(message))) => Ok(Json(Answer { head: Head::of("Done"), message }).into_response()),
        Ok(Ok(Err(message))) => Err(Refusal(StatusCode::CONFLICT, message)),
        Ok(Err(_)) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon stops".to_owned())),
        Err(_) => Err(Refusal(StatusCode::GATEWAY_TIMEOUT, "the daemon did not get to it; see its log".to_owned())),
    }
}
