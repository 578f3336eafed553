//! The time zone of a session.

use jiff::civil::date;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A time zone in which a statement ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    /// `None`: a name that this program does not know.
    zone: Option<TimeZone>,
}

impl Zone {
    /// A zone as TiDB's jobs name it: an offset in seconds east of UTC or, where that is 0, a name. `None`: it is UTC.
    pub fn of_location(name: &str, offset: i32) -> Option<Self> {
        if offset != 0 {
            let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
            let name = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            let zone = Offset::from_seconds(offset).ok().map(TimeZone::fixed);
            return Some(Zone { name, zone });
        }
        if matches!(name, "" | "UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu") {
            return None;
        }
        Some(Zone { name: name.to_owned(), zone: TimeZone::get(name).ok() })
    }

    /// The name by which a server's `time_zone` takes it: `+08:00`, `Asia/Shanghai`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its offsets are known here.
    pub fn is_known(&self) -> bool {
        self.zone.is_some()
    }

    /// Seconds east of UTC at a moment, in seconds since 1970; `None`: the zone is not known here, or the moment is beyond the calendar.
    pub fn offset_at(&self, utc: i64) -> Option<i64> {
        let at = Timestamp::from_second(utc).ok()?;
        Some(self.zone.as_ref()?.to_offset(at).seconds().into())
    }

    /// Seconds east of UTC where clocks show `local`, counted as if it were UTC. Of an hour that comes twice, the first one; in one that clocks
    /// leave out, the offset before. `None` as for [`Zone::offset_at`].
    pub fn offset_of_clock(&self, local: i64) -> Option<i64> {
        let clock = date(1970, 1, 1).at(0, 0, 0, 0).checked_add(SignedDuration::from_secs(local)).ok()?;
        let at = self.zone.as_ref()?.to_ambiguous_zoned(clock).compatible().ok()?;
        Some(local - at.timestamp().as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_the_zone() {
        assert_eq!(Zone::of_location("UTC", 0), None);
        let fixed = Zone::of_location("UTC", -12_600).unwrap();
        assert_eq!((fixed.name(), fixed.offset_at(0)), ("-03:30", Some(-12_600)));
        let berlin = Zone::of_location("Europe/Berlin", 0).unwrap();
        // 2024-07-01 and 2024-01-01, both at noon.
        for (clock, offset) in [(1_719_835_200, 7200), (1_704_110_400, 3600)] {
            assert_eq!(berlin.offset_of_clock(clock), Some(offset));
            assert_eq!(berlin.offset_at(clock - offset), Some(offset));
        }
        // 2024-03-31 02:30 is left out there, 2024-10-27 02:30 comes twice.
        assert_eq!(berlin.offset_of_clock(1_711_852_200), Some(3600));
        assert_eq!(berlin.offset_of_clock(1_729_996_200), Some(7200));
        let unknown = Zone::of_location("Local", 0).unwrap();
        assert!(
            !unknown.is_known() && unknown.offset_at(0).is_none() && unknown.offset_of_clock(0).is_none()
        );
    }
}
