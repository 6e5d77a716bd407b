//! Deadlines whose clock stands still while the lab waits for a processor.
//!
//! An emulated host is as slow as the machine under it is busy. With compilers on both cores, QEMU was seen to run 12 s
//! and to wait 158 s of the first 190: no deadline in plain seconds can tell that from a hang. The kernel counts, per
//! thread, how long it was ready to run and did not (`/proc/PID/task/TID/schedstat`, second field, nanoseconds).

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// However long the lab waits for a processor, no deadline lasts longer than this many times its length.
const MOST: u32 = 8;

/// One deadline.
pub(crate) struct Patience {
    began: Instant,
    limit: Duration,
    qemu: Option<u32>,
    waited_before: HashMap<String, Duration>,
}

impl Patience {
    /// A deadline that starts now, for what this QEMU does.
    pub(crate) fn new(limit: Duration, qemu: Option<u32>) -> Self {
        Self { began: Instant::now(), limit, qemu, waited_before: qemu.map(waits).unwrap_or_default() }
    }

    /// Whether it has passed.
    pub(crate) fn is_over(&self) -> bool {
        let elapsed = self.began.elapsed();
        // Nothing is read from /proc before it matters.
        elapsed >= self.limit && is_over(elapsed, self.starved(), self.limit)
    }

    /// The wait of the thread that waited most since the start: the others' waits overlap with it.
    fn starved(&self) -> Duration {
        let before = |thread: &String| self.waited_before.get(thread).copied().unwrap_or_default();
        let now = self.qemu.map(waits).unwrap_or_default();
        now.iter().map(|(thread, wait)| wait.saturating_sub(before(thread))).max().unwrap_or_default()
    }
}

fn is_over(elapsed: Duration, starved: Duration, limit: Duration) -> bool {
    elapsed.saturating_sub(starved) >= limit || elapsed >= limit.saturating_mul(MOST)
}

/// How long each thread of a process has waited for a processor so far; nothing on kernels that do not count it.
fn waits(process: u32) -> HashMap<String, Duration> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return HashMap::new() };
    let wait = |statistics: String| statistics.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos);
    threads
        .flatten()
        .filter_map(|thread| {
            let statistics = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), wait(statistics)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(elapsed_s: u64, starved_s: u64, limit_s: u64, over: bool) {
        let [elapsed, starved, limit] = [elapsed_s, starved_s, limit_s].map(Duration::from_secs);
        assert_eq!(
            is_over(elapsed, starved, limit),
            over,
            "{elapsed_s} s, {starved_s} of them starved, of {limit_s} s"
        );
    }

    #[test]
    fn only_time_in_which_the_lab_could_run_counts_up_to_a_bound() {
        check(59, 0, 60, false);
        check(60, 0, 60, true);
        check(200, 141, 60, false);
        check(200, 140, 60, true);
        check(480, 479, 60, true);
    }

    #[test]
    fn this_kernel_counts_waits_for_a_processor() {
        assert!(!waits(std::process::id()).is_empty());
    }
}
