//! Packed times and durations.

use super::CodecError;

/// Which of the packed time types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeKind {
    /// DATE.
    Date,
    /// DATETIME.
    DateTime,
    /// TIMESTAMP.
    Timestamp,
}

/// The parts of a packed time. Zero dates and zero parts are legal, as in MySQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PackedTime {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

/// Days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;
const DAYS_OF_400_YEARS: i64 = 146_097;

impl PackedTime {
    /// Takes a packed time apart: `(((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second) << 24 | micros`.
    ///
    /// # Errors
    /// When a part is out of its range.
    pub fn unpack(packed: u64) -> Result<Self, CodecError> {
        let bits = |shift: u32, width: u32| packed >> shift & ((1 << width) - 1);
        let year_month = packed >> 46;
        let time = PackedTime {
            year: (year_month / 13).try_into().unwrap_or(u16::MAX),
            month: (year_month % 13) as u8,
            day: bits(41, 5) as u8,
            hour: bits(36, 5) as u8,
            minute: bits(30, 6) as u8,
            second: bits(24, 6) as u8,
            micros: bits(0, 24) as u32,
        };
        if time.year > 9999 || time.hour > 23 || time.minute > 59 || time.second > 59 || time.micros > 999_999
        {
            return Err(CodecError::invalid(format!("{packed:#x} is no packed time")));
        }
        Ok(time)
    }

    /// Puts the parts together. Parts out of range give a value that [`PackedTime::unpack`] refuses or reads differently.
    pub fn pack(&self) -> u64 {
        let date = (u64::from(self.year) * 13 + u64::from(self.month)) << 5 | u64::from(self.day);
        let time = u64::from(self.hour) << 12 | u64::from(self.minute) << 6 | u64::from(self.second);
        (date << 17 | time) << 24 | u64::from(self.micros)
    }

    /// Reads `YYYY-MM-DD[ hh:mm:ss[.ffffff]]`, also with `T` between.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Self, CodecError> {
        let parse = || -> Option<PackedTime> {
            let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
            let mut date = date.splitn(3, '-');
            let mut time = time.splitn(3, ':');
            let (whole, fraction) = time_parts(&mut time)?;
            let parsed = PackedTime {
                year: date.next()?.parse().ok()?,
                month: date.next()?.parse().ok()?,
                day: date.next()?.parse().ok()?,
                hour: whole.0.try_into().ok()?,
                minute: whole.1,
                second: whole.2,
                micros: fraction,
            };
            let valid = parsed.year <= 9999 && parsed.month <= 12 && parsed.day <= 31 && parsed.hour <= 23;
            valid.then_some(parsed)
        };
        parse().ok_or_else(|| CodecError::invalid(format!("{text:?} is no date or datetime")))
    }

    /// Seconds since 1970 of what the parts show, as if it were UTC; `None` where month or day is 0.
    pub fn seconds(&self) -> Option<i64> {
        if self.month == 0 || self.day == 0 {
            return None;
        }
        // Years begin in March, so that the day of a leap year comes last.
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (153 * month + 2) / 5
            + i64::from(self.day)
            - 1
            - DAYS_TO_1970;
        Some(
            days * 86_400
                + i64::from(self.hour) * 3600
                + i64::from(self.minute) * 60
                + i64::from(self.second),
        )
    }

    /// The time so many seconds since 1970, as UTC shows it; `None` beyond the years 0 to 9999.
    pub fn of_seconds(seconds: i64, micros: u32) -> Option<Self> {
        let (days, rest) =
            (seconds.div_euclid(86_400).checked_add(DAYS_TO_1970)?, seconds.rem_euclid(86_400));
        let era = days.div_euclid(DAYS_OF_400_YEARS);
        let day = days.rem_euclid(DAYS_OF_400_YEARS);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let year = year + era * 400 + i64::from(month > 9);
        (0..=9999).contains(&year).then(|| PackedTime {
            year: year as u16,
            month: if month > 9 { month - 9 } else { month + 3 } as u8,
            day: (day_of_year - (153 * month + 2) / 5 + 1) as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            micros,
        })
    }

    /// Rounded to so many digits of a second, halves up, as TiDB rounds; `None` where that goes beyond the calendar.
    pub fn rounded(self, fsp: u8) -> Option<Self> {
        let unit = 10u32.pow(6 - u32::from(fsp.min(6)));
        let micros = (self.micros + unit / 2) / unit * unit;
        if micros < 1_000_000 {
            return Some(PackedTime { micros, ..self });
        }
        Self::of_seconds(self.seconds()? + 1, 0)
    }

    /// `YYYY-MM-DD`, and for the other kinds ` hh:mm:ss` with `fsp` digits of a fraction.
    pub fn text(&self, kind: TimeKind, fsp: u8) -> String {
        let mut text = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        if kind != TimeKind::Date {
            text.push_str(&format!(" {:02}:{:02}:{:02}", self.hour, self.minute, self.second));
            push_fraction(&mut text, self.micros, fsp);
        }
        text
    }
}

