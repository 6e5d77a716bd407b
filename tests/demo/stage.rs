//! Where the story takes place.

use anyhow::Result;
use rig::{Change, Status};

/// A host with pinfold on it, a repository, and hands that can do things behind pinfold's back.
pub(crate) trait Stage {
    /// What this stage is, in a sentence.
    fn describe(&self) -> String;

    /// Where the clone of the repository lies, as pinfold's command line sees it.
    fn clone_path(&self) -> String;

    /// Runs `pinfold`; what it printed, whatever its exit status.
    fn pinfold(&self, arguments: &[&str]) -> Result<String>;

    /// Starts the daemon.
    fn start_daemon(&mut self) -> Result<()>;

    /// Edits the clone.
    fn edit(&self, changes: &[Change<'_>]) -> Result<()>;

    /// Commits and pushes what was edited; answers the commit.
    fn push(&self, message: &str) -> Result<String>;

    /// What the host itself reports, with the command that reports it.
    fn look(&self, view: View) -> Result<(String, String)>;

    /// Does something behind pinfold's back.
    fn meddle(&self, deed: Deed) -> Result<()>;

    /// Waits until something holds in the daemon's status.
    fn wait(&self, what: &str, holds: &mut dyn FnMut(&Status) -> bool) -> Result<()>;
}

/// A view of the host.
#[derive(Clone, Copy)]
pub(crate) enum View {
    /// Domains with their cpupools.
    Domains,
    /// Cpupools with their pCPUs.
    Cpupools,
    /// vCPUs with their hard affinities.
    Vcpus,
    /// What lies in the trash.
    Trash,
}

/// Something that no commit asked for.
#[derive(Clone, Copy)]
pub(crate) enum Deed {
    /// `xl vcpu-pin VM 0 all`.
    WidenPin(&'static str),
    /// The guest is rebooted from inside.
    RebootInside(&'static str),
}
