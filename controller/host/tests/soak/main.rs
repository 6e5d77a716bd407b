//! Generated worlds: hosts, repositories, and days of edits, faults and kills. No law is broken after any call, and when the
//! faults cease every world comes to rest; where nobody but the repository's authors touched it, as the last commit says.
//!
//! A world is known by its number. `PINFOLD_SOAK_WORLD=N` plays one and prints what happened; `PINFOLD_SOAK_WORLDS=N` plays so many, and
//! `PINFOLD_SOAK_FIRST=N` begins elsewhere. What can happen is in two tables, `edits::EDITS` and `events::EVENTS`.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod config;
mod draw;
mod edits;
mod events;
mod others;
#[path = "../stage/mod.rs"]
mod stage;

use config::Config;
use draw::Draw;
use edits::EDITS;
use events::{EVENTS, Trace};
use jiff::SignedDuration;
use planner::{Disposition, laws};
use stage::Stage;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Worlds of a run, all shards together, unless more are asked for (`make soak`).
const WORLDS: u32 = 1_200;
/// Shards, so that test processes share the machine's processors.
const SHARDS: u32 = 4;

fn number(name: &str) -> Option<u32> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn worlds_of_the_first_shard_come_to_rest() {
    play_shard(0);
}

#[test]
fn worlds_of_the_second_shard_come_to_rest() {
    play_shard(1);
}

#[test]
fn worlds_of_the_third_shard_come_to_rest() {
    play_shard(2);
}

#[test]
fn worlds_of_the_fourth_shard_come_to_rest() {
    play_shard(3);
}

/// What was played, for the promise that nothing passes because nothing ran.
#[derive(Default)]
struct Played {
    worlds: u32,
    commits: u32,
    refused: u32,
    kinds: BTreeMap<&'static str, u32>,
}

fn play_shard(shard: u32) {
    let first = number("PINFOLD_SOAK_FIRST").unwrap_or(0);
    let count = number("PINFOLD_SOAK_WORLDS").unwrap_or(WORLDS);
    let one = number("PINFOLD_SOAK_WORLD");
    let worlds = match one {
        Some(world) => world..world + 1,
        None => first..first + count,
    };
    let mut played = Played::default();
    let mut failed = Vec::new();
    for world in worlds.clone().filter(|world| world % SHARDS == shard) {
        let mut transcript = String::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| play(world, &mut played, &mut transcript)));
        let said = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(said)) => Some(said),
            Err(_) => Some("it panicked (see above)".to_owned()),
        };
        if one.is_some() {
            eprintln!("{transcript}");
        }
        failed.extend(said.map(|said| format!("world {world}: {said}")));
        if failed.len() >= 5 {
            break;
        }
    }
    let Played { worlds: count, commits, refused, kinds } = &played;
    eprintln!("shard {shard} of worlds {worlds:?}: {count} worlds, {commits} commits, {refused} refused, {kinds:?}");
    assert!(failed.is_empty(), "play one again with PINFOLD_SOAK_WORLD=N\n{}", failed.join("\n\n"));
    if one.is_none() && *count >= 1000 {
        assert!(*commits > 2 * refused, "most edits make a valid commit: {refused} of {commits} were refused");
        let rows = EDITS.iter().map(|(name, ..)| *name).chain(EVENTS.iter().map(|(name, ..)| *name));
        let never: Vec<_> = rows.filter(|name| !kinds.contains_key(name)).collect();
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}

