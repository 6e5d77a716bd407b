//! What is said beside a guest's own words.

use crate::console::{Escape, Event};
use jiff::Timestamp;

/// The daemon is away; the session stays.
pub const DAEMON_AWAY: &str = "-- the daemon went away; this waits for it, and the guest runs on --";

/// Before anything else.
pub fn hello(object: &str, escape: Option<Escape>) -> String {
    let escape = escape.map(|escape| format!("; {escape} ends it")).unwrap_or_default();
    format!("-- console of {object}{escape} --")
}

/// One event, as a line.
pub fn event(object: &str, event: &Event) -> String {
    let said = match event {
        Event::Attached { domid, .. } => format!("{object}: attached to domain {domid}"),
        Event::Waiting { why, .. } => format!("{object}: no domain yet, this waits for it: {why}"),
        Event::Off { why, .. } => format!("{object}: off: {why}; `pinfold why {object}` says what starts it"),
        Event::Ended { at, domid, how, why } => {
            let why = if why.is_empty() { String::new() } else { format!("; {why}") };
            format!("{object}: domain {domid} ended at {}: {}{why}", moment(*at), how.text())
        }
        Event::Lost { domid, why, .. } => format!("{object}: domain {domid} has no console now: {why}"),
        Event::Taken { by, .. } => format!("{object}: {by} has taken the console over"),
        Event::Gone { .. } => format!("{object}: no longer in the configuration"),
    };
    format!("-- {said} --")
}

fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::End;

    #[test]
    fn every_event_is_a_line() {
        let at = Timestamp::from_second(1_760_000_000).unwrap();
        let why = |text: &str| text.to_owned();
        let said = [
            hello("vm/web", Some(Escape::default())),
            hello("vm/web", None),
            event("vm/web", &Event::Waiting { at, why: why("domain 7 is being built") }),
            event("vm/web", &Event::Attached { at, domid: 7 }),
            event(
                "vm/web",
                &Event::Ended {
                    at,
                    domid: 7,
                    how: End::Reboot,
                    why: why("its guest ended by itself (reboot); it is started again"),
                },
            ),
            event("vm/web", &Event::Ended { at, domid: 8, how: End::Destroyed, why: String::new() }),
            event("vm/web", &Event::Off { at, why: why("off by guest") }),
            event("vm/web", &Event::Lost { at, domid: 9, why: why("it has no text console") }),
            event("vm/web", &Event::Taken { at, by: why("uid 1000") }),
            event("vm/web", &Event::Gone { at }),
        ];
        insta::assert_snapshot!(said.join("\n"), @"
        -- console of vm/web; ^] ends it --
        -- console of vm/web --
        -- vm/web: no domain yet, this waits for it: domain 7 is being built --
        -- vm/web: attached to domain 7 --
        -- vm/web: domain 7 ended at 2025-10-09T08:53:20Z: reboot; its guest ended by itself (reboot); it is started again --
        -- vm/web: domain 8 ended at 2025-10-09T08:53:20Z: destroyed --
        -- vm/web: off: off by guest; `pinfold why vm/web` says what starts it --
        -- vm/web: domain 9 has no console now: it has no text console --
        -- vm/web: uid 1000 has taken the console over --
        -- vm/web: no longer in the configuration --
        ");
    }
}
