//! The range that a person asked for.
//!
//! The original's bounds are inclusive at both ends, a backup's TSO is exclusive; inside it is `(after, through]`. So an inclusive start
//! loses one, and everything that was assumed is said.

use binlog_types::{ClusterId, CommitTs, Ts, parse_ts, plausible};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::{Backup, Config, Error};

/// A range, not yet closed above where no stop was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Exclusive.
    pub after: CommitTs,
    /// Inclusive; `None`: what there is now.
    pub through: Option<CommitTs>,
    /// Of the backup that it starts from, if that says.
    pub cluster: Option<ClusterId>,
    /// How each bound was understood, one sentence each.
    pub notes: Vec<String>,
}

/// The moment of a timestamp, in UTC, to the millisecond.
pub fn utc(ts: Ts) -> String {
    let millis = i64::try_from(ts.physical()).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(millis) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => "beyond all dates".to_owned(),
    }
}

impl Bounds {
    /// Reads the bounds of a configuration; `zone` is that of datetimes without one.
    ///
    /// # Errors
    /// [`Error::Config`] for unreadable times and for a range that can hold nothing.
    pub fn resolve(config: &Config, zone: &TimeZone) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let start = bound("start", &config.start_datetime, config.start_tso, zone, &mut notes)?;
        let stop = bound("stop", &config.stop_datetime, config.stop_tso, zone, &mut notes)?;
        let mut after = tso("after-tso", config.after_tso)?;
        let mut cluster = None;
        if !config.full_backup.as_os_str().is_empty() {
            let backup = Backup::read(&config.full_backup)?;
            cluster = backup.cluster;
            after = Some(backup.at.ts());
            notes.push(format!("{}: {}", config.full_backup.display(), backup.note));
        }
        let after = match (start, after) {
            (Some(_), Some(_)) => {
                let text = "-after-tso and a start are two answers to one question: give one of them";
                return Err(Error::Config(text.to_owned()));
            }
            (Some(start), None) => start.prev(),
            (None, Some(after)) => {
                if config.full_backup.as_os_str().is_empty() {
                    notes.push(format!("after {after} ({}), exclusive", utc(after)));
                }
                after
            }
            (None, None) => transaction(config.txn, &mut notes)?,
        };
        if let Some(stop) = stop
            && stop <= after
        {
            let text = format!("the range is empty: it stops at {stop} ({}), before it starts", utc(stop));
            return Err(Error::Config(text));
        }
        Ok(Bounds { after: after.into(), through: stop.map(CommitTs::from), cluster, notes })
    }
}

/// Where to start for the sake of one transaction: it cannot commit before it begins.
fn transaction(number: i64, notes: &mut Vec<String>) -> Result<Ts, Error> {
    let Some(ts) = tso("txn", number)? else { return Ok(Ts::ZERO) };
    notes.push(format!("start {ts} ({}), inclusive: where the transaction of -txn is", utc(ts)));
    Ok(ts.prev())
}

fn tso(name: &str, number: i64) -> Result<Option<Ts>, Error> {
    let refuse = |text: String| Err(Error::Config(format!("-{name}{text}")));
    match u64::try_from(number) {
        Ok(0) => Ok(None),
        Ok(raw) if plausible(Ts::new(raw)) => Ok(Some(Ts::new(raw))),
        Ok(raw) => refuse(format!(
            "={raw} is no TSO: it would be one of {}. Times, also as seconds since 1970, go into -start-datetime and -stop-datetime",
            utc(Ts::new(raw))
        )),
        Err(_) => refuse(" must not be negative".to_owned()),
    }
}

/// The datetime goes before the TSO, as in the original.
fn bound(
    name: &str,
    datetime: &str,
    number: i64,
    zone: &TimeZone,
    notes: &mut Vec<String>,
) -> Result<Option<Ts>, Error> {
    let number = tso(&format!("{name}-tso"), number)?;
    if datetime.trim().is_empty() {
        if let Some(ts) = number {
            notes.push(format!("{name} {ts} ({}), inclusive", utc(ts)));
        }
        return Ok(number);
    }
    let ts = parse_ts(datetime, zone).map_err(|e| Error::Config(format!("-{name}-datetime: {e}")))?;
    let assumed = if zone_matters(datetime) {
        let zone = zone.iana_name().unwrap_or("local");
        format!(", taken in the zone {zone} because it names none")
    } else {
        String::new()
    };
    notes.push(format!("{name} {datetime:?}{assumed}: TSO {ts} ({}), inclusive", utc(ts)));
    Ok(Some(ts))
}

