//! Connections to the daemon that stay: a list that goes on, a console. Beside [`super::client`], whose calls end with their answer.

use super::client::ClientError;
use super::view::Answer;
use crate::config::admin_socket;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The daemon answers the request itself from memory.
const DEADLINE: Duration = Duration::from_secs(30);
/// A refusal is a sentence.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// The longest line of a stream: a list of ten thousand objects has about ten MiB.
const MAX_LINE_BYTES: usize = 256 * 1024 * 1024;

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The daemon is away, or not yet ready to answer: it may be later.
    #[error(transparent)]
    NotNow(ClientError),
    /// It said no.
    #[error(transparent)]
    No(ClientError),
}

impl StreamError {
    /// What went wrong, whether or not it may go better later.
    pub fn into_client(self) -> ClientError {
        match self {
            Self::NotNow(error) | Self::No(error) => error,
        }
    }
}

/// An answer that goes on, line by line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    came: Vec<u8>,
    /// So much of it holds no end of a line.
    looked: usize,
}

/// Opens an answer that goes on. Whoever may change may read.
pub async fn lines(socket: &Path, path: &str) -> Result<Lines, StreamError> {
    let answer = match open(socket, path, None).await {
        Err(StreamError::No(error)) if error.is_forbidden() => {
            open(&admin_socket(socket), path, None).await.map_err(|_| {
                StreamError::No(ClientError::Forbidden { socket: socket.to_owned(), what: "read", group: "readGroup" })
            })
        }
        answer => answer,
    }?;
    Ok(Lines { body: answer.into_body(), came: Vec::new(), looked: 0 })
}

/// Upgrades a connection to the socket for changing.
pub async fn upgrade(socket: &Path, path: &str, protocol: &'static str) -> Result<TokioIo<Upgraded>, StreamError> {
    let socket = admin_socket(socket);
    let answer = open(&socket, path, Some(protocol)).await.map_err(|error| match error {
        StreamError::No(error) if error.is_forbidden() => StreamError::No(ClientError::Forbidden {
            socket: socket.clone(),
            what: "use consoles",
            group: "adminGroup",
        }),
        error => error,
    })?;
    let broken = |error: hyper::Error| StreamError::NotNow(ClientError::broken(&socket, error));
    hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(broken)
}

impl Lines {
    /// The next line; `None` at the end of the stream, however it came about: lines are whole or not there.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.came[self.looked..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.came.drain(..=self.looked + end).collect();
                self.looked = 0;
                line.pop();
                return Some(line);
            }
            self.looked = self.came.len();
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.came.extend(data);
            if self.came.len() > MAX_LINE_BYTES {
                return None;
            }
        }
    }
}

async fn open(socket: &Path, path: &str, protocol: Option<&str>) -> Result<Response<Incoming>, StreamError> {
    let answer = tokio::time::timeout(DEADLINE, ask(socket, path, protocol)).await;
    let answer = answer.map_err(|_| StreamError::NotNow(ClientError::Deadline { socket: socket.to_owned() }))??;
    let status = answer.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || (protocol.is_none() && status.is_success()) {
        return Ok(answer);
    }
    let said =
        Limited::new(answer.into_body(), MAX_REFUSAL_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
    let said = said.ok().and_then(|said| serde_json::from_slice(&said).ok());
    let said = said.map_or_else(|| format!("the daemon answered {status}"), |answer: Answer| answer.message);
    Err(match status {
        StatusCode::NOT_FOUND => StreamError::No(ClientError::NotFound(said)),
        StatusCode::SERVICE_UNAVAILABLE => StreamError::NotNow(ClientError::Refused(said)),
        _ => StreamError::No(ClientError::Refused(said)),
    })
}

async fn ask(socket: &Path, path: &str, protocol: Option<&str>) -> Result<Response<Incoming>, StreamError> {
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|source| {
        let is_forbidden = source.kind() == io::ErrorKind::PermissionDenied;
        let error = ClientError::Connect { socket: socket.to_owned(), source };
        if is_forbidden { StreamError::No(error) } else { StreamError::NotNow(error) }
    })?;
    let broken = |error: hyper::Error| StreamError::NotNow(ClientError::broken(socket, error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().uri(path).header("host", "pinfold");
    if let Some(protocol) = protocol {
        request = request.header("connection", "upgrade").header("upgrade", protocol);
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| StreamError::No(ClientError::broken(socket, error)))?;
    sender.send_request(request).await.map_err(broken)
}
