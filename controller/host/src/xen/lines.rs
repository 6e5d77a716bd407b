//! What a worker says, line by line, with a bound on each line: a worker that goes wild must not take the daemon's memory with it.

use std::io::{BufRead, BufReader, Read};

/// The lines until the end, or until something that is no text. A line longer than `most` bytes comes in pieces.
pub(super) fn lines(from: impl Read, most: u64) -> impl Iterator<Item = String> {
    let mut reader = BufReader::new(from);
    std::iter::from_fn(move || {
        let mut line = String::new();
        match reader.by_ref().take(most).read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        }
    })
}
