//! A checksum as the last field of every record: what changed on the disk by itself is noticed, also where it is still a record.
//!
//! ```text
//! {
//!   "version": 1,
//!   …
//!   "sha256": "<of everything before the comma that precedes this line>"
//! }
//! ```
//!
//! A file without one is from an earlier pinfold, or a person edited it and took the line out: it counts as it stands. Readers that know
//! nothing of it skip a field.

use sha2::{Digest, Sha256};
use std::fmt::Write;

const FIELD: &str = ",\n  \"sha256\": \"";
const END: &str = "\"\n}\n";

/// The text of a record, a JSON object as serde_json prints it for people, with its checksum.
pub(super) fn sealed(mut text: String) -> String {
    if let Some(body) = text.trim_end().strip_suffix("\n}").map(str::len) {
        text.truncate(body);
        let sum = sum(&text);
        let _ = write!(text, "{FIELD}{sum}{END}");
    }
    text
}

/// Whether a text is as it was sealed; one without a checksum is.
pub(super) fn is_whole(text: &[u8]) -> bool {
    let Some((body, stated)) =
        std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix(END)?.rsplit_once(FIELD))
    else {
        return true;
    };
    sum(body) == stated
}

fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_of_what_was_written_is_noticed() {
        let value =
            serde_json::json!({"version": 1, "name": "erp", "weight": 256, "list": [1, 2], "last": {"a": null}});
        let text = sealed(serde_json::to_string_pretty(&value).unwrap());
        assert!(is_whole(text.as_bytes()));
        let body = text.find(FIELD).unwrap();
        for at in 0..body {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!is_whole(&changed), "byte {at}");
        }
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["weight"], 256);
        // By hand, or by an earlier pinfold.
        assert!(is_whole(b"{\n  \"version\": 1\n}\n"));
    }
}
