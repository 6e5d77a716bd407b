//! The small words of the language: names, sizes, durations, cores, MAC addresses. None of them can be wrong once it exists.

mod as_text;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Words that YAML 1.1 readers turn into booleans or null: as a name they would survive one tool and not the next.
pub(crate) const YAML_WORDS: [&str; 9] = ["on", "off", "yes", "no", "true", "false", "null", "y", "n"];

/// The name of an object: a DNS-1123 label (RFC 1123 §2.1, at most 63 characters) that starts with a letter and is no YAML word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty text.
    #[error("a name must not be empty")]
    Empty,
    /// More than 63 characters.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// Upper-case letters.
    #[error("a name is lower case; write `{0}`")]
    UpperCase(String),
    /// Starts with something else than a letter.
    #[error("a name starts with a letter")]
    FirstCharacter,
    /// Ends with a dash.
    #[error("a name ends with a letter or a digit")]
    LastCharacter,
    /// A character outside `a-z0-9-`.
    #[error("a name holds only a-z, 0-9 and `-`, not `{0}`")]
    Character(char),
    /// One of the words that YAML reads as a boolean or as null.
    #[error("YAML reads `{0}` as a boolean or as null; choose another name")]
    YamlWord(String),
}

impl Name {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (Some(first), Some(last)) = (text.chars().next(), text.chars().last()) else {
            return Err(NameError::Empty);
        };
        if text.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(NameError::UpperCase(text.to_ascii_lowercase()));
        }
        if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(NameError::Character(c));
        }
        if !first.is_ascii_lowercase() {
            return Err(NameError::FirstCharacter);
        }
        if last == '-' {
            return Err(NameError::LastCharacter);
        }
        if text.len() > 63 {
            return Err(NameError::TooLong(text.len()));
        }
        if YAML_WORDS.contains(&text) {
            return Err(NameError::YamlWord(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An amount of memory or storage: whole KiB, written as an integer with `Ki`, `Mi`, `Gi` or `Ti`.
///
/// KiB because that is libxl's unit (`target_memkb`, libxl_types.idl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    kib: u64,
}

/// Why a text is no [`Size`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A number without a unit; the payload is a likely meaning.
    #[error("a size needs a unit: Ki, Mi, Gi or Ti; for MiB write `{0}Mi`")]
    NoUnit(String),
    /// A unit of ten, or none of ours; the payload is the text as it should be.
    #[error("`{found}` is no unit here; write `{instead}`")]
    Unit {
        /// The unit as found.
        found: String,
        /// The whole size as it should be written.
        instead: String,
    },
    /// A fraction; the payload is the same size as a whole number.
    #[error("a size is a whole number and a unit; write `{0}`")]
    Fraction(String),
    /// No integer in front of the unit.
    #[error("a size is a whole number and a unit, such as `512Mi` or `2Gi`")]
    Number,
    /// Larger than 2^63 bytes.
    #[error("a size of `{0}` is larger than any host")]
    TooLarge(String),
}

impl Size {
    /// A size of whole KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self { kib }
    }

    /// A size of whole MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self { kib: mib * 1024 }
    }

    /// The size in KiB.
    pub const fn kib(self) -> u64 {
        self.kib
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::Number);
        }
        if let Some(rest) = unit.strip_prefix('.') {
            return Err(fraction(number, rest));
        }
        let shift = match unit {
            "Ki" => 0,
            "Mi" => 10,
            "Gi" => 20,
            "Ti" => 30,
            "" => return Err(SizeError::NoUnit(number.to_owned())),
            other => return Err(wrong_unit(number, other)),
        };
        let too_large = || SizeError::TooLarge(text.to_owned());
        let number: u64 = number.parse().map_err(|_| too_large())?;
        let kib = number.checked_mul(1 << shift).filter(|kib| *kib < 1 << 53).ok_or_else(too_large)?;
        Ok(Self { kib })
    }
}

/// `1.5Gi` is `1536Mi`. The part after the point is `rest`.
fn fraction(whole: &str, rest: &str) -> SizeError {
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let (part, unit) = rest.split_at(digits);
    let smaller = match unit {
        "Mi" => "Ki",
        "Gi" => "Mi",
        "Ti" => "Gi",
        _ => return SizeError::Number,
    };
    match (whole.parse::<u32>(), format!("{part:0<3}").parse::<u64>()) {
        // At most three decimals, so that `part` counts thousandths.
        (Ok(whole), Ok(part)) if digits <= 3 => {
            SizeError::Fraction(format!("{}{smaller}", u64::from(whole) * 1024 + part * 1024 / 1000))
        }
        _ => SizeError::Number,
    }
}

