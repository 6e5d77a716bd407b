//! `pinfold-lab`: the lab from the command line. `build` makes the image, `shell` and `run` boot a lab.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use lab::{Lab, Topology};

/// Real Xen in QEMU.
#[derive(Debug, Parser)]
#[command(name = "pinfold-lab")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes the image, or a newer one if Debian has newer packages. Needs root and Debian 12.
    Build,
    /// Boots a lab and gives a shell in dom0.
    Shell {
        #[arg(long, value_enum, default_value_t)]
        topology: Processors,
    },
    /// Runs one command in a fresh lab and exits as it did.
    Run {
        #[arg(long, value_enum, default_value_t)]
        topology: Processors,
        /// For dom0's `sh`.
        command: String,
    },
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Processors {
    /// Ten single-threaded cores.
    #[default]
    TenCores,
    /// Four cores with two threads each; PV guests only.
    EightThreads,
    /// Two sockets, two NUMA nodes.
    TwoSockets,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(70)
        }
    }
}

fn perform(task: Task) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    match task {
        Task::Build => {
            writeln!(out, "{}", lab::build()?.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Shell { topology } => {
            let lab = boot(topology)?;
            writeln!(
                out,
                "Real Xen {}. Leave with `exit`; everything in here is then gone.\n\
                 Try: xl info; xl create /srv/guests/pv.cfg; xl list; xl console pv1 (leave it with Ctrl-])",
                lab.run("xl info xen_version")?.trim(),
            )?;
            lab.shell().context("giving a shell")?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Run { topology, command } => {
            let output = boot(topology)?.sh(&command)?;
            out.write_all(output.stdout.as_bytes())?;
            io::stderr().write_all(output.stderr.as_bytes())?;
            Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(1)))
        }
    }
}

fn boot(processors: Processors) -> anyhow::Result<Lab> {
    let topology = match processors {
        Processors::TenCores => Topology::TenCores,
        Processors::EightThreads => Topology::EightThreads,
        Processors::TwoSockets => Topology::TwoSockets,
    };
    writeln!(io::stderr(), "lab: booting Xen, about 15 s")?;
    Ok(Lab::builder().topology(topology).boot()?)
}
