//! QEMU that has frozen, and tests that are begun again for it.
//!
//! QEMU 7.2 with a thread per processor was seen to stop in the middle of a test: all its threads asleep, 0 % of CPU, no answer to
//! anything. A lab that idles takes about a tenth of a processor. Nothing that a test asserts can be wrong because of it, and nothing can be
//! right: QEMU is killed, so that whoever waits hears of it, and the test begins again on a new lab.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::console::say;

/// A QEMU that has used no CPU for so long is frozen. Idle labs were seen to use about 6 s in that time.
const STILL: Duration = Duration::from_secs(60);

/// How often a test is begun.
const ATTEMPTS: u32 = 3;

/// Labs of this process that have frozen.
static FROZEN: AtomicUsize = AtomicUsize::new(0);

/// Runs a test, and again from its beginning if a lab froze under it.
pub fn steadily<E>(test: impl Fn() -> Result<(), E>) -> Result<(), E> {
    for attempt in 2..=ATTEMPTS {
        let before = FROZEN.load(Ordering::SeqCst);
        match test() {
            Err(_) if FROZEN.load(Ordering::SeqCst) > before => {
                say(&format!("the emulator froze: the test begins again ({attempt} of {ATTEMPTS})"));
            }
            outcome => return outcome,
        }
    }
    test()
}

/// Watches a QEMU until it ends; one that freezes is killed.
pub(crate) fn watch(qemu: u32, frozen: Arc<AtomicBool>) {
    thread::spawn(move || {
        let Some(mut last) = used(qemu) else { return };
        let mut since = Instant::now();
        while let Some(now) = used(qemu).filter(|now| now.started == last.started) {
            // A tick or two is what a look at it may cost.
            if now.ticks > last.ticks + 2 {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > STILL {
                frozen.store(true, Ordering::SeqCst);
                FROZEN.fetch_add(1, Ordering::SeqCst);
                say(&format!("QEMU has used no CPU for {} s: it is frozen, and killed", STILL.as_secs()));
                // If it has ended meanwhile there is nothing to kill.
                let _ = Command::new("kill").args(["-KILL", &qemu.to_string()]).status();
                return;
            }
            thread::sleep(Duration::from_secs(2));
        }
    });
}

/// CPU time of a process, in the kernel's ticks, and when it started.
pub(crate) struct Used {
    ticks: u64,
    started: u64,
}

/// Nothing for a process that has ended.
pub(crate) fn used(process: u32) -> Option<Used> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // `PID (NAME) STATE …`; proc(5) counts fields from 1, and the state is the third.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ended = matches!(*fields.first()?, "Z" | "X");
    if ended { None } else { Some(Used { ticks: number(14)? + number(15)?, started: number(22)? }) }
}
