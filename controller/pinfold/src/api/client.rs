//! Asks the daemon.

use super::view::Answer;
use crate::config::admin_socket;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The daemon answers reads from memory; verbs wait for its next pass.
const DEADLINE: Duration = Duration::from_secs(45);
/// A status of ten thousand objects has about ten MiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the daemon at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Only a group may.
    #[error("you may not {what}: the socket {} is for the group that the daemon's `{group}` names", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
        /// What was wanted.
        what: &'static str,
        /// The line of the daemon's configuration.
        group: &'static str,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the daemon at {} broke off", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the daemon at {} did not answer within {} s", socket.display(), DEADLINE.as_secs())]
    Deadline {
        /// The socket.
        socket: PathBuf,
    },
    /// It answered something else than this version expects.
    #[error("the daemon's answer cannot be read: it may be of another version than this command")]
    Unreadable(#[source] serde_json::Error),
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// Reads a document from the daemon that has this socket for reading.
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    serde_json::from_slice(&get_bytes(socket, path)?).map_err(ClientError::Unreadable)
}

/// Reads a document as it is. Whoever may change may read: where the socket for reading is closed, the other one may be open.
pub fn get_bytes(socket: &Path, path: &str) -> Result<Vec<u8>, ClientError> {
    match call(socket, Method::GET, path, Vec::new()) {
        Err(error) if error.is_forbidden() => call(&admin_socket(socket), Method::GET, path, Vec::new())
            .map_err(|_| ClientError::Forbidden { socket: socket.to_owned(), what: "read", group: "readGroup" }),
        answer => answer,
    }
}

/// Sends a verb to the daemon that has this socket for reading; answers the daemon's sentence.
pub fn post(socket: &Path, path: &str, body: &impl Serialize) -> Result<String, ClientError> {
    let socket = admin_socket(socket);
    let body = serde_json::to_vec(body).map_err(ClientError::Unreadable)?;
    let bytes = call(&socket, Method::POST, path, body).map_err(|error| {
        if error.is_forbidden() {
            ClientError::Forbidden { socket, what: "use verbs", group: "adminGroup" }
        } else {
            error
        }
    })?;
    serde_json::from_slice(&bytes).map(|answer: Answer| answer.message).map_err(ClientError::Unreadable)
}

impl ClientError {
    /// The connection broke.
    pub(super) fn broken(socket: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken { socket: socket.to_owned(), source: source.into() }
    }

    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

fn call(socket: &Path, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, ClientError> {
    let connect = |source| ClientError::Connect { socket: socket.to_owned(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(connect)?;
    let deadline = || ClientError::Deadline { socket: socket.to_owned() };
    let (status, bytes) = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, exchange(socket, method, path, body)).await.map_err(|_| deadline())?
    })?;
    if status.is_success() {
        return Ok(bytes);
    }
    let said = serde_json::from_slice(&bytes)
        .map_or_else(|_| format!("the daemon answered {status}"), |answer: Answer| answer.message);
    Err(if status == StatusCode::NOT_FOUND { ClientError::NotFound(said) } else { ClientError::Refused(said) })
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let connect = |source| ClientError::Connect { socket: socket.to_owned(), source };
    let broken =
        |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Broken { socket: socket.to_owned(), source };
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "pinfold")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| broken(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(broken)?;
    Ok((status, body.to_bytes().to_vec()))
}
