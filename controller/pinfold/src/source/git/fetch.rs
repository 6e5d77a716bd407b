//! The life of a `pinfold fetch` process: it brings the mirror up to date and ends.
//!
//! It may be killed at any point, and is, at its deadline and with its daemon. So objects are on disk before a ref names them, a new
//! mirror takes the old one's place in one rename, and what a killed fetch leaves lying is cleared away by the next one.

use super::error::{Step, explain};
use super::mirror::{has_commit, target};
use super::{ACCEPTED, CANDIDATE, local, remote, renew};
use crate::source::layout::{FileError, Layout, sync_folder};
use crate::source::location::Location;
use crate::source::message::{FetchError, FetchErrorKind, Fetched, Message, Progress, Request, Stage, VERSION};
use crate::source::settings::Settings;
use git2::{ErrorClass, ErrorCode, Oid, Repository, RepositoryInitOptions};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What must fit into the mirror for its disk not to be called full.
const PROBE_BYTES: usize = 256 * 1024;

/// Reads a `Request` from `input`, carries it out, and writes `Message`s to `output`, one a line. `true`: fetched.
///
/// # Errors
/// `input` holds no request of this version, or `output` is closed.
pub fn fetch_child(mut input: impl Read, mut output: impl Write) -> io::Result<bool> {
    let mut text = String::new();
    input.read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    if request.version != VERSION {
        let message = "this binary was replaced while the daemon was running; restart the daemon";
        write_line(&mut output, &Message::Failed(FetchError::new(FetchErrorKind::Other, message)))?;
        return Ok(false);
    }
    end_with_parent(request.parent)?;
    let outcome = fetch(&request, &mut |progress| {
        // A reader that is gone has killed us, or is about to.
        write_line(&mut output, &Message::Progress(progress)).ok();
    });
    let (message, fetched) = match outcome {
        Ok(fetched) => (Message::Fetched(fetched), true),
        Err(error) => (Message::Failed(error), false),
    };
    write_line(&mut output, &message)?;
    Ok(fetched)
}

/// Makes the kernel kill this process with its daemon: a fetch of a daemon that is gone serves nobody and holds the lock.
fn end_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let ours = i32::try_from(parent).ok().and_then(Pid::from_raw);
    // It may have died before the line above.
    if getppid() == ours { Ok(()) } else { Err(io::Error::other("the daemon that started this fetch is gone")) }
}