/// The likely meaning of a unit that is not ours: `2G` is `2Gi`, `512MB` is `512Mi`.
fn wrong_unit(number: &str, unit: &str) -> SizeError {
    let instead = match unit.chars().next().map(|c| c.to_ascii_uppercase()) {
        Some('K') => "Ki",
        Some('G') => "Gi",
        Some('T') => "Ti",
        Some('M') if unit != "m" => "Mi",
        _ => return SizeError::Number,
    };
    SizeError::Unit { found: unit.to_owned(), instead: format!("{number}{instead}") }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.kib {
            kib if kib != 0 && kib % (1 << 30) == 0 => (kib >> 30, "Ti"),
            kib if kib != 0 && kib % (1 << 20) == 0 => (kib >> 20, "Gi"),
            kib if kib % (1 << 10) == 0 => (kib >> 10, "Mi"),
            kib => (kib, "Ki"),
        };
        f.pad(&format!("{number}{unit}"))
    }
}

/// A span of time: a whole number with `s`, `m`, `h` or `d`, such as `90s`, `5m` or `14d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    seconds: u64,
}

/// Why a text is no [`Span`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A number without a unit; the payload is the number.
    #[error("a duration needs a unit: s, m, h or d; for seconds write `{0}s`")]
    NoUnit(String),
    /// Anything else.
    #[error("a duration is a whole number with s, m, h or d, such as `90s`, `5m` or `14d`")]
    Form,
    /// More than a hundred years.
    #[error("a duration of `{0}` is longer than a hundred years")]
    TooLong(String),
}

impl Span {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self { seconds }
    }

    /// The span in seconds.
    pub const fn as_secs(self) -> u64 {
        self.seconds
    }

    /// The span as the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let each = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            "" if !number.is_empty() => return Err(SpanError::NoUnit(number.to_owned())),
            _ => return Err(SpanError::Form),
        };
        if number.is_empty() {
            return Err(SpanError::Form);
        }
        let too_long = || SpanError::TooLong(text.to_owned());
        let number: u64 = number.parse().map_err(|_| too_long())?;
        // A hundred years: more is a slip of the finger, and would overflow a timestamp.
        let seconds = number.checked_mul(each).filter(|s| *s <= 100 * 365 * 86400).ok_or_else(too_long)?;
        Ok(Self { seconds })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.seconds {
            s if s != 0 && s % 86400 == 0 => (s / 86400, "d"),
            s if s != 0 && s % 3600 == 0 => (s / 3600, "h"),
            s if s != 0 && s % 120 == 0 => (s / 60, "m"),
            s => (s, "s"),
        };
        f.pad(&format!("{number}{unit}"))
    }
}

/// A physical core, named by where it sits: stable across SMT settings and renumbered pCPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Core {
    /// The socket, as `libxl_cputopology.socket` numbers it.
    pub socket: u32,
    /// The core within its socket, as `libxl_cputopology.core` numbers it.
    pub core: u32,
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.socket, self.core))
    }
}

/// A set of cores, printed as `socket.core` pairs.
pub type Cores = BTreeSet<Core>;

/// An Ethernet address of a NIC: unicast, six octets, written as lower-case hexadecimal pairs with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Why a text is no [`Mac`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six pairs of hexadecimal digits.
    #[error("a MAC is six pairs of hexadecimal digits in quotes, such as \"00:16:3e:12:34:56\"")]
    Form,
    /// All octets are zero.
    #[error("00:00:00:00:00:00 is no address of a NIC")]
    Zero,
    /// The multicast bit is set.
    #[error("this is a multicast address; the first octet of a NIC's MAC is even")]
    Multicast,
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or(MacError::Form)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError::Form)?;
        }
        if parts.next().is_some() {
            return Err(MacError::Form);
        }
        if octets == [0; 6] {
            return Err(MacError::Zero);
        }
        if octets[0] & 1 == 1 {
            return Err(MacError::Multicast);
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}
