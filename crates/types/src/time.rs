//! Times and durations as people type them.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::Ts;

/// How long binlogs are kept.
pub type Retention = Duration;

/// Why a text is no time or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {what} {text:?}: {hint}")]
pub struct TimeParseError {
    what: &'static str,
    text: String,
    hint: String,
}

/// A number of at most so many digits is seconds since 1970: they last to the year 5138.
const SECONDS_DIGITS: usize = 11;
/// A number of so many digits is milliseconds since 1970, from 2001 to 2286.
const MILLIS_DIGITS: usize = 13;
/// Milliseconds since 1970 of the year 2000: no TSO of a cluster lies before it.
const EARLIEST_MILLIS: u64 = 946_684_800_000;

/// Whether a TSO can be one of a real cluster: it lies in the year 2000 or later. Numbers of another kind, such as seconds since 1970, do not.
pub fn plausible(ts: Ts) -> bool {
    ts.physical() >= EARLIEST_MILLIS
}

/// Reads a position typed by a person: `2026-11-22T12:57:55Z` (RFC 3339), `2026-11-22 12:57:55[.123] [+08:00 | Europe/Berlin]`, `@SECONDS` since
/// 1970, or a number: seconds since 1970 (up to 11 digits), milliseconds since 1970 (13 digits), or a TSO. A datetime without a zone is taken in
/// `zone`. The logical part is 0, but for a TSO.
///
/// # Errors
/// When the text is none of these, or lies before 1970; for a number that is too long for a time and too small for a TSO.
pub fn parse_ts(text: &str, zone: &TimeZone) -> Result<Ts, TimeParseError> {
    let trimmed = text.trim();
    let error = |hint: String| TimeParseError { what: "time", text: text.to_owned(), hint };
    let instant = if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = trimmed.parse().map_err(|_| error("a TSO has at most 63 bits".to_owned()))?;
        let instant = match trimmed.len() {
            ..=SECONDS_DIGITS => Timestamp::from_second(number),
            MILLIS_DIGITS => Timestamp::from_millisecond(number),
            _ => {
                let ts = Ts::new(number.unsigned_abs());
                let hint = "as a TSO it lies before the year 2000; seconds since 1970 have 10 digits, milliseconds 13, a TSO 18 or more";
                return plausible(ts).then_some(ts).ok_or_else(|| error(hint.to_owned()));
            }
        };
        instant.map_err(|e| error(e.to_string()))?
    } else if let Some(seconds) = trimmed.strip_prefix('@') {
        let seconds: i64 =
            seconds.parse().map_err(|_| error("after @ come seconds since 1970".to_owned()))?;
        Timestamp::from_second(seconds).map_err(|e| error(e.to_string()))?
    } else {
        parse_datetime(trimmed, zone).map_err(error)?
    };
    match u64::try_from(instant.as_millisecond()) {
        Ok(ms) => Ok(Ts::compose(ms, 0)),
        Err(_) => Err(error("it lies before 1970".to_owned())),
    }
}

fn parse_datetime(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Ok(zoned.timestamp());
    }
    let hint = "write a TSO, 2026-11-22T12:57:55Z, \"2026-11-22 12:57:55 +08:00\", \"2026-11-22 12:57:55 Europe/Berlin\" or seconds since 1970";
    // "date time zone", blank-separated; a civil datetime alone takes the assumed zone.
    let (civil, zone) = match text.rsplit_once(' ') {
        Some((civil, name)) if civil.contains(':') => (civil, parse_zone(name)?),
        _ => (text, zone.clone()),
    };
    let civil: DateTime = civil.parse().map_err(|_| hint.to_owned())?;
    let zoned = zone.to_ambiguous_zoned(civil).compatible().map_err(|e| e.to_string())?;
    Ok(zoned.timestamp())
}

fn parse_zone(name: &str) -> Result<TimeZone, String> {
    if name == "Z" || name.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    parse_offset(name)
        .or_else(|| TimeZone::get(name).ok())
        .ok_or_else(|| format!("unknown time zone {name:?}; write +08:00 or a name such as Asia/Shanghai"))
}

fn parse_offset(text: &str) -> Option<TimeZone> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed)
}

/// Reads a retention: a bare number is days, else Go's duration text (`8h`, `30m`, `1h30m`).
///
/// # Errors
/// When the text is neither, or not above zero.
pub fn parse_retention(text: &str) -> Result<Retention, TimeParseError> {
    let error = |hint: &str| TimeParseError { what: "gc time", text: text.to_owned(), hint: hint.to_owned() };
    let usage = "use 7 for 7 days, 7h for 7 hours, 30m for 30 minutes";
    let trimmed = text.trim();
    let retention = match trimmed.parse::<u64>() {
        Ok(days) => days.checked_mul(86_400).map(Duration::from_secs).ok_or_else(|| error(usage))?,
        Err(_) => parse_go_duration(trimmed).ok_or_else(|| error(usage))?,
    };
    if retention.is_zero() { Err(error("it must be above zero")) } else { Ok(retention) }
}

fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_len =
            rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - digits);
        let seconds = match &rest[digits..digits + unit_len] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[digits + unit_len..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_moment() {
        let expected = parse_ts("2019-01-01T15:07:00Z", &TimeZone::UTC).unwrap();
        assert_eq!(expected.raw(), 405_367_742_791_680_000);
        for text in [
            "405367742791680000",
            "2019-01-01 15:07:00",
            "2019-01-01 23:07:00 +08:00",
            "2019-01-01 16:07:00 Europe/Berlin",
            "2019-01-01 15:07:00 UTC",
            "@1546355220",
            "1546355220",
            "1546355220000",
        ] {
            assert_eq!(parse_ts(text, &TimeZone::UTC).unwrap(), expected, "{text}");
        }
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        assert_eq!(parse_ts("2019-01-01 23:07:00", &shanghai).unwrap(), expected);
    }

    #[test]
    fn bad_times_say_what_to_write() {
        for bad in [
            "",
            "yesterday",
            "2019-13-01 00:00:00",
            "2019-01-01 15:07:00 Mars/Olympus",
            "99999999999999999999",
            // Neither seconds nor milliseconds, and as TSOs of the year 1970.
            "154635522000",
            "15463552200000",
        ] {
            assert!(parse_ts(bad, &TimeZone::UTC).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn retention_is_days_or_a_duration() {
        assert_eq!(parse_retention("7").unwrap(), Duration::from_secs(7 * 86_400));
        assert_eq!(parse_retention("8h").unwrap(), Duration::from_secs(8 * 3600));
        assert_eq!(parse_retention("1h30m").unwrap(), Duration::from_secs(5400));
        for bad in ["", "0", "7d", "-1", "h", "1.5.2h"] {
            assert!(parse_retention(bad).is_err(), "{bad:?}");
        }
    }
}
