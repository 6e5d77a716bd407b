//! Debian's `xendomains` and libvirt: whether they would act on guests by themselves, as their scripts and units say (xen-utils-common 4.17,
//! libvirt-daemon-system 9.0).
//!
//! `xendomains` is a script that systemd makes a unit of. Its stop saves every domain to XENDOMAINS_SAVE (or migrates it, or shuts it down), its start
//! restores what lies there; so it acts when the host goes down, if it was started, and whenever somebody stops it. That is why it is masked and not
//! disabled with `--now`: that would be such a stop. With neither a folder nor a target it only shuts down what is left when the host goes down, after
//! pinfold has stopped its own guests; then it is not in the way.
//!
//! libvirt's driver for Xen knows only the domains that it made, so it is in the way only of those. Deliberately absent: asking systemd, which would
//! cost a process at each look; its state is in its folders.

use super::units::{Init, Unit};
use planner::toolstacks::{OtherToolstack, Reach};
use protocol::Reading;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// All that would act on guests of this host.
pub(crate) fn look(root: &Path) -> Vec<OtherToolstack> {
    let init = Init::detect(root);
    xendomains(root, init).into_iter().chain(libvirt(root, init)).collect()
}

fn xendomains(root: &Path, init: Init) -> Option<OtherToolstack> {
    let unit = Unit { root, name: "xendomains" };
    let when = unit.would_run(init)?;
    let acts = match settings(root) {
        Ok(settings) => {
            let what = if let Some(target) = settings.migrate.filter(|target| !target.is_empty()) {
                format!("migrates every domain to {target}")
            } else if let Some(folder) = settings.save.filter(|folder| !folder.is_empty()) {
                format!("saves every domain to {folder} and restores it at the next boot, out of its partition,")
            } else {
                return None;
            };
            Reading::Known(format!("{when}; it {what} when the host goes down (/etc/default/xendomains)"))
        }
        Err(why) => Reading::unknown("SettingsUnclear", format!("it {when}, and {why}")),
    };
    let fix = match init {
        Init::Systemd => "systemctl mask xendomains",
        Init::Sysv | Init::Other => "update-rc.d -f xendomains remove",
    };
    Some(OtherToolstack { name: "xendomains".to_owned(), acts, reach: Reach::AllDomains, fix: fix.to_owned() })
}

/// What of `/etc/default/xendomains` matters. `None`: not set.
#[derive(Default)]
struct Settings {
    save: Option<String>,
    migrate: Option<String>,
}

/// Reads it as the shell would, as far as it is a list of settings. What is more than that nobody here can tell.
fn settings(root: &Path) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for file in ["etc/default/xendomains", "etc/sysconfig/xendomains"] {
        let text = match fs::read_to_string(root.join(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("/{file} cannot be read: {error}")),
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let unclear = || format!("/{file} is more than a list of settings: `{line}`");
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').ok_or_else(unclear)?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(unclear());
            }
            let slot = match name {
                "XENDOMAINS_SAVE" => &mut settings.save,
                "XENDOMAINS_MIGRATE" => &mut settings.migrate,
                _ => continue,
            };
            *slot = Some(plain(value).ok_or_else(unclear)?);
        }
    }
    Ok(settings)
}

/// The value of a shell's assignment, when it is a plain word or a quoted one.
fn plain(value: &str) -> Option<String> {
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let (inside, rest) = value.strip_prefix(quote)?.split_once(quote)?;
        let rest = rest.trim();
        (rest.is_empty() || rest.starts_with('#')).then_some(inside)
    });
    let bare = || {
        let word = value.split_whitespace().next().unwrap_or("");
        let rest = value[word.len()..].trim();
        (!word.contains(['"', '\'', ';', '&', '|']) && (rest.is_empty() || rest.starts_with('#'))).then_some(word)
    };
    let text = quoted.or_else(bare)?;
    (!text.contains(['$', '`', '\\'])).then(|| text.to_owned())
}

fn libvirt(root: &Path, init: Init) -> Vec<OtherToolstack> {
    let known = match domains(root) {
        Ok(known) if known.is_empty() => return Vec::new(),
        known => known,
    };
    let toolstack = |name: &'static str, what: &str, fix: &str| {
        let when = Unit { root, name }.would_run(init)?;
        let (acts, reach) = match &known {
            Ok(known) => (Reading::Known(format!("{when}; it {what}")), Reach::Domains(known.clone())),
            Err(why) => (Reading::unknown("LibvirtUnreadable", format!("it {when}, and {why}")), Reach::AllDomains),
        };
        Some(OtherToolstack { name: name.to_owned(), acts, reach, fix: fix.to_owned() })
    };
    let daemon = "manages a domain that is also a VM of pinfold's, and reacts when its guest ends";
    [
        toolstack(
            "libvirt-guests",
            "suspends or shuts down a domain that is also a VM of pinfold's when the host goes down",
            "systemctl mask libvirt-guests",
        ),
        toolstack(
            "libvirtd",
            daemon,
            "systemctl disable --now libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket",
        ),
        toolstack(
            "virtxend",
            daemon,
            "systemctl disable --now virtxend.service virtxend.socket virtxend-ro.socket virtxend-admin.socket",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Domains of Xen that libvirt has a definition of, or runs.
fn domains(root: &Path) -> Result<BTreeSet<Uuid>, String> {
    let mut known = BTreeSet::new();
    for folder in ["etc/libvirt/libxl", "run/libvirt/libxl"] {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("/{folder} cannot be read: {error}")),
        };
        let files = entries.flatten().map(|entry| entry.path());
        for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "xml")) {
            let text =
                fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let uuid = text.split_once("<uuid>").and_then(|(_, rest)| rest.split_once("</uuid>"));
            let uuid = uuid.and_then(|(uuid, _)| uuid.trim().parse().ok());
            known.insert(uuid.ok_or_else(|| format!("{} names no domain", path.display()))?);
        }
    }
    Ok(known)
}
