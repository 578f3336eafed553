//! The binlogs of the work: from a capture, or made in the same shape.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use binlog_catalog::encode::{Mutation, delete_row, insert_row, prewrite_value, update_row};
use binlog_catalog::meta::{JobSpec, job_history_range, job_json, objects_of_job};
use binlog_catalog::{ColumnType, Database, Row, Table, TableBuilder, Value};
use binlog_proto::binlog::{Binlog, BinlogType, PrewriteValue};
use binlog_proto::store::SchemaObject;
use binlog_testkit::fixtures;
use binlog_types::{CommitTs, SchemaVersion, SystemClock, TableId, Ts};
use bytes::Bytes;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::Marks;
use crate::options::Options;

/// Everything that a pump is given.
pub(crate) struct Work {
    pub(super) objects: Vec<SchemaObject>,
    pub(super) version: SchemaVersion,
    pub(super) prewrites: Vec<Bytes>,
    /// Commits and rollbacks.
    pub(super) commits: Vec<Bytes>,
    pub(super) marks: Marks,
    counted: Counted,
}

/// How much it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) small_transactions: u64,
    pub(super) small_rows: u64,
    pub(super) bulk_rows: u64,
    pub(super) bulk_bytes: u64,
}

/// Timestamps of the work lie so far ahead of the clock, so that no watermark of an idle pump passes them.
const AHEAD_MS: u64 = 3_600_000;

fn first_ts() -> u64 {
    Ts::compose(SystemClock::handle().unix_millis() + AHEAD_MS, 0).raw()
}

impl Work {
    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    fn empty() -> Self {
        let zero = CommitTs::ZERO;
        Work {
            objects: Vec::new(),
            version: SchemaVersion(0),
            prewrites: Vec::new(),
            commits: Vec::new(),
            marks: Marks { created: zero, small: zero, end: zero },
            counted: Counted::default(),
        }
    }

    /// What was asked for.
    pub(crate) fn of(options: &Options) -> anyhow::Result<Self> {
        match &options.fixture {
            Some(dir) => Self::of_fixture(dir),
            None => Self::generate(options.seed, options.num / 2, options.num),
        }
    }

    /// The capture in `dir`, moved in time as a whole.
    fn of_fixture(dir: &Path) -> anyhow::Result<Self> {
        let name = dir.canonicalize().with_context(|| dir.display().to_string())?.display().to_string();
        let mut work = Work::empty();
        let (start, end) = job_history_range();
        for (_, json) in fixtures::meta(&name)?.into_iter().filter(|(key, _)| (&start..&end).contains(&key)) {
            work.objects.extend(objects_of_job(&json)?);
        }
        work.version = SchemaVersion(work.objects.iter().map(|o| o.schema_version).max().unwrap_or(0));
        let marks = fixtures::marks(&name)?;
        let mark =
            |name: &str| marks.get(name).map(|m| m.tso.raw()).with_context(|| format!("no mark {name}"));
        let (created, small, last) = (mark("created")?, mark("small")?, mark("end")?);
        let mut shift = None;
        let mut rows: HashMap<i64, (u64, u64)> = HashMap::new();
        for frame in fixtures::writes(&name)? {
            let mut binlog = Binlog::decode(frame.payload)?;
            let shift = *shift.get_or_insert_with(|| first_ts() - binlog.start_ts as u64);
            if let Some(value) = binlog.prewrite_value.as_ref() {
                let mutations = PrewriteValue::decode(value.clone())?.mutations;
                let count = mutations.iter().map(|m| m.sequence.len() as u64).sum();
                rows.insert(binlog.start_ts, (count, value.len() as u64));
            }
            if binlog.tp() == BinlogType::Commit {
                let (count, bytes) = rows.remove(&binlog.start_ts).unwrap_or_default();
                work.count(binlog.commit_ts as u64, (created, small), count, bytes);
                work.marks.end = work.marks.end.max(CommitTs::new(binlog.commit_ts as u64 + shift));
                binlog.commit_ts += shift as i64;
            }
            binlog.start_ts += shift as i64;
            work.push(&binlog);
            work.marks.created = CommitTs::new(created + shift);
            work.marks.small = CommitTs::new(small + shift);
        }
        anyhow::ensure!(last >= small, "the marks of {name} are out of order");
        Ok(work)
    }

