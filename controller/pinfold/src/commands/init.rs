//! `pinfold init`.

use super::CommandError;
use crate::cli::Init;
use crate::exit::Exit;
use crate::folder;
use crate::ui::Ui;
use ::schema::units::{Cores, Name};
use ::schema::{Start, render};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use uuid::Uuid;

pub(super) fn run(arguments: &Init, ui: &mut Ui) -> Result<Exit, CommandError> {
    let start = Start {
        pool: name("--pool", arguments.pool.as_deref().unwrap_or("lab"))?,
        pool_id: Uuid::new_v4(),
        host: host(arguments.host.as_deref())?,
        dom0_cores: Cores::new(),
        bridge: arguments.bridge.clone(),
        schemas: arguments.schemas.trim_end_matches('/').to_owned(),
    };
    let files = ::schema::init(&start);
    refuse_to_overwrite(&arguments.path, &files)?;
    for (path, text) in &files {
        write(&arguments.path.join(path), text)?;
        ui.talk(&format!("wrote {}", arguments.path.join(path).display()));
    }
    let tree = folder::read(&arguments.path).map_err(|error| CommandError::from_error(&error))?;
    let reading = ::schema::read(&tree);
    if reading.desired.is_some() {
        ui.talk("it validates; commit it, and point the daemon's `repository:` at it");
        return Ok(Exit::Ok);
    }
    // The folder had other manifests, or `--bridge` is no name of a bridge.
    ui.data(&render::human(&reading.findings, &tree));
    Err(CommandError::new(format!("the configuration has {}", render::summary(&reading.findings)))
        .exits(Exit::Negative))
}

pub(super) fn name(option: &str, text: &str) -> Result<Name, CommandError> {
    let wrong = |error| CommandError::new(format!("`{option} {text}` is no name")).because(&error).exits(Exit::Usage);
    text.parse().map_err(|error: ::schema::units::NameError| wrong(error))
}

/// The host that is named, or this machine.
pub(super) fn host(named: Option<&str>) -> Result<Name, CommandError> {
    if let Some(text) = named {
        return name("--host", text);
    }
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let first = machine.trim().split('.').next().unwrap_or_default().to_lowercase();
    first.parse().map_err(|error| {
        CommandError::new("this machine's name cannot name a host")
            .because(&error)
            .next("give one with `--host`")
            .exits(Exit::Usage)
    })
}

pub(super) fn refuse_to_overwrite(folder: &Path, files: &[(String, String)]) -> Result<(), CommandError> {
    match files.iter().map(|(path, _)| folder.join(path)).find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CommandError::new(format!("{} is there already", path.display()))
            .next("give an empty folder; nothing was written")),
        None => Ok(()),
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::new(format!("cannot write {}", path.display())).because(&error);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::File::create_new(path) {
        Ok(mut file) => std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(CommandError::new(format!("{} is there already", path.display())).next("give an empty folder"))
        }
        Err(error) => Err(failed(error)),
    }
}