/// Plays a world. An error says what was wrong; `transcript` gets what happened.
fn play(world: u32, played: &mut Played, transcript: &mut String) -> Result<(), String> {
    let mut draw = Draw::new(u64::from(world));
    let mut config = Config::generated(&mut draw);
    let mut stage = Stage::new(config.host());
    let mut lasting = false;
    commit(&mut stage, &config, played).ok_or_else(|| format!("the first commit is refused:\n{}", config.text()))?;
    played.worlds += 1;
    let steps = draw.number(2, 8);
    for _ in 0..steps {
        // Not always settled: a newer commit, and whatever else, may come while work is under way.
        if draw.chance(65) {
            let left_alone_s = *draw.pick(&[1_i64, 2, 60, 600]);
            stage.settle(SignedDuration::from_secs(left_alone_s));
        } else {
            stage.pass();
        }
        if draw.chance(45) {
            let mut edited = config.clone();
            let mut names = Vec::new();
            for _ in 0..draw.number(1, 3) {
                let (name, _, edit) = draw.row(EDITS, |(_, weight, _)| *weight);
                edit(&mut edited, &mut draw);
                names.push(*name);
            }
            stage.note(&format!("commit: {}", names.join(", ")));
            if let Some(()) = commit(&mut stage, &edited, played) {
                config = edited;
            } else {
                config.names = edited.names;
                played.refused += 1;
            }
            for name in names {
                *played.kinds.entry(name).or_default() += 1;
            }
        } else {
            let (name, _, trace, happen) = draw.row(EVENTS, |(_, weight, ..)| *weight);
            stage.note(name);
            lasting |= *trace == Trace::Lasting;
            happen(&mut stage, &config, &mut draw);
            *played.kinds.entry(name).or_default() += 1;
        }
        check(&stage, transcript)?;
    }
    // Faults that were ordered and did not strike yet cease here.
    stage.disk.relieve();
    stage.disk.mend();
    stage.machine.lock().unwrap().kill_worker_at(u32::MAX);
    let _ = stage.machine.lock().unwrap().apply(&sim::Event::NextOperation(sim::Fault::default()));
    let rested = rest(&mut stage, &config, lasting);
    check(&stage, transcript)?;
    rested.map_err(|said| format!("{said}\n{}\n{}", stage.transcript, stage.summary()))
}

fn commit(stage: &mut Stage, config: &Config, played: &mut Played) -> Option<()> {
    played.commits += 1;
    stage.commit(config.read()?);
    Some(())
}

fn check(stage: &Stage, transcript: &mut String) -> Result<(), String> {
    transcript.clone_from(&stage.transcript);
    let broken = stage.broken();
    if broken.is_empty() { Ok(()) } else { Err(format!("laws were broken: {broken:#?}\n{}", stage.transcript)) }
}

/// Settles, and says what should not be at rest.
fn rest(stage: &mut Stage, config: &Config, lasting: bool) -> Result<(), String> {
    stage.settle(SignedDuration::from_hours(3));
    let first = stage.observe_and_plan();
    let again = stage.observe_and_plan();
    if first.plan != again.plan {
        return Err("the same input gave another plan".to_owned());
    }
    laws::edits_stay_at_home(&first.plan).map_err(|broken| broken.to_string())?;
    if let Some(item) = first.plan.items.iter().find(|item| item.disposition == Disposition::Now) {
        return Err(format!("still due at rest: {}", planner::render::item(item)));
    }
    if !first.observed.operations.is_empty() {
        return Err("still busy at rest".to_owned());
    }
    if lasting {
        return Ok(());
    }
    as_declared(stage, config, &first.plan)
}

/// Nobody else touched this host: it is as the last commit says, but for what a person has to decide.
fn as_declared(stage: &Stage, config: &Config, plan: &planner::Plan) -> Result<(), String> {
    let excused = |name: &str| {
        plan.items.iter().any(|item| {
            let whose = item.object.name == name
                || config.vms.get(name).is_some_and(|vm| vm.formerly.contains(&item.object.name));
            whose && matches!(item.disposition, Disposition::Held { .. } | Disposition::AtNextStart)
        })
    };
    // A held swap of cores, or a removal that nobody approved, makes others wait for it.
    let decides = plan.items.iter().any(|item| matches!(item.disposition, Disposition::Held { .. }));
    if let Some(item) = plan.items.iter().find(|item| matches!(item.disposition, Disposition::Waiting { .. }))
        && !decides
    {
        return Err(format!("waits for ever: {}", planner::render::item(item)));
    }
    if config.mode != "enforce" {
        return Ok(());
    }
    let summary = stage.summary();
    for (name, vm) in config.vms.iter().filter(|(name, vm)| !decides && !excused(name) && vm.mode == "enforce") {
        let place = match &vm.place {
            config::Place::Partition(partition) => partition,
            _ => "Pool-0",
        };
        let line = format!("domain  {name:<12} running in {place},");
        if summary.lines().any(|found| found.starts_with(&line)) != (vm.power == "running") {
            return Err(format!("`{line}` and `power: {}`", vm.power));
        }
    }
    for (name, partition) in config.partitions.iter().filter(|(name, _)| !decides && !excused(name)) {
        let cores = partition.cores.iter();
        let cpus = cores.flat_map(|core| (0..config.threads).map(move |thread| core * config.threads + thread));
        let cpus: protocol::CpuSet = cpus.collect();
        let line = format!("cpupool {name:<12} cpus {cpus}");
        if !summary.lines().any(|found| found == line) {
            return Err(format!("no `{line}`"));
        }
    }
    Ok(())
}