/// `hh`, `mm`, `ss[.ffffff]` as numbers.
fn time_parts<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<((u32, u8, u8), u32)> {
    let hour: u32 = parts.next()?.parse().ok()?;
    let minute: u8 = parts.next()?.parse().ok()?;
    let second = parts.next().unwrap_or("0");
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let second: u8 = second.parse().ok()?;
    if minute > 59 || second > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(6))?;
    let micros = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").parse().ok()? };
    Some(((hour, minute, second), micros))
}

fn push_fraction(text: &mut String, micros: u32, fsp: u8) {
    let fsp = usize::from(fsp.min(6));
    if fsp > 0 {
        let digits = format!("{micros:06}");
        text.push('.');
        text.push_str(&digits[..fsp]);
    }
}

/// TIME: nanoseconds with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration {
    /// Its length.
    pub nanos: i64,
}

impl Duration {
    /// `[-]hh:mm:ss` with `fsp` digits of a fraction; hours go beyond 24.
    pub fn text(self, fsp: u8) -> String {
        let micros = self.nanos.unsigned_abs() / 1000;
        let seconds = micros / 1_000_000;
        let sign = if self.nanos < 0 { "-" } else { "" };
        let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        push_fraction(&mut text, (micros % 1_000_000) as u32, fsp);
        text
    }

    /// Rounded to so many digits of a second, halves away from zero, as TiDB rounds.
    pub fn rounded(self, fsp: u8) -> Self {
        let unit = 10i64.pow(9 - u32::from(fsp.min(6)));
        let half = if self.nanos < 0 { -unit / 2 } else { unit / 2 };
        Duration { nanos: self.nanos.saturating_add(half) / unit * unit }
    }

    /// Reads what [`Duration::text`] writes.
    ///
    /// # Errors
    /// When the text is no such duration.
    pub fn parse(text: &str) -> Result<Self, CodecError> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let parsed = time_parts(&mut rest.splitn(3, ':')).filter(|(whole, _)| whole.0 <= 838);
        let ((hour, minute, second), micros) =
            parsed.ok_or_else(|| CodecError::invalid(format!("{text:?} is no time of day")))?;
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let nanos = seconds * 1_000_000_000 + i64::from(micros) * 1000;
        Ok(Duration { nanos: if negative { -nanos } else { nanos } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        let time = PackedTime::parse("2024-02-29 12:34:56.123456").unwrap();
        assert_eq!(PackedTime::unpack(time.pack()), Ok(time));
        assert_eq!(time.text(TimeKind::DateTime, 3), "2024-02-29 12:34:56.123");
        assert_eq!(time.text(TimeKind::Date, 0), "2024-02-29");
        assert_eq!(PackedTime::default().text(TimeKind::Timestamp, 0), "0000-00-00 00:00:00");
        assert_eq!(PackedTime::default().pack(), 0);
        for bad in
            ["", "2024", "2024-1", "2024-01-01 25:00:00", "2024-01-01 00:60:00", "2024-01-01 00:00:00.x"]
        {
            assert!(PackedTime::parse(bad).is_err(), "{bad:?}");
        }
        for text in ["-838:59:59.000000", "00:00:00.000001", "12:00:00.500000"] {
            assert_eq!(Duration::parse(text).unwrap().text(6), text);
        }
    }

    #[test]
    fn rounding_carries() {
        let time = PackedTime::parse("2024-02-28 23:59:59.999950").unwrap();
        assert_eq!(time.rounded(4).unwrap().text(TimeKind::DateTime, 6), "2024-02-29 00:00:00.000000");
        assert_eq!(time.rounded(5).unwrap().text(TimeKind::DateTime, 6), "2024-02-28 23:59:59.999950");
        assert_eq!(PackedTime::parse("9999-12-31 23:59:59.5").unwrap().rounded(0), None);
        assert_eq!(PackedTime::default().rounded(0), Some(PackedTime::default()));
        let duration = |text: &str, fsp| Duration::parse(text).unwrap().rounded(fsp).text(6);
        assert_eq!(duration("-00:59:59.5", 0), "-01:00:00.000000");
        assert_eq!(duration("00:00:01.2345", 3), "00:00:01.235000");
    }

    proptest! {
        #[test]
        fn seconds_come_back(seconds in -62_167_219_200i64..253_402_300_800) {
            let time = PackedTime::of_seconds(seconds, 7).unwrap();
            prop_assert_eq!(PackedTime::unpack(time.pack()).unwrap(), time);
            prop_assert_eq!(time.seconds(), Some(seconds));
        }

        #[test]
        fn packed_times_come_back(packed: u64) {
            if let Ok(time) = PackedTime::unpack(packed) {
                prop_assert_eq!(time.pack(), packed);
                let text = time.text(TimeKind::DateTime, 6);
                prop_assert_eq!(PackedTime::parse(&text).unwrap(), time);
            }
        }
    }
}
