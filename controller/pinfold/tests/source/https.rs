//! Repositories over HTTPS: who is let in, who is not, and where a secret goes.

use crate::fixture::{Daemon, File, Origin, location, program};
use crate::https_server::Server;
use pinfold::source::{FetchErrorKind, Https, Settings};
use std::fs;
use std::path::{Path, PathBuf};

fn serve(root: &Path, login: Option<&str>) -> Server {
    Server::start(program(&["git"], "git"), root, login)
}

fn daemon(server: &Server, https: Https) -> Daemon {
    let url = format!("https://127.0.0.1:{}/xen.git", server.port);
    let https = Https { ca_file: Some(server.folder.path().join("ca.pem")), ..https };
    Daemon::new(Settings { https: Some(https), ..Settings::new(location(&url)) })
}

#[test]
fn a_token_or_a_password_lets_us_in() {
    let origin = Origin::with_vms(&["web"]);
    let by_token = serve(origin.folder.path(), Some("x-access-token:t0ken"));
    let by_password = serve(origin.folder.path(), Some("ada:secret"));
    let open = serve(origin.folder.path(), None);
    let token = Https { token_file: Some(secret(&by_token, "t0ken")), ..Https::default() };
    let password =
        Https { user: Some("ada".to_owned()), password_file: Some(secret(&by_password, "secret")), ..Https::default() };
    for mut daemon in [daemon(&by_token, token), daemon(&by_password, password), daemon(&open, Https::default())] {
        assert_eq!(daemon.accept().commit.id, origin.head());
        let next = origin.commit("next", &[("note.txt", File::Text(&daemon.settings.url.to_string()))]);
        assert_eq!(daemon.fetch().unwrap().head, next);
    }
}

#[test]
fn who_is_not_let_in_hears_why() {
    let origin = Origin::with_vms(&[]);
    let server = serve(origin.folder.path(), Some("x-access-token:t0ken"));
    let open = serve(origin.folder.path(), None);
    let with = |token| daemon(&server, Https { token_file: Some(token), ..Https::default() });
    let mut untrusting = daemon(&open, Https::default());
    untrusting.settings.https = None;
    let mut elsewhere = daemon(&open, Https::default());
    elsewhere.settings.url = location(&format!("https://127.0.0.1:{}/other.git", open.port));
    let cases = [
        (with(secret(&server, "wrong")), FetchErrorKind::Auth, "does not take the secret in"),
        (with("/no/such/file".into()), FetchErrorKind::Auth, "cannot read `https.tokenFile: /no/such/file`"),
        (with(secret(&server, "")), FetchErrorKind::Auth, "is empty"),
        (daemon(&server, Https::default()), FetchErrorKind::Auth, "wants a login; set `https.tokenFile`"),
        (untrusting, FetchErrorKind::Certificate, "`https.caFile`"),
        (elsewhere, FetchErrorKind::NoRepository, "there is no repository at"),
    ];
    for (daemon, kind, message) in cases {
        let error = daemon.fetch().unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(!error.message.contains("wrong\n") && !error.message.contains("t0ken@"), "{error}");
    }
}

/// A server that sends us on must not be able to collect our secret for another one.
#[test]
fn a_secret_goes_to_its_own_server_only() {
    let origin = Origin::with_vms(&[]);
    let target = serve(origin.folder.path(), Some("x-access-token:t0ken"));
    let first = Server::start_site(
        program(&["git"], "git"),
        origin.folder.path(),
        None,
        Some(format!("https://127.0.0.1:{}", target.port)),
    );
    let both = first.folder.path().join("ca.pem");
    let mut trusted = fs::read(&both).unwrap();
    trusted.extend(fs::read(target.folder.path().join("ca.pem")).unwrap());
    fs::write(&both, trusted).unwrap();
    let fetching = daemon(&first, Https { token_file: Some(secret(&first, "t0ken")), ..Https::default() });
    let error = fetching.fetch().unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Auth, "{error}");
    assert!(error.message.contains("sends us on to"), "{error}");
}

/// A file with a secret in it.
fn secret(server: &Server, text: &str) -> PathBuf {
    let path = server.folder.path().join(format!("secret-{text}"));
    fs::write(&path, format!("{text}\n")).unwrap();
    path
}
