//! The command line: what was typed, as types. What it means is in [`crate::commands`].

mod dom0;
mod events;
mod trash;
mod verbs;

pub use dom0::{Backend, Check, Guests, GuestsVerb, Run};
pub use events::Events;
pub use trash::{Trash, TrashCommand};
pub use verbs::{Approve, Freeze, PowerVerb, Unfreeze};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

mod console;
mod top;

pub use console::{Console, ConsoleOutput};
pub use top::{Top, TopOutput};

/// GitOps for Xen hosts.
#[derive(Debug, Parser)]
#[command(name = "pinfold", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  findings; no such object; no plan could be made; run --once: stalled or unknown; guests stop: some are left
   2  plan --detailed-exitcode: changes
   3  plan --detailed-exitcode: changes, some held; run --once: settled, some held
  64  wrong usage
  70  could not run";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a first repository that validates.
    Init(Init),
    /// Checks manifests: every finding of every file, with file, line and column.
    Validate(Validate),
    /// Turns what other toolstacks configure into manifests.
    Import(Import),
    /// Writes manifests for domains that run and are not pinfold's, each with its UUID and every MAC.
    Adopt(Adopt),
    /// Says what would happen, what would not, and why.
    Plan(Plan),
    /// Prints everything that planning looks at, as JSON: host, domains, cpupools, records, operations.
    Inventory(Inventory),
    /// Runs the daemon.
    Run(Run),
    /// Looks at this host: what of its set-up keeps pinfold from working, or makes it dangerous, and what puts it right.
    Check(Check),
    /// Stops all guests, as a shutdown of the host does, or lets them run again.
    Guests(Guests),
    /// Shows the host: commit, source, and every object with its state.
    Status(Read),
    /// Lists objects of one kind, or shows one.
    Get(Get),
    /// Shows everything about one object.
    Describe(Object),
    /// Says why an object is as it is, and what would have to change.
    Why(Object),
    /// Shows what happened: commits, operations, drift, conditions.
    Events(Events),
    /// Shows what each domain uses: CPU, memory, disks, network.
    Top(Top),
    /// Attaches to a VM's text console: before its boot, across its reboots, until it is off.
    Console(Console),
    /// Approves one held item, by its id in the plan.
    Approve(Approve),
    /// Leaves a VM, a partition or the whole host as it is for a while: nothing that a commit or drift asks for is done, guests go on.
    Freeze(Freeze),
    /// Ends a freeze before its time.
    Unfreeze(Unfreeze),
    /// Has a VM run for a while, whatever its manifest says.
    Start(PowerVerb),
    /// Has a VM stopped for a while, whatever its manifest says.
    Stop(PowerVerb),
    /// Has a VM paused for a while, whatever its manifest says.
    Pause(PowerVerb),
    /// Restarts a VM once, with whatever waits for its next start.
    Restart(PowerVerb),
    /// Ends an override by `start`, `stop`, `pause` or `restart` before its time.
    Follow(Unfreeze),
    /// Shows what lies in the trash, brings a VM back from it, or takes one away for good.
    Trash(Trash),
    /// Lets a branch be followed whose history does not descend from the accepted commit.
    AcceptHistory(AcceptHistory),
    /// Fetches now instead of at the next poll.
    Sync(Verb),
    /// Prints the JSON Schema of a kind, or writes all of them.
    Schema(Schema),
    /// Explains a kind or a field, such as `vm.spec.restart`.
    Explain(Explain),
    /// Prints a completion script for a shell.
    Completion(Completion),
    /// Updates the git mirror and exits; started by the daemon, which kills it at its deadline.
    #[command(hide = true)]
    Fetch,
    /// Does to a simulated host what a guest or a foreign hand would do.
    #[command(hide = true)]
    SimEvent(SimEvent),
}

/// `pinfold init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder to write to; made if it is missing.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The name of the first host; this machine's unless given.
    #[arg(long)]
    pub host: Option<String>,
    /// The name of the pool.
    #[arg(long)]
    pub pool: Option<String>,
    /// The bridge that VMs attach to.
    #[arg(long, default_value = "xenbr0")]
    pub bridge: String,
    /// Where editors find the JSON Schemas: a URL or a path.
    #[arg(long, default_value = "https://raw.githubusercontent.com/pinfold/pinfold/main/schema/v1alpha1")]
    pub schemas: String,
}

/// `pinfold validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Folders, each a whole configuration, or single manifest files.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Also check against a host: a file that `pinfold inventory` wrote.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: FindingsOutput,
}

