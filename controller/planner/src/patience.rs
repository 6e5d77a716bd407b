//! How long a guest that was asked to power off has left, when the wall clock may have been set meanwhile.
//!
//! Whatever can destroy a running guest counts the time that the host has run, and nothing else. The wall clock decides only where its being
//! wrong does no harm: a try made too early ([`Backoff::waits`](crate::record::Backoff::waits)), an approval that is void
//! ([`Approval::is_good`](crate::record::Approval::is_good)). What stays in the trash is kept until both agree
//! ([`crate::trash`]).

use crate::record::{Stopping, UpSince};
use crate::world::World;
use jiff::{SignedDuration, Timestamp};

/// Wall clocks that differ by less than this say the same: a moment that was announced stays as it was.
const SAME: SignedDuration = SignedDuration::from_secs(2);

/// What is left of the time that a guest was given.
pub(crate) enum Left {
    /// Until this moment, should nobody set the clock.
    Until(Timestamp),
    /// Nothing.
    Over,
    /// Nobody knows: it was measured by another clock. It is asked again, and has its whole time again.
    Unknown,
}

/// The time now, by the clock that nobody sets.
pub(crate) fn up(world: &World) -> Option<UpSince> {
    world.observed.uptime.map(|uptime| UpSince { boot_id: world.hypervisor.boot_id, ms: uptime.ms })
}

/// What is left of a stop's time.
pub(crate) fn left(world: &World, stop: &Stopping) -> Left {
    rest(world.observed.now, up(world), stop.up, stop.since, stop.deadline)
}

/// When something ends that a person ordered for a while; `None` when it has. After a boot of the host the wall clock is all there is.
pub(crate) fn lasts(
    now: Timestamp,
    up: Option<UpSince>,
    began: Option<UpSince>,
    since: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    match rest(now, up, began, since, until) {
        Left::Until(until) => Some(until),
        Left::Over => None,
        Left::Unknown => Some(until).filter(|until| now < *until),
    }
}

/// What is left of a time from `since` to `deadline` that began at `began` by the clock that nobody sets.
pub(crate) fn rest(
    now: Timestamp,
    up: Option<UpSince>,
    began: Option<UpSince>,
    since: Timestamp,
    deadline: Timestamp,
) -> Left {
    let Some(up) = up else {
        // An inventory of an earlier pinfold has nothing else.
        return if now < deadline { Left::Until(deadline) } else { Left::Over };
    };
    let Some(began) = began.filter(|began| began.boot_id == up.boot_id && began.ms <= up.ms) else {
        return Left::Unknown;
    };
    let ran = SignedDuration::from_millis(i64::try_from(up.ms - began.ms).unwrap_or(i64::MAX));
    let rest = deadline.duration_since(since).saturating_sub(ran);
    if !rest.is_positive() {
        return Left::Over;
    }
    let until = crate::draft::later(now, rest);
    let differ = until.duration_since(deadline).abs();
    Left::Until(if differ < SAME { deadline } else { until })
}
