//! Asks the daemon.

use super::view::Answer;
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

/// Reads a document.
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    let bytes = call(socket, Method::GET, path, Vec::new())?;
    serde_json::from_slice(&bytes).map_err(ClientError::Unreadable)
}

/// Reads a document as it is.
pub fn get_bytes(socket: &Path, path: &str) -> Result<Vec<u8>, ClientError> {
    call(socket, Method::GET, path, Vec::new())
}

/// Sends a verb; answers the daemon's sentence.
pub fn post(socket: &Path, path: &str, body: &impl Serialize) -> Result<String, ClientError> {
    let body = serde_json::to_vec(body).map_err(ClientError::Unreadable)?;
    let bytes = call(socket, Method::POST, path, body)?;
    serde_json::from_slice(&bytes).map(|answer: Answer| answer.message).map_err(ClientError::Unreadable)
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