    fn count(&mut self, commit_ts: u64, (created, small): (u64, u64), rows: u64, bytes: u64) {
        if commit_ts > small {
            self.counted.bulk_rows += rows;
            self.counted.bulk_bytes += bytes;
        } else if commit_ts > created {
            self.counted.small_transactions += 1;
            self.counted.small_rows += rows;
        }
    }

    fn push(&mut self, binlog: &Binlog) {
        let bytes = Bytes::from(binlog.encode_to_vec());
        match binlog.tp() {
            BinlogType::Prewrite => self.prewrites.push(bytes),
            _ => self.commits.push(bytes),
        }
    }

    /// So many small transactions, and 500-row inserts of so many rows.
    fn generate(seed: u64, small: u64, bulk_rows: u64) -> anyhow::Result<Self> {
        Maker::new(seed)?.make(small, bulk_rows)
    }
}

/// Rows of one of the large transactions.
const BULK: u64 = 500;
const DATABASE: &str = "sb";

struct Maker {
    work: Work,
    rng: SmallRng,
    ts: u64,
    id: i64,
    tables: Vec<Table>,
    /// Of the four small tables: the rows that are there.
    rows: Vec<Vec<(i64, Row)>>,
}

impl Maker {
    fn new(seed: u64) -> anyhow::Result<Self> {
        let mut maker = Maker {
            work: Work::empty(),
            rng: SmallRng::seed_from_u64(seed),
            ts: first_ts(),
            id: 100,
            tables: Vec::new(),
            rows: vec![Vec::new(); 4],
        };
        let database = Database {
            id: 90,
            name: DATABASE.to_owned(),
            charset: "utf8mb4".to_owned(),
            collate: "utf8mb4_bin".to_owned(),
            version: SchemaVersion(1),
        };
        maker.ddl(1, "CREATE DATABASE sb", Some(&database), None)?;
        for name in ["t0", "t1", "t2", "t3", "bulk"] {
            let version = SchemaVersion(maker.work.version.0 + 1);
            maker.id += 1;
            let table = TableBuilder::new(TableId(maker.id), name, version)
                .column("id", ColumnType::bigint())
                .column("k", ColumnType::int().not_null())
                .column("c", ColumnType::char(120).not_null())
                .column("pad", ColumnType::char(60).not_null())
                .primary_key(&["id"])
                .index("k", &["k"])
                .build();
            maker.ddl(3, &format!("CREATE TABLE sb.{name} (…)"), None, Some(&table))?;
            maker.tables.push(table);
        }
        maker.work.marks.created = CommitTs::new(maker.ts);
        Ok(maker)
    }

    fn tick(&mut self) -> u64 {
        self.ts += 1 << 10;
        self.ts
    }

    fn ddl(
        &mut self,
        kind: u8,
        query: &str,
        database: Option<&Database>,
        table: Option<&Table>,
    ) -> anyhow::Result<()> {
        let (start_ts, commit_ts) = (self.tick(), self.tick());
        self.id += 1;
        self.work.version.0 += 1;
        let job = JobSpec {
            id: self.id,
            job_type: kind,
            schema_id: 90,
            schema_name: DATABASE,
            table_id: table.map_or(0, |t| t.id.0),
            query,
            schema_version: self.work.version.0,
            start_ts,
            finished_ts: start_ts,
            database,
            table,
        };
        self.work.objects.extend(objects_of_job(&job_json(&job))?);
        self.send(Binlog {
            start_ts: start_ts as i64,
            commit_ts: commit_ts as i64,
            prewrite_key: Some(Bytes::from_static(b"m")),
            ddl_query: Some(Bytes::copy_from_slice(query.as_bytes())),
            ddl_job_id: self.id,
            ddl_schema_state: 5,
            ..Binlog::default()
        });
        Ok(())
    }

