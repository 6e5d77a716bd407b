//! Whether a service of dom0 runs, or would at the next boot, as the folders of systemd and of System V's scripts say.

use std::fs;
use std::path::Path;

/// What starts services here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    /// sd_booted(3).
    Systemd,
    /// sysvinit, which has this pipe (init(8)).
    Sysv,
    /// Something that knows neither units nor these scripts.
    Other,
}

impl Init {
    pub(crate) fn detect(root: &Path) -> Self {
        if root.join("run/systemd/system").is_dir() {
            Self::Systemd
        } else if root.join("run/initctl").exists() {
            Self::Sysv
        } else {
            Self::Other
        }
    }
}

/// A service by its name, without an ending.
pub(crate) struct Unit<'a> {
    pub(crate) root: &'a Path,
    pub(crate) name: &'a str,
}

impl Unit<'_> {
    /// How it comes that it would run, as the rest of a sentence; `None` when it would not.
    pub(crate) fn would_run(&self, init: Init) -> Option<&'static str> {
        match init {
            Init::Sysv => self.has_rc_links(&["0", "6"], 'K').then_some("has links in /etc/rc?.d"),
            Init::Systemd if self.is_masked() => None,
            Init::Systemd if self.is_active() => Some("is active"),
            Init::Systemd if self.is_enabled() => Some("is enabled"),
            Init::Systemd | Init::Other => None,
        }
    }

    /// A link to `/dev/null` in place of the unit (systemctl(1), mask). A masked unit that still runs has no command to stop it with any more.
    pub(crate) fn is_masked(&self) -> bool {
        ["etc/systemd/system", "run/systemd/system"].iter().any(|folder| {
            let path = self.root.join(folder).join(self.file());
            fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
        })
    }

    /// systemd keeps a link with the invocation's id for each unit that is neither inactive nor failed (`unit_export_invocation_id`, src/core/unit.c).
    pub(crate) fn is_active(&self) -> bool {
        let link = self.root.join("run/systemd/units").join(format!("invocation:{}", self.file()));
        fs::symlink_metadata(link).is_ok()
    }

    /// Whether a target wants it, or systemd would make such a want of a script's link at the next boot (systemd-sysv-generator(8)).
    pub(crate) fn is_enabled(&self) -> bool {
        let folders = [
            "etc/systemd/system",
            "run/systemd/system",
            "run/systemd/generator",
            "run/systemd/generator.late",
            "usr/lib/systemd/system",
        ];
        folders.iter().any(|folder| self.is_wanted_in(&self.root.join(folder)))
            || (!self.is_native() && self.has_rc_links(&["2", "3", "4", "5"], 'S'))
    }

    fn is_native(&self) -> bool {
        let folders = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
        folders.iter().any(|folder| self.root.join(folder).join(self.file()).exists())
    }

    fn is_wanted_in(&self, folder: &Path) -> bool {
        let Ok(entries) = fs::read_dir(folder) else { return false };
        let wants = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.ends_with(".wants") || name.ends_with(".requires")
        });
        wants.into_iter().any(|entry| fs::symlink_metadata(entry.path().join(self.file())).is_ok())
    }

    fn has_rc_links(&self, levels: &[&str], letter: char) -> bool {
        let is_link = |name: &str| {
            let rest = name.strip_prefix(letter).and_then(|rest| rest.get(2..));
            rest == Some(self.name)
        };
        levels.iter().any(|level| {
            let entries = fs::read_dir(self.root.join(format!("etc/rc{level}.d")));
            entries.into_iter().flatten().flatten().any(|entry| is_link(&entry.file_name().to_string_lossy()))
        })
    }

    fn file(&self) -> String {
        format!("{}.service", self.name)
    }
}
