//! Scenarios on real Xen. Those marked `lab: plays` are played here as they are on the simulator, with the real `pinfold` over real git,
//! and what the real host says at the end must be, word for word, the end of the simulator's transcript.

use crate::format::{Lab, Script, read};
use crate::killer::has_fired;
use crate::player::Player;
use anyhow::{Context, Result, ensure};
use lab::steadily;
use std::path::{Path, PathBuf};

/// A test for each of these scenarios, so that each is run, and reported, by itself.
macro_rules! plays {
    ($($name:ident),+ $(,)?) => {
        const PLAYED: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() -> Result<()> {
                steadily(|| ends_as_on_the_simulator(stringify!($name)))
            }
        )+
    };
}

plays!(
    delete,
    delete_and_restore,
    disk_full,
    drift_of_a_pin,
    foreigners,
    frozen,
    guests_end,
    guests_end_while_nobody_looks,
    held_restarts,
    host_reboot,
    hot_plug,
    hvm,
    hvm_boots,
    live_changes,
    missing_things,
    modes,
    moved_by_hand,
    over_budget,
    overrides,
    partitions_change,
    partitions_in_a_circle,
    paused,
    restored_by_xl,
    suspended,
    taken_over,
    taken_over_hvm,
    three_partitions,
    trash_restore,
    vm_moves,
    wreckage,
    xenstore_lost
);

fn ends_as_on_the_simulator(test: &str) -> Result<()> {
    let folder = folder().join(test.replace('_', "-"));
    let transcript = std::fs::read_to_string(folder.join("transcript.snap"))?;
    let (_, expected) = transcript.split_once("=== the host at the end\n").context("the transcript has an end")?;
    let script: Script = read(&folder.join("script.yaml")).map_err(anyhow::Error::msg)?;
    let mut player = Player::prepare(&folder, &script)?;
    for (number, step) in script.steps.iter().enumerate() {
        let is_last = number + 1 == script.steps.len();
        player.step(step, is_last).with_context(|| format!("step {}: {step:?}", number + 1))?;
    }
    ensure!(has_fired(&player.rig)?, "no worker came to where it was to die");
    let found = player.summary()?;
    ensure!(found == expected, "--- simulated\n{expected}--- real\n{found}{}", player.story());
    Ok(())
}

#[test]
fn every_marked_scenario_is_played() -> Result<()> {
    let mut marked = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.is_dir() {
            let script: Script = read(&path.join("script.yaml")).map_err(anyhow::Error::msg)?;
            let name = path.file_name().context("a folder has a name")?.to_string_lossy().replace('-', "_");
            marked.extend((script.lab == Lab::Plays).then_some(name));
        }
    }
    marked.sort();
    assert_eq!(marked, PLAYED);
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}