/// How findings are said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FindingsOutput {
    /// With the lines they speak of.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// Annotations of GitHub Actions.
    Github,
    /// GitLab's code quality report.
    Gitlab,
}

/// `pinfold import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Where from.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// Configurations of `xl`, read literally: nothing in them is executed, and each construct that is not carried over is listed.
    Xl(ImportXl),
}

/// `pinfold import xl`.
#[derive(Debug, Args)]
pub struct ImportXl {
    /// Configurations of `xl`.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where to, and what for.
    #[command(flatten)]
    pub destination: Destination,
}

/// `pinfold adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// Domains by name or number; all that are not pinfold's unless given.
    #[arg(value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Where to, and what for.
    #[command(flatten)]
    pub destination: Destination,
    /// Where to ask, without `--inventory`.
    #[command(flatten)]
    pub socket: Socket,
}

/// Where manifests go that pinfold writes, and what they are made for.
#[derive(Debug, Args)]
pub struct Destination {
    /// Write one file for each object below this folder. The configuration in it, if there is one, says which networks and partitions there are.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
    /// The host that the VMs live on; the configuration's only one unless given, or the inventory's, or this machine.
    #[arg(long)]
    pub host: Option<String>,
    /// The host's facts, which `pinfold inventory` wrote: manifests name cores by socket and core.
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: WriteOutput,
}

/// How manifests that pinfold writes are said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WriteOutput {
    /// The manifests, or with `--write` nothing; the report is talk.
    #[default]
    Human,
    /// One JSON document with manifests and report.
    Json,
}

/// `pinfold plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// The configuration to plan; without it, what the daemon follows.
    pub path: Option<PathBuf>,
    /// Plan for this inventory, without a daemon.
    #[arg(long, value_name = "FILE", requires = "path")]
    pub inventory: Option<PathBuf>,
    /// Exit with 2 when there are changes, with 3 when some are held.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DocumentOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// How a document is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DocumentOutput {
    /// For people.
    #[default]
    Human,
    /// Versioned JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

/// `pinfold inventory`.
#[derive(Debug, Args)]
pub struct Inventory {
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// Where the daemon listens.
#[derive(Clone, Debug, Args)]
pub struct Socket {
    /// The daemon's socket.
    #[arg(
        long,
        env = "PINFOLD_SOCKET",
        value_name = "PATH",
        default_value = "/run/pinfold/pinfold.sock",
        global = true
    )]
    pub socket: PathBuf,
}

/// A command that reads the daemon.
#[derive(Debug, Args)]
pub struct Read {
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DocumentOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// `pinfold get`.
#[derive(Debug, Args)]
pub struct Get {
    /// A kind (`vm`, `cp`, `host`, `domain`, `cpupool`, or in full), or `kind/name`.
    pub kind: String,
    /// One object's name.
    pub name: Option<String>,
    /// Go on with a line for each change, until ^C.
    #[arg(short, long)]
    pub watch: bool,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ListOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// How a list is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    /// A table.
    #[default]
    Human,
    /// A table with facts.
    Wide,
    /// Versioned JSON.
    Json,
    /// The same as YAML.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

/// A command about one object.
#[derive(Debug, Args)]
pub struct Object {
    /// `kind/name`, such as `vm/web`.
    pub object: String,
    /// How to say it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: DocumentOutput,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// `pinfold accept-history`.
#[derive(Debug, Args)]
pub struct AcceptHistory {
    /// The commit at the branch's tip, whole.
    pub commit: String,
    /// Why; kept in the journal.
    #[arg(long)]
    pub reason: String,
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// A verb without arguments.
#[derive(Debug, Args)]
pub struct Verb {
    /// Where to ask.
    #[command(flatten)]
    pub socket: Socket,
}

/// `pinfold schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// A kind; without it, all kinds in one document.
    pub kind: Option<String>,
    /// Write one file for each kind to this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "kind")]
    pub write: Option<PathBuf>,
}

/// `pinfold explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A kind, or a field in it: `vm`, `vm.spec.restart`.
    pub field: Option<String>,
}

/// `pinfold completion`.
#[derive(Debug, Args)]
pub struct Completion {
    /// For which shell.
    pub shell: clap_complete::Shell,
}

/// `pinfold sim-event`.
#[derive(Debug, Args)]
pub struct SimEvent {
    /// The event as YAML, such as `{guest-ends: {domain: web, how: reboot}}`.
    pub event: String,
    /// The simulated host's file.
    #[arg(long, value_name = "FILE")]
    pub host: PathBuf,
}
