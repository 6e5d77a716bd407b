//! The escape key: the only key that does not reach the guest.

use std::fmt;
use std::str::FromStr;

/// The key that ends a session, as `^X`: a control character. `^]` unless another one is chosen, as with `xl console` and telnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escape(u8);

/// What was typed, parted at the escape key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<'k> {
    /// For the guest.
    pub guest: &'k [u8],
    /// The escape key came after it.
    pub ends: bool,
}

impl Escape {
    /// Looks for it in what was typed. What follows it is for nobody.
    pub fn part(self, typed: &[u8]) -> Keys<'_> {
        match typed.iter().position(|byte| *byte == self.0) {
            Some(at) => Keys { guest: &typed[..at], ends: true },
            None => Keys { guest: typed, ends: false },
        }
    }
}

impl Default for Escape {
    fn default() -> Self {
        Self(b']' & 0x1f)
    }
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "^{}", char::from(self.0 | 0x40))
    }
}

impl FromStr for Escape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.strip_prefix('^').filter(|key| key.len() == 1).and_then(|key| key.bytes().next());
        match key.map(|key| key.to_ascii_uppercase()) {
            // `^M` and `^J` are Enter, `^[` begins what arrow keys send.
            Some(key @ b'A'..=b'_') if !matches!(key, b'M' | b'J' | b'[') => Ok(Self(key & 0x1f)),
            _ => {
                Err("write `^` and a letter, or one of `]`, `^`, `_`, `\\`, such as `^]` or `^T`; not `^M`, `^J`, `^[`"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_written_as_it_is_typed() {
        for text in ["^]", "^T", "^_", "^\\"] {
            assert_eq!(text.parse::<Escape>().unwrap().to_string(), text);
        }
        assert_eq!("^t".parse::<Escape>().unwrap().to_string(), "^T");
        assert_eq!(Escape::default().to_string(), "^]");
        for text in ["", "^", "]", "^^^", "^M", "^J", "^[", "^1", "^é"] {
            assert!(text.parse::<Escape>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_comes_before_it_is_for_the_guest() {
        let escape = Escape::default();
        assert_eq!(escape.part(b"ls\r"), Keys { guest: b"ls\r", ends: false });
        assert_eq!(escape.part(b"ls\x1dpoweroff\r"), Keys { guest: b"ls", ends: true });
        assert_eq!(escape.part(b"\x1d"), Keys { guest: b"", ends: true });
    }
}