    /// Both binlogs of a transaction.
    fn send(&mut self, mut binlog: Binlog) {
        let commit_ts = std::mem::take(&mut binlog.commit_ts);
        self.work.push(&binlog);
        (binlog.tp, binlog.commit_ts, binlog.prewrite_value) = (BinlogType::Commit as i32, commit_ts, None);
        self.work.push(&binlog);
    }

    fn transaction(&mut self, tables: Vec<(TableId, Vec<Mutation>)>) -> u64 {
        let value = prewrite_value(self.work.version, tables);
        let bytes = value.len() as u64;
        let (start_ts, commit_ts) = (self.tick(), self.tick());
        self.send(Binlog {
            start_ts: start_ts as i64,
            commit_ts: commit_ts as i64,
            prewrite_key: Some(Bytes::from_static(b"t")),
            prewrite_value: Some(value),
            ..Binlog::default()
        });
        bytes
    }

    fn text(&mut self, length: usize) -> Value {
        let digits: String = (0..length)
            .map(|i| if i % 12 == 11 { '-' } else { char::from(self.rng.random_range(b'0'..=b'9')) })
            .collect();
        Value::Text(digits.into())
    }

    fn row(&mut self, id: i64) -> Row {
        let k = Value::Int(self.rng.random_range(1..1_000_000));
        vec![Some(Value::Int(id)), Some(k), Some(self.text(119)), Some(self.text(59))]
    }

    /// One change in one of the small tables: half inserts, then updates, then deletes.
    fn change(&mut self, id: i64) -> anyhow::Result<(TableId, Mutation)> {
        let at = self.rng.random_range(0..4usize);
        let dice = self.rng.random_range(0..10);
        let known = self.rows.get(at).map_or(0, Vec::len);
        let table = self.tables.get(at).context("no table")?.clone();
        let mutation = if dice < 5 || known == 0 {
            let row = self.row(id);
            if let Some(rows) = self.rows.get_mut(at) {
                rows.push((id, row.clone()));
            }
            insert_row(&table, id, &row)?
        } else {
            let which = self.rng.random_range(0..known);
            let text = self.text(119);
            let rows = self.rows.get_mut(at).context("no table")?;
            if dice < 9 {
                let (id, row) = rows.get_mut(which).context("no row")?;
                let mut after = row.clone();
                if let Some(slot) = after.get_mut(2) {
                    *slot = Some(text);
                }
                let before = std::mem::replace(row, after.clone());
                update_row(&table, *id, &before, &after)?
            } else {
                let (id, row) = rows.swap_remove(which);
                delete_row(&table, id, &row)?
            }
        };
        Ok((table.id, mutation))
    }

    fn make(mut self, small: u64, bulk_rows: u64) -> anyhow::Result<Work> {
        let mut id = 0;
        for _ in 0..small {
            // Every tenth is one of five rows.
            let count = if self.rng.random_range(0..10) == 0 { 5 } else { 1 };
            let mut tables: HashMap<TableId, Vec<Mutation>> = HashMap::new();
            for _ in 0..count {
                id += 1;
                let (table, mutation) = self.change(id)?;
                tables.entry(table).or_default().push(mutation);
            }
            self.transaction(tables.into_iter().collect());
            self.work.counted.small_transactions += 1;
            self.work.counted.small_rows += count;
        }
        self.work.marks.small = CommitTs::new(self.ts);
        let bulk = self.tables.last().context("no table")?.clone();
        for first in (0..bulk_rows).step_by(BULK as usize) {
            let mut mutations = Vec::new();
            for id in first..(first + BULK).min(bulk_rows) {
                let row = self.row(id as i64 + 1);
                mutations.push(insert_row(&bulk, id as i64 + 1, &row)?);
            }
            self.work.counted.bulk_rows += mutations.len() as u64;
            self.work.counted.bulk_bytes += self.transaction(vec![(bulk.id, mutations)]);
        }
        self.work.marks.end = CommitTs::new(self.ts);
        Ok(self.work)
    }
}
