//! The HTTP API behind a real socket: any bytes get an answer or a closed connection, and no verb that was not asked for.

use crate::inventories::MOMENTS;
use host::store::{Disk, MemoryDisk};
use host::{Meter, Place, Store, Usage};
use pinfold::api::Sockets;
use pinfold::api::server::{Api, serve};
use pinfold::console::Holders;
use pinfold::reconcile::{Counts, Snapshot, VerbCall, wake};
use protocol::Domain;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// An answer takes less than this: the driver answers at once.
const DEADLINE: Duration = Duration::from_secs(20);

static ADMIN: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    let path = folder.join("admin.sock");
    let listen = |path: &Path| {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let sockets = Sockets { read: listen(&folder.join("read.sock")), admin: listen(&path) };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(sockets, api())).unwrap();
    });
    path
});

/// The API with the last snapshot of a recorded host, and a driver that answers every verb.
fn api() -> Api {
    let moment = MOMENTS.iter().max_by_key(|moment| moment.observed.to_string().len()).unwrap();
    let observed: planner::Observed = serde_json::from_value(moment.observed.clone()).unwrap();
    let plan = planner::plan(moment.desired.as_ref(), &observed);
    let snapshot = Snapshot {
        started: observed.now,
        interval: Duration::from_secs(1),
        observed: Arc::new(observed),
        plan: Arc::new(plan),
        objects: Arc::new(Vec::new()),
        source: pinfold::api::view::SourceView::default(),
        counts: Counts::default(),
    };
    let (verbs, asked) = std::sync::mpsc::sync_channel::<VerbCall>(16);
    std::thread::spawn(move || {
        for call in asked {
            let _ = call.reply.send(Ok("done".to_owned()));
        }
    });
    let disk = MemoryDisk::default();
    for folder in ["/state", "/state/journal"] {
        disk.make_dir(Path::new(folder)).unwrap();
    }
    let place = Place { host: "xen1".parse().unwrap(), state: "/state".into(), storage: "/storage".into() };
    let (wake, _woken) = wake();
    let (sender, snapshot) = tokio::sync::watch::channel(Some(Arc::new(snapshot)));
    drop(sender);
    let store = Arc::new(Store::open(place, Arc::new(disk)));
    Api { snapshot, verbs, wake, store, meter: Arc::new(NoMeter), consoles: Holders::default() }
}

/// Of no domain it is known what it uses.
struct NoMeter;

impl Meter for NoMeter {
    fn read(&self, _: &[Domain]) -> BTreeMap<u32, Usage> {
        BTreeMap::new()
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut stream = UnixStream::connect(&*ADMIN).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer within {DEADLINE:?}"),
        _ => {}
    }
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
    let head = String::from_utf8_lossy(&answer[..answer.len().min(16)]).into_owned();
    assert!(!head.contains(" 500"), "{}", String::from_utf8_lossy(&answer));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes();
    let post = |path: &str, body: &str| {
        let head = "Host: x\r\nContent-Type: application/json\r\nConnection: close";
        format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let paths = [
        "/v1/status",
        "/v1/objects",
        "/v1/objects?kind=vm",
        "/v1/objects/vm/erp-db",
        "/v1/objects/%2e%2e/%00",
        "/v1/plan",
        "/v1/inventory",
        "/v1/events?kind=vm&name=a&limit=3",
        "/v1/events?limit=18446744073709551615",
        "/metrics",
        "/nothing",
    ];
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| get(path)).collect();
    seeds.push(post("/v1/sync", ""));
    seeds.push(post("/v1/approve", r#"{"id":"a","reason":"b","expiresSeconds":18446744073709551615}"#));
    seeds.push(post("/v1/approve", r#"{"id":"a","reason":"b","expires_seconds":60}"#));
    seeds.push(post("/v1/accept-history", r#"{"commit":"0000000000000000000000000000000000000001","reason":"b"}"#));
    seeds.push(b"POST /v1/approve HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec());
    seeds
}
