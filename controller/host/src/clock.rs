//! What time it is: by the clock that people set, and by the one that nobody sets.

use jiff::{SignedDuration, Timestamp};
use planner::observed::Uptime;
use std::sync::Arc;

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub at: Timestamp,
    /// Milliseconds that the host has run ([`planner::observed::Uptime::ms`]).
    pub up_ms: u64,
}

/// What time it is. An argument, so that a scenario decides.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The machine's own clocks. The second one stands still while the machine sleeps, and so do its guests.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let ms = up.tv_sec.saturating_mul(1000).saturating_add(up.tv_nsec / 1_000_000);
        Moment { at: Timestamp::now(), up_ms: u64::try_from(ms).unwrap_or(0) }
    })
}

/// Between two looks, the wall clock may go this much faster or slower: whoever keeps time turns it smoothly.
const SMOOTH: SignedDuration = SignedDuration::from_secs(10);

/// Notices when the wall clock is set.
#[derive(Default)]
pub(crate) struct Watched {
    /// The last moment seen, and since when there was no jump.
    seen: Option<(Moment, u64)>,
}

impl Watched {
    /// The moment as observations tell it.
    pub(crate) fn look(&mut self, now: Moment) -> Uptime {
        let since = match self.seen {
            Some((before, since)) if !jumped(before, now) => since,
            _ => now.up_ms,
        };
        self.seen = Some((now, since));
        Uptime { ms: now.up_ms, steady_ms: now.up_ms.saturating_sub(since) }
    }
}

fn jumped(before: Moment, now: Moment) -> bool {
    let Some(ran) = now.up_ms.checked_sub(before.up_ms) else { return true };
    let ran = SignedDuration::from_millis(i64::try_from(ran).unwrap_or(i64::MAX));
    now.at.duration_since(before.at).saturating_sub(ran).abs() > SMOOTH
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_of_the_wall_clock_ends_its_steadiness() {
        let mut watched = Watched::default();
        let mut look = |wall_s: i64, up_s: u64| {
            let at = Timestamp::from_second(wall_s).unwrap();
            watched.look(Moment { at, up_ms: up_s * 1000 }).steady_ms / 1000
        };
        assert_eq!(look(1000, 5), 0);
        assert_eq!(look(1060, 65), 60);
        // Turned smoothly, then set forwards, then back.
        assert_eq!(look(1125, 125), 120);
        assert_eq!(look(99_125, 185), 0);
        assert_eq!(look(99_185, 245), 60);
        assert_eq!(look(1185, 305), 0);
        // A night without a look is no jump; another boot is one.
        assert_eq!(look(11_185, 10_305), 10_000);
        assert_eq!(look(11_200, 3), 0);
    }
}
