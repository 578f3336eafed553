//! `reparo plan`: what a restore would do, from reading all of its range without applying it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use binlog_catalog::{ChangeKind, Event, Row, Transaction, Value};
use binlog_types::{ByteSize, CommitTs};
use tokio::time::Instant;

use crate::needs::Needs;
use crate::standing::Outlook;
use crate::{Config, DestType, Error, Selection, Summary, database, utc};

/// DDL statements that are listed; more are only counted.
const DDL_LINES: usize = 200;
/// Tables that are listed.
const TABLE_LINES: usize = 50;
/// Characters of a DDL statement that are shown.
const DDL_CHARS: usize = 160;
/// Rows a second that a restore into a database is assumed to reach; it depends on the server far more than on the rows.
const ASSUMED_ROWS_PER_SECOND: u64 = 50_000;

/// What a restore would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Range, sources, holes and counts. Its time is that of reading.
    pub summary: Summary,
    /// Why a restore would not begin; empty: it would.
    pub refusals: Vec<String>,
    /// Rows by table, as `db.table`.
    pub tables: BTreeMap<String, TableLoad>,
    /// The first DDL statements.
    pub ddls: Vec<(CommitTs, String)>,
    /// Bytes of the values of all rows.
    pub bytes: u64,
    /// The transaction of the most rows.
    pub largest: Option<(CommitTs, u64)>,
    /// Where it would go.
    pub dest: DestType,
    needs: Needs,
}

/// What a table gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLoad {
    /// Rows inserted, updated and deleted.
    pub rows: [u64; 3],
    /// Bytes of their values.
    pub bytes: u64,
}

impl TableLoad {
    fn total(&self) -> u64 {
        self.rows.iter().sum()
    }
}