fn write_line(output: &mut impl Write, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

fn fetch(request: &Request, say: &mut dyn FnMut(Progress)) -> Result<Fetched, FetchError> {
    let layout = Layout::new(&request.state);
    layout.create().map_err(|error| storage(&error))?;
    let stage = |stage| Progress { stage, received: 0, total: 0, bytes: 0 };
    let _lock = layout.fetch_lock(|| say(stage(Stage::Waiting))).map_err(|error| storage(&error))?;
    say(stage(Stage::Connecting));
    clear_leftovers(&layout.mirror());

    let why_broken = match std::fs::read_to_string(layout.broken()) {
        Ok(why) => Some(why),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(storage(&FileError { act: "read", path: layout.broken(), source })),
    };
    let why_broken = match (why_broken, open_or_init(&layout.mirror())?) {
        (Some(why), _) | (None, Opened::Broken(why)) => why,
        (None, Opened::Mirror(mirror)) => match update(&request.settings, &mirror, say) {
            Ok(updated) => {
                renew::compact_if_scattered(&layout, &mirror);
                return Ok(Fetched { head: updated.head.into(), watch: updated.watch, recloned: None });
            }
            Err(error) if error.kind == FetchErrorKind::Corrupt && !renew::is_sound(&mirror) => error.message,
            Err(error) => return Err(error),
        },
    };
    say(stage(Stage::Cloning));
    renew::clone_afresh(&layout, &request.settings, why_broken, say)
}

/// What a fetch into one repository has brought.
pub(super) struct Updated {
    pub(super) head: Oid,
    pub(super) watch: Vec<PathBuf>,
}

/// Brings a repository up to date and moves its candidate ref: last, and only to what is there and on disk.
pub(super) fn update(
    settings: &Settings,
    mirror: &Repository,
    say: &mut dyn FnMut(Progress),
) -> Result<Updated, FetchError> {
    let place = mirror.path().display().to_string();
    let in_mirror = |error: &git2::Error| explain(error, Step::Mirror, &place);
    let packs = mirror.path().join("objects/pack");
    let before = list(&packs);
    let candidate = target(mirror, CANDIDATE).map_err(|error| in_mirror_error(&error))?;
    let have: Vec<_> = match &settings.url {
        Location::Local(_) => {
            let accepted = target(mirror, ACCEPTED).map_err(|error| in_mirror_error(&error))?;
            candidate.into_iter().chain(accepted).filter(|oid| has_commit(mirror, *oid)).collect()
        }
        Location::Ssh(_) | Location::Https(_) => Vec::new(),
    };
    let updated = match &settings.url {
        Location::Local(path) => local::copy(path, &settings.branch, mirror, &have, say)
            .map(|copied| Updated { head: copied.head, watch: copied.watch }),
        Location::Ssh(from) | Location::Https(from) => {
            remote::receive(settings, from, mirror, say).map(|head| Updated { head, watch: Vec::new() })
        }
    };
    let updated = updated.map_err(|error| blame(error, &packs))?;
    if candidate == Some(updated.head) && has_commit(mirror, updated.head) {
        return Ok(updated);
    }
    sync_new(&packs, &before).map_err(|source| storage(&FileError { act: "write", path: packs.clone(), source }))?;
    if !has_commit(mirror, updated.head) {
        let message = format!("{} came without its files from {}", updated.head, settings.url);
        return Err(FetchError::new(FetchErrorKind::Corrupt, message));
    }
    mirror.reference(CANDIDATE, updated.head, true, "fetch").map_err(|error| in_mirror(&error))?;
    Ok(updated)
}

/// libgit2 says "OS error" of a lost connection and of a full disk alike: whether the mirror can be written tells them apart.
fn blame(error: FetchError, packs: &Path) -> FetchError {
    if !matches!(error.kind, FetchErrorKind::Unreachable | FetchErrorKind::Corrupt | FetchErrorKind::Other) {
        return error;
    }
    let probe = || {
        let mut file = tempfile::NamedTempFile::new_in(packs)?;
        file.write_all(&vec![0; PROBE_BYTES])?;
        file.as_file().sync_all()
    };
    match probe() {
        Ok(()) => error,
        Err(source) => storage(&FileError { act: "write", path: packs.to_owned(), source }),
    }
}

fn in_mirror_error(error: &super::MirrorError) -> FetchError {
    let kind = if error.is_broken() { FetchErrorKind::Corrupt } else { FetchErrorKind::Storage };
    FetchError::new(kind, chain(error))
}

pub(super) fn storage(error: &FileError) -> FetchError {
    FetchError::new(FetchErrorKind::Storage, chain(error))
}

/// An error with its causes: these messages leave the process, the chain cannot.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

enum Opened {
    Mirror(Repository),
    Broken(String),
}

fn open_or_init(path: &Path) -> Result<Opened, FetchError> {
    if !path.exists() {
        return init(path).map(Opened::Mirror);
    }
    match Repository::open_bare(path) {
        Ok(repository) => Ok(Opened::Mirror(repository)),
        Err(error) if error.code() == ErrorCode::Owner || error.class() == ErrorClass::Os => {
            Err(explain(&error, Step::Mirror, &path.display().to_string()))
        }
        Err(error) => Ok(Opened::Broken(error.message().to_owned())),
    }
}

pub(super) fn init(path: &Path) -> Result<Repository, FetchError> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).no_reinit(true).mode(git2::RepositoryInitMode::from_bits_retain(0o700));
    let made = Repository::init_opts(path, &options).and_then(|repository| {
        // libgit2 then writes refs through to the disk. Packs are ours to sync: it has no such setting for what comes over a network.
        repository.config()?.set_bool("core.fsyncObjectFiles", true)?;
        Ok(repository)
    });
    made.map_err(|error| explain(&error, Step::Mirror, &path.display().to_string()))
}

fn list(folder: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn sync_new(folder: &Path, before: &BTreeSet<PathBuf>) -> io::Result<()> {
    for path in list(folder).difference(before) {
        File::open(path)?.sync_all()?;
    }
    sync_folder(folder)
}

/// Takes away what a killed fetch left: locks of refs that only a fetch moves, and halves of packs. The fetch lock is ours.
fn clear_leftovers(mirror: &Path) {
    for lock in ["config.lock", "HEAD.lock", "packed-refs.lock", "refs/pinfold/candidate.lock"] {
        std::fs::remove_file(mirror.join(lock)).ok();
    }
    let files = list(&mirror.join("objects/pack"));
    let is_half = |path: &Path| match path.extension().and_then(|ending| ending.to_str()) {
        Some("pack") => !files.contains(&path.with_extension("idx")),
        Some("idx") => !files.contains(&path.with_extension("pack")),
        Some("keep" | "rev" | "bitmap" | "mtimes") => false,
        _ => true,
    };
    for half in files.iter().filter(|path| is_half(path)) {
        std::fs::remove_file(half).ok();
    }
}
