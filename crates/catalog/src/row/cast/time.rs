//! What becomes a time of day or a date, and what these become.

use binlog_types::Zone;

use super::From;
use crate::codec::{CodecError, Duration, PackedTime, TimeKind};
use crate::{Value, tp};

const NANOS_OF_A_DAY: i64 = 86_400_000_000_000;

impl From<'_> {
    /// The time as clocks of the session show it.
    pub(super) fn shown(&self, kind: TimeKind, packed: u64) -> Result<PackedTime, CodecError> {
        let time = PackedTime::unpack(packed)?;
        let (TimeKind::Timestamp, Some(zone), Some(utc)) = (kind, self.zone, time.seconds()) else {
            return Ok(time);
        };
        let shown = zone.offset_at(utc).and_then(|offset| PackedTime::of_seconds(utc + offset, time.micros));
        shown.ok_or_else(|| self.no_zone(zone))
    }

    fn no_zone(&self, zone: &Zone) -> CodecError {
        let text = String::from_utf8_lossy(&self.value.to_text(self.old).unwrap_or_default()).into_owned();
        CodecError::invalid(format!("{text:?} cannot be taken from or to the time zone {}", zone.name()))
    }

    pub(super) fn time(&self) -> Result<Value, CodecError> {
        let ty = &self.new.ty;
        let kind = match ty.tp {
            tp::TIMESTAMP => TimeKind::Timestamp,
            tp::DATETIME => TimeKind::DateTime,
            _ => TimeKind::Date,
        };
        let (time, in_utc) = match self.value {
            Value::Time { kind: TimeKind::Timestamp, packed, .. } if kind == TimeKind::Timestamp => {
                (PackedTime::unpack(*packed)?, true)
            }
            Value::Time { kind, packed, .. } => (self.shown(*kind, *packed)?, false),
            Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                let text = self.trimmed()?.unwrap_or_default();
                (PackedTime::parse(&text).or_else(|_| self.time_of_digits(&text))?, false)
            }
            Value::Int(_) | Value::UInt(_) => (self.time_of_digits(&self.digits()?)?, false),
            // A TIME takes the day of the change, others are refused.
            _ => return Err(self.misfit()),
        };
        let fsp = if kind == TimeKind::Date { 0 } else { ty.fsp() };
        let mut time = match self.value {
            // Only texts and numbers are rounded on their way to a DATE.
            Value::Time { .. } if kind == TimeKind::Date => time,
            _ => time.rounded(fsp).ok_or_else(|| self.misfit())?,
        };
        if kind == TimeKind::Date {
            time = PackedTime { hour: 0, minute: 0, second: 0, micros: 0, ..time };
        }
        if let (TimeKind::Timestamp, false, Some(zone), Some(clock)) =
            (kind, in_utc, self.zone, time.seconds())
        {
            let utc = zone
                .offset_of_clock(clock)
                .and_then(|offset| PackedTime::of_seconds(clock - offset, time.micros));
            time = utc.ok_or_else(|| self.no_zone(zone))?;
        }
        Ok(Value::Time { kind, packed: time.pack(), fsp })
    }

    /// `YYMMDD`, `YYYYMMDD`, and both with `hhmmss` behind.
    fn time_of_digits(&self, text: &str) -> Result<PackedTime, CodecError> {
        let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
        if digits == "0" {
            return Ok(PackedTime::default());
        }
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.misfit());
        }
        let wide = match digits.len() {
            ..=6 => format!("{digits:0>6}"),
            7..=8 => format!("{digits:0>8}"),
            9..=12 => format!("{digits:0>12}"),
            _ => format!("{digits:0>14}"),
        };
        let long = matches!(wide.len(), 8 | 14);
        let (year, rest) = wide.split_at_checked(if long { 4 } else { 2 }).ok_or_else(|| self.misfit())?;
        let century = match year {
            _ if long => "",
            short if short < "70" => "20",
            _ => "19",
        };
        let pair = |at: usize| rest.get(at..at + 2).unwrap_or("00");
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        PackedTime::parse(&format!(
            "{century}{year}-{}-{} {}:{}:{}.{fraction}",
            pair(0),
            pair(2),
            pair(4),
            pair(6),
            pair(8)
        ))
    }

    pub(super) fn duration(&self) -> Result<Value, CodecError> {
        let fsp = self.new.ty.fsp();
        let duration = match self.value {
            Value::Duration { nanos, .. } => Duration { nanos: *nanos },
            Value::Time { kind, packed, .. } => {
                let time = self.shown(*kind, *packed)?;
                Duration::parse(&format!(
                    "{:02}:{:02}:{:02}.{:06}",
                    time.hour, time.minute, time.second, time.micros
                ))?
            }
            Value::Text(_) | Value::Bytes(_) | Value::Json(_) => {
                let text = self.trimmed()?.unwrap_or_default();
                match text.contains(':') {
                    true => self.duration_of_text(&text)?,
                    false => self.duration_of_digits(&text)?,
                }
            }
            _ => self.duration_of_digits(&self.digits()?)?,
        };
        Ok(Value::Duration { nanos: duration.rounded(fsp).nanos, fsp })
    }

    /// With days in front, or with a date.
    fn duration_of_text(&self, text: &str) -> Result<Duration, CodecError> {
        let Some((front, time)) = text.split_once(' ') else { return Duration::parse(text) };
        let parsed = Duration::parse(time.trim())?;
        if PackedTime::parse(front).is_ok() {
            return Ok(parsed);
        }
        let (sign, days) = front.strip_prefix('-').map_or((1, front), |days| (-1, days));
        let days: u32 = days.parse().map_err(|_| self.misfit())?;
        let nanos =
            i64::from(days).checked_mul(NANOS_OF_A_DAY).and_then(|days| days.checked_add(parsed.nanos));
        Ok(Duration { nanos: sign * nanos.ok_or_else(|| self.misfit())? })
    }

    /// `hhmmss`.
    fn duration_of_digits(&self, text: &str) -> Result<Duration, CodecError> {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let wide = format!("{whole:0>6}");
        let at = wide.len() - 4;
        let (hours, rest) = wide.split_at_checked(at).ok_or_else(|| self.misfit())?;
        let (minutes, seconds) = rest.split_at_checked(2).ok_or_else(|| self.misfit())?;
        Duration::parse(&format!("{sign}{hours}:{minutes}:{seconds}.{fraction}"))
    }
}