/// Reads the range that `config` asks for and counts. Where a restore would be refused, the plan says why, and counts what is there.
///
/// # Errors
/// As those of a restore, but for what the source lacks and for its destination, in which nothing is changed.
pub async fn plan(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Plan, Error> {
    config.validate()?;
    let started = Instant::now();
    let outlook = Outlook::open(config).await?;
    let start = match &outlook {
        Some(outlook) if config.go_on => Some(outlook.end()?),
        None if config.go_on => return Err(Error::NoDatabase),
        _ => None,
    };
    // What is missing is found, all of it.
    let any = Config { allow_gaps: true, ..config.clone() };
    let mut selection = Selection::find(&any, start).await?;
    let mut refusals = Vec::new();
    let (mut resumed, mut earlier) = (None, Vec::new());
    if let Some(outlook) = &outlook {
        match outlook.way(config, &selection).await {
            Ok((after, holes)) => (resumed, earlier) = (after, holes),
            Err(refusal) => refusals.push(refusal.to_string()),
        }
    }
    let missing = selection.survey(resumed.unwrap_or(selection.asked.after)).await?;
    if !config.allow_gaps {
        refusals.extend(missing.iter().map(Error::to_string));
    }
    let mut plan = Plan {
        summary: Summary::new(&selection),
        refusals,
        tables: BTreeMap::new(),
        ddls: Vec::new(),
        bytes: 0,
        largest: None,
        dest: config.dest()?,
        needs: Needs::default(),
    };
    plan.summary.resumed = resumed.filter(|after| *after > selection.asked.after);
    if !selection.range.is_empty() {
        let mut reading = selection.read().await?;
        let mut begun = false;
        let mut next_ddl = None;
        let each = |event: &Event| {
            let ahead = matches!(event, Event::Ddl(ddl) if ddl.ahead);
            if let Event::Ddl(ddl) = event
                && config.until_next_ddl
                && begun
                && !ahead
            {
                next_ddl = Some((ddl.commit_ts, ddl.query.clone()));
                return Ok(false);
            }
            begun |= !ahead;
            plan.add(event);
            Ok(true)
        };
        let skipped = selection.each(&mut reading, "planning", shutdown, each).await?;
        plan.summary.counts.skipped = skipped;
        if let Some((at, _)) = &next_ddl {
            plan.summary.range.through = at.ts().prev().into();
        }
        plan.summary.next_ddl = next_ddl;
        if !config.allow_gaps {
            let damaged = reading.holes().iter();
            plan.refusals.extend(damaged.map(|hole| Error::Missing(hole.clone()).to_string()));
        }
        plan.summary.holes.extend_from_slice(reading.holes());
    }
    if let Some(target) = database::target(config)? {
        let (missing, notes) = plan.needs.ask(&target).await?;
        plan.refusals.extend(missing.iter().map(Error::to_string));
        plan.summary.notes.extend(notes);
    }
    plan.summary.keep_earlier(earlier);
    plan.summary.elapsed = started.elapsed();
    Ok(plan)
}

impl Plan {
    fn add(&mut self, event: &Event) {
        self.summary.counts.add(event);
        match event {
            Event::Ddl(ddl) => {
                if self.ddls.len() < DDL_LINES && !ddl.ahead {
                    self.ddls.push((ddl.commit_ts, ddl.query.clone()));
                }
                self.needs.ddl(ddl);
            }
            Event::Transaction(txn) => {
                self.needs.transaction(txn);
                self.add_rows(txn);
            }
        }
    }

    fn add_rows(&mut self, txn: &Transaction) {
        let rows = txn.changes.len() as u64;
        if self.largest.is_none_or(|(_, most)| rows > most) {
            self.largest = Some((txn.commit_ts, rows));
        }
        for change in &txn.changes {
            let (kind, bytes) = match &change.kind {
                ChangeKind::Insert(row) => (0, size(row)),
                ChangeKind::Update { before, after } => (1, size(before) + size(after)),
                ChangeKind::Delete(row) => (2, size(row)),
            };
            let name = format!("{}.{}", change.table.schema, change.table.table.name);
            let load = self.tables.entry(name).or_default();
            if let Some(rows) = load.rows.get_mut(kind) {
                *rows += 1;
            }
            load.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// How long the restore may take; None for text, which takes about as long as the plan did.
    fn estimate(&self) -> Option<Duration> {
        match self.dest {
            DestType::Print | DestType::Sql | DestType::Json | DestType::Csv | DestType::Memory => None,
            DestType::MySql | DestType::Sqlite => {
                let writing = self.summary.counts.rows() as f64 / ASSUMED_ROWS_PER_SECOND as f64;
                Some(Duration::from_secs_f64(writing).max(self.summary.elapsed))
            }
        }
    }
}

/// Bytes of a row's values.
fn size(row: &Row) -> u64 {
    let of = |value: &Value| match value {
        Value::Null => 0,
        Value::Decimal(text) => text.len(),
        Value::Text(bytes) | Value::Bytes(bytes) => bytes.len(),
        Value::Json(json) => json.body.len() + 1,
        _ => 8,
    };
    row.iter().flatten().map(|value| of(value) as u64).sum()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.summary;
        writeln!(f, "plan of {}", s.range_text())?;
        writeln!(f, "from {}", s.sources.join(", "))?;
        writeln!(f, "{}, {} skipped", s.counts, s.counts.skipped)?;
        writeln!(f, "{} of values in {} table(s)", ByteSize(self.bytes), self.tables.len())?;
        if let Some((at, rows)) = self.largest {
            writeln!(f, "largest transaction: {rows} rows at commit_ts {at} ({})", utc(at.ts()))?;
        }
        self.write_tables(f)?;
        self.write_ddls(f)?;
        s.write_remarks(f)?;
        s.write_next(f)?;
        for refusal in &self.refusals {
            writeln!(f, "A RESTORE WOULD BE REFUSED: {refusal}")?;
        }
        match self.estimate() {
            None => write!(f, "reading took {}; writing text takes about as long", seconds(s.elapsed)),
            Some(estimate) => write!(
                f,
                "reading took {}; restoring takes about {}, if the destination takes {ASSUMED_ROWS_PER_SECOND} rows/s",
                seconds(s.elapsed),
                seconds(estimate)
            ),
        }
    }
}

impl Plan {
    fn write_tables(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tables: Vec<(&String, &TableLoad)> = self.tables.iter().collect();
        tables.sort_by_key(|(name, load)| (std::cmp::Reverse(load.total()), *name));
        if !tables.is_empty() {
            writeln!(f, "tables, hottest first:")?;
        }
        let all = self.summary.counts.rows().max(1) as f64;
        for (name, load) in tables.iter().take(TABLE_LINES) {
            let [inserts, updates, deletes] = load.rows;
            writeln!(
                f,
                "  {name}: {} rows, {:.0} % ({inserts} inserted, {updates} updated, {deletes} deleted), {}",
                load.total(),
                load.total() as f64 * 100.0 / all,
                ByteSize(load.bytes)
            )?;
        }
        if tables.len() > TABLE_LINES {
            writeln!(f, "  and {} more", tables.len() - TABLE_LINES)?;
        }
        Ok(())
    }

    fn write_ddls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.ddls.is_empty() {
            writeln!(f, "DDL statements:")?;
        }
        for (at, query) in &self.ddls {
            writeln!(f, "  {at}  {}  {}", utc(at.ts()), one_line(query))?;
        }
        let more = self.summary.counts.ddls.saturating_sub(self.ddls.len() as u64);
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A statement without line breaks, cut where it is long.
fn one_line(query: &str) -> String {
    let mut text: String = query.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = text.char_indices().nth(DDL_CHARS) {
        text.truncate(at);
        text.push('…');
    }
    text
}
