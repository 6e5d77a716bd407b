//! Times as people say them. The time of reading is an argument, so that texts can be tested.

use jiff::Timestamp;

/// How long ago something was: `12 s`, `3 min`, `5 h`, `9 d`. The future is `0 s`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago, as part of a sentence: `12 s ago`.
pub fn ago(since: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(since, now))
}

/// When something will be: `in 12 s`, or `now`.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".to_owned() } else { format!("in {}", age(now, at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let said: Vec<String> = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800]
            .into_iter()
            .map(|seconds| age(Timestamp::from_second(1_000_000 - seconds).expect("in range"), now))
            .collect();
        insta::assert_snapshot!(said.join(" · "), @"0 s · 0 s · 119 s · 2 min · 119 min · 2 h · 47 h · 2 d");
    }
}
