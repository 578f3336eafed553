//! Sizes as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// A number of bytes. Text follows the original's rule: `42 MB` is decimal, `42 MiB` binary, a bare number bytes; case and
/// blanks do not matter, an empty text is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable size {0:?}: write a number with an optional unit, as in 10GiB, 512 MB, 4096")]
pub struct ParseByteSizeError(String);

impl ByteSize {
    /// `n` binary kilobytes.
    pub const fn kib(n: u64) -> Self {
        ByteSize(n << 10)
    }
    /// `n` binary megabytes.
    pub const fn mib(n: u64) -> Self {
        ByteSize(n << 20)
    }
    /// `n` binary gigabytes.
    pub const fn gib(n: u64) -> Self {
        ByteSize(n << 30)
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseByteSizeError(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        if lower.is_empty() {
            return Ok(ByteSize(0));
        }
        let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let number: f64 = number.replace(',', "").parse().map_err(|_| error())?;
        let factor: u64 = match unit.trim() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "ki" | "kib" => 1 << 10,
            "mi" | "mib" => 1 << 20,
            "gi" | "gib" => 1 << 30,
            "ti" | "tib" => 1 << 40,
            _ => return Err(error()),
        };
        let bytes = number * factor as f64;
        if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 {
            Ok(ByteSize(bytes as u64))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {}", UNITS[unit]) }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(bytes) => Ok(ByteSize(bytes)),
            Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_original() {
        for (text, bytes) in [
            ("42 MB", 42_000_000),
            ("42 mib", 44_040_192),
            ("4096", 4096),
            ("", 0),
            ("1.5k", 1500),
            ("10GiB", 10 << 30),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text:?}");
        }
        for bad in ["x", "1 parsec", "-1", "1e400", "MB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }
}
