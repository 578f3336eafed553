//! `reparo activity`: what changed when: rows by table and time, and the largest and the longest transactions. For finding the bad moment.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use binlog_catalog::{ChangeKind, Event, Transaction};
use binlog_types::{CommitTs, StartTs, Ts};

use crate::records::field;
use crate::{Config, Error, Selection, Summary, chart, utc};

/// Widest bar, in characters.
const BAR: u64 = 40;
/// Stretches of a table that are shown; the CSV has all.
const LINES: usize = 200;

/// Rows inserted, updated, deleted.
pub(crate) type Rows = [u64; 3];

/// A transaction, as the lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notable {
    /// When it committed.
    pub commit_ts: CommitTs,
    /// When it began.
    pub start_ts: StartTs,
    /// Its rows.
    pub rows: u64,
    /// Its tables.
    pub tables: Vec<String>,
}

/// What went on in a range.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Range, sources, holes and counts.
    pub summary: Summary,
    /// How long a stretch is.
    pub every: Duration,
    /// By table, then by the beginning of a stretch in Unix milliseconds.
    pub tables: BTreeMap<String, BTreeMap<u64, Rows>>,
    /// Of the most rows first.
    pub largest: Vec<Notable>,
    /// Of the longest time from start to commit first.
    pub longest: Vec<Notable>,
    top: usize,
}

/// Reads the range that `config` asks for; writes `-csv` and `-svg` where they are given.
///
/// # Errors
/// As those of a restore.
pub async fn activity(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Activity, Error> {
    let every = stretch(&config.by)?;
    let top = usize::try_from(config.top).unwrap_or(0).max(1);
    let selection = Selection::open(config).await?;
    let summary = Summary::new(&selection);
    let mut activity =
        Activity { summary, every, tables: BTreeMap::new(), largest: Vec::new(), longest: Vec::new(), top };
    if !selection.range.is_empty() {
        let mut reading = selection.read().await?;
        let each = |event: &Event| {
            activity.add(event);
            Ok(true)
        };
        selection.each(&mut reading, "reading", shutdown, each).await?;
        activity.summary.holes.extend_from_slice(reading.holes());
    }
    if !config.csv.as_os_str().is_empty() {
        activity.write_csv(&config.csv)?;
    }
    if !config.svg.as_os_str().is_empty() {
        chart::draw(&config.svg, &activity)?;
    }
    Ok(activity)
}

/// `10s`, `1m`, `2h`, `1d`.
pub(crate) fn stretch(text: &str) -> Result<Duration, Error> {
    let bad = || Error::Config(format!("-by: {text:?} is no length of time such as 10s, 1m, 2h or 1d"));
    let unit = text.chars().last().ok_or_else(bad)?;
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| bad())? };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    match number.checked_mul(seconds) {
        Some(seconds) if (1..=366 * 86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(bad()),
    }
}

/// A moment of Unix milliseconds.
pub(crate) fn moment(millis: u64) -> String {
    utc(Ts::new(millis << 18))
}

impl Activity {
    fn add(&mut self, event: &Event) {
        self.summary.counts.add(event);
        let Event::Transaction(txn) = event else { return };
        let every = self.every.as_millis() as u64;
        let from = txn.commit_ts.ts().physical() / every * every;
        let mut tables: Vec<String> = Vec::new();
        for change in &txn.changes {
            let name = format!("{}.{}", change.table.schema, change.table.table.name);
            let kind = match change.kind {
                ChangeKind::Insert(_) => 0,
                ChangeKind::Update { .. } => 1,
                ChangeKind::Delete(_) => 2,
            };
            if tables.last() != Some(&name) && !tables.contains(&name) {
                tables.push(name.clone());
            }
            let rows = self.tables.entry(name).or_default().entry(from).or_default();
            if let Some(count) = rows.get_mut(kind) {
                *count += 1;
            }
        }
        self.note(txn, tables);
    }

    fn note(&mut self, txn: &Transaction, tables: Vec<String>) {
        let (commit_ts, start_ts) = (txn.commit_ts, txn.start_ts);
        let notable = Notable { commit_ts, start_ts, rows: txn.changes.len() as u64, tables };
        keep(&mut self.largest, self.top, &notable, |n| n.rows);
        // Binlog files do not tell when a transaction began.
        if start_ts.raw() > 0 {
            keep(&mut self.longest, self.top, &notable, Notable::millis);
        }
    }

    /// Rows of a table.
    pub(crate) fn total(rows: &BTreeMap<u64, Rows>) -> Rows {
        rows.values().fold([0; 3], |sum, rows| {
            std::array::from_fn(|at| sum.get(at).unwrap_or(&0) + rows.get(at).unwrap_or(&0))
        })
    }

