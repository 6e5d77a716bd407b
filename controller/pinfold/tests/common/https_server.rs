//! A real smart-HTTP server, `git http-backend`, behind TLS with an authority of its own.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// A server that answers until its test ends.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

/// What the server asks for and gives.
#[derive(Clone)]
struct Site {
    root: PathBuf,
    git: PathBuf,
    /// `user:secret`.
    login: Option<String>,
    redirect: Option<String>,
}

impl Server {
    /// Serves the repositories in a folder. The thread ends with the test's process.
    pub(crate) fn start(git: PathBuf, root: &Path, login: Option<&str>) -> Self {
        Self::start_site(git, root, login, None)
    }

    /// One that may send everybody on to another place.
    pub(crate) fn start_site(git: PathBuf, root: &Path, login: Option<&str>, redirect: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate();
        fs::write(folder.path().join("ca.pem"), certificate.to_pem().unwrap()).unwrap();
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        tls.set_certificate(&certificate).unwrap();
        tls.set_private_key(&key).unwrap();
        let tls = Arc::new(tls.build());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let site = Site { root: root.to_owned(), git, login: login.map(str::to_owned), redirect };
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (tls, site) = (Arc::clone(&tls), site.clone());
                // A client that does not trust us hangs up in the handshake.
                std::thread::spawn(move || tls.accept(connection).ok().map(|stream| answer(&site, stream)));
            }
        });
        Self { folder, port }
    }
}

/// A certificate for 127.0.0.1 that is its own authority.
fn certificate() -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    // Two authorities of one name would be taken for one another.
    name.append_entry_by_text("CN", &uuid::Uuid::new_v4().to_string()).unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    (certificate.build(), key)
}

/// One request, one answer, one connection.
fn answer(site: &Site, stream: SslStream<TcpStream>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut parts = line.split(' ');
    let (method, target) = (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let body = body(&mut stream, header("content-length"), header("transfer-encoding"))?;
    let to = stream.get_mut();
    if let Some(place) = &site.redirect {
        write!(
            to,
            "HTTP/1.1 302 Found\r\nLocation: {place}{target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        return to.flush();
    }
    let wanted = site.login.as_ref().map(|login| format!("Basic {}", openssl::base64::encode_block(login.as_bytes())));
    if wanted.is_some() && header("authorization") != wanted {
        to.write_all(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return to.flush();
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new(&site.git)
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &site.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = backend.stdin.take().unwrap();
    let feed = std::thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output()?.stdout;
    feed.join().unwrap().ok();
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(0);
    let (head, body) = (String::from_utf8_lossy(&output[..end]).into_owned(), &output[end + 4..]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    write!(to, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    to.write_all(body)?;
    to.flush()
}

fn body(stream: &mut impl BufRead, length: Option<String>, encoding: Option<String>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if encoding.is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            stream.take(size).read_to_end(&mut body)?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.take(length).read_to_end(&mut body)?;
    Ok(body)
}
