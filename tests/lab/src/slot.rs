//! At most so many labs at once on a machine: one locked file each.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::LabError;
use crate::console::say;

/// One lab's right to run. Given back when dropped, and by the kernel if the process dies.
#[derive(Debug)]
pub(crate) struct Slot {
    _locked: File,
}

impl Slot {
    /// Waits for a turn, and says whom it waits for.
    pub(crate) fn take(cache: &Path) -> Result<Self, LabError> {
        let folder = cache.join("slots");
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let mut next_word = Instant::now();
        loop {
            for number in 0..limit()? {
                let path = folder.join(number.to_string());
                if let Some(slot) =
                    Self::try_take(&path).map_err(LabError::io(format!("locking {}", path.display())))?
                {
                    return Ok(slot);
                }
            }
            if Instant::now() >= next_word {
                say(&format!("waiting for a turn: as many labs run as this machine has for ({})", holders(&folder)));
                next_word += Duration::from_secs(60);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn try_take(path: &Path) -> std::io::Result<Option<Self>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "process {}", std::process::id())?;
                Ok(Some(Self { _locked: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn limit() -> Result<usize, LabError> {
    match std::env::var("PINFOLD_LAB_LIMIT") {
        Ok(text) => match text.parse() {
            Ok(limit) if limit > 0 => Ok(limit),
            _ => Err(LabError::Machine {
                what: format!("PINFOLD_LAB_LIMIT is `{text}`"),
                help: "set it to how many labs may run at once, at least 1, or unset it for cores ÷ 2".into(),
            }),
        },
        Err(_) => Ok(thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))),
    }
}

fn holders(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else { return String::new() };
    let mut words: Vec<_> = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
    words.sort();
    words.join(", ")
}