    /// Tables, the busiest first.
    pub(crate) fn busiest(&self) -> Vec<(&String, &BTreeMap<u64, Rows>)> {
        let mut tables: Vec<_> = self.tables.iter().collect();
        tables.sort_by_key(|(name, rows)| (std::cmp::Reverse(Self::total(rows).iter().sum::<u64>()), *name));
        tables
    }

    /// One line a stretch and table, all of them.
    fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Output { path: path.display().to_string(), source };
        let mut out = std::io::BufWriter::new(fs::File::create_new(path).map_err(failed)?);
        writeln!(out, "from,table,inserted,updated,deleted").map_err(failed)?;
        for (name, rows) in &self.tables {
            for (from, [inserted, updated, deleted]) in rows {
                writeln!(out, "{},{},{inserted},{updated},{deleted}", moment(*from), field(name))
                    .map_err(failed)?;
            }
        }
        out.flush().map_err(failed)
    }
}

impl Notable {
    fn millis(&self) -> u64 {
        self.commit_ts.ts().physical().saturating_sub(self.start_ts.ts().physical())
    }
}

/// Keeps the `top` of a list by a measure, the greatest first.
fn keep(list: &mut Vec<Notable>, top: usize, notable: &Notable, measure: impl Fn(&Notable) -> u64) {
    let own = measure(notable);
    if list.len() == top && list.last().is_some_and(|least| measure(least) >= own) {
        return;
    }
    let at = list.partition_point(|other| measure(other) >= own);
    list.insert(at, notable.clone());
    list.truncate(top);
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.summary;
        writeln!(f, "activity of {}", s.range_text())?;
        writeln!(f, "{}", s.counts)?;
        s.write_remarks(f)?;
        let tables = self.busiest();
        let most = self.tables.values().flat_map(|rows| rows.values()).map(|r| r.iter().sum::<u64>()).max();
        let most = most.unwrap_or(1).max(1);
        writeln!(
            f,
            "changed rows in stretches of {} s; + inserted, ~ updated, - deleted:",
            self.every.as_secs()
        )?;
        for (name, rows) in tables.iter().take(self.top) {
            let [inserted, updated, deleted] = Self::total(rows);
            writeln!(f, "{name}: {inserted} inserted, {updated} updated, {deleted} deleted")?;
            for (from, counts) in rows.iter().take(LINES) {
                let [inserted, updated, deleted] = counts;
                let bar = |count: &u64, mark: &str| mark.repeat((count * BAR).div_ceil(most) as usize);
                writeln!(
                    f,
                    "  {}  {inserted:>8} {updated:>8} {deleted:>8}  {}{}{}",
                    moment(*from),
                    bar(inserted, "+"),
                    bar(updated, "~"),
                    bar(deleted, "-")
                )?;
            }
            if rows.len() > LINES {
                writeln!(
                    f,
                    "  and {} more stretches: -csv has all, -by=1h makes them longer",
                    rows.len() - LINES
                )?;
            }
        }
        if tables.len() > self.top {
            writeln!(f, "and {} more tables (-top)", tables.len() - self.top)?;
        }
        writeln!(f, "largest transactions:")?;
        for n in &self.largest {
            let (at, time, tables) = (n.commit_ts, utc(n.commit_ts.ts()), n.tables.join(", "));
            writeln!(f, "  {:>8} rows  {time}  commit_ts {at}  start_ts {}  {tables}", n.rows, n.start_ts)?;
        }
        write!(f, "longest transactions:")?;
        for n in &self.longest {
            let (at, time, tables) = (n.commit_ts, utc(n.commit_ts.ts()), n.tables.join(", "));
            let seconds = n.millis() as f64 / 1000.0;
            write!(
                f,
                "\n  {seconds:>8.3} s  {time}  commit_ts {at}  start_ts {}  {} rows  {tables}",
                n.start_ts, n.rows
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_read() {
        let seconds = |text: &str| stretch(text).map(|d| d.as_secs()).ok();
        assert_eq!(seconds("1m"), Some(60));
        assert_eq!(seconds("h"), Some(3600));
        assert_eq!(seconds("10s"), Some(10));
        for bad in ["", "0s", "5", "1y", "-1m", "99999999999999999999d", "9999d"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_keep_the_greatest() {
        let notable =
            |rows| Notable { commit_ts: CommitTs::new(2), start_ts: StartTs::new(1), rows, tables: vec![] };
        let mut list = Vec::new();
        for rows in [3, 9, 1, 9, 4] {
            keep(&mut list, 3, &notable(rows), |n| n.rows);
        }
        assert_eq!(list.iter().map(|n| n.rows).collect::<Vec<_>>(), [9, 9, 4]);
    }
}