/// Whether a text means another moment in another zone.
fn zone_matters(text: &str) -> bool {
    let there = Offset::from_seconds(3600).map(TimeZone::fixed).unwrap_or(TimeZone::UTC);
    parse_ts(text, &TimeZone::UTC).ok() != parse_ts(text, &there).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(change: impl FnOnce(&mut Config)) -> Result<Bounds, Error> {
        let mut config = Config::default();
        change(&mut config);
        Bounds::resolve(&config, &TimeZone::get("Asia/Shanghai").unwrap())
    }

    #[test]
    fn nothing_asked_is_everything() {
        let bounds = resolve(|_| ()).unwrap();
        assert_eq!(bounds, Bounds { after: CommitTs::ZERO, through: None, cluster: None, notes: vec![] });
    }

    /// A TSO of 2019.
    const TSO: i64 = 405_367_742_791_680_000;

    #[test]
    fn an_inclusive_start_becomes_exclusive() {
        let at = |ts: i64| CommitTs::new(ts as u64);
        let bounds = resolve(|c| (c.start_tso, c.stop_tso) = (TSO, TSO + 100)).unwrap();
        assert_eq!((bounds.after, bounds.through), (at(TSO - 1), Some(at(TSO + 100))));
        let backup = resolve(|c| c.after_tso = TSO).unwrap();
        assert_eq!(backup.after, at(TSO));
        let one = resolve(|c| (c.start_tso, c.stop_tso) = (TSO, TSO)).unwrap();
        assert_eq!((one.after, one.through), (at(TSO - 1), Some(at(TSO))));
    }

    #[test]
    fn seconds_since_1970_are_a_datetime_and_no_tso() {
        let bounds = resolve(|c| c.stop_datetime = "1546355220".to_owned()).unwrap();
        assert_eq!(bounds.through, Some(CommitTs::new(TSO as u64)));
        assert!(bounds.notes[0].contains("2019-01-01T15:07:00.000Z"), "{:?}", bounds.notes);
        for number in [1, 1_546_355_220, 1_546_355_220_000] {
            for change in [
                |c: &mut Config, n| c.stop_tso = n,
                |c: &mut Config, n| c.start_tso = n,
                |c: &mut Config, n| c.after_tso = n,
            ] {
                let error = resolve(|c| change(c, number)).unwrap_err().to_string();
                assert!(error.contains("is no TSO: it would be one of 1970-01-01"), "{error}");
            }
        }
    }

    #[test]
    fn a_transaction_is_a_start() {
        let bounds = resolve(|c| c.txn = TSO).unwrap();
        assert_eq!(bounds.after.raw(), TSO as u64 - 1);
        let bounds = resolve(|c| (c.txn, c.after_tso) = (TSO, TSO - 7)).unwrap();
        assert_eq!(bounds.after.raw(), TSO as u64 - 7);
    }

    #[test]
    fn a_datetime_goes_before_a_tso_and_says_its_zone() {
        let bounds = resolve(|c| {
            c.start_tso = TSO;
            c.start_datetime = "2019-01-01 23:07:00".to_owned();
            c.stop_datetime = "2019-01-01T15:08:00Z".to_owned();
        })
        .unwrap();
        assert_eq!(bounds.after.raw(), 405_367_742_791_680_000 - 1);
        assert!(bounds.notes[0].contains("zone Asia/Shanghai"), "{:?}", bounds.notes);
        assert!(bounds.notes[0].contains("2019-01-01T15:07:00.000Z"), "{:?}", bounds.notes);
        assert!(!bounds.notes[1].contains("zone"), "{:?}", bounds.notes);
    }

    #[test]
    fn ranges_that_hold_nothing_are_refused() {
        assert!(resolve(|c| (c.start_tso, c.stop_tso) = (TSO + 1, TSO)).is_err());
        assert!(resolve(|c| (c.after_tso, c.stop_tso) = (TSO, TSO)).is_err());
        assert!(resolve(|c| (c.after_tso, c.start_tso) = (TSO, TSO)).is_err());
        assert!(resolve(|c| c.start_tso = -1).is_err());
        assert!(resolve(|c| c.stop_datetime = "tomorrow".to_owned()).is_err());
    }
}
