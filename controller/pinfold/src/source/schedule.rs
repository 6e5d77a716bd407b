//! When to fetch. Pure: time comes in as the time since the watcher started.

use std::time::Duration;

/// A burst of changes is over when nothing has changed for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … or has gone on for this long.
const MAX_BURST: Duration = Duration::from_secs(1);
/// The first wait after a failure that may pass by itself; each further one is twice as long, up to the poll interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The first wait after a failure that a person must end, so that nobody's account is locked; doubled up to [`LAST_PATIENT`].
const FIRST_PATIENT: Duration = Duration::from_secs(60);
/// The longest wait after such a failure.
const LAST_PATIENT: Duration = Duration::from_secs(600);
/// Hints that are followed at once before the rate below holds.
const HINT_BURST: u32 = 3;
/// One more hint is followed after each of these.
const HINT_REFILL: Duration = Duration::from_secs(5);

/// How a fetch ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It worked.
    Well,
    /// It failed, and may work soon.
    Badly,
    /// It failed, and will until somebody does something.
    ForGood,
}

/// When to fetch next.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    poll: Duration,
    /// The next one that nothing but time asks for.
    regular: Duration,
    /// First and last change of the burst under way.
    burst: Option<(Duration, Duration)>,
    /// When the hint that waits may be followed.
    hint: Option<Duration>,
    /// Hints that may be followed at once, and since when they count.
    tokens: (u32, Duration),
    failures: u32,
}

impl Schedule {
    /// Fetches at once, then every `poll`.
    pub(super) fn new(poll: Duration) -> Self {
        let tokens = (HINT_BURST, Duration::ZERO);
        Self { poll, regular: Duration::ZERO, burst: None, hint: None, tokens, failures: 0 }
    }

    /// When to fetch next.
    pub(super) fn due(&self) -> Duration {
        let burst = self.burst.map(|(first, last)| (last + QUIET).min(first + MAX_BURST));
        [Some(self.regular), burst, self.hint].into_iter().flatten().min().unwrap_or(self.regular)
    }

    /// The repository has changed.
    pub(super) fn changed(&mut self, now: Duration) {
        let first = self.burst.map_or(now, |(first, _)| first);
        self.burst = Some((first, now));
    }

    /// Somebody says that it may have changed. Followed whatever failed before, but not more often than the rate.
    pub(super) fn hinted(&mut self, now: Duration) {
        if self.hint.is_some() {
            return;
        }
        let (left, since) = self.tokens;
        let refills = u32::try_from(now.saturating_sub(since).as_nanos() / HINT_REFILL.as_nanos())
            .unwrap_or(HINT_BURST)
            .min(HINT_BURST);
        let tokens = (left + refills).min(HINT_BURST);
        let since = if tokens == HINT_BURST { now } else { since + HINT_REFILL * refills };
        // One that must wait takes the token that comes next.
        (self.tokens, self.hint) = match tokens {
            0 => ((0, since + HINT_REFILL), Some(since + HINT_REFILL)),
            tokens => ((tokens - 1, since), Some(now)),
        };
    }

    /// A fetch begins: it sees everything that has happened until now.
    pub(super) fn started(&mut self) {
        self.burst = None;
        self.hint = None;
    }

    /// It has ended. `jitter`, from -1 to 1, keeps many hosts from asking one server at the same moment.
    pub(super) fn ended(&mut self, now: Duration, how: Ended, jitter: f64) {
        self.failures = if how == Ended::Well { 0 } else { self.failures.saturating_add(1) };
        let doubled = |first: Duration, last: Duration| {
            first.saturating_mul(1 << (self.failures - 1).min(20)).min(last.max(first))
        };
        let wait = match how {
            Ended::Well => self.poll,
            Ended::Badly => doubled(FIRST_RETRY, self.poll),
            Ended::ForGood => doubled(FIRST_PATIENT, LAST_PATIENT),
        };
        self.regular = now + wait.mul_f64(1.0 + jitter.clamp(-1.0, 1.0) / 10.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn idle() -> Schedule {
        let mut schedule = Schedule::new(ms(60_000));
        schedule.started();
        schedule.ended(ms(0), Ended::Well, 0.0);
        schedule
    }

    #[test]
    fn a_burst_of_changes_is_one_fetch_and_never_starves() {
        let mut schedule = idle();
        schedule.changed(ms(10));
        assert_eq!(schedule.due(), ms(110));
        schedule.changed(ms(90));
        assert_eq!(schedule.due(), ms(190));
        (1..20).for_each(|step| schedule.changed(ms(step * 99)));
        assert_eq!(schedule.due(), ms(1010));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_bound() {
        let waits = |how| {
            let mut schedule = idle();
            let mut wait = || {
                schedule.ended(ms(0), how, 0.0);
                schedule.due().as_secs()
            };
            (0..8).map(|_| wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(Ended::Badly), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits(Ended::ForGood), [60, 120, 240, 480, 600, 600, 600, 600]);
    }

    #[test]
    fn hints_are_followed_at_once_until_they_are_too_many() {
        let mut schedule = idle();
        let mut follow = |now| {
            schedule.hinted(ms(now));
            let due = schedule.due();
            schedule.started();
            due
        };
        assert_eq!([follow(100), follow(200), follow(300)], [ms(100), ms(200), ms(300)]);
        assert_eq!(follow(400), ms(5100));
        assert_eq!(follow(5200), ms(10_100));
        assert_eq!(follow(60_000), ms(60_000));
    }

    proptest! {
        /// However hints come, no more are followed than the burst and the rate allow, and none is forgotten.
        #[test]
        fn hints_keep_their_rate(gaps in proptest::collection::vec(0u64..4000, 1..200)) {
            let mut schedule = idle();
            let (mut now, mut followed) = (0, 0u64);
            for gap in gaps {
                let next = now + gap;
                while schedule.hint.is_some_and(|at| at <= ms(next)) {
                    schedule.started();
                    followed += 1;
                }
                now = next;
                schedule.hinted(ms(now));
                prop_assert!(schedule.hint.is_some());
            }
            prop_assert!(followed <= u64::from(HINT_BURST) + now / 5000 + 1, "{followed} in {now} ms");
        }

        /// The jitter is at most a tenth either way.
        #[test]
        fn polls_stay_near_their_interval(jitter in -1.0f64..1.0) {
            let mut schedule = idle();
            schedule.ended(ms(0), Ended::Well, jitter);
            prop_assert!((54_000..=66_000).contains(&schedule.due().as_millis()));
        }
    }
}
